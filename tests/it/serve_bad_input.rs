//! Whatever comes: the right status, nothing partial to be seen, nothing
//! leaked, and the server goes on.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::support::inbox::{Inbox, noise, part, read_answer};
use crate::support::left_out;
use crate::support::scene::Scene;
use crate::support::wait::until;

/// Still there, still right, with nothing open but what it needs.
#[track_caller]
fn assert_well(scene: &Scene, inbox: &Inbox, descriptors: usize) {
    fs::write(scene.path("well"), "well").unwrap();
    scene.curl_answer(&["-F", "file=@well", &inbox.at("/upload")]).assert_status(201);
    assert_eq!(inbox.read("well"), b"well");
    fs::remove_file(inbox.root.join("well")).unwrap();
    until("nothing left open", || inbox.descriptors() <= descriptors);
}

#[test]
fn a_form_that_is_cut_anywhere_leaves_nothing() {
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    let descriptors = inbox.descriptors();
    let body = [part("a", &noise(1, 300)), part("b", b"b"), b"--b--\r\n".to_vec()].concat();
    // The last two bytes are no part of it.
    for cut in (0..body.len() - 2).step_by(7).chain([body.len() - 3]) {
        let head = format!(
            "POST /upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\
             Content-Type: multipart/form-data; boundary=b\r\n\r\n",
            body.len()
        );
        let answer = inbox.say(&[head.as_bytes(), &body[..cut]].concat());
        assert_eq!(answer.status, 400, "cut at {cut}: {}", answer.text());
        // The same as a whole body: its length is right, its end is missing.
        assert_eq!(inbox.post(&body[..cut]).status, 400, "ended at {cut}");
        assert_eq!(inbox.names(), [""; 0], "cut at {cut}");
    }
    // In the middle of a chunk, and between two.
    for chunks in ["5\r\n--b\r", "5\r\n--b\r\n\r\n", "5\r\n--b\r\n\r\n0\r\n\r\n"] {
        let head = "POST /upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n";
        assert_eq!(inbox.say(format!("{head}{chunks}").as_bytes()).status, 400, "{chunks:?}");
    }
    assert_well(&scene, &inbox, descriptors);
    inbox.stop();
}

#[test]
fn a_put_that_is_cut_leaves_nothing_and_what_was_there_stays() {
    let scene = Scene::new();
    let inbox = scene.inbox(&["--on-conflict", "replace"]);
    fs::write(inbox.root.join("a"), "old").unwrap();
    let descriptors = inbox.descriptors();
    for (head, sent) in [
        ("Content-Length: 1000000", 200_000),
        ("Content-Length: 1", 0),
        ("Transfer-Encoding: chunked", 0),
        ("Content-Length: 99999999999999", 0),
    ] {
        let head = format!("PUT /files/a HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n");
        let answer = inbox.say(&[head.as_bytes(), &noise(2, sent)].concat());
        assert!(matches!(answer.status, 400 | 507), "{head}: {}", answer.status);
        assert_eq!((inbox.names(), inbox.read("a")), (vec!["a".to_owned()], b"old".to_vec()), "{head}");
    }
    assert_well(&scene, &inbox, descriptors);
    inbox.stop();
}

#[test]
fn names_that_lead_elsewhere_lead_nowhere() {
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    let outside = scene.path("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, inbox.root.join("link")).unwrap();
    symlink(outside.join("new"), inbox.root.join("dangling")).unwrap();
    let put = |path: &str| {
        inbox
            .say(
                format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx")
                    .as_bytes(),
            )
            .status
    };
    for path in [
        "/files/..%2Fx",
        "/files/%2e%2e",
        "/files/.",
        "/files/a%00b",
        "/files/a%0Ab",
        "/files/a%2Fb",
        "/files/a%5Cb",
        "/files/%FF",
        "/files/%",
        "/files/.towpath-draft-0",
        "/files/link/x",
    ] {
        assert_eq!(put(path), 400, "{path}");
    }
    assert_eq!(put(&format!("/files/{}", "x".repeat(256))), 400);
    assert_eq!(put("/files/../x"), 400);
    for path in ["/files/link", "/files/dangling"] {
        assert_eq!(put(path), 409, "{path}");
    }
    assert!(matches!(put("/files/"), 404 | 405));
    assert_eq!(inbox.names(), ["dangling", "link"]);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    // In a form only the last component counts, and it must be one.
    let post = |name: &str| inbox.post(&[part(name, b"x"), b"--b--".to_vec()].concat());
    for (sent, name) in [("../../x", "x"), ("a;b.txt", "a;b.txt"), ("x%22y", "x\"y"), ("C:\\dir\\z", "z")] {
        assert_eq!(post(sent).assert_status(201).stored(), [name]);
    }
    for bad in ["..", "a/", "a\0b", "a%0Ab", ".towpath-draft-0"] {
        post(bad).assert_status(400);
    }
    post("link").assert_status(409);
    assert_eq!(inbox.names(), ["a;b.txt", "dangling", "link", "x", "x\"y", "z"]);
    assert!(!scene.path("x").exists());
    inbox.stop();
}

#[test]
fn a_form_that_breaks_a_rule_or_a_limit_is_refused_whole() {
    let scene = Scene::new();
    let inbox = scene.inbox(&["--max-files", "20"]);
    let descriptors = inbox.descriptors();
    let first = part("first", b"first");
    let with = |rest: &[u8]| [&first, rest, b"--b--\r\n"].concat();
    let many = |count: usize| (0..count).flat_map(|n| part(&n.to_string(), b"x")).collect::<Vec<u8>>();
    let disposition = "--b\r\nContent-Disposition: form-data; name=\"f\"";
    for (what, body, status) in [
        ("10,000 files", with(&many(10_000)), 413),
        ("10,000 fields", with(format!("{disposition}\r\n\r\nx\r\n").repeat(10_000).as_bytes()), 413),
        ("21 files", with(&many(20)), 413),
        ("huge headers", with(format!("--b\r\nX: {}\r\n\r\n", "x".repeat(100_000)).as_bytes()), 413),
        ("many headers", with(format!("--b\r\n{}\r\n", "X: y\r\n".repeat(100)).as_bytes()), 413),
        ("a huge field", with(format!("{disposition}\r\n\r\n{}\r\n", "x".repeat(2_000_000)).as_bytes()), 413),
        ("LF only", b"--b\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\n\nx\n--b--\n".to_vec(), 400),
        ("LF in one", with(b"--b\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\nx\r\n"), 400),
        ("two names", with(format!("{disposition}; name=\"g\"\r\n\r\nx\r\n").as_bytes()), 400),
        ("two file names", with(format!("{disposition}; filename=\"x\"; filename=\"y\"\r\n\r\nx\r\n").as_bytes()), 400),
        ("no name", with(b"--b\r\nContent-Disposition: form-data; filename=\"x\"\r\n\r\nx\r\n"), 400),
        (
            "base64",
            with(format!("{disposition}; filename=\"x\"\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n").as_bytes()),
            400,
        ),
        ("nothing", Vec::new(), 400),
        ("no file", format!("{disposition}\r\n\r\nx\r\n--b--").into_bytes(), 400),
        ("no file chosen", format!("{disposition}; filename=\"\"\r\n\r\n\r\n--b--").into_bytes(), 400),
        ("no preamble's end", vec![b'x'; 20_000], 413),
    ] {
        let answer = inbox.post(&body);
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        assert_eq!(inbox.names(), [""; 0], "{what}");
    }
    for (content_type, status) in [
        (format!("multipart/form-data; boundary={}", "x".repeat(71)), 400),
        ("multipart/form-data".to_owned(), 400),
        ("multipart/form-data; boundary=a; boundary=b".to_owned(), 400),
        ("multipart/mixed; boundary=b".to_owned(), 415),
        ("application/x-www-form-urlencoded".to_owned(), 415),
    ] {
        let head = format!(
            "POST /upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 5\r\nContent-Type: {content_type}\r\n\r\n--b--"
        );
        assert_eq!(inbox.say(head.as_bytes()).status, status, "{content_type}");
    }
    // One boundary of 70 characters is none too many.
    let boundary = "x".repeat(70);
    let body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\nx\r\n--{boundary}--"
    );
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\nContent-Type: multipart/form-data; boundary={boundary}\r\n\r\n",
        body.len()
    );
    inbox.say(format!("{head}{body}").as_bytes()).assert_status(201);
    fs::remove_file(inbox.root.join("x")).unwrap();
    assert_well(&scene, &inbox, descriptors);
    inbox.stop();
}

#[test]
fn what_is_announced_too_long_is_refused_before_it_is_sent() {
    let scene = Scene::new();
    let inbox = scene.inbox(&["--max-file", "1000", "--max-request", "2000"]);
    fs::write(inbox.root.join("old"), "old").unwrap();
    let ask = |line: &str, length: u64| {
        let head = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\
             Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        );
        let mut stream = inbox.connect();
        stream.write_all(head.as_bytes()).unwrap();
        // Nothing more is sent, and nothing more is waited for.
        read_answer(&mut stream)
    };
    for (line, length, status) in [
        ("POST /upload", 2_001, 413),
        ("PUT /files/a", 1_001, 413),
        ("PUT /files/old", 10, 409),
        ("PUT /files/..%2Fa", 10, 400),
    ] {
        let answer = ask(line, length);
        assert_eq!(answer.status, status, "{line}");
        assert!(!answer.head.contains("100 Continue"), "{line}");
    }
    // In chunks the length shows only on the way.
    fs::write(scene.path("long"), [b'x'; 1_500]).unwrap();
    let chunked = ["-T", "long", "-H", "Transfer-Encoding: chunked", &inbox.at("/files/a")];
    scene.curl_answer(&chunked).assert_status(413);
    fs::write(scene.path("long"), [b'x'; 150_000]).unwrap();
    scene
        .curl_answer(&["-F", "file=@long", "-H", "Transfer-Encoding: chunked", &inbox.at("/upload")])
        .assert_status(413);
    assert_eq!(inbox.names(), ["old"]);
    let kept = scene.inbox_in("root", &["--keep-free", "100%"]);
    fs::write(scene.path("short"), "x").unwrap();
    scene.curl_answer(&["-T", "short", &kept.at("/files/a")]).assert_status(507);
    assert_eq!(kept.names(), ["old"]);
    kept.stop();
    inbox.stop();
}

#[test]
fn a_disk_that_fills_leaves_nothing_behind() {
    let scene = Scene::new();
    let Some(disk) = Disk::mount(&scene, "size=4m") else { return };
    let inbox = scene.inbox_in("disk", &["--keep-free", "0"]);
    let free = || scene.curl_answer(&[&inbox.at("/files/")]).json()["free_bytes"].as_u64().unwrap();
    let before = free();
    fs::write(scene.path("big"), noise(3, 5 << 20)).unwrap();
    fs::write(scene.path("fits"), noise(4, 1 << 20)).unwrap();
    let (at_file, at_form) = (inbox.at("/files/big"), inbox.at("/upload"));
    for chunked in [&["-H", "X: y"][..], &["-H", "Transfer-Encoding: chunked"]] {
        let put = [&["-T", "big", &at_file][..], chunked].concat();
        scene.curl_answer(&put).assert_status(507);
        let form = [&["-F", "file=@fits", "-F", "file=@big", &at_form][..], chunked].concat();
        let answer = scene.curl_answer(&form);
        answer.assert_status(507);
        // Of unknown length, the one that fits is stored before it is known that the other doesn't.
        let stored = if chunked[1] == "X: y" { vec![] } else { answer.stored() };
        assert_eq!(inbox.names(), stored);
        for name in stored {
            fs::remove_file(inbox.root.join(name)).unwrap();
        }
        assert_eq!(free(), before);
    }
    scene.curl_answer(&["-T", "fits", &inbox.at("/files/fits")]).assert_status(201);
    assert!(inbox.read("fits") == noise(4, 1 << 20));
    inbox.stop();
    drop(disk);
}

#[test]
fn a_server_that_is_killed_leaves_nothing_and_comes_back() {
    let scene = Scene::new();
    let inbox = scene.inbox(&["--on-conflict", "replace"]);
    fs::write(inbox.root.join("a"), "old").unwrap();
    fs::write(inbox.root.join(".towpath-draft-0123456789abcdef"), "a leftover").unwrap();
    let mut stream = inbox.connect();
    let head = "PUT /files/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n";
    stream.write_all(&[head.as_bytes(), &noise(5, 500_000)].concat()).unwrap();
    let reads = || {
        fs::read_dir(format!("/proc/{}/fd", inbox.run.process().pid))
            .unwrap()
            .any(|fd| fs::metadata(fd.unwrap().path()).is_ok_and(|file| file.is_file() && file.len() == 500_000))
    };
    until("the bytes to be in the draft", reads);
    inbox.run.send(Signal::KILL);
    inbox.run.finish();
    let again = scene.inbox(&[]);
    assert_eq!((again.names(), again.read("a")), (vec!["a".to_owned()], b"old".to_vec()));
    assert!(again.stop().contains("removed 1 unfinished"));
}

#[test]
fn a_page_from_elsewhere_changes_nothing() {
    let scene = Scene::new();
    let inbox = scene.inbox(&["--allow-delete"]);
    fs::write(inbox.root.join("a"), "a").unwrap();
    fs::write(scene.path("b"), "b").unwrap();
    for header in ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "Host: evil.example"] {
        for request in [
            &["-F", "file=@b", &inbox.at("/upload")][..],
            &["-T", "b", &inbox.at("/files/b")],
            &["-X", "DELETE", &inbox.at("/files/a")],
        ] {
            scene.curl_answer(&[request, &["-H", header]].concat()).assert_status(403);
        }
    }
    assert_eq!(inbox.names(), ["a"]);
    let own = format!("Origin: {}", inbox.url);
    scene.curl_answer(&["-F", "file=@b", "-H", &own, &inbox.at("/upload")]).assert_status(201);
    inbox.stop();
}

#[test]
fn a_file_that_becomes_shorter_cuts_its_reply() {
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    fs::write(inbox.root.join("a"), vec![b'x'; 64 << 20]).unwrap();
    for path in ["/files/a", "/form?file=a"] {
        let file = fs::OpenOptions::new().write(true).open(inbox.root.join("a")).unwrap();
        file.set_len(64 << 20).unwrap();
        let mut stream = inbox.connect();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
        let mut first = [0; 1024];
        std::io::Read::read_exact(&mut stream, &mut first).unwrap();
        // More than the socket's buffers hold is still in the file.
        file.set_len(20 << 20).unwrap();
        let answer_rest = {
            let mut rest = Vec::new();
            let _ = std::io::Read::read_to_end(&mut stream, &mut rest);
            rest.len()
        };
        assert!(answer_rest < 64 << 20, "{path}: {answer_rest}");
        assert!(!path.contains("form") || answer_rest <= 20 << 20, "{path}: {answer_rest}");
    }
    inbox.stop();
}

/// A small disk of its own.
struct Disk<'s>(&'s Scene);

impl<'s> Disk<'s> {
    fn mount(scene: &'s Scene, options: &str) -> Option<Disk<'s>> {
        fs::create_dir(scene.path("disk")).unwrap();
        let mounted = mount(&["-t", "tmpfs", "-o", options, "none"], &scene.path("disk"));
        if !mounted {
            left_out("mount", "nothing can be mounted here");
            return None;
        }
        Some(Disk(scene))
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // Lazily: a test that fails may have left its server in it.
        let _ = Command::new("umount").arg("-l").arg(self.0.path("disk")).status();
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    Command::new("mount").args(arguments).arg(at).output().is_ok_and(|output| output.status.success())
}
