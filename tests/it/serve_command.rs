//! `towpath serve` as a command: what it takes, whom it serves, how it ends.

use std::fs;
use std::io::Write;

use rustix::process::Signal;

use crate::support::inbox::{noise, read_answer};
use crate::support::running::{Finished, Running};
use crate::support::scene::Scene;
use crate::support::wait::until;

#[track_caller]
fn refused(scene: &Scene, arguments: &[&str]) -> Finished {
    let config = scene.name("towpath.conf");
    Running::start(scene.towpath().args(["serve", "--config", &config]).args(arguments)).finish()
}

#[test]
fn what_makes_no_sense_is_one_line_and_its_code() {
    let scene = Scene::new();
    fs::create_dir(scene.path("root")).unwrap();
    let listen = ["--listen", "127.0.0.1:0"];
    refused(&scene, &["root"]).assert_code(2).assert_one_line(&["--listen"]);
    refused(&scene, &["root", "--listen", "0.0.0.0:0"]).assert_code(2).assert_one_line(&["--token-file", "--open"]);
    for (flags, part) in [
        (["--on-conflict", "maybe"], "maybe"),
        (["--keep-free", "101%"], "101%"),
        (["--max-file", "many"], "many"),
        (["--keep-partial", "soon"], "soon"),
    ] {
        refused(&scene, &[&["root"][..], &listen, &flags].concat()).assert_code(2).assert_one_line(&[part]);
    }
    refused(&scene, &[&["none"][..], &listen].concat()).assert_code(74).assert_one_line(&["none", "No such file"]);
    fs::write(scene.path("file"), "").unwrap();
    refused(&scene, &[&["file"][..], &listen].concat()).assert_code(74).assert_one_line(&["file"]);
    let taken = scene.inbox(&[]);
    let address = taken.url.strip_prefix("http://").unwrap();
    refused(&scene, &["root", "--listen", address]).assert_code(125).assert_one_line(&[address, "in use"]);
    taken.stop();
}

#[test]
fn settings_come_from_the_environment_too() {
    let scene = Scene::new();
    fs::create_dir(scene.path("root")).unwrap();
    let mut command = scene.towpath();
    command.args(["serve", "root", "--config", &scene.name("towpath.conf")]).env("TOWPATH_LISTEN", "127.0.0.1:0");
    let run = Running::start(&mut command);
    run.wait_err("towpath: serving root at http://127.0.0.1:");
    run.send(Signal::TERM);
    run.finish().assert_code(143);
}

#[test]
fn it_ends_by_its_signal_after_what_has_begun() {
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    let content = noise(1, 200_000);
    let mut stream = inbox.connect();
    let head = "PUT /files/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n";
    stream.write_all(&[head.as_bytes(), &content[..100_000]].concat()).unwrap();
    let begun = || {
        fs::read_dir(format!("/proc/{}/fd", inbox.run.process().pid))
            .unwrap()
            .any(|fd| fs::metadata(fd.unwrap().path()).is_ok_and(|file| file.is_file() && file.len() == 100_000))
    };
    until("the upload to have begun", begun);
    inbox.run.send(Signal::INT);
    until("no new connection", || std::net::TcpStream::connect(inbox.url.strip_prefix("http://").unwrap()).is_err());
    stream.write_all(&content[100_000..]).unwrap();
    read_answer(&mut stream).assert_status(201);
    assert!(inbox.read("a") == content);
    let end = inbox.run.finish();
    assert_eq!((end.code, end.signal), (None, Some(2)), "{}", end.err());
}

#[test]
fn with_a_token_nothing_is_to_be_had_without_it() {
    let scene = Scene::new();
    fs::write(scene.path("token"), "s3cret\n").unwrap();
    fs::write(scene.path("a"), "a").unwrap();
    let inbox = scene.inbox(&["--token-file", "token"]);
    fs::write(inbox.root.join("b"), "b").unwrap();
    for request in [&["-T", "a", &inbox.at("/files/a")][..], &[&inbox.at("/files/b")], &[&inbox.at("/")]] {
        scene.curl_answer(request).assert_status(401);
        assert!(scene.curl_answer(&[request, &["-H", "Authorization: Bearer s3cret"]].concat()).status < 300);
        assert!(matches!(scene.curl_answer(&[request, &["-u", "any:s3cret"]].concat()).status, 200..300 | 409));
    }
    let err = inbox.stop();
    assert!(!err.contains("s3cret"), "{err}");
}

#[test]
fn a_unix_socket_serves_too() {
    let scene = Scene::new();
    fs::create_dir(scene.path("root")).unwrap();
    fs::write(scene.path("a"), "a").unwrap();
    let run = Running::start(scene.towpath().args([
        "serve",
        "root",
        "--listen",
        "unix:sock",
        "--config",
        &scene.name("towpath.conf"),
    ]));
    run.wait_err("towpath: serving root at unix:sock");
    scene.curl_answer(&["--unix-socket", "sock", "-F", "file=@a", "http://localhost/upload"]).assert_status(201);
    assert_eq!(fs::read(scene.path("root/a")).unwrap(), b"a");
    run.send(Signal::TERM);
    run.finish().assert_code(143);
}

#[test]
fn its_memory_does_not_grow_with_the_file() {
    let scene = Scene::new();
    let inbox = scene.inbox(&["--hash"]);
    // Sparse, and read as zeros: 300 MB that take no space here.
    fs::File::create(scene.path("big")).unwrap().set_len(300_000_000).unwrap();
    scene.curl_answer(&["-F", "file=@big", &inbox.at("/upload")]).assert_status(201);
    let fetched = Running::start(scene.program("curl").args(["-sSf", "-o", "/dev/null", &inbox.at("/files/big")]));
    fetched.finish().assert_code(0);
    let status = fs::read_to_string(format!("/proc/{}/status", inbox.run.process().pid)).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().to_owned();
    let peak_kib: u64 = peak.strip_suffix(" kB").unwrap().parse().unwrap();
    assert!(peak_kib < 100_000, "{peak_kib} KiB");
    inbox.stop();
}
