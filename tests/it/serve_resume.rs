//! Uploads that go on where they were cut: draft-ietf-httpbis-resumable-upload.

use std::fs;
use std::io::{Read, Write};

use base64::Engine;
use rustix::process::Signal;
use sha2::{Digest, Sha256};

use crate::support::inbox::{Answer, Inbox, noise};
use crate::support::scene::Scene;
use crate::support::wait::until;

/// One request with these header lines; the answer until the server closes.
fn ask(inbox: &Inbox, line: &str, headers: &[&str], body: &[u8]) -> Answer {
    inbox.say(&request(line, headers, body, body.len()))
}

fn request(line: &str, headers: &[&str], body: &[u8], length: usize) -> Vec<u8> {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let head =
        format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

/// An upload that has begun, by its path.
fn begin(inbox: &Inbox, name: &str, headers: &[&str]) -> String {
    let answer = ask(inbox, &format!("PUT /files/{name}"), &[&["Upload-Complete: ?0"], headers].concat(), b"");
    assert_eq!(answer.assert_status(201).header("Upload-Complete"), Some("?0"));
    answer.header("Location").unwrap().to_owned()
}

fn append(inbox: &Inbox, upload: &str, offset: usize, is_last: bool, body: &[u8]) -> Answer {
    let (offset, complete) = (format!("Upload-Offset: {offset}"), format!("Upload-Complete: ?{}", u8::from(is_last)));
    let headers = ["Content-Type: application/partial-upload", &offset, &complete];
    ask(inbox, &format!("PATCH {upload}"), &headers, body)
}

/// How far it came.
fn offset(inbox: &Inbox, upload: &str) -> usize {
    let answer = ask(inbox, &format!("HEAD {upload}"), &[], b"");
    answer.assert_status(204).header("Upload-Offset").unwrap().parse().unwrap()
}

fn visible(inbox: &Inbox) -> Vec<String> {
    inbox.names().into_iter().filter(|name| !name.starts_with(".towpath-")).collect()
}

#[test]
fn an_upload_goes_on_after_the_server_was_killed() {
    let scene = Scene::new();
    let content = noise(1, 1_000_000);
    let inbox = scene.inbox(&[]);
    let options = ask(&inbox, "OPTIONS /files/a", &[], b"");
    assert_eq!(options.header("Upload-Limit"), Some("max-age=86400"));
    assert_eq!(options.header("Accept-Patch"), Some("application/partial-upload"));
    let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(&content));
    let digest = format!("Repr-Digest: sha-256=:{digest}:");
    let upload = begin(&inbox, "a", &["Upload-Length: 1000000", &digest, "Want-Repr-Digest: sha-256=1"]);
    let part = append(&inbox, &upload, 0, false, &content[..100_000]);
    assert_eq!(
        (part.assert_status(204).header("Upload-Offset"), part.header("Upload-Complete")),
        (Some("100000"), Some("?0"))
    );
    // Cut in the middle of the next, and the server killed.
    let headers = ["Content-Type: application/partial-upload", "Upload-Offset: 100000", "Upload-Complete: ?1"];
    let mut stream = inbox.connect();
    stream.write_all(&request(&format!("PATCH {upload}"), &headers, &content[100_000..600_000], 900_000)).unwrap();
    let data = inbox.root.join(format!(".towpath-upload-{}", upload.rsplit('/').next().unwrap()));
    until("what was sent", || fs::metadata(&data).unwrap().len() == 600_000);
    inbox.run.send(Signal::KILL);
    inbox.run.finish();
    let inbox = scene.inbox(&[]);
    assert_eq!(visible(&inbox), [""; 0]);
    assert_eq!(offset(&inbox, &upload), 600_000);
    let end = append(&inbox, &upload, 600_000, true, &content[600_000..]);
    assert_eq!(
        (end.assert_status(201).header("Upload-Complete"), end.header("Location")),
        (Some("?1"), Some("/files/a"))
    );
    assert_eq!(end.header("Repr-Digest").map(|it| format!("Repr-Digest: {it}")), Some(digest));
    assert!(inbox.read("a") == content);
    // Who missed the answer still learns that it is complete.
    let head = ask(&inbox, &format!("HEAD {upload}"), &[], b"");
    assert_eq!((head.header("Upload-Complete"), head.header("Upload-Offset")), (Some("?1"), Some("1000000")));
    assert_eq!(head.header("Content-Location"), Some("/files/a"));
    assert_eq!(append(&inbox, &upload, 1_000_000, true, b"").status, 410);
    assert_eq!(append(&inbox, &upload, 1_000_000, true, b"x").status, 400);
    inbox.stop();
}

#[test]
fn an_upload_in_one_request_tells_its_address_before_its_end() {
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    let content = noise(2, 400_000);
    let mut stream = inbox.connect();
    stream.write_all(&request("PUT /files/a", &["Upload-Complete: ?1"], &content[..150_000], 400_000)).unwrap();
    let mut told = vec![0; 4096];
    let read = stream.read(&mut told).unwrap();
    let interim = Answer::parse(&told[..read]);
    assert_eq!((interim.status, interim.header("Upload-Limit")), (104, Some("max-age=86400")));
    let upload = interim.header("Location").unwrap().to_owned();
    // The next request for it cuts the one before: what it says stays true.
    let mut came = 0;
    until("what was sent", || {
        let id = upload.rsplit('/').next().unwrap();
        came = fs::metadata(inbox.root.join(format!(".towpath-upload-{id}"))).unwrap().len();
        came == 150_000
    });
    let at = offset(&inbox, &upload);
    assert_eq!(at, 150_000);
    stream.set_read_timeout(None).unwrap();
    assert!(matches!(stream.read(&mut told), Ok(0) | Err(_)), "the connection before goes on");
    append(&inbox, &upload, at, true, &content[at..]).assert_status(201);
    assert!(inbox.read("a") == content);
    // Uncut, it is as a plain PUT.
    let plain = ask(&inbox, "PUT /files/b", &["Upload-Complete: ?1"], &content);
    assert_eq!(plain.assert_status(201).header("Location"), Some("/files/b"));
    assert!(inbox.read("b") == content);
    inbox.stop();
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    let scene = Scene::new();
    let inbox = scene.inbox(&["--max-file", "5000"]);
    fs::write(inbox.root.join("old"), "old").unwrap();
    let upload = begin(&inbox, "a", &["Upload-Length: 1000"]);
    append(&inbox, &upload, 0, false, &[b'x'; 400]).assert_status(204);
    for wrong in [0, 399, 401] {
        let answer = append(&inbox, &upload, wrong, false, b"y");
        assert_eq!(answer.assert_status(409).header("Upload-Offset"), Some("400"));
        let json = answer.json();
        assert_eq!((&json["expected-offset"], &json["provided-offset"]), (&400.into(), &wrong.into()));
        assert!(json["type"].as_str().unwrap().ends_with("#mismatching-upload-offset"));
    }
    // Longer than was said, shorter than was said, of another length.
    append(&inbox, &upload, 400, false, &[b'x'; 601]).assert_status(400);
    assert!(append(&inbox, &upload, 400, true, b"x").assert_status(400).text().contains("inconsistent-upload-length"));
    let patch = format!("PATCH {upload}");
    let partial = "Content-Type: application/partial-upload";
    ask(&inbox, &patch, &[partial, "Upload-Offset: 400", "Upload-Complete: ?0", "Upload-Length: 999"], b"x")
        .assert_status(400);
    ask(&inbox, &patch, &[partial, "Upload-Offset: 400"], b"x").assert_status(400);
    ask(&inbox, &patch, &[partial, "Upload-Offset: -1", "Upload-Complete: ?0"], b"x").assert_status(400);
    let typed = ask(&inbox, &patch, &["Content-Type: text/plain", "Upload-Offset: 400", "Upload-Complete: ?0"], b"x");
    assert_eq!(typed.assert_status(415).header("Accept-Patch"), Some("application/partial-upload"));
    assert_eq!(offset(&inbox, &upload), 400, "none of them changed anything");
    let begun = ["Upload-Complete: ?0", "Upload-Length: 5001"];
    assert_eq!(ask(&inbox, "PUT /files/b", &begun, b"").status, 413);
    assert_eq!(ask(&inbox, "PUT /files/old", &begun[..1], b"").status, 409);
    assert_eq!(ask(&inbox, "PUT /files/c", &["Upload-Complete: ?0", "Upload-Length: 1"], b"xx").status, 400);
    // A wrong digest is no file.
    let wrong = format!("Repr-Digest: sha-256=:{}=:", "A".repeat(43));
    let upload = begin(&inbox, "d", &[&wrong]);
    append(&inbox, &upload, 0, true, b"x").assert_status(400);
    ask(&inbox, &format!("HEAD {upload}"), &[], b"").assert_status(404);
    assert_eq!(visible(&inbox), ["old"]);
    inbox.stop();
}

#[test]
fn an_upload_that_is_given_up_or_forgotten_is_gone() {
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    let upload = begin(&inbox, "a", &[]);
    append(&inbox, &upload, 0, false, b"x").assert_status(204);
    ask(&inbox, &format!("DELETE {upload}"), &[], b"").assert_status(204);
    assert_eq!(inbox.names(), [""; 0]);
    for method in ["HEAD", "DELETE"] {
        ask(&inbox, &format!("{method} {upload}"), &[], b"").assert_status(404);
        ask(&inbox, &format!("{method} /uploads/..%2F..%2Fx"), &[], b"").assert_status(404);
    }
    begin(&inbox, "b", &[]);
    assert_eq!(inbox.names().len(), 2);
    inbox.stop();
    // Nobody came back in time.
    let inbox = scene.inbox(&["--keep-partial", "0s"]);
    assert_eq!(inbox.names(), [""; 0]);
    inbox.stop();
}

#[test]
fn no_two_write_to_one_upload_at_once() {
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    let content = noise(7, 2_000_000);
    let upload = begin(&inbox, "a", &["Upload-Length: 2000000"]);
    let headers = ["Content-Type: application/partial-upload", "Upload-Offset: 0", "Upload-Complete: ?1"];
    let request = request(&format!("PATCH {upload}"), &headers, &content, content.len());
    // Each cuts the one before it, which then may be told nothing at all.
    let stored = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let (mut stream, mut answer) = (inbox.connect(), Vec::new());
                    let _ = stream.write_all(&request).and_then(|()| stream.read_to_end(&mut answer));
                    answer.starts_with(b"HTTP/1.1 201 ")
                })
            })
            .collect();
        clients.into_iter().map(|client| usize::from(client.join().unwrap())).sum::<usize>()
    });
    assert!(stored <= 1, "{stored} of them say that they stored it");
    if stored == 0 {
        // The last one that was cut left it where it came to, or at its end.
        let head = ask(&inbox, &format!("HEAD {upload}"), &[], b"");
        let at: usize = head.assert_status(204).header("Upload-Offset").unwrap().parse().unwrap();
        if head.header("Upload-Complete") == Some("?0") {
            append(&inbox, &upload, at, true, &content[at..]).assert_status(201);
        }
    }
    assert_eq!(visible(&inbox), ["a"]);
    assert!(inbox.read("a") == content);
    inbox.stop();
}
