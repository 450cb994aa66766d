//! How a server stops, and what a handler's panic costs.

use std::io::{self, ErrorKind, Write};
use std::sync::Mutex;
use std::time::Duration;

use crossbeam_channel::{bounded, unbounded};
use towpath::http::{Config, Reply, Request, Woken};

use super::http_raw::{PATIENCE, Running, hello, limits};

#[test]
fn a_stop_closes_the_idle_lets_the_active_finish_and_streams_say_their_end() {
    let (begun, begins) = unbounded();
    let (release, released) = bounded(1);
    let server =
        Running::start(limits(|l| l.stop_time = PATIENCE), move |request: &mut Request<'_>, reply: Reply<'_>| {
            match request.path() {
                "/stream" => {
                    let mut stream = reply.stream()?;
                    begun.send(()).unwrap();
                    assert_eq!(stream.pause(PATIENCE), Woken::Stopped);
                    assert!(stream.stop().is_set());
                    stream.write_all(b"the end\n")?;
                    stream.finish()
                }
                "/active" => {
                    begun.send(()).unwrap();
                    let _: () = released.recv_timeout(PATIENCE).unwrap();
                    reply.send("finished")
                }
                _ => reply.send("hello"),
            }
        });
    let ask = |path: &str| {
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        client
    };
    let mut idle = ask("/");
    assert_eq!(idle.reply().header("Connection"), None);
    let mut fresh = server.connect();
    let (mut stream, mut active) = (ask("/stream"), ask("/active"));
    for _ in 0..2 {
        begins.recv_timeout(PATIENCE).unwrap();
    }
    let address = server.address();
    server.stopper().stop();
    assert_eq!(stream.reply().text(), "the end\n");
    stream.assert_closed();
    idle.assert_closed();
    fresh.assert_closed();
    // The active one isn't hurried, and knows that it was the last.
    release.send(()).unwrap();
    let reply = active.reply();
    assert_eq!((reply.text(), reply.header("Connection")), ("finished", Some("close")));
    active.assert_closed();
    server.stop().unwrap();
    assert_eq!(std::net::TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn what_does_not_heed_the_stop_is_cut() {
    let (begun, begins) = bounded(1);
    let server = Running::start(
        limits(|l| l.stop_time = Duration::from_millis(50)),
        move |request: &mut Request<'_>, reply: Reply<'_>| {
            begun.send(()).unwrap();
            // Blocks on a client that says nothing.
            let read = request.body().read_all(10);
            assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionAborted);
            reply.send("too late")
        },
    );
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n");
    begins.recv_timeout(PATIENCE).unwrap();
    server.stop().unwrap();
    let _ = client.rest();
}

#[test]
fn a_handler_that_never_ends_is_an_error_of_the_stop() {
    let (begun, begins) = bounded(1);
    let (release, released) = bounded::<()>(0);
    let server = Running::start(
        limits(|l| l.stop_time = Duration::from_millis(10)),
        move |_: &mut Request<'_>, reply: Reply<'_>| {
            begun.send(()).unwrap();
            let _ = released.recv();
            reply.send("at last")
        },
    );
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    begins.recv_timeout(PATIENCE).unwrap();
    let error = server.stop().unwrap_err();
    assert!(error.kind() == ErrorKind::TimedOut && error.to_string().starts_with("1 handlers"), "{error}");
    drop(release);
    let _ = client.rest();
}

#[test]
fn a_panic_is_a_500_if_nothing_was_sent_and_keeps_its_scene() {
    let (caught, panics) = unbounded();
    let caught = Mutex::new(caught);
    let config = Config::new().on_panic(move |panic| caught.lock().unwrap().send(panic.clone()).unwrap());
    let server = Running::start(config, |request: &mut Request<'_>, reply: Reply<'_>| match request.path() {
        "/before" => panic!("before anything"),
        "/within" => {
            let mut stream = reply.stream()?;
            stream.write_all(b"half")?;
            stream.flush()?;
            panic!("half-way")
        }
        _ => reply.send("hello"),
    });
    let mut client = server.connect();
    let peer = client.stream.local_addr().unwrap().to_string();
    client.send("GET /before?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.reply().status, 500);
    client.assert_closed();
    let panic = panics.recv_timeout(PATIENCE).unwrap();
    assert_eq!(panic.message(), "before anything");
    assert_eq!(panic.context(), [("peer", peer), ("request", "GET /before?x=1 HTTP/1.1".to_owned())]);
    assert!(panic.location().unwrap().contains("http_stop.rs") && panic.thread().starts_with("http-"), "{panic}");

    let mut client = server.connect();
    client.send("GET /within HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.head().status, 200);
    assert_eq!(client.chunk().unwrap(), b"half");
    client.assert_closed();
    assert_eq!(panics.recv_timeout(PATIENCE).unwrap().message(), "half-way");
    server.assert_answers();
}

#[test]
fn a_handler_that_fails_unanswered_is_a_500_and_the_connection_goes_on() {
    let server = Running::start(Config::new(), |request: &mut Request<'_>, reply: Reply<'_>| {
        if request.path() == "/fails" { Err(io::Error::other("secret detail")) } else { hello(request, reply) }
    });
    let mut client = server.connect();
    client.send("GET /fails HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let reply = client.reply();
    assert!(reply.status == 500 && !reply.text().contains("secret"), "{reply:?}");
    assert_eq!(client.reply().status, 200);
}
