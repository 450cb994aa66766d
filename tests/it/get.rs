//! `get` against servers that behave, and that don't.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::TcpListener;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::peer::{Asked, Peer, Say, answer};
use crate::support::running::{Finished, Running};
use crate::support::scene::Scene;
use crate::support::wait::until;

fn file() -> Vec<u8> {
    (0..500_000_u32).flat_map(u32::to_ne_bytes).collect()
}

fn digest(bytes: &[u8]) -> String {
    format!("Repr-Digest: sha-256=:{}:\r\n", STANDARD.encode(Sha256::digest(bytes)))
}

/// An answer with a length, of which so many bytes come.
fn cut(head: &str, body: &[u8], bytes: usize) -> Say {
    let head = format!("HTTP/1.1 {head}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    Say::Answer([head.as_bytes(), &body[..bytes]].concat())
}

fn whole(head: &str, body: &[u8]) -> Say {
    cut(head, body, body.len())
}

/// A server that has a file, with ranges, and cuts its answers after so many bytes each.
fn ranges(content: Vec<u8>, etag: &'static str, cuts: &[usize]) -> Peer {
    let mut cuts: Vec<usize> = cuts.iter().rev().copied().collect();
    Peer::start(move |asked| ranged(asked, &content, etag, cuts.pop().unwrap_or(usize::MAX)))
}

fn ranged(asked: &Asked, content: &[u8], etag: &str, most: usize) -> Say {
    let from = asked.header("range").map(|range| range[6..range.len() - 1].parse::<usize>().unwrap());
    let tag = if etag.is_empty() { String::new() } else { format!("ETag: {etag}\r\n") };
    match from.filter(|_| asked.header("if-range") == Some(etag)) {
        Some(from) => {
            let range = format!("Content-Range: bytes {from}-{}/{}\r\n", content.len() - 1, content.len());
            let rest = &content[from..];
            cut(&format!("206 Partial Content\r\n{tag}{range}{}", digest(content)), rest, most.min(rest.len()))
        }
        None => cut(&format!("200 OK\r\n{tag}{}", digest(content)), content, most.min(content.len())),
    }
}

impl Scene {
    fn get(&self, arguments: &[&str]) -> Running {
        let mut command = self.towpath();
        command.args(["get", "--config", &self.name("towpath.conf")]).args(arguments);
        Running::start(&mut command)
    }

    #[track_caller]
    fn got(&self, arguments: &[&str]) -> Finished {
        self.get(arguments).finish()
    }

    /// All names but the settings, the hidden ones too.
    fn names(&self) -> BTreeSet<String> {
        let names = fs::read_dir(self.path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "towpath.conf").collect()
    }

    #[track_caller]
    fn has_only(&self, names: &[&str]) {
        assert_eq!(self.names(), names.iter().map(|name| (*name).to_owned()).collect());
    }
}

#[test]
fn a_file_is_called_as_the_server_says_and_never_elsewhere() {
    for (given, want) in [
        ("", "x.bin"),
        ("Content-Disposition: attachment; filename=\"a;b.txt\"\r\n", "a;b.txt"),
        ("Content-Disposition: attachment; filename=\"../../up.txt\"\r\n", "up.txt"),
        ("Content-Disposition: attachment; filename=\".bashrc\"\r\n", "_bashrc"),
        ("Content-Disposition: attachment; filename=\"..\"\r\n", "x.bin"),
        ("Content-Disposition: attachment; filename*=UTF-8''gr%C3%BCn; filename=x\r\n", "gr\u{fc}n"),
    ] {
        let (scene, peer) = (Scene::new(), Peer::playing([whole(&format!("200 OK\r\n{given}"), b"abc")]));
        let got = scene.got(&[&peer.url("/d/x.bin?q")]);
        got.assert_code(0);
        assert!(got.out().contains(want) && got.out().contains("3 bytes"), "{}", got.out());
        scene.has_only(&[want]);
        assert_eq!(scene.read(want), "abc");
    }
}

#[test]
fn a_taken_name_is_left_or_numbered_or_replaced() {
    let (scene, peer) = (Scene::new(), Peer::playing([whole("200 OK\r\n", b"new")]));
    fs::write(scene.path("a"), "old").unwrap();
    let got = scene.got(&[&peer.url("/a")]);
    got.assert_code(74).assert_one_line(&["./a", "there already", "--on-conflict"]);
    scene.got(&["--on-conflict", "rename", &peer.url("/a")]).assert_code(0);
    scene.has_only(&["a", "a (1)"]);
    assert_eq!((scene.read("a"), scene.read("a (1)")), ("old".to_owned(), "new".to_owned()));
    scene.got(&["--on-conflict", "replace", "-o", "a", &peer.url("/zzz")]).assert_code(0);
    assert_eq!(scene.read("a"), "new");
    fs::create_dir(scene.path("d")).unwrap();
    scene.got(&["-o", "d", &peer.url("/b")]).assert_code(0);
    assert_eq!(scene.read("d/b"), "new");
    scene.got(&["-o", "none/b", &peer.url("/b")]).assert_code(74).assert_one_line(&["none/b", "No such file"]);
}

#[test]
fn what_was_cut_goes_on_where_it_was() {
    let (scene, peer) = (Scene::new(), ranges(file(), "\"v1\"", &[1_000_000, 0, 500_000]));
    let got = scene.got(&["--json", &peer.url("/f")]);
    got.assert_code(0);
    let told: Value = serde_json::from_str(&got.out()).unwrap();
    assert_eq!((told["files"][0]["verified"].as_bool(), told["failed_tries"].as_u64()), (Some(true), Some(3)));
    assert!(fs::read(scene.path("f")).unwrap() == file());
    scene.has_only(&["f"]);
    let asked: Vec<Option<String>> =
        peer.asked().iter().map(|asked| asked.header("range").map(str::to_owned)).collect();
    let from = |from: &str| Some(format!("bytes={from}-"));
    assert_eq!(asked, [None, from("1000000"), from("1000000"), from("1500000")]);
}

#[test]
fn without_a_strong_validator_it_starts_over() {
    for etag in ["", "W/\"v1\""] {
        let (scene, peer) = (Scene::new(), ranges(file(), etag, &[1_000_000]));
        scene.got(&[&peer.url("/f")]).assert_code(0);
        assert!(fs::read(scene.path("f")).unwrap() == file());
        assert!(peer.asked().iter().all(|asked| asked.header("range").is_none()));
        scene.has_only(&["f"]);
        // Nothing is left of one that is given up.
        let peer = ranges(file(), etag, &[1_000_000; 9]);
        scene.got(&["--retries", "0", "-o", "g", &peer.url("/f")]).assert_code(76).assert_one_line(&["cut it"]);
        scene.has_only(&["f"]);
    }
}

#[test]
fn a_killed_one_goes_on_in_the_next_process_and_a_new_version_starts_over() {
    for (etag, etag_after) in [("\"v1\"", "\"v1\""), ("\"v1\"", "\"v2\"")] {
        let scene = Scene::new();
        let content: Vec<u8> = file();
        let after: Vec<u8> = if etag == etag_after { content.clone() } else { content.iter().rev().copied().collect() };
        let (first, second) = (content.clone(), after.clone());
        let mut turn = 0;
        let peer = Peer::start(move |asked| {
            turn += 1;
            match turn {
                // It has the beginning, and waits for more.
                1 => Say::Answer(
                    [
                        format!("HTTP/1.1 200 OK\r\nETag: {etag}\r\nContent-Length: {}\r\n\r\n", first.len())
                            .as_bytes(),
                        &first[..700_000],
                    ]
                    .concat(),
                )
                .and_stay(),
                _ => ranged(asked, &second, etag_after, usize::MAX),
            }
        });
        let running = scene.get(&[&peer.url("/f")]);
        let part =
            || scene.names().into_iter().find(|name| name.starts_with(".towpath-part-") && !name.ends_with("json"));
        until("the beginning", || {
            part().is_some_and(|part| fs::metadata(scene.path(&part)).is_ok_and(|it| it.len() == 700_000))
        });
        assert!(!scene.path("f").exists());
        let second = scene.got(&["--retries", "0", &peer.url("/f")]);
        second.assert_code(74).assert_one_line(&["another process"]);
        running.send(Signal::KILL);
        running.finish();
        peer.let_go();
        let got = scene.got(&["--json", &peer.url("/f")]);
        got.assert_code(0);
        let told: Value = serde_json::from_str(&got.out()).unwrap();
        let had = if etag == etag_after { 700_000 } else { 0 };
        assert_eq!(told["files"][0]["had"].as_u64(), Some(had), "{told}");
        assert!(fs::read(scene.path("f")).unwrap() == after);
        scene.has_only(&["f"]);
        let asked = peer.asked();
        let last = asked.last().unwrap();
        assert_eq!((last.header("range"), last.header("if-range")), (Some("bytes=700000-"), Some("\"v1\"")));
    }
}

#[test]
fn a_partial_answer_that_does_not_fit_is_an_error() {
    let content = file();
    let total = content.len();
    for (head, part) in [
        (format!("206 Partial\r\nETag: \"v1\"\r\nContent-Range: bytes 0-{}/{total}\r\n", total - 1), "from byte 0"),
        (format!("206 Partial\r\nETag: \"v1\"\r\nContent-Range: bytes 1000-1999/{}\r\n", total + 1), "said before"),
        (format!("206 Partial\r\nETag: \"v2\"\r\nContent-Range: bytes 1000-1999/{total}\r\n"), "the version \"v2\""),
        ("206 Partial\r\nETag: \"v1\"\r\n".to_owned(), "without a Content-Range"),
        (format!("206 Partial\r\nETag: \"v1\"\r\nContent-Range: bytes 1000-1998/{total}\r\n"), "in a body of"),
        ("206 Partial\r\nETag: \"v1\"\r\nContent-Range: bytes 1000-/5\r\n".to_owned(), "Content-Range"),
        ("204 No Content\r\n".to_owned(), "204"),
    ] {
        let scene = Scene::new();
        let first = cut("200 OK\r\nETag: \"v1\"\r\n", &content, 1_000);
        let second = if head.starts_with("204") {
            Say::Answer(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_vec())
        } else {
            whole(&head, &content[1_000..2_000])
        };
        let peer = Peer::playing([first, second]);
        let got = scene.got(&[&peer.url("/f")]);
        got.assert_code(76);
        assert!(got.err().contains(part), "{}", got.err());
        scene.has_only(&[]);
    }
    // Less than was asked for is no error: the rest is asked for.
    let scene = Scene::new();
    let piece = |from: usize, to: usize| {
        let head = format!("206 Partial\r\nETag: \"v1\"\r\nContent-Range: bytes {from}-{}/{total}\r\n", to - 1);
        whole(&head, &content[from..to])
    };
    let first = cut("200 OK\r\nETag: \"v1\"\r\n", &content, 1_000);
    let peer = Peer::playing([first, piece(1_000, 5_000), piece(5_000, total)]);
    scene.got(&[&peer.url("/f")]).assert_code(0);
    assert!(fs::read(scene.path("f")).unwrap() == content);
    // 416: what is there is longer than what the server has now.
    let scene = Scene::new();
    let first = cut("200 OK\r\nETag: \"v1\"\r\n", &content, 1_000);
    let peer = Peer::playing([
        first,
        Say::Answer(answer("416 No", "Content-Range: bytes */3\r\n", "")),
        whole("200 OK\r\n", b"abc"),
    ]);
    scene.got(&[&peer.url("/f")]).assert_code(0);
    assert_eq!(scene.read("f"), "abc");
}

#[test]
fn an_end_that_is_not_proven_is_none() {
    let unproven = b"HTTP/1.0 200 OK\r\n\r\nabc".to_vec();
    let (scene, peer) = (Scene::new(), Peer::playing([Say::Answer(unproven)]));
    scene.got(&[&peer.url("/f")]).assert_code(76).assert_one_line(&["where the file ends", "--accept-unproven"]);
    scene.has_only(&[]);
    scene.got(&["--accept-unproven", &peer.url("/f")]).assert_code(0);
    assert_eq!(scene.read("f"), "abc");

    // A digest proves it, too, and disproves it.
    let proven = format!("HTTP/1.0 200 OK\r\n{}\r\nabc", digest(b"abc"));
    let (scene, peer) = (Scene::new(), Peer::playing([Say::Answer(proven.into_bytes())]));
    let got = scene.got(&[&peer.url("/f")]);
    got.assert_code(0);
    assert!(got.out().ends_with(" verified\n"), "{}", got.out());
    for head in ["HTTP/1.0 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"] {
        let wrong = format!("{head}{}\r\nabd", digest(b"abc"));
        let (scene, peer) = (Scene::new(), Peer::playing([Say::Answer(wrong.into_bytes())]));
        scene.got(&[&peer.url("/f")]).assert_code(76).assert_one_line(&["other bytes"]);
        scene.has_only(&[]);
        scene.got(&["--no-verify", "--accept-unproven", &peer.url("/f")]).assert_code(0);
    }

    // Chunks end by the last one.
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    for (rest, code) in [("0\r\n\r\n", 0), ("", 76), ("2\r\nd", 76), ("garbage\r\n", 76)] {
        let (scene, peer) = (Scene::new(), Peer::playing([Say::Answer(format!("{chunks}{rest}").into_bytes())]));
        scene.got(&["--retries", "1", &peer.url("/f")]).assert_code(code);
        scene.has_only(if code == 0 { &["f"] } else { &[] });
    }
}

#[test]
fn what_may_pass_is_tried_again_and_what_may_not_is_told() {
    let scene = Scene::new();
    let busy = |retry: &str| Say::Answer(answer("429 Slow down", &format!("Retry-After: {retry}\r\n"), "slow\n"));
    let peer = Peer::playing([
        busy("1"),
        Say::CutAfter(0),
        Say::Answer(answer("500 Oops", "", "")),
        whole("200 OK\r\n", b"abc"),
    ]);
    scene.got(&[&peer.url("/f")]).assert_code(0);
    assert_eq!(peer.methods(), "GET GET GET GET");
    for status in ["404 Not Found", "403 Forbidden", "501 No"] {
        let peer = Peer::playing([Say::Answer(answer(status, "", "<h1>gone</h1>"))]);
        scene.got(&["-o", "g", &peer.url("/g")]).assert_code(76).assert_one_line(&[&status[..3], "(gone)"]);
        assert_eq!(peer.methods(), "GET");
    }
    for forever in ["9999", "18446744073709551615"] {
        let peer = Peer::playing([busy(forever)]);
        scene.got(&["-o", "g", &peer.url("/g")]).assert_code(76).assert_one_line(&["429"]);
    }
    let peer = Peer::playing([Say::CutAfter(0)]);
    scene.got(&["--retries", "1", "-o", "g", &peer.url("/g")]).assert_code(69).assert_one_line(&["after 2 tries"]);
    let peer = Peer::playing([Say::Answer(b"SSH-2.0-x\r\n".to_vec())]);
    scene.got(&["--retries", "0", "-o", "g", &peer.url("/g")]).assert_code(69);
    scene.has_only(&["f"]);
}

#[test]
fn a_redirect_is_followed_without_what_proves_who_asks() {
    let scene = Scene::new();
    fs::write(scene.path("token"), "t0ken").unwrap();
    let other = Peer::playing([whole("200 OK\r\n", b"abc")]);
    let location = format!("Location: {}\r\n", other.url("/else"));
    let peer = Peer::playing([
        Say::Answer(answer("302 Found", "Location: b\r\n", "")),
        Say::Answer(answer("307 There", &location, "")),
    ]);
    scene.got(&["--token-file", "token", "-H", "Cookie: c=1", "-H", "X-A: b", &peer.url("/d/a")]).assert_code(0);
    assert_eq!(scene.read("a"), "abc", "it is called as it was asked for");
    let (asked, there) = (peer.asked(), other.asked());
    assert_eq!((asked[1].path.as_str(), asked[1].header("authorization")), ("/d/b", Some("Bearer t0ken")));
    assert_eq!((there[0].header("authorization"), there[0].header("cookie")), (None, None));
    assert_eq!(there[0].header("x-a"), Some("b"));
    let round = Peer::playing([Say::Answer(answer("302 Found", "Location: /a\r\n", ""))]);
    scene.got(&["-o", "b", &round.url("/a")]).assert_code(76).assert_one_line(&["isn't followed"]);
    let away = Peer::playing([Say::Answer(answer("302 Found", "Location: ftp://h/\r\n", ""))]);
    scene.got(&["-o", "b", &away.url("/a")]).assert_code(76).assert_one_line(&["302"]);
}

#[test]
fn standard_output_gets_what_comes_and_its_end_is_the_exit_code() {
    let (scene, peer) = (Scene::new(), ranges(file(), "\"v1\"", &[1_000_000]));
    let got = scene.got(&["-o", "-", &peer.url("/f")]);
    got.assert_code(0);
    assert!(got.out == file(), "{} bytes", got.out.len());
    let peer = ranges(file(), "", &[1_000_000]);
    let got = scene.got(&["-o", "-", &peer.url("/f")]);
    got.assert_code(76).assert_one_line(&["cut it at 1000000 bytes"]);
    assert!(got.out == file()[..1_000_000]);
    scene.has_only(&[]);
}

#[test]
fn a_limit_is_held() {
    let (scene, peer) = (Scene::new(), Peer::playing([whole("200 OK\r\n", b"0123456789")]));
    scene.got(&["--max-size", "9", &peer.url("/f")]).assert_code(76).assert_one_line(&["more than the 9 bytes"]);
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n".to_vec();
    let peer = Peer::playing([Say::Answer(chunked)]);
    scene.got(&["--max-size", "9", &peer.url("/f")]).assert_code(76).assert_one_line(&["more than the 9 bytes"]);
    scene.has_only(&[]);
    scene.got(&["--max-size", "10", &peer.url("/f")]).assert_code(0);
}

const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nabc\r\n\
                    --b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n\
                    --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"../.b\"\r\n\r\n\r\n--b--\r\n";
const FORM_HEAD: &str = "200 OK\r\nContent-Type: multipart/form-data; boundary=b\r\n";

#[test]
fn a_form_is_taken_apart_into_its_files() {
    let (scene, peer) = (Scene::new(), Peer::playing([whole(FORM_HEAD, FORM.as_bytes())]));
    let got = scene.got(&["--json", &peer.url("/form")]);
    got.assert_code(0);
    let told: Value = serde_json::from_str(&got.out()).unwrap();
    assert_eq!((told["files"].as_array().unwrap().len(), told["fields"][0]["value"].as_str()), (2, Some("hello")));
    scene.has_only(&["a.txt", "_b"]);
    assert_eq!((scene.read("a.txt"), scene.read("_b")), ("abc".to_owned(), String::new()));
    // One name is taken, so that neither appears.
    fs::remove_file(scene.path("a.txt")).unwrap();
    scene.got(&[&peer.url("/form")]).assert_code(74).assert_one_line(&["_b", "there already"]);
    scene.has_only(&["_b"]);
    scene.got(&["-o", "x", &peer.url("/form")]).assert_code(74).assert_one_line(&["directory"]);
    scene.got(&["--max-files", "2", "-o", ".", &peer.url("/form")]).assert_code(76).assert_one_line(&["2 parts"]);
    scene.got(&["--max-size", "100", "-o", ".", &peer.url("/form")]).assert_code(76).assert_one_line(&["100 bytes"]);
    scene.has_only(&["_b"]);
}

#[test]
fn of_two_files_with_one_name_neither_takes_the_others_place() {
    let scene = Scene::new();
    fs::write(scene.path("a.txt"), "old").unwrap();
    let twice = FORM.replace("../.b", "dir/a.txt");
    let got = |choice: &str| {
        let peer = Peer::playing([whole(FORM_HEAD, twice.as_bytes())]);
        scene.got(&["--on-conflict", choice, &peer.url("/form")])
    };
    got("replace").assert_code(76).assert_one_line(&["two files are called \"a.txt\""]);
    scene.has_only(&["a.txt"]);
    assert_eq!(scene.read("a.txt"), "old");
    got("rename").assert_code(0);
    assert_eq!(scene.names().len(), 3);
}

#[test]
fn a_stop_ends_a_form_between_two_reads() {
    use towpath::client::Target;
    use towpath::inbox::Meter;
    use towpath::inbox::get::{Fetch, GetError, To};
    let scene = Scene::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/form", server.local_addr().unwrap());
    let fetch = Fetch::new(Target::parse(&url).unwrap(), To::Directory(scene.path("")));
    let (stopper, stop) = towpath::thread::Stop::new();
    let meter = Meter::default();
    std::thread::scope(|scope| {
        let got = scope.spawn(|| fetch.get(&meter, &stop));
        let (mut client, _) = server.accept().unwrap();
        let (first, rest) = FORM.split_at(100);
        write!(client, "HTTP/1.1 {FORM_HEAD}Content-Length: {}\r\n\r\n{first}", FORM.len()).unwrap();
        until("its first bytes", || meter.moved() > 0);
        stopper.stop();
        // All of it is there to be had, and isn't wanted any more.
        client.write_all(rest.as_bytes()).unwrap();
        let error = got.join().unwrap().unwrap_err();
        assert!(matches!(error, GetError::Stopped), "{error}");
    });
    scene.has_only(&[]);
}

#[test]
fn a_form_that_is_cut_at_any_place_gives_no_file() {
    let scene = Scene::new();
    let places = (0..FORM.len() - 2).step_by(23).chain(FORM.len() - 4..FORM.len() - 2);
    for place in places {
        // The answer is whole, its form isn't; and an answer that is cut.
        let short = Peer::playing([whole(FORM_HEAD, &FORM.as_bytes()[..place])]);
        let got = scene.got(&["--retries", "0", &short.url("/form")]);
        got.assert_code(76);
        scene.has_only(&[]);
        let peer = Peer::playing([cut(FORM_HEAD, FORM.as_bytes(), place)]);
        scene.got(&["--retries", "0", &peer.url("/form")]).assert_code(76);
        scene.has_only(&[]);
    }
    // Cut behind the final delimiter, the answer isn't whole either.
    let peer = Peer::playing([cut(FORM_HEAD, format!("{FORM}epilogue").as_bytes(), FORM.len())]);
    scene.got(&["--retries", "0", &peer.url("/form")]).assert_code(76);
    scene.has_only(&[]);
    let bad = FORM.replace("../.b", "..");
    let peer = Peer::playing([whole(FORM_HEAD, bad.as_bytes())]);
    scene.got(&[&peer.url("/form")]).assert_code(76);
    scene.has_only(&[]);
    // A second try brings all of it.
    let peer = Peer::playing([cut(FORM_HEAD, FORM.as_bytes(), 100), whole(FORM_HEAD, FORM.as_bytes())]);
    scene.got(&[&peer.url("/form")]).assert_code(0);
    scene.has_only(&["a.txt", "_b"]);
}
