//! `send` against servers that behave, and that don't.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::Value;
use sha2::{Digest, Sha256};
use towpath::form::{Boundary, Limits, Reader};

use super::form_reader::{Got, parts};
use crate::support::peer::{Asked, Peer, Say, answer};
use crate::support::running::{Finished, Running};
use crate::support::scene::Scene;
use crate::support::wait::until;

/// Long enough that the word to go on is waited for, and a server can close in its middle.
const LONG_BYTES: usize = 8_000_000;

fn ok() -> Say {
    Say::Answer(answer("200 OK", "", "thanks\n"))
}

fn says(status: &str, body: &str) -> Say {
    Say::Answer(answer(status, "", body))
}

/// Files `a.txt` and `long` in a new place.
fn scene() -> Scene {
    let scene = Scene::new();
    fs::write(scene.path("a.txt"), "abc").unwrap();
    fs::write(scene.path("long"), long()).unwrap();
    scene
}

fn long() -> Vec<u8> {
    (0..LONG_BYTES as u32 / 4).flat_map(u32::to_ne_bytes).collect()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Scene {
    fn send(&self, arguments: &[&str]) -> Running {
        let mut command = self.towpath();
        command.args(["send", "--config", &self.name("towpath.conf")]).args(arguments);
        Running::start(&mut command)
    }

    #[track_caller]
    fn sent(&self, arguments: &[&str]) -> Finished {
        self.send(arguments).finish()
    }
}

/// The form in a request.
fn form(asked: &Asked) -> Vec<Got> {
    let boundary = Boundary::from_content_type(asked.header("content-type").unwrap()).unwrap();
    parts(&mut Reader::new(asked.body.as_slice(), boundary, Limits::default())).unwrap()
}

#[test]
fn fields_come_before_files_in_one_form() {
    let (scene, peer) = (scene(), Peer::playing([ok()]));
    let sent = scene.sent(&["-F", "x=1=2", "-F", "y=", "a.txt", "-H", "X-Mine: yes", "long", &peer.url("/up?q=1")]);
    sent.assert_code(0);
    let out = sent.out();
    assert!(out.starts_with("a.txt: 3 bytes") && out.contains(&hex(b"abc")) && out.lines().count() == 2, "{out}");
    assert_eq!(sent.err(), "");
    let asked = &peer.asked()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/up?q=1"));
    assert_eq!((asked.header("x-mine"), asked.header("expect")), (Some("yes"), Some("100-continue")));
    assert_eq!(asked.header("want-repr-digest"), Some("sha-256=10"));
    let any = "application/octet-stream";
    let want = [
        Got::field("x", "1=2"),
        Got::field("y", ""),
        Got::file("file", "a.txt", any, b"abc".to_vec()),
        Got::file("file", "long", any, long()),
    ];
    assert!(form(asked) == want);
}

#[test]
fn what_is_sent_is_what_curl_sends() {
    let (scene, peer) = (scene(), Peer::playing([ok()]));
    let types = ["--type", "text/x", "--field", "f", "--no-verify", "-F", "a=b"];
    scene.sent(&[&types[..], &["a.txt", &peer.url("/")[..peer.url("/").len() - 1]]].concat()).assert_code(0);
    let curl = ["-sS", "-F", "a=b", "-F", "f=@a.txt;type=text/x", &peer.url("/")];
    Running::start(scene.program("curl").args(curl)).finish().assert_code(0);
    let asked = peer.asked();
    assert!(form(&asked[0]) == form(&asked[1]));
    assert_eq!(asked[0].header("want-repr-digest"), None);
    assert_eq!(asked[0].header("expect"), None, "a short body isn't announced");
}

#[test]
fn standard_input_is_sent_as_it_comes_and_needs_a_name() {
    let (scene, peer) = (scene(), Peer::playing([ok()]));
    scene.sent(&["-", &peer.url("/up")]).assert_code(2).assert_one_line(&["--name"]);
    let mut command = scene.towpath();
    command.args(["send", "--config", &scene.name("towpath.conf"), "--name", "x\"y", "-", &peer.url("/up")]);
    let mut running = Running::start(command.stdin(Stdio::piped()));
    let mut stdin = running.stdin();
    stdin.write_all(b"first ").unwrap();
    stdin.write_all(b"last").unwrap();
    drop(stdin);
    let sent = running.finish();
    sent.assert_code(0);
    assert!(sent.out().starts_with("x\"y: 10 bytes"), "{}", sent.out());
    let want = Got::file("file", "x\"y", "application/octet-stream", b"first last".to_vec());
    assert!(form(&peer.asked()[0]) == [want]);
    assert_eq!(peer.asked()[0].header("transfer-encoding"), Some("chunked"));
}

#[test]
fn a_refusal_is_told_with_its_words_and_not_tried_again() {
    let scene = scene();
    for (status, code) in
        [("404 Not Found", 76), ("507 Insufficient Storage", 76), ("501 Not Implemented", 76), ("500 Oops", 76)]
    {
        let peer = Peer::playing([says(status, "\n <b>no</b> such place \nmore")]);
        let sent = scene.sent(&["a.txt", &peer.url("/up")]);
        sent.assert_code(code).assert_one_line(&["refused", &status[..3], "(no such place)"]);
        assert_eq!(peer.methods(), "POST", "{status}");
    }
}

#[test]
fn an_early_answer_is_told_and_not_a_broken_pipe() {
    let scene = scene();
    for early in [0, 100_000] {
        let peer = Peer::playing([Say::Early(early, answer("413 Content Too Large", "", "at most 1 MiB\n"))]);
        let sent = scene.sent(&["long", &peer.url("/up")]);
        sent.assert_code(76).assert_one_line(&["413", "(at most 1 MiB)"]);
        let peer = Peer::playing([Say::Early(early, answer("200 OK", "", "fine\n"))]);
        scene.sent(&["long", &peer.url("/up")]).assert_code(76).assert_one_line(&["before it had everything"]);
    }
}

#[test]
fn what_may_pass_is_tried_again_as_long_as_it_can_be_read_again() {
    let scene = scene();
    let peer = Peer::playing([
        Say::Answer(answer("503 Busy", "Retry-After: 1\r\n", "")),
        Say::CutAfter(0),
        Say::CutAfter(100_000),
        ok(),
    ]);
    let sent = scene.sent(&["--json", "long", &peer.url("/up")]);
    sent.assert_code(0);
    assert_eq!(peer.methods(), "POST POST POST POST");
    let told: Value = serde_json::from_str(&sent.out()).unwrap();
    assert_eq!((told["ok"].as_bool(), told["failed_tries"].as_u64()), (Some(true), Some(3)));
    assert_eq!(told["files"][0]["sha256"], hex(&long()));
    assert!(form(&peer.asked()[3]) == [Got::file("file", "long", "application/octet-stream", long())]);

    let peer = Peer::playing([Say::CutAfter(5)]);
    let mut command = scene.program("sh");
    let line = format!("cat long | {} send --name x - {}", env!("CARGO_BIN_EXE_towpath"), peer.url("/up"));
    let sent = Running::start(command.args(["-c", &line])).finish();
    sent.assert_code(76).assert_one_line(&["cut the connection", "standard input can't be read a second time"]);
    assert_eq!(peer.methods(), "POST");
}

#[test]
fn tries_are_used_up() {
    let scene = scene();
    let peer = Peer::playing([Say::CutAfter(0)]);
    let sent = scene.sent(&["--retries", "1", "a.txt", &peer.url("/up")]);
    sent.assert_code(69).assert_one_line(&["can't be reached after 2 tries"]);
    assert_eq!(peer.methods(), "POST POST");
    let peer = Peer::playing([Say::Answer(answer("429 Slow down", "Retry-After: 3600\r\n", "later"))]);
    let sent = scene.sent(&["a.txt", &peer.url("/up")]);
    sent.assert_code(76).assert_one_line(&["429", "(later)"]);
    assert_eq!(peer.methods(), "POST", "an hour is longer than --retry-max-time");
}

#[test]
fn a_redirect_is_followed_within_its_server_only() {
    let scene = scene();
    let other = Peer::playing([ok()]);
    let there = answer("307 Moved", "Location: /b\r\n", "");
    let peer = Peer::playing([Say::Answer(there.clone()), ok()]);
    scene.sent(&["a.txt", &peer.url("/a")]).assert_code(0);
    assert_eq!(peer.asked()[1].path, "/b");
    for status in ["307 Moved", "308 Moved", "302 Found", "303 See Other"] {
        let location = format!("Location: {}\r\n", other.url("/x"));
        let peer = Peer::playing([Say::Answer(answer(status, &location, ""))]);
        let sent = scene.sent(&["a.txt", &peer.url("/a")]);
        sent.assert_code(76).assert_one_line(&[&status[..3], "points to http://127.0.0.1"]);
    }
    assert_eq!(other.methods(), "");
    let peer = Peer::playing([Say::Answer(there)]);
    scene.sent(&["a.txt", &peer.url("/a")]).assert_code(76).assert_one_line(&["307"]);
    assert!(peer.asked().len() < 10, "it goes round in circles");
}

#[test]
fn each_file_has_the_servers_own_word() {
    let scene = scene();
    let json = |body: String| Say::Answer(answer("207 Multi-Status", "Content-Type: application/json\r\n", &body));
    let stored = format!(r#"{{"field":"file","name":"a (1).txt","size":3,"sha256":"{}"}}"#, hex(b"abc"));
    let refused = r#"{"field":"file","name":"long","error":"no space left","status":507}"#;
    let peer = Peer::playing([json(format!(r#"{{"files":[{stored},{refused}],"fields":{{}}}}"#))]);
    let sent = scene.sent(&["a.txt", "long", &peer.url("/upload")]);
    sent.assert_code(76).assert_one_line(&["long", "507", "no space left"]);
    assert!(
        sent.out().starts_with("a.txt as a (1).txt: 3 bytes") && sent.out().ends_with(" verified\n"),
        "{}",
        sent.out()
    );

    let wrong = stored.replace(&hex(b"abc"), &hex(b"abd"));
    let peer = Peer::playing([json(format!(r#"{{"files":[{wrong}]}}"#))]);
    scene.sent(&["a.txt", &peer.url("/upload")]).assert_code(76).assert_one_line(&["other bytes", &hex(b"abd")]);
    let peer = Peer::playing([json(format!(r#"{{"files":[{}]}}"#, stored.replace("3,", "2,")))]);
    scene.sent(&["a.txt", &peer.url("/upload")]).assert_code(76).assert_one_line(&["2 bytes", "3 were sent"]);
    let peer = Peer::playing([json(r#"{"files":[]}"#.to_owned())]);
    scene.sent(&["a.txt", &peer.url("/upload")]).assert_code(76).assert_one_line(&["says nothing of a.txt"]);
}

#[test]
fn a_conflict_with_the_file_of_a_lost_answer_is_none() {
    let scene = scene();
    for (content, code) in [(&b"abc"[..], 0), (b"other", 76)] {
        let digest = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, Sha256::digest(content));
        let taken = r#"{"files":[{"name":"a.txt","error":"a file of that name is there","status":409}]}"#;
        let mut posts = 0;
        let peer = Peer::start(move |asked| {
            match asked.method.as_str() {
            "POST" => {
                posts += 1;
                if posts == 1 {
                    return Say::CutAfter(usize::MAX >> 1); // all of it came, and the answer is lost
                }
                Say::Answer(answer("409 Conflict", "Content-Type: application/json\r\n", taken))
            }
            _ => Say::Answer(format!("HTTP/1.1 200 OK\r\nRepr-Digest: sha-256=:{digest}:\r\nContent-Length: 3\r\nConnection: close\r\n\r\n").into_bytes()),
        }
        });
        let sent = scene.sent(&["a.txt", &peer.url("/upload")]);
        sent.assert_code(code);
        assert_eq!(peer.methods(), "POST POST HEAD");
        assert_eq!(peer.asked()[2].path, "/files/a.txt");
    }
}

#[test]
fn a_file_that_changes_while_it_is_sent_is_an_error_and_arrives_as_nothing() {
    let scene = scene();
    for put in [&[][..], &["--put"]] {
        for longer in [false, true] {
            fs::write(scene.path("long"), long()).unwrap();
            let path = scene.path("long");
            let peer = Peer::start(move |_| {
                // The head is there: its length is announced.
                let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.set_len(if longer { LONG_BYTES as u64 + 1 } else { 1_000 }).unwrap();
                ok()
            });
            let sent = scene.sent(&[put, &["long", &peer.url("/up")]].concat());
            sent.assert_code(74).assert_one_line(&["can't send long", if longer { "longer" } else { "shorter" }]);
            until("the server's word", || !peer.asked().is_empty());
            let asked = peer.asked().remove(0);
            let announced: usize = asked.header("content-length").map_or(usize::MAX, |it| it.parse().unwrap());
            assert!(asked.body.len() < announced, "{put:?}");
        }
    }
}

#[test]
fn a_slash_at_the_end_puts_each_file_below_it() {
    let (scene, peer) = (scene(), Peer::playing([ok()]));
    fs::write(scene.path("b ü;.txt"), "").unwrap();
    scene.sent(&["a.txt", "b ü;.txt", &peer.url("/d/?x")]).assert_code(0);
    let asked = peer.asked();
    assert_eq!(
        (asked[0].method.as_str(), asked[0].path.as_str(), &asked[0].body[..]),
        ("PUT", "/d/a.txt?x", &b"abc"[..])
    );
    assert_eq!((asked[1].path.as_str(), asked[1].header("content-length")), ("/d/b%20%C3%BC%3B.txt?x", Some("0")));
    for wrong in [&["-F", "a=b", "a.txt"][..], &["--put", "a.txt", "long"], &["--name", "x", "a.txt", "long"]] {
        scene.sent(&[wrong, &[&peer.url("/d/")]].concat()).assert_code(2);
    }
}

#[test]
fn what_can_not_be_sent_is_told_before_anything_is() {
    let (scene, peer) = (scene(), Peer::playing([ok()]));
    scene.sent(&["none", &peer.url("/up")]).assert_code(74).assert_one_line(&["can't send none", "No such file"]);
    scene.sent(&[".", &peer.url("/up")]).assert_code(74).assert_one_line(&["directory"]);
    scene.sent(&["a.txt"]).assert_code(2).assert_one_line(&["FILE... URL"]);
    scene.sent(&["a.txt", "ftp://h/"]).assert_code(2).assert_one_line(&["the URL"]);
    scene
        .sent(&["-H", "Content-Length: 3", "a.txt", &peer.url("/up")])
        .assert_code(2)
        .assert_one_line(&["towpath's own"]);
    scene.sent(&["-F", "novalue", "a.txt", &peer.url("/up")]).assert_code(2).assert_one_line(&["NAME=VALUE"]);
    scene.sent(&["--buffer", "x", "a.txt", &peer.url("/up")]).assert_code(2).assert_one_line(&["--buffer"]);
    scene.sent(&["-F", "a\\=b", "a.txt", &peer.url("/up")]).assert_code(2).assert_one_line(&["backslash"]);
    fs::write(scene.path("token"), "t0ken-of-mine").unwrap();
    let clear = scene.sent(&["--token-file", "token", "a.txt", "http://192.0.2.1/up"]);
    clear.assert_code(2).assert_one_line(&["no token is sent", "https://"]);
    let clear = scene.sent(&["-H", "Cookie: t0ken-of-mine", "a.txt", "http://192.0.2.1/up"]);
    clear.assert_code(2).assert_one_line(&["https://"]);
    assert!(!clear.err().contains("t0ken"));
    assert_eq!(peer.methods(), "");
    scene.sent(&["--token-file", "token", "a.txt", &peer.url("/up")]).assert_code(0);
    assert_eq!(peer.asked()[0].header("authorization"), Some("Bearer t0ken-of-mine"));
}

#[test]
fn a_buffer_of_any_size_sends_the_same() {
    let scene = scene();
    for size in ["1", "1KiB", "32KiB", "4MiB"] {
        let peer = Peer::playing([ok()]);
        let file = if size == "1" { "a.txt" } else { "long" };
        scene.sent(&["--buffer", size, "--json", file, &peer.url("/up")]).assert_code(0);
        let want = if size == "1" { b"abc".to_vec() } else { long() };
        assert!(form(&peer.asked()[0]) == [Got::file("file", file, "application/octet-stream", want)], "{size}");
    }
}

#[test]
fn garbage_is_no_answer() {
    let scene = scene();
    for garbage in [&b"SSH-2.0-OpenSSH_9\r\n"[..], b"HTTP/1.1 banana\r\n\r\n", b"\0\0\0"] {
        let peer = Peer::playing([Say::Answer(garbage.to_vec())]);
        let sent = scene.sent(&["--retries", "0", "a.txt", &peer.url("/up")]);
        sent.assert_code(69).assert_one_line(&["no answer"]);
    }
}
