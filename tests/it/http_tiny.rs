//! A handler of ours on a real tiny_http server.

use std::io::{Read, Write};
use std::sync::Arc;

use towpath::http::{Reply, Request, Sent, answer};

use super::http_raw::{Client, PATIENCE};

/// A tiny_http server whose requests go to our handler; joined when dropped.
struct Tiny {
    server: Arc<tiny_http::Server>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Tiny {
    fn start(handler: impl Fn(&mut Request<'_>, Reply<'_>) -> std::io::Result<Sent> + Send + 'static) -> Tiny {
        let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
        let theirs = Arc::clone(&server);
        let thread = std::thread::spawn(move || {
            for request in theirs.incoming_requests() {
                let _ = answer(request, &handler);
            }
        });
        Tiny { server, thread: Some(thread) }
    }

    fn connect(&self) -> Client<std::net::TcpStream> {
        Client::to(self.server.server_addr().to_ip().unwrap())
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        self.server.unblock();
        let _ = self.thread.take().unwrap().join();
    }
}

fn handler(request: &mut Request<'_>, reply: Reply<'_>) -> std::io::Result<Sent> {
    match request.path() {
        "/echo" => {
            let mut body = String::new();
            request.body().read_to_string(&mut body)?;
            reply.header("X-Thing", request.header("x-thing").unwrap_or("none")).send(body)
        }
        "/panic" => panic!("on tiny_http"),
        "/nothing" => Err(std::io::Error::other("no reply")),
        "/fails" => {
            let mut stream = reply.stream()?;
            stream.write_all(b"half")?;
            stream.fail("broken")
        }
        _ => {
            let mut stream = reply.stream()?;
            for text in ["one", "two"] {
                stream.write_all(text.as_bytes())?;
                stream.flush()?;
            }
            stream.finish()
        }
    }
}

#[test]
fn a_handler_answers_requests_of_tiny_http() {
    let server = Tiny::start(handler);
    let mut client = server.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: h\r\nX-Thing: t\r\nContent-Length: 4\r\n\r\nbody");
    let reply = client.reply();
    assert_eq!((reply.status, reply.text(), reply.header("X-Thing")), (200, "body", Some("t")));
    client.send("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.head().status, 200);
    assert_eq!([client.chunk(), client.chunk(), client.chunk()], [Some(b"one".to_vec()), Some(b"two".to_vec()), None]);
    for path in ["/nothing", "/panic"] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(client.reply().status, 500, "{path}");
    }
    // In step to the end.
    client.send("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlast\r\n0\r\n\r\n");
    assert_eq!(client.reply().text(), "last");
}

#[test]
fn a_flush_reaches_the_client_of_tiny_http_before_the_next() {
    let (tell, told) = crossbeam_channel::bounded::<&str>(0);
    let server = Tiny::start(move |_, reply| {
        let mut stream = reply.stream()?;
        while let Ok(text) = told.recv_timeout(PATIENCE) {
            stream.write_all(text.as_bytes())?;
            stream.flush()?;
        }
        stream.finish()
    });
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.head().status, 200);
    for text in ["one", "two"] {
        tell.send(text).unwrap();
        assert_eq!(client.chunk().unwrap(), text.as_bytes());
    }
    drop(tell);
    assert_eq!(client.chunk(), None);
}

#[test]
fn a_stream_that_fails_ends_with_what_no_client_takes_for_its_end() {
    let server = Tiny::start(handler);
    let mut client = server.connect();
    client.send("GET /fails HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.head().status, 200);
    assert_eq!(client.chunk().unwrap(), b"halfbroken\n");
    assert_eq!(client.exactly(4), b"\r\ncu");
    // A whole client sees an error.
    let url = format!("http://{}/fails", server.server.server_addr().to_ip().unwrap());
    let mut response = ureq::get(&url).call().unwrap();
    assert!(response.body_mut().read_to_string().is_err());
    // HTTP/1.0 could not tell, and gets no stream.
    let mut client = server.connect();
    client.send("GET /stream HTTP/1.0\r\n\r\n");
    assert_eq!(client.reply().status, 505);
}

#[test]
fn a_head_that_tiny_http_lets_through_is_refused_by_ours() {
    let server = Tiny::start(handler);
    let mut client = server.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 30, 30\r\n\r\n");
    assert_eq!(client.reply().status, 400);
}
