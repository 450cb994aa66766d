//! Streams: one flush is one chunk on the wire, and an end is proven.

use std::io::{self, ErrorKind, IoSlice, Write};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, unbounded};
use towpath::http::{Config, Reply, Request, Sent, Woken, sse};

use super::http_raw::{Client, PATIENCE, Running, limits};

/// A stream that is told what to do, step by step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Write(&'static str),
    Flush,
    Finish,
    Fail(&'static str),
    Drop,
    Panic,
    Forget,
}

/// Follows the steps as they come.
fn scripted() -> (Running, crossbeam_channel::Sender<Step>) {
    let (teller, steps) = unbounded();
    (Running::start(limits(|l| l.linger_time = Duration::from_millis(100)).on_panic(|_| ()), script(steps)), teller)
}

fn script(steps: Receiver<Step>) -> impl Fn(&mut Request<'_>, Reply<'_>) -> io::Result<Sent> {
    move |_, reply| {
        let mut stream = reply.stream()?;
        loop {
            match steps.recv_timeout(PATIENCE).unwrap() {
                Step::Write(text) => stream.write_all(text.as_bytes())?,
                Step::Flush => stream.flush()?,
                Step::Finish => return stream.finish(),
                Step::Fail(reason) => return stream.fail(reason),
                Step::Drop => {
                    drop(stream);
                    return Err(io::Error::other("dropped"));
                }
                Step::Panic => panic!("in the middle"),
                Step::Forget => {
                    std::mem::forget(stream);
                    return Err(io::Error::other("forgotten"));
                }
            }
        }
    }
}

fn ask(server: &Running, version: &str) -> Client<std::net::TcpStream> {
    let mut client = server.connect();
    client.send(format!("GET / HTTP/{version}\r\nHost: localhost\r\n\r\n"));
    client
}

#[test]
fn a_flush_is_one_chunk_and_on_the_wire_before_the_next_is_written() {
    let (server, tell) = scripted();
    let mut client = ask(&server, "1.1");
    // The start of a reply goes out at once, long before its end.
    let head = client.head();
    assert_eq!((head.status, head.header("Transfer-Encoding")), (200, Some("chunked")));
    assert_eq!((head.header("Cache-Control"), head.header("X-Accel-Buffering")), (Some("no-store"), Some("no")));
    for text in ["one\n", "two\n"] {
        for part in [&text[..2], &text[2..]] {
            tell.send(Step::Write(part)).unwrap();
        }
        tell.send(Step::Flush).unwrap();
        // An empty flush sends nothing: an empty chunk would be the end.
        tell.send(Step::Flush).unwrap();
        assert_eq!(client.chunk().unwrap(), text.as_bytes());
    }
    tell.send(Step::Write("three")).unwrap();
    tell.send(Step::Finish).unwrap();
    assert_eq!(client.chunk().unwrap(), b"three");
    assert_eq!(client.chunk(), None);
    // And the connection goes on.
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    tell.send(Step::Finish).unwrap();
    assert_eq!(client.reply().body, b"");
}

#[test]
fn every_end_but_finish_is_seen_by_the_client() {
    let (server, tell) = scripted();
    for (last, reason) in [
        (Step::Fail("{\"error\":\"disk full\"}"), Some("{\"error\":\"disk full\"}\n")),
        (Step::Drop, None),
        (Step::Panic, None),
        (Step::Forget, None),
    ] {
        let mut client = ask(&server, "1.1");
        for step in [Step::Write("one\n"), Step::Flush, last] {
            tell.send(step).unwrap();
        }
        assert_eq!(client.head().status, 200);
        assert_eq!(client.chunk().unwrap(), b"one\n", "{last:?}");
        if let Some(reason) = reason {
            assert_eq!(client.chunk().unwrap(), reason.as_bytes());
        }
        // No last chunk, nothing that could be taken for the next reply.
        assert_eq!(client.rest().0, b"", "{last:?}");
    }
}

#[test]
fn http_1_0_gets_each_flush_and_a_reset_unless_it_is_finished() {
    let (server, tell) = scripted();
    for last in [Step::Finish, Step::Fail("broken"), Step::Drop, Step::Panic, Step::Forget] {
        let mut client = ask(&server, "1.0");
        let head = client.head();
        assert_eq!((head.header("Transfer-Encoding"), head.header("Connection")), (None, Some("close")));
        for text in ["one\n", "two\n"] {
            tell.send(Step::Write(text)).unwrap();
            tell.send(Step::Flush).unwrap();
            assert_eq!(client.exactly(4), text.as_bytes());
        }
        tell.send(last).unwrap();
        let (rest, error) = client.rest();
        let kind = error.map(|e| e.kind());
        match last {
            Step::Finish => assert_eq!((&rest[..], kind), (&b""[..], None)),
            Step::Fail(_) => assert_eq!((&rest[..], kind), (&b"broken\n"[..], Some(ErrorKind::ConnectionReset))),
            _ => assert_eq!((&rest[..], kind), (&b""[..], Some(ErrorKind::ConnectionReset)), "{last:?}"),
        }
    }
}

#[test]
fn http_1_0_over_a_unix_socket_gets_no_stream_that_could_look_complete() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let address = format!("unix:{}", path.display()).parse().unwrap();
    let (tell, steps) = unbounded();
    let _server = Running::start_at(&address, Config::new(), script(steps));
    let connect = || {
        let stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream }
    };
    let mut client = connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.reply().status, 505);
    client.assert_closed();
    let mut client = connect();
    client.send("GET / HTTP/1.1\r\nHost: anything\r\n\r\n");
    [Step::Write("x"), Step::Finish].into_iter().for_each(|step| tell.send(step).unwrap());
    assert_eq!(client.reply().text(), "x");
}

#[test]
fn much_at_once_goes_out_in_bounded_chunks() {
    let server = Running::start(Config::new(), |_: &mut Request<'_>, reply: Reply<'_>| {
        let mut stream = reply.stream()?;
        stream.write_all(b"before")?;
        stream.write_all(&vec![b'x'; 1_000_000])?;
        let lines: Vec<String> = (0..2000).map(|n| format!("{n}\n")).collect();
        let lines: Vec<_> = lines.iter().map(|line| IoSlice::new(line.as_bytes())).collect();
        // More than one writev takes, and still one chunk.
        stream.write_chunk(&lines)?;
        let sent = stream.finish()?;
        assert_eq!((sent.status(), sent.body_bytes(), sent.is_complete()), (200, 1_008_896, true));
        Ok(sent)
    });
    let mut client = ask(&server, "1.1");
    client.head();
    let mut chunks = Vec::new();
    while let Some(chunk) = client.chunk() {
        chunks.push(chunk);
    }
    assert!(chunks.iter().all(|chunk| chunk.len() <= 34_000));
    let last: String = (0..2000).map(|n| format!("{n}\n")).collect();
    assert_eq!(chunks.last().unwrap(), last.as_bytes());
    assert_eq!(chunks.concat().len(), 1_008_896);
}

#[test]
fn a_large_chunk_has_the_write_limit_for_each_64_kib() {
    let write_time = Duration::from_secs(2);
    let (said, took) = bounded(1);
    let server = Running::start(limits(|l| l.write_time = write_time), move |_: &mut Request<'_>, reply: Reply<'_>| {
        let mut stream = reply.stream()?;
        let began = std::time::Instant::now();
        // Far more than the kernel takes for a client that doesn't read.
        let parts: Vec<Vec<u8>> = (0..512).map(|n| vec![b'a' + (n % 26) as u8; 64 * 1024 + n]).collect();
        let parts: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        stream.write_chunk(&parts)?;
        said.send(began.elapsed()).unwrap();
        stream.finish()
    });
    let mut client = ask(&server, "1.1");
    client.head();
    let length = (0..512).map(|n| 64 * 1024 + n).sum::<usize>();
    assert_eq!(client.exactly(9), format!("{length:x}\r\n").as_bytes());
    let mut body = Vec::new();
    while body.len() < length {
        // Slow altogether, and never for long.
        std::thread::sleep(Duration::from_millis(20));
        body.extend(client.exactly((length - body.len()).min(256 * 1024)));
    }
    let want: Vec<u8> = (0..512).flat_map(|n| vec![b'a' + (n % 26) as u8; 64 * 1024 + n]).collect();
    assert!(body == want, "other bytes came");
    assert_eq!(client.exactly(7), b"\r\n0\r\n\r\n"[..7]);
    // Else it shows nothing; the client's pauses see to it.
    assert!(took.recv_timeout(PATIENCE).unwrap() > write_time);
}

#[test]
fn a_failed_write_stays_failed() {
    let (said, results) = unbounded();
    let (gone, left) = bounded(1);
    let server = Running::start(Config::new(), move |_: &mut Request<'_>, reply: Reply<'_>| {
        let mut stream = reply.stream()?;
        let _: () = left.recv().unwrap();
        let first = loop {
            // Until the client's side has told ours that it is gone.
            if let Err(error) = stream.write_all(b"x").and_then(|()| stream.flush()) {
                break error;
            }
        };
        let again = [stream.flush(), stream.write_all(b"y")].map(|r| r.unwrap_err().kind());
        assert!(stream.is_gone());
        said.send((first.kind(), again, stream.finish().unwrap_err().kind())).unwrap();
        Err(first)
    });
    let mut client = ask(&server, "1.1");
    client.head();
    drop(client);
    gone.send(()).unwrap();
    let (first, again, finish) = results.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(first, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{first:?}");
    assert_eq!((again, finish), ([ErrorKind::BrokenPipe; 2], ErrorKind::BrokenPipe));
}

#[test]
fn a_wait_wakes_for_messages_their_end_and_the_time() {
    let (said, woken) = unbounded();
    let (sender, messages) = bounded(1);
    let server = Running::start(
        limits(|l| l.gone_time = Duration::from_millis(1)),
        move |_: &mut Request<'_>, reply: Reply<'_>| {
            let mut stream = reply.stream()?;
            said.send(stream.wait(&messages, Duration::from_millis(20))).unwrap();
            said.send(stream.wait(&messages, PATIENCE)).unwrap();
            said.send(stream.wait(&messages, PATIENCE)).unwrap();
            stream.finish()
        },
    );
    let mut client = ask(&server, "1.1");
    assert_eq!(woken.recv_timeout(PATIENCE).unwrap(), Woken::Timeout);
    sender.send(7).unwrap();
    assert_eq!(woken.recv_timeout(PATIENCE).unwrap(), Woken::Message(7));
    drop(sender);
    assert_eq!(woken.recv_timeout(PATIENCE).unwrap(), Woken::Disconnected);
    assert_eq!(client.reply().status, 200);
}

#[test]
fn events_arrive_as_a_stream_of_events() {
    let server = Running::start(Config::new(), |_: &mut Request<'_>, reply: Reply<'_>| {
        let mut stream = reply.event_stream()?;
        sse::Event { id: Some("r-1"), event: Some("line"), data: "one\ntwo" }.write_to(&mut stream)?;
        stream.flush()?;
        sse::write_comment(&mut stream, "alive")?;
        stream.finish()
    });
    let mut client = ask(&server, "1.1");
    assert_eq!(client.head().header("Content-Type"), Some("text/event-stream"));
    assert_eq!(client.chunk().unwrap(), b"id: r-1\nevent: line\ndata: one\ndata: two\n\n");
    assert_eq!(client.chunk().unwrap(), b": alive\n\n");
    assert_eq!(client.chunk(), None);
}
