//! Requests and replies as they should be, over raw sockets.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};

use crossbeam_channel::{bounded, unbounded};
use towpath::http::{Config, Method, Piece, Reply, Request, Sent};

use super::http_raw::{PATIENCE, Running, echo, hello, limits};

#[test]
fn a_connection_is_kept_for_the_next_request() {
    let server = Running::start(Config::new(), echo);
    let mut client = server.connect();
    for text in ["one", "", "three"] {
        client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{text}", text.len()));
        let reply = client.reply();
        assert_eq!((reply.status, reply.text(), reply.header("Connection")), (200, text, None));
        assert!(httpdate::parse_http_date(reply.header("Date").unwrap()).is_ok());
    }
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(client.reply().header("Connection"), Some("close"));
    client.assert_closed();
}

#[test]
fn http_1_0_closes_unless_it_asks_not_to() {
    let server = Running::start(Config::new(), hello);
    let mut client = server.connect();
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(client.reply().header("Connection"), Some("keep-alive"));
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.reply().text(), "hello\n");
    client.assert_closed();
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let server = Running::start(Config::new(), |request: &mut Request<'_>, reply: Reply<'_>| {
        // The second one leaves its body unread.
        if request.path() == "/2" { reply.send("2") } else { echo(request, reply) }
    });
    let mut client = server.connect();
    client.send(
        "POST /1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\none\
         POST /2 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\nT: x\r\n\r\n\
         \r\nPOST /3 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nth\r\n3\r\nree\r\n0\r\n\r\n",
    );
    for expected in ["one", "2", "three"] {
        assert_eq!(client.reply().text(), expected);
    }
}

#[test]
fn head_is_answered_with_the_head_alone() {
    let server = Running::start(Config::new(), |request: &mut Request<'_>, reply: Reply<'_>| {
        assert_eq!(reply.wants_body(), *request.method() != Method::Head);
        match request.path() {
            "/sent" => reply.send("12345"),
            "/copied" => reply.copy(7, io::repeat(b'x')),
            _ => {
                let mut stream = reply.stream()?;
                stream.write_all(b"never seen")?;
                stream.flush()?;
                // Who wants nothing waits for nothing.
                assert_eq!(stream.pause(PATIENCE), towpath::http::Woken::Gone);
                stream.fail("nor this")
            }
        }
    });
    let mut client = server.connect();
    for (path, length) in [("/sent", Some("5")), ("/copied", Some("7")), ("/stream", None), ("/sent", Some("5"))] {
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let head = client.head();
        assert_eq!((head.status, head.header("Content-Length")), (200, length), "{path}");
    }
    client.half_close();
    client.assert_closed();
}

#[test]
fn a_client_that_waits_for_it_is_told_to_go_ahead_when_the_body_is_wanted() {
    let server = Running::start(Config::new(), |request: &mut Request<'_>, reply: Reply<'_>| {
        if request.path() == "/unwanted" { reply.status(403).send("no") } else { echo(request, reply) }
    });
    let ask = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
    };
    let mut client = server.connect();
    client.send(ask("/"));
    assert_eq!(client.head().status, 100);
    client.send("body");
    assert_eq!(client.reply().text(), "body");
    // One that didn't wait isn't told.
    client.send(ask("/") + "body");
    assert_eq!(client.reply().text(), "body");
    // Unwanted: nobody can tell whether the body still comes, so it closes.
    client.send(ask("/unwanted"));
    let reply = client.reply();
    assert_eq!((reply.status, reply.header("Connection")), (403, Some("close")));
    client.assert_closed();
}

#[test]
fn an_unread_body_is_drained_up_to_its_limit() {
    let server = Running::start(limits(|l| l.drain_bytes = 10_000), hello);
    let mut client = server.connect();
    for length in [1, 9_999, 10_000] {
        client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"));
        client.send(vec![b'x'; length]);
        assert_eq!(client.reply().header("Connection"), None, "{length}");
    }
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10001\r\n\r\n");
    assert_eq!(client.reply().header("Connection"), Some("close"));
    client.try_send(vec![b'x'; 10_001]);
    client.assert_closed();
}

#[test]
fn an_early_reply_arrives_though_the_client_is_still_sending() {
    let server =
        Running::start(Config::new(), |_: &mut Request<'_>, reply: Reply<'_>| reply.status(413).send("too much"));
    for framing in ["Content-Length: 100000000", "Transfer-Encoding: chunked"] {
        let mut client = server.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n"));
        let mut sender = client.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
            // Until the server has had enough of it.
            while sender.write_all(&chunk).is_ok() {}
        });
        let reply = client.reply();
        assert_eq!((reply.status, reply.text()), (413, "too much"));
        client.assert_closed();
        sending.join().unwrap();
    }
}

#[test]
fn a_body_is_read_while_the_reply_goes_out() {
    let server = Running::start(Config::new(), |request: &mut Request<'_>, reply: Reply<'_>| {
        let mut stream = reply.stream()?;
        let mut buf = [0; 64];
        loop {
            match request.body().read(&mut buf)? {
                0 => return stream.finish(),
                read => stream.write_all(&buf[..read]).and_then(|()| stream.flush())?,
            }
        }
    });
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.head().status, 200);
    for text in ["one", "two"] {
        client.send(format!("3\r\n{text}\r\n"));
        assert_eq!(client.chunk().unwrap(), text.as_bytes());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.chunk(), None);
    // And the connection is still in step.
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.reply().text(), "");
}

#[test]
fn a_request_says_what_was_asked() {
    let (seen, requests) = unbounded();
    let server = Running::start(Config::new(), move |request: &mut Request<'_>, reply: Reply<'_>| {
        let header = request.header("x-thing").map(str::to_owned);
        let about = (request.path().to_owned(), request.params(), header, request.content_length());
        seen.send((about, request.peer().to_string(), request.authority().map(str::to_owned))).unwrap();
        reply.send("")
    });
    let mut client = server.connect();
    let peer = client.stream.local_addr().unwrap().to_string();
    client.send("GET http://localhost:1/a%20b?x=%31&y HTTP/1.1\r\nHost: other\r\nX-THING:  t \r\n\r\n");
    assert_eq!(client.reply().status, 200);
    let params = vec![("x".to_owned(), "1".to_owned()), ("y".to_owned(), String::new())];
    let about = ("/a%20b".to_owned(), Ok(params), Some("t".to_owned()), Some(0));
    assert_eq!(requests.recv_timeout(PATIENCE).unwrap(), (about, peer, Some("localhost:1".to_owned())));
}

#[test]
fn a_file_goes_out_from_any_offset_and_its_position_stays() {
    let mut file = tempfile::tempfile().unwrap();
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    file.write_all(&content).unwrap();
    file.seek(SeekFrom::Start(5)).unwrap();
    let position = file.try_clone().unwrap();
    let server = Running::start(Config::new(), move |request: &mut Request<'_>, reply: Reply<'_>| {
        let offset = request.query().unwrap().parse().unwrap();
        reply.file(&file, offset, 1_000_000)
    });
    let mut client = server.connect();
    for offset in [0, 7] {
        client.send(format!("GET /?{offset} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert!(client.reply().body == content[offset..offset + 1_000_000]);
    }
    // Shorter than it said: the client can tell.
    client.send("GET /?1000000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.head().header("Content-Length"), Some("1000000"));
    let (rest, _) = client.rest();
    assert_eq!(rest.len(), 200_000);
    assert_eq!((&position).stream_position().unwrap(), 5);
}

#[test]
fn pieces_go_out_one_behind_the_other() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    let server = Running::start(Config::new(), move |_: &mut Request<'_>, reply: Reply<'_>| {
        let part = |offset, length| Piece::File { file: &file, offset, length };
        reply.pieces(&[Piece::Bytes(b"<"), part(0, 3), Piece::Bytes(b"|"), part(7, 3), Piece::Bytes(b">")])
    });
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let reply = client.reply();
    assert_eq!((reply.text(), reply.header("Content-Length")), ("<012|789>", Some("9")));
    client.send("HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(client.head().header("Content-Length"), Some("9"));
    client.assert_closed();
}

#[test]
fn something_can_be_said_before_the_reply() {
    let server = Running::start(Config::new(), |_: &mut Request<'_>, reply: Reply<'_>| {
        reply.inform(103, "Early Hints", &[("Link", "</a>")])?;
        for wrong in [
            reply.inform(200, "OK", &[]),
            reply.inform(103, "a\r\nb", &[]),
            reply.inform(103, "x", &[("A", "b\r\nC: d")]),
            reply.inform(103, "x", &[("A B", "c")]),
        ] {
            assert_eq!(wrong.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        reply.send("then")
    });
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let before = client.head();
    assert_eq!((before.status, before.header("Link")), (103, Some("</a>")));
    assert_eq!(client.reply().text(), "then");
    // HTTP/1.0 knows of no such thing.
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.reply().text(), "then");
}

#[test]
fn what_would_break_the_head_is_never_sent() {
    let (said, errors) = unbounded();
    let server = Running::start(Config::new(), move |request: &mut Request<'_>, reply: Reply<'_>| {
        let reply = match request.path() {
            "/crlf" => reply.header("X", "a\r\nSet-Cookie: b"),
            "/lf" => reply.header("X", "a\nb"),
            "/nul" => reply.header("X", "a\0b"),
            "/name" => reply.header("X: y\r\nZ", "a"),
            "/empty" => reply.header("", "a"),
            "/ascii" => reply.header("X", "é"),
            "/tiny" => reply.with(towpath::http::Header::from_bytes("X", "a\r\n\r\nHTTP/1.1 200 OK").unwrap()),
            "/length" => reply.header("content-length", "1"),
            "/encoding" => reply.header("Transfer-Encoding", "chunked"),
            "/status" => reply.status(100),
            _ => reply.status(204),
        };
        let sent = if request.query() == Some("stream") { reply.stream()?.finish() } else { reply.send("body") };
        said.send(sent.as_ref().map_err(io::Error::kind).map(Sent::status)).unwrap();
        sent
    });
    for path in ["crlf", "lf", "nul", "name", "empty", "ascii", "tiny", "length", "encoding", "status", "204"] {
        let mut client = server.connect();
        client.send(format!("GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        assert_eq!(client.reply().status, 500, "{path}");
        client.assert_closed();
        assert_eq!(errors.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::InvalidInput), "{path}");
    }
    let mut client = server.connect();
    client.send("GET /crlf?stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.reply().status, 500);
}

#[test]
fn a_body_that_is_too_large_is_413_and_one_that_ends_early_is_no_body() {
    let (said, errors) = bounded(1);
    let server = Running::start(Config::new(), move |request: &mut Request<'_>, reply: Reply<'_>| {
        let body = request.body().read_all(4);
        said.send(body.as_ref().map(Vec::len).map_err(io::Error::kind)).unwrap();
        reply.send(body?)
    });
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n12345");
    assert_eq!(client.reply().status, 413);
    assert_eq!(errors.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::FileTooLarge));
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n123");
    client.half_close();
    let _ = client.rest();
    assert_eq!(errors.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::UnexpectedEof));
}

#[test]
fn a_go_ahead_never_comes_within_a_reply() {
    // A handler may read on one thread and answer on another.
    let server = Running::start(Config::new(), |request: &mut Request<'_>, reply: Reply<'_>| {
        std::thread::scope(|scope| {
            let body = request.body();
            // Refused once the reply has begun, and then there is nothing to read.
            scope.spawn(move || body.read(&mut [0; 4]).map_err(|_| ()));
            reply.send("answered")
        })
    });
    for _ in 0..200 {
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        // Whether it was told to go ahead, too.
        client.send("body");
        let mut answer = client.head();
        if answer.status == 100 {
            answer = client.head();
        }
        assert_eq!((answer.status, client.exactly(8)), (200, b"answered".to_vec()));
    }
}
