//! Forms between us and others: what curl, Python, Go and node send is read as
//! they meant it, and they read what we send.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crossbeam_channel::Receiver;
use sha2::{Digest, Sha256};
use towpath::form::{Boundary, Content, Form, Limits, Reader};
use towpath::http::{Config, Reply, Request};

use super::form_reader::{Got, parts};
use super::http_raw::{PATIENCE, Running};
use super::support::scene::Scene;
use super::support::skipped;

/// Debian's Python, for which the package python3-requests is.
const PYTHON: &str = "/usr/bin/python3";
const COMMENT: &str = "grün & \"quoted\"\r\nline";
const ANY: &str = "application/octet-stream";

/// Takes forms in, and a file for others to send: long, and nearly a delimiter
/// at each of its lines.
struct Taker {
    server: Running,
    forms: Receiver<Vec<Got>>,
    scene: Scene,
}

impl Taker {
    fn start() -> Taker {
        let (sender, forms) = crossbeam_channel::unbounded();
        let server = Running::start(Config::new(), move |request: &mut Request<'_>, reply: Reply<'_>| {
            let boundary = request.header("Content-Type").unwrap_or_default();
            let boundary = Boundary::from_content_type(boundary).map_err(io::Error::other)?;
            let mut reader = Reader::new(request.body(), boundary, Limits::default());
            let got = parts(&mut reader).map_err(io::Error::other)?;
            sender.send(got).unwrap();
            reply.send("")
        });
        let scene = Scene::new();
        fs::write(scene.path("file"), content()).unwrap();
        Taker { server, forms, scene }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.server.address())
    }

    /// The form that a program sends; it fails if it isn't taken.
    #[track_caller]
    fn takes_from(&self, command: &mut Command) -> Vec<Got> {
        let out = command.stdin(Stdio::null()).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        self.forms.recv_timeout(PATIENCE).unwrap()
    }

    /// URL and file, as the programs in tests/peers want them.
    fn arguments(&self) -> [String; 2] {
        [self.url(), self.scene.name("file")]
    }
}

fn content() -> Vec<u8> {
    b"\r\n--\r\n------------------------\r\n------WebKitFormBoundary\0\xff\r\r\n".repeat(5_000)
}

fn peer(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name)
}

/// The three names that most of them send the file under.
fn thrice(content_type: &str) -> [Got; 3] {
    ["a;b.txt", "x\"y.bin", "grün.txt"].map(|name| Got::file("file", name, content_type, content()))
}

/// The same under any name, without a Content-Type.
fn untyped(file_name: &str) -> Got {
    Got { content_type: None, ..Got::file("file", file_name, "", content()) }
}

#[test]
fn what_curl_sends_is_read() {
    let taker = Taker::start();
    let got = taker.takes_from(
        taker.scene.program("curl").args(["-sSf", "--form-string"]).arg(format!("comment={COMMENT}")).args([
            "-F",
            "file=@file;filename=\"a;b.txt\"",
            "-F",
            "file=@file;type=text/csv;filename=\"x\\\"y.bin\"",
            "-F",
            "na\"me=plain",
            "-F",
            "json={};type=application/json",
            "-F",
            "file=@file;headers=\"X-Own: header\"",
            &taker.url(),
        ]),
    );
    let mut json = Got::field("json", "{}");
    json.content_type = Some("application/json".to_owned());
    let want = [
        Got::field("comment", COMMENT),
        Got::file("file", "a;b.txt", "text/plain", content()),
        Got::file("file", "x\"y.bin", "text/csv", content()),
        Got::field("na\"me", "plain"),
        json,
        Got::file("file", "file", ANY, content()),
    ];
    assert_eq!(got, want);
}

#[test]
fn what_curl_sends_from_a_pipe_in_chunks_is_read() {
    let taker = Taker::start();
    let line = format!("cat file | curl -sSf -H 'Transfer-Encoding: chunked' -F 'file=@-;filename=x' {}", taker.url());
    let got = taker.takes_from(taker.scene.program("sh").args(["-c", &line]));
    assert_eq!(got, [untyped("x")]);
}

#[test]
fn what_requests_sends_is_read() {
    if skipped("requests") {
        return;
    }
    let taker = Taker::start();
    let got = taker.takes_from(taker.scene.program(PYTHON).arg(peer("form_requests.py")).args(taker.arguments()));
    let want = [
        Got::field("comment", COMMENT),
        Got::field("last", ""),
        untyped("a;b.txt"),
        untyped("x\"y.bin"),
        Got::file("file", "typed.csv", "text/csv", content()),
    ];
    assert_eq!(got, want);
}

#[test]
fn what_node_sends_is_read() {
    if skipped("node") {
        return;
    }
    let taker = Taker::start();
    let got = taker.takes_from(node(&taker.scene).arg("send").args(taker.arguments()));
    let mut want = vec![Got::field("comment", COMMENT)];
    want.extend(thrice("text/csv"));
    want.extend([Got::field("na\"me", ""), Got::field("last", "")]);
    assert_eq!(got, want);
}

#[test]
fn what_go_sends_is_read() {
    if skipped("go") {
        return;
    }
    let taker = Taker::start();
    let got = taker.takes_from(go(&taker.scene).arg("send").args(taker.arguments()));
    let mut want = vec![Got::field("comment", COMMENT)];
    want.extend(thrice(ANY));
    want.push(Got::field("last", ""));
    assert_eq!(got, want);
}

#[test]
fn node_reads_what_we_send() {
    if skipped("node") {
        return;
    }
    let scene = Scene::new();
    reads_ours(node(&scene), "x\"y.bin");
}

#[test]
fn go_reads_what_we_send() {
    if skipped("go") {
        return;
    }
    let scene = Scene::new();
    // Go leaves as it is what browsers escape.
    reads_ours(go(&scene), "x%22y.bin");
}

/// A program of tests/peers reads a form of ours, in its order.
#[track_caller]
fn reads_ours(mut command: Command, quoted: &str) {
    let typed = Content::stream(io::Cursor::new(content())).file_name("grün.txt").content_type("text/csv");
    let form = Form::new()
        .and_then(|form| form.stream("file", "a;b.txt", io::Cursor::new(content())))
        .and_then(|form| form.text("comment", COMMENT))
        .and_then(|form| form.stream("file", "x\"y.bin", io::empty()))
        .and_then(|form| form.part("file", typed))
        .and_then(|form| form.text("last", ""))
        .unwrap();
    command.args(["read", &form.content_type()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sent = io::copy(&mut form.into_reader().unwrap(), &mut stdin).and_then(|_| stdin.flush());
    drop(stdin);
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success());
    sent.unwrap();
    let lines = String::from_utf8(out.stdout).unwrap();
    let got: Vec<[String; 3]> = lines.lines().map(of_json).collect();
    let line = |name: &str, file: &str, content: &[u8]| [name.to_owned(), file.to_owned(), hex(content)];
    let want = [
        line("file", "a;b.txt", &content()),
        line("comment", "", COMMENT.as_bytes()),
        line("file", quoted, b""),
        line("file", "grün.txt", &content()),
        line("last", "", b""),
    ];
    assert_eq!(got, want);
}

fn of_json(line: &str) -> [String; 3] {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    [0, 1, 2].map(|index| line[index].as_str().unwrap().to_owned())
}

fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn node(scene: &Scene) -> Command {
    let mut command = scene.program("node");
    command.arg(peer("form.mjs"));
    command
}

/// Built anew for each test, from Go's own cache but for the first time.
fn go(scene: &Scene) -> Command {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let out = Command::new("go")
        .args(["build", "-o"])
        .args([scene.path("form"), peer("form.go")])
        // It needs nothing but Go itself: no C compiler, no module, no newer Go.
        .envs([("CGO_ENABLED", "0"), ("GO111MODULE", "off"), ("GOTOOLCHAIN", "local")])
        .env("GOCACHE", place.join("go-cache"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    scene.program(scene.path("form"))
}
