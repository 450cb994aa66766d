//! What a live run answers: lines, marks, filters, and what it doesn't take.

use crate::http_raw::{Answer, Client};
use crate::support::live::{LINGER, Live, events, texts};
use crate::support::scene::Scene;
use crate::support::wait::until;

/// Asks with these header lines, on a connection of its own.
#[track_caller]
fn ask(live: &Live, method: &str, path: &str, headers: &str) -> Answer {
    let mut client = Client::to(live.address());
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
    if method == "HEAD" { client.head() } else { client.reply() }
}

#[track_caller]
fn get(live: &Live, path: &str) -> String {
    let answer = ask(live, "GET", path, "");
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text().to_owned()
}

/// A run that is over, with these ten lines: `1 odd`, `2 even`, ...
fn ten_lines(scene: &Scene) -> Live {
    let script = "for i in 1 3 5 7 9; do echo $i odd; echo $((i + 1)) even; done; exit 3";
    let live = scene.serve(LINGER, script);
    live.wait_ended(scene);
    live
}

/// The lines' first words.
#[track_caller]
fn numbers(text: &str) -> String {
    let texts = texts(text);
    texts.iter().map(|text| text.split(' ').next().unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn patterns_choose_lines_and_keep_their_numbers() {
    let scene = Scene::new();
    let live = ten_lines(&scene);
    for (query, want) in [
        ("", "1 2 3 4 5 6 7 8 9 10"),
        ("?include=odd", "1 3 5 7 9"),
        ("?exclude=odd", "2 4 6 8 10"),
        ("?include=%5E1&include=%5E2", "1 2 10"),
        ("?include=odd&exclude=%5E%5B79%5D", "1 3 5"),
        ("?tail=3", "8 9 10"),
        ("?tail=3&include=even", "8 10"),
        ("?tail=0", ""),
        ("?tail=1000", "1 2 3 4 5 6 7 8 9 10"),
        // Patterns as people write them are within what one may take.
        (r"?include=%5E%5Cd%2B%5Cs%5Cw%2B%24&exclude=(?i)\bEVEN\b|%5Cw{8}", "1 3 5 7 9"),
        ("?include=none", ""),
        ("?unknown=1&utm_source=x", "1 2 3 4 5 6 7 8 9 10"),
    ] {
        let got = get(&live, &format!("/events{query}"));
        assert_eq!(numbers(&got), want, "{query}");
        let seen = events(&got);
        for line in seen.iter().filter(|event| event.name == "line") {
            let number = line.data["text"].as_str().unwrap().split(' ').next().unwrap();
            assert_eq!(line.id.as_ref().unwrap().rsplit_once('-').unwrap().1, number);
        }
        assert_eq!((seen[0].name.as_str(), seen.last().unwrap().name.as_str()), ("run", "end"));
        assert!(seen[0].id.is_none() && seen.last().unwrap().id.is_none());
        // The same in plain text.
        let log = get(&live, &format!("/log{query}"));
        let (end, lines) = log.lines().collect::<Vec<_>>().split_last().map(|(e, l)| (*e, l.to_vec())).unwrap();
        assert!(end.starts_with("[towpath] end: exited with code 3"), "{end}");
        let words: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(words.join(" "), want, "{query}");
    }
    assert_eq!(live.dismiss(&scene), Some(3));
}

#[test]
fn a_pattern_sees_a_line_without_its_end_whatever_that_is() {
    let scene = Scene::new();
    let live = scene.serve(LINGER, r"printf 'done\r\ndone\nundone.\r\n'; exit 3");
    live.wait_ended(&scene);
    assert_eq!(texts(&get(&live, "/events?include=done%24")), ["done\r", "done"]);
    assert_eq!(texts(&get(&live, "/events?exclude=done%24")), ["undone.\r"]);
    assert!(get(&live, "/log?include=done%24").starts_with("done\r\ndone\n[towpath] end"));
}

#[test]
fn lines_that_are_there_come_in_one_chunk() {
    let scene = Scene::new();
    let live = ten_lines(&scene);
    let mut client = Client::to(live.address());
    client.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.head().status, 200);
    let chunks = [(); 2].map(|()| String::from_utf8(client.chunk().unwrap()).unwrap());
    assert!(chunks[0].starts_with("event: run\n") && texts(&chunks[0]).is_empty(), "{chunks:?}");
    assert_eq!(numbers(&chunks[1]), "1 2 3 4 5 6 7 8 9 10");
}

#[test]
fn two_lines_without_an_end_stay_two() {
    let scene = Scene::new();
    let live = scene.serve(LINGER, "printf out; printf err >&2; exit 3");
    live.wait_ended(&scene);
    for (query, want) in [("", "err out"), ("?include=.", "err out"), ("?include=out", "out"), ("?exclude=out", "err")]
    {
        let log = get(&live, &format!("/log{query}"));
        let (lines, end) = log.split_once("[towpath] end").unwrap();
        assert!(end.ends_with('\n') && lines.ends_with('\n'), "{log}");
        let mut lines: Vec<&str> = lines.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines.join(" "), want, "{query}");
    }
}

#[test]
fn a_long_line_without_an_end_has_one_end() {
    let scene = Scene::new();
    let script = "head -c 70000 /dev/zero | tr '\\0' x; await go; echo err >&2; exit 3";
    let live = scene.serve(LINGER, script);
    until("a piece of the line", || live.run.out().len() == 70_000);
    scene.touch("go");
    live.wait_ended(&scene);
    let log = get(&live, "/log");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!((lines.len(), lines[0].len(), lines[1]), (3, 70_000, "err"));
    assert_eq!(texts(&get(&live, "/events")).last().unwrap(), "err");
}

#[test]
fn an_id_resumes_behind_it_and_another_runs_id_is_told() {
    let scene = Scene::new();
    let live = ten_lines(&scene);
    let all = events(&get(&live, "/events"));
    let id = all[7].id.clone().unwrap();
    let run = all[0].data["run"].as_str().unwrap().to_owned();
    assert_eq!((&all[0].data["resumed"], &all[0].data["asked"]), (&false.into(), &serde_json::Value::Null));
    assert_eq!(id, format!("{run}-7"));
    let header = format!("Last-Event-ID: {id}\r\n");
    for (path, header) in [
        (format!("/events?since={id}"), ""),
        ("/events".to_owned(), header.as_str()),
        // A browser that comes again sends its last id beside the first query.
        (format!("/events?since={run}-2&tail=5"), &header),
    ] {
        let got = ask(&live, "GET", &path, header).text().to_owned();
        assert_eq!(numbers(&got), "8 9 10", "{path}");
        assert_eq!(events(&got)[0].data["resumed"], true);
    }
    // An empty id is none; one of the future has nothing behind it; one of another run is told.
    assert_eq!(numbers(ask(&live, "GET", "/events", "Last-Event-ID:\r\n").text()), "1 2 3 4 5 6 7 8 9 10");
    assert_eq!(numbers(&get(&live, &format!("/events?since={run}-1000"))), "");
    let other = get(&live, "/events?since=0123abc-4");
    assert_eq!(numbers(&other), "1 2 3 4 5 6 7 8 9 10");
    let first = &events(&other)[0].data;
    assert_eq!((&first["asked"], &first["resumed"]), (&"0123abc-4".into(), &false.into()));
}

#[test]
fn what_is_malformed_is_a_400_before_any_stream() {
    let scene = Scene::new();
    let live = scene.serve(&[], "await go");
    let many: String = (0..17).map(|n| format!("include={n}&")).collect();
    for (query, header, part) in [
        ("?tail=x", "", "tail"),
        ("?tail=-1", "", "tail"),
        ("?tail=99999999999999999999", "", "tail"),
        ("?since=x", "", "since"),
        ("?since=0123-", "", "since"),
        ("?include=%28", "", "("),
        ("?exclude=%5B", "", "["),
        ("?include=%FF", "", ""),
        ("", "Last-Event-ID: x\r\n", "Last-Event-ID"),
        ("", "Last-Event-ID: 0123-4x\r\n", "Last-Event-ID"),
        (&format!("?{many}"), "", "16"),
    ] {
        for path in ["/log", "/events"] {
            let answer = ask(&live, "GET", &format!("{path}{query}"), header);
            assert_eq!(answer.status, 400, "{path}{query} {header:?}: {}", answer.text());
            assert!(answer.header("Content-Type").unwrap().starts_with("text/plain"), "{}", answer.head);
            let text = answer.text();
            assert!(text.ends_with('\n') && text.lines().count() == 1 && text.contains(part), "{text:?}");
        }
    }
    // A pattern that would take too much is refused too, and nothing else suffers.
    for pattern in ["%28%28a%7B999%7D%29%7B999%7D%29%7B999%7D", "%5Cw%7B90%7D"] {
        let answer = ask(&live, "GET", &format!("/log?include={pattern}"), "");
        assert_eq!(answer.status, 400, "{pattern}: {}", answer.text());
    }
    // An id that is no text isn't the same as none.
    let mut client = Client::to(live.address());
    client.send(b"GET /events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: \xff\r\n\r\n");
    assert_eq!(client.reply().status, 400);
    scene.touch("go");
    live.run.finish().assert_code(0);
}

#[test]
fn status_tells_counts_and_the_end() {
    let scene = Scene::new();
    let live = scene.serve(&[LINGER, &["--once", "demo"]].concat(), "printf 'one\\ntwo\\nhalf'; await go; exit 3");
    let status = || -> serde_json::Value { serde_json::from_str(&get(&live, "/status")).unwrap() };
    until("two lines", || status()["lines"] == 2);
    let reader = scene.curl(&[&live.at("/events")]);
    until("a reader", || status()["readers"] == 1);
    let now = status();
    assert_eq!((&now["state"], &now["end"]), (&"running".into(), &serde_json::Value::Null));
    assert_eq!((&now["key"], &now["bytes"]), (&"demo".into(), &8.into()));
    assert_eq!(now["command"].as_array().unwrap()[..2], ["sh", "-c"]);
    assert_eq!(now["pid"], live.run.process().pid);
    scene.touch("go");
    reader.finish().assert_code(0);
    live.wait_ended(&scene);
    let now = status();
    assert_eq!((&now["lines"], &now["bytes"]), (&3.into(), &12.into()));
    assert_eq!((&now["end"]["exit_code"], &now["end"]["outcome"]), (&3.into(), &"exited".into()));
    until("no reader", || status()["readers"] == 0);
    assert_eq!(get(&live, "/healthz"), "ok\n");
}

#[test]
fn head_404_and_405_are_as_they_should_be() {
    let scene = Scene::new();
    let live = scene.serve(&[], "echo on; await go");
    live.run.wait_out("on");
    for (path, kind) in [
        ("/", "text/html"),
        ("/log", "text/plain"),
        ("/events", "text/event-stream"),
        ("/status", "application/json"),
        ("/healthz", "text/plain"),
    ] {
        // Without waiting for the run's end, and the connection goes on.
        let mut client = Client::to(live.address());
        for _ in 0..2 {
            client.send(format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
            let answer = client.head();
            assert_eq!(answer.status, 200, "{path}");
            assert!(answer.header("Content-Type").unwrap().starts_with(kind), "{path}: {}", answer.head);
            let cache = answer.header("Cache-Control").unwrap_or_else(|| panic!("{path}: {}", answer.head));
            assert!(cache.contains("no-store"), "{path}: {cache}");
        }
        assert_eq!(ask(&live, "HEAD", "/log?tail=x", "").status, 400);
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let answer = ask(&live, method, path, "Content-Length: 0\r\n");
            assert_eq!((answer.status, answer.header("Allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
    }
    for path in ["/nothing", "/log/", "/events/x", "//", "/%2e%2e/etc/passwd"] {
        assert_eq!(ask(&live, "GET", path, "").status, 404, "{path}");
    }
    scene.touch("go");
    live.run.finish().assert_code(0);
}

#[test]
fn loopback_answers_to_its_own_names_only() {
    let scene = Scene::new();
    let live = scene.serve(&["--allow-host", "run.example"], "await go");
    for (host, status) in [
        ("localhost", 200),
        ("127.0.0.1:9", 200),
        ("[::1]", 200),
        ("run.example:80", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
    ] {
        for path in ["/", "/log?tail=0", "/events", "/status", "/healthz"] {
            let mut client = Client::to(live.address());
            client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(client.head().status, status, "{host} {path}");
        }
    }
    scene.touch("go");
    live.run.finish().assert_code(0);
}

#[test]
fn lines_of_stderr_are_marked_and_watch_keeps_them_apart() {
    let scene = Scene::new();
    let live = scene.serve(LINGER, "echo out; await go; echo err >&2; exit 3");
    live.run.wait_out("out");
    let watch = scene.watch(&[&live.url]);
    watch.wait_out("out");
    scene.touch("go");
    let watched = watch.finish();
    watched.assert_code(3);
    assert_eq!((watched.out(), watched.err()), ("out\n".to_owned(), "err\n".to_owned()));
    live.wait_ended(&scene);
    let seen = events(&get(&live, "/events"));
    let streams: Vec<_> =
        seen.iter().filter(|e| e.name == "line").map(|e| (&e.data["text"], &e.data["stream"])).collect();
    assert_eq!(streams, [(&"out".into(), &"stdout".into()), (&"err".into(), &"stderr".into())]);
}

#[test]
fn any_bytes_arrive_as_they_were() {
    let scene = Scene::new();
    // Every byte there is, line ends of other systems, a long line, and a last line without an end.
    let mut bytes: Vec<u8> = (0..=255).collect();
    bytes.extend(b"\r\nid: 7\r\n\r\ndata: x\r\n\n\xe2\x82\n\xe2\x80\xa8\xef\xbb\xbf\n\0\n<script>alert(1)</script>\n");
    bytes.extend((0..300_000_u32).map(|n| b"abcdefghij\xffz\xe2\x82\xac"[n as usize % 15]));
    bytes.extend(b"\nlast");
    std::fs::write(scene.path("bytes"), &bytes).unwrap();
    let live = scene.serve(LINGER, "cat bytes; exit 3");
    assert!(scene.watch(&[&live.url]).finish().assert_code(3).out == bytes, "watch shows other bytes");
    live.wait_ended(&scene);
    let log = ask(&live, "GET", "/log", "").body;
    assert!(log.starts_with(&bytes), "/log has other bytes");
    assert!(log[bytes.len()..].starts_with(b"\n[towpath] end: exited with code 3"));
    let seen = events(&get(&live, "/events"));
    assert!(seen.iter().any(|event| event.data["base64"].is_string()));
    assert!(seen.iter().any(|event| event.data["more"] == true));
    assert!(live.run.out().ends_with("last"));
}

#[test]
fn a_long_line_is_ended_where_the_other_stream_comes_between() {
    let scene = Scene::new();
    let long = |letter: &str| format!("head -c 100000 /dev/zero | tr '\\0' {letter}");
    let script = format!("{}; await a; echo between >&2; await b; {}; echo; exit 3", long("x"), long("y"));
    let live = scene.serve(LINGER, &script);
    let watch = scene.watch(&[&live.url]);
    // A piece of a line is seen before the line ends.
    until("a piece of the line", || watch.out().len() >= 65_536);
    scene.touch("a");
    watch.wait_err("between\n");
    scene.touch("b");
    let watched = watch.finish();
    assert_eq!(watched.assert_code(3).err(), "between\n");
    let out = watched.out();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 2, "not two lines, of {:?}", lines.iter().map(|line| line.len()).collect::<Vec<_>>());
    assert_eq!(lines.concat().matches('x').count(), 100_000);
    assert_eq!(lines[1].matches('y').count(), 100_000);
    // The run's own output is as it was written.
    assert_eq!(live.run.out().lines().count(), 1);
}

#[test]
fn a_pattern_judges_a_long_line_once() {
    let scene = Scene::new();
    let script = "for w in keep drop keep; do printf $w; head -c 150000 /dev/zero | tr '\\0' x; echo; done; echo end";
    let live = scene.serve(LINGER, script);
    live.wait_ended(&scene);
    for (query, lines, xs) in [("include=keep", 2, 300_000), ("exclude=keep", 2, 150_000), ("include=end", 1, 0)] {
        let seen = events(&get(&live, &format!("/events?{query}")));
        let texts: Vec<_> = seen.iter().filter(|event| event.name == "line").collect();
        assert_eq!(texts.iter().filter(|line| line.data.get("more").is_none()).count(), lines, "{query}");
        let count: usize = texts.iter().map(|line| line.data["text"].as_str().unwrap().matches('x').count()).sum();
        assert_eq!(count, xs, "{query}");
    }
}
