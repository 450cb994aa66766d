//! One connection, from its first byte to its close: request after request.

use std::fmt::Display;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::Level;
use tiny_http::Method;

use super::config::Config;
use super::courier::Courier;
use super::crew::Seat;
use super::exchange::{Exchange, Progress};
use super::guard::Guard;
use super::head::Head;
use super::incoming::Incoming;
use super::input::Input;
use super::link::Link;
use super::park::{Parked, Stream};
use super::refusal::Refusal;
use super::reply::{Reply, Sent};
use super::request::{Peer, Request};
use super::scan::Scanner;
use super::socket::{Socket, moment_in};
use super::stream::ChunkWriter;
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
    pub(super) courier: Arc<Courier>,
}

// What is `inline(never)` here keeps its stack to itself: the frames below a
// handler stay resident as long as a stream goes on, in each of a thousand threads.

/// A client's connection. Whoever has it may go on with it: its thread, or the
/// courier while it has none.
pub(super) struct Connection {
    pub(super) wire: Wire,
    pub(super) peer: Peer,
    input: Input,
    /// No request came yet.
    is_new: bool,
    /// Counts it as one of the server's connections.
    _seat: Seat,
}

impl Connection {
    /// Ends it short of a reply's end, so that the client can tell.
    pub(super) fn cut(self, delimited: bool) {
        self.wire.cut(delimited);
    }
}

/// What becomes of the connection behind an exchange.
enum After {
    Keep,
    Close,
    Cut { delimited: bool },
    Park(Stream),
}

/// What becomes of a connection that its thread is done with.
enum End {
    Close,
    Cut {
        delimited: bool,
    },
    /// The client said nothing more, or is gone.
    Quiet,
    Park(Stream),
}

impl<H> Service<H>
where
    H: Fn(&mut Request<'_>, Reply<'_>) -> io::Result<Sent>,
{
    /// Serves one connection until it ends, or its stream is parked.
    pub(super) fn serve(&self, socket: Socket, peer: Peer, seat: Seat) {
        let _peer = context("peer", peer);
        match self.open(socket) {
            Ok(wire) => {
                let connection = Connection { wire, peer, input: Input::default(), is_new: true, _seat: seat };
                self.go_on(connection, After::Keep);
            }
            Err(error) => note(Level::Debug, peer, None, "no TLS with this client", &error),
        }
    }

    /// Goes on with a parked stream, and with its connection after it.
    pub(super) fn resume(&self, parked: Parked) {
        let Parked { connection, stream, .. } = parked;
        let _peer = context("peer", connection.peer);
        let after = self.go_on_with(&connection, stream);
        self.go_on(connection, after);
    }

    fn go_on(&self, mut connection: Connection, mut after: After) {
        let linger_time = self.config.limits.linger_time;
        loop {
            match self.serve_requests(&mut connection, after) {
                End::Cut { delimited } => return connection.wire.abandon(delimited, linger_time),
                End::Close => return connection.wire.close(linger_time),
                // Nothing was said that could get lost.
                End::Quiet => return connection.wire.close(Duration::ZERO),
                End::Park(stream) => {
                    let parked = Box::new(Parked { connection, stream, due: None });
                    let Err(back) = self.courier.take(parked) else { return };
                    let Parked { connection: its, stream, .. } = *back;
                    connection = its;
                    after = self.go_on_with(&connection, stream);
                }
            }
        }
    }

    #[inline(never)]
    fn open(&self, socket: Socket) -> io::Result<Wire> {
        let ends = Arc::clone(&self.ends);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.config.tls {
            return Wire::encrypted(socket, ends, &self.config.limits, tls);
        }
        Ok(Wire::plain(socket, ends, &self.config.limits, &self.courier))
    }

    /// Serves requests until the connection is to end, the first of them after
    /// what became of the one before.
    fn serve_requests(&self, connection: &mut Connection, before: After) -> End {
        let limits = &self.config.limits;
        let Connection { wire, peer, input, is_new, .. } = connection;
        let mut after = before;
        loop {
            match after {
                After::Keep => {}
                After::Close => return End::Close,
                After::Cut { delimited } => return End::Cut { delimited },
                After::Park(stream) => return End::Park(stream),
            }
            let mut until = moment_in(if *is_new { limits.head_time } else { limits.idle_time });
            if input.waiting().is_empty() {
                match wire.wait_for_request(until) {
                    Ok(Waited::Readable) => {}
                    Ok(Waited::Late | Waited::Stopped) | Err(_) => return End::Quiet,
                }
            }
            if !*is_new {
                until = moment_in(limits.head_time);
            }
            *is_new = false;
            after = match self.read_head(wire, input, until) {
                Ok(head) => self.exchange(wire, input, &head, *peer),
                Err(Unread::Gone) => return End::Quiet,
                Err(Unread::Refused(refusal)) => {
                    note(Level::Debug, *peer, Some(refusal.status), "refused", &refusal.why);
                    let exchange = Exchange::new(wire, false, false, false);
                    let _ = refuse(&exchange, &refusal);
                    After::Close
                }
            };
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
        if let Some((mut outlet, course)) = exchange.take_parked() {
            outlet.keeps = outlet.keeps && incoming.drain();
            return After::Park(Stream { outlet, course, line: request_line(head) });
        }
        let keeps = matches!(exchange.progress(), Progress::Complete) && exchange.keeps() && incoming.drain();
        end_of(&exchange, keeps)
    }

    fn handle(&self, exchange: &Exchange<'_>, incoming: &mut Incoming<'_>, head: &Head, peer: Peer) {
        let line = request_line(head);
        let mut request = Request::new(head, peer, exchange, incoming);
        self.watch(exchange, peer, &line, || (self.handler)(&mut request, Reply::new(exchange)));
        answer_unanswered(exchange);
    }

    /// Goes on with a stream that was parked.
    fn go_on_with(&self, connection: &Connection, stream: Stream) -> After {
        let Stream { mut outlet, course, line } = stream;
        let exchange = Exchange::resumed(&connection.wire, &outlet);
        let unsent = std::mem::take(&mut outlet.unsent);
        self.watch(&exchange, connection.peer, &line, || {
            connection.wire.write(&mut [IoSlice::new(&unsent)])?;
            course.resume(ChunkWriter::new(&exchange, outlet.status, outlet.framing))
        });
        match exchange.take_parked() {
            Some((outlet, course)) => After::Park(Stream { outlet, course, line }),
            None => end_of(&exchange, exchange.keeps()),
        }
    }

    /// Runs what answers a request, and records how it went.
    fn watch(&self, exchange: &Exchange<'_>, peer: Peer, line: &str, answer: impl FnOnce() -> io::Result<Sent>) {
        let _request = context("request", line);
        match catch(answer) {
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
    }
}

/// What a reply that has come so far means for its connection.
fn end_of(exchange: &Exchange<'_>, keeps: bool) -> After {
    match exchange.progress() {
        Progress::Complete if keeps => After::Keep,
        Progress::Complete => After::Close,
        Progress::Cut { delimited } => After::Cut { delimited },
        // Its write failed, or it was forgotten.
        Progress::Nothing | Progress::Begun => {
            let delimited = !exchange.is_http_1_0;
            exchange.link.cut(delimited);
            After::Cut { delimited }
        }
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
