//! What isn't a Docker daemon, or stops being one in the middle: an error of one line
//! each, of the right kind, and never a success.

use std::time::Duration;

use towpath::docker::{Docker, Endpoint, Error, ErrorKind, Filters, LogsQuery};

use crate::support::docker::{Daemon, Settings};
use crate::support::fake::Fake;
use crate::support::proxy::Proxy;
use crate::support::skipped;

/// A daemon's first answer, and whatever is asked, this.
fn saying(body: &[u8]) -> Fake {
    let head = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nConnection: close\r\n\r\n";
    Fake::saying([head.as_bytes(), body].concat())
}

fn connect(fake: &Fake) -> Result<Docker, Error> {
    Docker::connect(&Endpoint::plain(fake.url().trim_start_matches("http://")).unwrap())
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind, what: &str) {
    let error = result.expect_err(what);
    assert_eq!(error.kind(), kind, "{what}: {error}");
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
}

#[test]
fn what_does_not_answer_as_docker_does_is_no_daemon() {
    for (answer, kind) in [
        ("", ErrorKind::Cut),
        ("220 mail.example ESMTP\r\n", ErrorKind::Garbage),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK", ErrorKind::Garbage),
        ("HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n", ErrorKind::Garbage),
        ("HTTP/1.1 200 OK\r\nApi-Version: 1.24\r\nContent-Length: 2\r\n\r\nOK", ErrorKind::Garbage),
        ("HTTP/1.1 200 OK\r\nApi-Version: x\r\nContent-Length: 2\r\n\r\nOK", ErrorKind::Garbage),
        ("HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 20\r\n\r\nOK", ErrorKind::Cut),
    ] {
        assert_kind(connect(&Fake::saying(answer)), kind, answer);
    }
    let dir = tempfile::tempdir().unwrap();
    let nobody = Docker::connect(&Endpoint::socket(dir.path().join("none")));
    assert_kind(nobody, ErrorKind::NoDaemon, "no socket");
    let long = Docker::connect(&Endpoint::socket(format!("/{}", "x".repeat(200))));
    assert_kind(long, ErrorKind::NoDaemon, "a path that no socket can have");
}

#[test]
fn half_a_json_object_is_no_answer() {
    for body in ["", "[{\"Id\":", "[] and more", "{}", "[{\"Names\":[]}]", "null", "\u{0}"] {
        let fake = saying(body.as_bytes());
        let docker = connect(&fake).unwrap();
        assert_kind(docker.containers(true, &Filters::new()), ErrorKind::Garbage, body);
        assert_kind(docker.container("x").inspect(), ErrorKind::Garbage, body);
        assert_kind(docker.local_image("x"), ErrorKind::Garbage, body);
    }
}

#[test]
fn half_a_frame_and_what_is_none_are_no_end_of_output() {
    for (body, kind) in [
        (&b"\x01\x00\x00"[..], ErrorKind::Cut),
        (b"\x01\x00\x00\x00\x00\x00\x00\x05four", ErrorKind::Cut),
        (b"no frame at all", ErrorKind::Garbage),
        (b"\x03\x00\x00\x00\x00\x00\x00\x04oops", ErrorKind::Failed),
    ] {
        let fake = saying(body);
        let running = connect(&fake).unwrap().container("x").run().unwrap();
        assert_kind(running.finish(), kind, &String::from_utf8_lossy(body));
    }
    // A proper end of the output, and none of the container.
    let fake = saying(b"");
    let running = connect(&fake).unwrap().container("x").run().unwrap();
    assert_kind(running.finish(), ErrorKind::Garbage, "no state");
}

#[test]
fn a_daemon_that_falls_silent_is_given_up_after_its_time() {
    if skipped("docker") {
        return;
    }
    let daemon = Daemon::with(Settings::new().plain());
    let proxy = Proxy::to(daemon.plain_host().trim_start_matches("tcp://").parse().unwrap());
    let docker = Docker::connect(&Endpoint::plain(&proxy.host()).unwrap()).unwrap();
    let docker = docker.with_patience(Duration::from_millis(300));
    proxy.hang();
    assert_kind(docker.containers(true, &Filters::new()), ErrorKind::TimedOut, "a list");
    assert_kind(docker.container("x").logs(&LogsQuery::default()), ErrorKind::TimedOut, "a log");
    proxy.heal();
    assert_eq!(docker.containers(true, &Filters::new()).unwrap(), []);
}
