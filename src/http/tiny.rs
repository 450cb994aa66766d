//! Running a handler on a `tiny_http::Request`.
//!
//! For those who have a tiny_http server on a network that they trust. What
//! tiny_http does before and behind the handler stays as it is: no time-outs,
//! no limits, and a request that announces a huge body and leaves aborts the
//! process.
//! [`Server`](super::Server) has none of this.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tiny_http::Method;

use super::connection::{answer_unanswered, refuse, request_line};
use super::cutter::Cutter;
use super::exchange::{Exchange, Progress};
use super::head::Head;
use super::link::Link;
use super::reply::{Reply, Sent};
use super::request::{Peer, Request};
use super::wire::copy_file;
use crate::thread::{Stop, catch, context};

/// Runs a handler on a request of a tiny_http server.
///
/// As on our own server: the head is checked as strictly, what a handler
/// leaves unanswered is a 500, its panic is caught (and logged, by
/// [`Panic::log`](crate::thread::Panic::log)), each flush is a chunk on the
/// wire. Different, because tiny_http keeps the connection to itself:
///
/// * once the reply has begun, what is left of the body can't be read any more;
/// * a stream that is cut ends with bytes that are no chunk, which is an error
///   to every client; over HTTP/1.0 a stream is refused with 505;
/// * nothing has a deadline, no client is found to be gone before a write
///   fails, and the stop is never set. Tokens and host names aren't checked.
///
/// # Errors
/// The handler's, or `InvalidData` for a head that our server refuses; the
/// client has its reply, or a cut one, in each case.
pub fn answer<H>(request: tiny_http::Request, handler: H) -> io::Result<Sent>
where
    H: FnOnce(&mut Request<'_>, Reply<'_>) -> io::Result<Sent>,
{
    let peer = request.remote_addr().map_or(Peer::Unknown, |address| Peer::Tcp(*address));
    let parsed = Head::parse(&head_of(&request));
    let link = TinyLink { state: Mutex::new(State::Reading(Box::new(request))), stop: Stop::never() };
    let head = match parsed {
        Ok(head) => head,
        Err(refusal) => {
            let _ = refuse(&Exchange::new(&link, false, false, false), &refusal)?;
            return Err(io::Error::new(ErrorKind::InvalidData, refusal.why));
        }
    };
    let exchange = Exchange::new(&link, head.is_http_1_0(), *head.method() == Method::Head, head.wants_keep_alive);
    let _peer = context("peer", peer);
    let _request = context("request", request_line(&head));
    let mut body = TinyBody(&link);
    let outcome = catch(|| handler(&mut Request::new(&head, peer, &exchange, &mut body), Reply::new(&exchange)));
    let outcome = outcome.unwrap_or_else(|panic| {
        panic.log();
        Err(io::Error::other(panic))
    });
    answer_unanswered(&exchange);
    if exchange.progress() == Progress::Begun {
        link.cut(true);
    }
    outcome
}

/// The head as it must have come, for our own parser.
fn head_of(request: &tiny_http::Request) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/{}\r\n", request.method(), request.url(), request.http_version()).into_bytes();
    for header in request.headers() {
        head.extend_from_slice(format!("{header}\r\n").as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

struct TinyLink {
    state: Mutex<State>,
    stop: Stop,
}

/// tiny_http gives the body or the way to reply, not both.
enum State {
    Reading(Box<tiny_http::Request>),
    Writing(Box<dyn Write + Send>),
    Cut,
}

impl TinyLink {
    fn lock(&self) -> MutexGuard<'_, State> {
        // What is in it is replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link for TinyLink {
    fn write(&self, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut state = self.lock();
        if let State::Reading(_) = &*state
            && let State::Reading(request) = std::mem::replace(&mut *state, State::Cut)
        {
            *state = State::Writing(request.into_writer());
        }
        let State::Writing(writer) = &mut *state else { return Err(ErrorKind::BrokenPipe.into()) };
        for part in parts {
            writer.write_all(part)?;
        }
        writer.flush()
    }

    fn write_file(&self, file: &File, offset: u64, length: u64) -> io::Result<()> {
        copy_file(self, file, offset, length)
    }

    fn is_gone(&self) -> bool {
        false
    }

    fn gone_time(&self) -> Duration {
        Duration::MAX
    }

    fn can_reset(&self) -> bool {
        false
    }

    fn can_inform(&self) -> bool {
        false
    }

    fn cutter(&self) -> io::Result<Cutter> {
        Err(io::Error::new(ErrorKind::Unsupported, "the connection is tiny_http's"))
    }

    fn cut(&self, _delimited: bool) {
        let mut state = self.lock();
        if let State::Writing(writer) = &mut *state {
            // No size, so no client can take it for a chunk, nor for the next reply.
            let _ = writer.write_all(b"\r\ncut\r\n").and_then(|()| writer.flush());
        }
        *state = State::Cut;
    }

    fn stop(&self) -> &Stop {
        &self.stop
    }
}

struct TinyBody<'a>(&'a TinyLink);

impl Read for TinyBody<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut *self.0.lock() {
            State::Reading(request) => request.as_reader().read(buf),
            _ => Err(io::Error::new(ErrorKind::InvalidInput, "the reply has begun: tiny_http has let go of the body")),
        }
    }
}
