//! `watch` against servers that aren't a run: it ends, soon, and says why.

use std::time::Duration;

use towpath::client::{Agent, Target, Trust};
use towpath::live::{Seen, Watch, WatchError};
use towpath::thread::Stop;

use crate::support::fake::Fake;
use crate::support::running::Running;
use crate::support::scene::Scene;

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
const RUN: &str = "event: run\ndata: {\"run\":\"r1\",\"command\":[\"c\"],\"host\":\"h\"}\n\n";

/// An end of the run `r1`, with this code.
fn end(code: u8) -> String {
    format!("event: end\ndata: {{\"run\":\"r1\",\"outcome\":\"exited\",\"exit_code\":{code}}}\n\n")
}

fn line(seq: u64, data: &str) -> String {
    format!("id: r1-{seq}\nevent: line\ndata: {data}\n\n")
}

fn simple(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

#[test]
fn an_answer_that_will_not_change_ends_it_at_once() {
    let scene = Scene::new();
    for (answer, part) in [
        (simple("404 Not Found"), "404"),
        (simple("403 Forbidden"), "403"),
        (simple("302 Found\r\nLocation: http://192.0.2.1/"), "302"),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<!DOCTYPE html>\n<p>Hello</p>\n".to_owned(),
            "no server-sent events",
        ),
        (format!("{STREAM}{}", line(1, r#"{"text":"x"}"#)), "a run before it"),
        (format!("{STREAM}event: run\ndata: {{}}\n\n"), "without its run"),
        (format!("{STREAM}event: run\ndata: not json\n\n"), "doesn't speak"),
        (format!("{STREAM}{RUN}id: other-1\nevent: line\ndata: {{\"text\":\"x\"}}\n\n"), "without its id"),
        (format!("{STREAM}{RUN}{}", line(1, r#"{"base64":"!"}"#)), "without its text"),
        (format!("{STREAM}{RUN}event: end\ndata: {{\"run\":\"r1\"}}\n\n"), "how it ended"),
        (
            format!("{STREAM}{RUN}event: end\ndata: {{\"run\":\"r2\",\"outcome\":\"exited\",\"exit_code\":0}}\n\n"),
            "how it ended",
        ),
        (
            format!("{STREAM}{RUN}event: end\ndata: {{\"run\":\"r1\",\"outcome\":\"exited\",\"exit_code\":256}}\n\n"),
            "how it ended",
        ),
    ] {
        let server = Fake::saying(answer.clone());
        let watched = scene.watch(&[&server.url(), "--retry", "1h"]).finish();
        watched.assert_code(76).assert_one_line(&[part]);
        assert_eq!((watched.out().as_str(), server.asked()), ("", 1), "{answer}");
    }
    let server = Fake::saying([STREAM.as_bytes(), b"data: \xff\n\n"].concat());
    scene.watch(&[&server.url(), "--retry", "1h"]).finish().assert_code(76).assert_one_line(&["doesn't speak"]);
}

#[test]
fn what_never_ends_takes_neither_memory_nor_time_without_end() {
    let scene = Scene::new();
    let endless_line = Fake::saying_for_ever(STREAM, b"data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    let endless_event = Fake::saying_for_ever(STREAM, b"data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n");
    let endless_page = Fake::saying_for_ever(STREAM, b"<p>Hello</p>\n");
    for server in [endless_line, endless_event, endless_page] {
        scene.watch(&[&server.url()]).finish().assert_code(76).assert_one_line(&["doesn't speak"]);
    }
    let endless_comments = Fake::saying_for_ever(STREAM, b": comment\n\n");
    let watched = scene.watch(&[&endless_comments.url(), "--retry", "0s"]).finish();
    watched.assert_code(76).assert_one_line(&["doesn't say which run it has"]);
    let endless_head = Fake::saying_for_ever("HTTP/1.1 200 OK\r\n", b"X-Header: x\r\n");
    scene
        .watch(&[&endless_head.url(), "--retry", "0s"])
        .finish()
        .assert_code(69)
        .assert_one_line(&["can't be reached"]);
}

#[test]
fn who_only_accepts_and_cuts_is_asked_with_pauses_and_not_for_ever() {
    let scene = Scene::new();
    for (answer, code) in [
        (String::new(), 69),
        ("SSH-2.0-OpenSSH_10.0\r\n".to_owned(), 69),
        (simple("500 Internal Server Error"), 69),
        (simple("503 Service Unavailable"), 69),
        (STREAM.to_owned(), 76),
        (format!("{STREAM}: comment\n\n"), 76),
    ] {
        let server = Fake::saying(answer.clone());
        let watched = scene.watch(&[&server.url(), "--retry", "1s"]).finish();
        watched.assert_code(code).assert_one_line(&[&server.url()]);
        // At once, then after 0.25 s, 0.5 s, 1 s.
        assert!((2..=4).contains(&server.asked()), "asked {} times: {answer}", server.asked());
    }
}

#[test]
fn a_server_that_says_only_which_run_it_has_is_asked_with_pauses() {
    let scene = Scene::new();
    let server = Fake::saying(format!("{STREAM}{RUN}"));
    let began = std::time::Instant::now();
    let watch = scene.watch(&[&server.url()]);
    crate::support::wait::until("four tries", || server.asked() >= 4);
    // 0.25 + 0.5 + 1 s between them: no sooner, however fast the machine.
    assert!(began.elapsed() >= std::time::Duration::from_millis(1_700), "it spins");
    assert!(watch.err().contains("the connection was lost"), "{}", watch.err());
}

#[test]
fn what_a_later_version_may_add_is_no_mistake() {
    let scene = Scene::new();
    let unknown = "event: news\ndata: {\"x\":1}\n\nevent: song\ndata: not JSON\n\nretry: 10\n\nsomething: else\n\n\
        : comment\n\n";
    let server =
        Fake::saying(format!("{STREAM}{RUN}{unknown}{}{unknown}{}", line(1, r#"{"text":"x","new":[]}"#), end(9)));
    assert_eq!(scene.watch(&[&server.url()]).finish().assert_code(9).out(), "x\n");
}

#[test]
fn a_line_that_a_gap_cuts_is_ended_before_what_follows() {
    let scene = Scene::new();
    let gap = "event: gap\ndata: {\"lines\":2,\"bytes\":null,\"why\":\"slow reader\"}\n\n";
    let lines =
        [line(1, r#"{"text":"begun","more":true,"stream":"stdout"}"#), line(5, r#"{"text":"next","unended":true}"#)];
    let server = Fake::saying(format!("{STREAM}{RUN}{}{gap}{}{}", lines[0], lines[1], end(0)));
    let watched = scene.watch(&[&server.url()]).finish();
    assert_eq!(watched.assert_code(0).out(), "begun\nnext");
    assert_eq!(watched.err(), "towpath: gap: 2 lines, unknown bytes lost (slow reader)\n");
}

#[test]
fn a_stop_ends_it_though_comments_never_end() {
    let head: &'static str = Box::leak(format!("{STREAM}{RUN}").into_boxed_str());
    let server = Fake::saying_for_ever(head, b": comment\n\n");
    let target = Target::parse(&server.url()).unwrap();
    let hour = Duration::from_secs(3600);
    let mut watch = Watch::new(Agent::for_streams(hour, hour, &Trust::default(), None), &target, hour);
    let (stopper, stop) = Stop::new();
    assert!(matches!(watch.next(&stop), Ok(Seen::Run(_))));
    stopper.stop();
    assert!(matches!(watch.next(&stop), Err(WatchError::Stopped)));
}

#[test]
fn lines_that_come_at_once_keep_their_order_on_one_terminal() {
    let scene = Scene::new();
    let streams = ["stdout", "stderr"];
    let lines: String = (1..=2_000)
        .map(|n| line(n, &format!(r#"{{"text":"{n}","stream":"{}"}}"#, streams[n as usize / 3 % 2])))
        .collect();
    let server = Fake::saying(format!("{STREAM}{RUN}{lines}{}", end(4)));
    let mut shell = scene.program("sh");
    shell.args(["-c", "exec \"$TOWPATH\" watch --config \"$CONFIG\" \"$URL\" 2>&1"]);
    shell.env("URL", server.url()).env("TOWPATH", env!("CARGO_BIN_EXE_towpath"));
    let watched = Running::start(shell.env("CONFIG", scene.path("towpath.conf"))).finish();
    let numbers: String = (1..=2_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(watched.assert_code(4).out(), numbers);
}
