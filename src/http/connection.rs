//! One connection, from its first byte to its close: request after request.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::Level;
use tiny_http::Method;

use super::config::Config;
use super::exchange::{Exchange, Progress};
use super::guard::Guard;
use super::head::Head;
use super::incoming::Incoming;
use super::input::Input;
use super::link::Link;
use super::refusal::Refusal;
use super::reply::{Reply, Sent};
use super::request::{Peer, Request};
use super::scan::Scanner;
use super::socket::{Socket, moment_in};
use super::wire::{Ends, Waited, Wire};
use crate::thread::{catch, context};

/// What a request line may take of a panic's context.
const SHOWN_BYTES: usize = 256;

/// What all connections of a server share.
pub(super) struct Service<H> {
    pub(super) handler: H,
    pub(super) config: Config,
    pub(super) guard: Guard,
    pub(super) ends: Arc<Ends>,
}

// What is `inline(never)` here keeps its stack to itself: the frames below a
// handler stay resident as long as a stream goes on, in each of a thousand threads.

/// What becomes of the connection behind an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Keep,
    Close,
    Cut { delimited: bool },
}

impl<H> Service<H>
where
    H: Fn(&mut Request<'_>, Reply<'_>) -> io::Result<Sent>,
{
    /// Serves one connection until it ends.
    pub(super) fn serve(&self, socket: Socket, peer: Peer) {
        let _peer = context("peer", peer);
        let wire = match self.open(socket) {
            Ok(wire) => wire,
            Err(error) => {
                note(Level::Debug, peer, None, "no TLS with this client", &error);
                return;
            }
        };
        let linger_time = self.config.limits.linger_time;
        match self.serve_requests(&wire, peer) {
            Some(After::Cut { delimited }) => wire.abandon(delimited, linger_time),
            Some(After::Close | After::Keep) => wire.close(linger_time),
            // Nothing was said that could get lost.
            None => wire.close(Duration::ZERO),
        }
    }

    #[inline(never)]
    fn open(&self, socket: Socket) -> io::Result<Wire> {
        let ends = Arc::clone(&self.ends);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.config.tls {
            return Wire::encrypted(socket, ends, &self.config.limits, tls);
        }
        Ok(Wire::plain(socket, ends, &self.config.limits))
    }

    /// How the connection shall end; `None` if the client said nothing more,
    /// or is gone.
    fn serve_requests(&self, wire: &Wire, peer: Peer) -> Option<After> {
        let limits = &self.config.limits;
        let mut input = Input::default();
        let mut until = moment_in(limits.head_time);
        let mut is_first = true;
        loop {
            if input.waiting().is_empty() {
                match wire.wait_for_request(until) {
                    Ok(Waited::Readable) => {}
                    Ok(Waited::Late | Waited::Stopped) | Err(_) => return None,
                }
            }
            if !is_first {
                until = moment_in(limits.head_time);
            }
            is_first = false;
            let after = match self.read_head(wire, &mut input, until) {
                Ok(head) => self.exchange(wire, &mut input, &head, peer),
                Err(Unread::Gone) => return None,
                Err(Unread::Refused(refusal)) => {
                    note(Level::Debug, peer, Some(refusal.status), "refused", &refusal.why);
                    let exchange = Exchange::new(wire, false, false, false);
                    let _ = refuse(&exchange, &refusal);
                    After::Close
                }
            };
            if after != After::Keep {
                return Some(after);
            }
            until = moment_in(limits.idle_time);
        }
    }

    #[inline(never)]
    fn read_head(&self, wire: &Wire, input: &mut Input, until: Instant) -> Result<Box<Head>, Unread> {
        let mut scanner = Scanner::default();
        loop {
            if let Some((start, end)) = scanner.scan(input.waiting(), &self.config.limits)? {
                let head = Head::parse(&input.waiting()[start..end]);
                input.consume(end);
                return Ok(Box::new(head?));
            }
            match input.fill(wire, until) {
                Ok(0) => return Err(Unread::Gone),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::TimedOut && !input.waiting().is_empty() => {
                    return Err(Unread::Refused(Refusal::new(408, "the request's head came too slowly")));
                }
                Err(_) => return Err(Unread::Gone),
            }
        }
    }

    /// One request and its reply.
    fn exchange(&self, wire: &Wire, input: &mut Input, head: &Head, peer: Peer) -> After {
        let is_head_request = *head.method() == Method::Head;
        let exchange = Exchange::new(wire, head.is_http_1_0(), is_head_request, head.wants_keep_alive);
        let mut incoming = Incoming::new(wire, input, &exchange, head, &self.config.limits);
        match self.guard.admit(head) {
            Ok(()) => self.handle(&exchange, &mut incoming, head, peer),
            Err(refusal) => {
                note(Level::Debug, peer, Some(refusal.status), "refused", &refusal.why);
                let _ = refuse(&exchange, &refusal);
            }
        }
        match exchange.progress() {
            Progress::Complete if exchange.keeps() && incoming.drain() => After::Keep,
            Progress::Complete => After::Close,
            Progress::Cut { delimited } => After::Cut { delimited },
            // Its write failed, or it was forgotten.
            Progress::Nothing | Progress::Begun => {
                let delimited = !head.is_http_1_0();
                wire.cut(delimited);
                After::Cut { delimited }
            }
        }
    }

    fn handle(&self, exchange: &Exchange<'_>, incoming: &mut Incoming<'_>, head: &Head, peer: Peer) {
        let line = request_line(head);
        let _request = context("request", &line);
        let mut request = Request::new(head, peer, exchange, incoming);
        match catch(|| (self.handler)(&mut request, Reply::new(exchange))) {
            Ok(Ok(sent)) => note(Level::Debug, peer, Some(sent.status), "served", &line),
            Ok(Err(error)) => {
                let (level, what) = match (exchange.client_fault(), exchange.progress()) {
                    (Some(_), _) => (Level::Debug, "the client's fault"),
                    (None, Progress::Nothing) => (Level::Warn, "the handler failed"),
                    (None, _) => (Level::Debug, "the reply was cut"),
                };
                note(level, peer, exchange.client_fault(), what, &format_args!("{line}: {error}"));
            }
            Err(panic) => {
                exchange.never_keep();
                match &self.config.on_panic {
                    Some(record) => record(&panic),
                    None => panic.log(),
                }
            }
        }
        answer_unanswered(exchange);
    }
}

/// One record in the log.
#[inline(never)]
fn note(level: Level, peer: Peer, status: Option<u16>, what: &str, about: &dyn Display) {
    match status {
        Some(status) => log::log!(level, peer:% = peer, status; "{what}: {about}"),
        None => log::log!(level, peer:% = peer; "{what}: {about}"),
    }
}

/// A handler that sent nothing: what the client gets.
#[inline(never)]
pub(super) fn answer_unanswered(exchange: &Exchange<'_>) {
    if exchange.progress() != Progress::Nothing {
        return;
    }
    let refusal = match exchange.client_fault() {
        Some(400) => Refusal::bad("a malformed body"),
        Some(408) => Refusal::new(408, "the request's body came too slowly"),
        Some(413) => Refusal::new(413, "the request's body is too large"),
        _ => Refusal::new(500, "the server failed at this request"),
    };
    let _ = refuse(exchange, &refusal);
}

#[inline(never)]
pub(super) fn refuse(exchange: &Exchange<'_>, refusal: &Refusal) -> io::Result<Sent> {
    let mut reply = Reply::new(exchange).status(refusal.status).header("Content-Type", "text/plain; charset=utf-8");
    for (name, value) in refusal.headers {
        reply = reply.header(name, value);
    }
    reply.send(format!("{}\n", refusal.why))
}

pub(super) fn request_line(head: &Head) -> String {
    // What was parsed is ASCII: any byte is a place to cut.
    let target = head.target().get(..SHOWN_BYTES).unwrap_or(head.target());
    format!("{} {target} HTTP/{}", head.method(), head.version())
}

/// Why there is no head.
enum Unread {
    Refused(Refusal),
    Gone,
}

impl From<Refusal> for Unread {
    fn from(refusal: Refusal) -> Unread {
        Unread::Refused(refusal)
    }
}
