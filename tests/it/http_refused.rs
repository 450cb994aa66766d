//! Whatever bytes come: a 4xx or 5xx or a closed connection, never a request
//! that nobody sent, and the server goes on.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::test_runner::{Config as ProptestConfig, TestRunner};
use towpath::http::{Config, Reply, Request};

use super::http_raw::{Client, Running, echo, limits};

/// Follows what is refused: it must never be taken for a request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Echoes, and keeps the paths that it was asked for.
fn recording(config: Config) -> (Running, Arc<Mutex<Vec<String>>>) {
    let paths = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&paths);
    let server = Running::start(config, move |request: &mut Request<'_>, reply: Reply<'_>| {
        record.lock().unwrap().push(request.path().to_owned());
        echo(request, reply)
    });
    (server, paths)
}

/// Each is answered with its status and then closed, smuggling nothing.
fn assert_refused(cases: &[(String, u16)]) {
    let (server, paths) = recording(Config::new());
    for (bytes, status) in cases {
        let mut client = server.connect();
        client.try_send(format!("{bytes}{SMUGGLED}"));
        let answer = client.reply();
        let shown: String = bytes.chars().take(200).collect();
        assert_eq!(answer.status, *status, "{shown:?}: {}", answer.text());
        assert_eq!(answer.header("Connection"), Some("close"), "{shown:?}");
        client.assert_closed();
    }
    assert!(!paths.lock().unwrap().iter().any(|path| path == "/smuggled"));
    server.assert_answers();
}

#[test]
fn a_malformed_head_is_400_and_closes() {
    let cases = [
        "GET / HTTP/1.1\nHost: localhost\n\n",
        "GET / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX : y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: y\r\n z\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: y\r\n\tz\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\rX: y\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost/x\r\n\r\n",
        "GET /\u{16} HTTP/1.1\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0",
        "GET / HTTP/1.1 x\r\nHost: localhost\r\n\r\n",
        "\r\n\r\n\r\n",
        "nonsense\r\n\r\n",
    ];
    assert_refused(&cases.map(|bytes| (bytes.to_owned(), 400)));
}

#[test]
fn a_length_that_is_no_number_or_comes_twice_is_400_and_closes() {
    let mut cases = Vec::new();
    for value in [
        "abc",
        "30, 30",
        "+3",
        "-3",
        "3 3",
        "0x3",
        "",
        "18446744073709551616",
        "3;a",
        "3\r\nContent-Length: 4",
        "3\r\nContent-Length: 3",
    ] {
        cases.push((format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {value}\r\n\r\nabc"), 400));
    }
    assert_refused(&cases);
}

#[test]
fn two_kinds_of_framing_are_400_and_an_unknown_coding_is_501() {
    let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n0\r\n\r\n");
    assert_refused(&[
        (with("Content-Length: 5\r\nTransfer-Encoding: chunked"), 400),
        (with("Transfer-Encoding: chunked\r\nContent-Length: 5"), 400),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), 400),
        (with("Transfer-Encoding: gzip"), 501),
        (with("Transfer-Encoding: gzip, chunked"), 501),
        (with("Transfer-Encoding: chunked, chunked"), 501),
        (with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 501),
        (with("Transfer-Encoding: identity"), 501),
        ("CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n".to_owned(), 501),
        (with("Content-Length: 5\r\nExpect: everything"), 417),
        ("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n".to_owned(), 505),
    ]);
}

#[test]
fn what_is_too_long_has_its_status() {
    let head = |line: String| format!("GET / HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n");
    assert_refused(&[
        (format!("GET /{} HTTP/1.1\r\n", "a".repeat(9_000)), 414),
        ("a".repeat(20_000), 414),
        (head(format!("X: {}", "a".repeat(17_000))), 431),
        (head("X: y\r\n".repeat(100)), 431),
        (head(format!("{}: y", "X".repeat(17_000))), 431),
    ]);
    // And just below, it is served.
    let (server, _) = recording(Config::new());
    for line in ["X: y\r\n".repeat(98) + "Z: z", format!("X: {}", "a".repeat(16_000))] {
        let mut client = server.connect();
        client.send(head(line));
        assert_eq!(client.reply().status, 200);
    }
    let mut client = server.connect();
    client.send(format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(8_000)));
    assert_eq!(client.reply().status, 200);
}

#[test]
fn malformed_chunks_are_400_and_close() {
    let mut cases = Vec::new();
    for body in [
        "x\r\n",
        "0x3\r\nabc\r\n",
        "11111111111111111\r\n",
        " 3\r\nabc\r\n",
        "3 \r\nabc\r\n",
        "3\nabc\n",
        "3\r\nabcd\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "-3\r\nabc\r\n",
        "0\r\nno trailer\r\n\r\n",
        &format!("3;{}\r\nabc\r\n", "x".repeat(5_000)),
        &format!("0\r\nX: {}\r\n\r\n", "x".repeat(20_000)),
    ] {
        cases.push((format!("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{body}"), 400));
    }
    assert_refused(&cases);
}

#[test]
fn a_bare_lf_in_a_chunk_nobody_reads_smuggles_nothing() {
    let (server, paths) = recording(Config::new());
    let unread = Running::start(Config::new(), |request: &mut Request<'_>, reply: Reply<'_>| {
        assert_ne!(request.path(), "/smuggled");
        reply.send("unread")
    });
    for server in [&server, &unread] {
        let mut client = server.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\n\n{SMUGGLED}"));
        let _ = client.reply();
        client.assert_closed();
    }
    assert_eq!(*paths.lock().unwrap(), ["/"]);
}

/// Drop, not a reply, aborts tiny_http: it allocates what was announced.
#[test]
fn the_request_that_aborts_tiny_http_changes_nothing() {
    let (server, _) = recording(Config::new());
    for length in ["99999999999999", "18446744073709551615"] {
        for leave_at_once in [true, false] {
            let mut client = server.connect();
            client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"));
            if !leave_at_once {
                client.half_close();
                client.rest();
            }
        }
    }
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nx");
    drop(client);
    server.assert_answers();
}

#[test]
fn garbage_is_refused_or_closed_and_the_server_goes_on() {
    let (server, _) = recording(limits(|l| l.linger_time = std::time::Duration::from_millis(50)));
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        Just(b"GET / HTTP/1.1\r\nHost: localhost\r\n".to_vec()),
        Just(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
        Just(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"5\r\nhello\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
    ];
    let pieces = proptest::collection::vec(piece, 0..8);
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() });
    runner
        .run(&pieces, |pieces| {
            let Client { mut stream } = server.connect();
            for piece in pieces {
                let _ = stream.write_all(&piece);
            }
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said);
            prop_assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&said));
            Ok(())
        })
        .unwrap();
    server.assert_answers();
}
