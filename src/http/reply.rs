//! The reply to one request, in every form but the stream.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::time::SystemTime;

use tiny_http::{Header, StatusCode};

use super::exchange::Exchange;
use super::stream::{ChunkWriter, Framing};
use crate::client::chunked::is_token;
use crate::thread::Stop;

/// Proof that a reply has been given its end: what a handler gives back.
///
/// Only a [`Reply`] and a [`ChunkWriter`] make one, each by the call that
/// consumes it; a handler that can end without one doesn't compile.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a handler gives it back"]
pub struct Sent {
    pub(super) status: u16,
    pub(super) body_bytes: u64,
    pub(super) is_complete: bool,
}

impl Sent {
    /// The status that was sent.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// How many bytes of body the handler had sent, without their framing.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// False after [`ChunkWriter::fail`]: the client knows that more should have come.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }
}

/// A piece of a reply's body.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'p> {
    /// Bytes at hand.
    Bytes(&'p [u8]),
    /// A part of a regular file.
    File {
        /// The file; its position is left alone.
        file: &'p File,
        /// Where the part begins.
        offset: u64,
        /// How many bytes it has; the reply is cut if there turn out to be fewer.
        length: u64,
    },
}

impl Piece<'_> {
    fn length(&self) -> u64 {
        match self {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::File { length, .. } => *length,
        }
    }
}

/// What a handler answers with. Nothing is sent before one of the calls that
/// consume it: [`send`](Reply::send), [`copy`](Reply::copy),
/// [`file`](Reply::file), [`pieces`](Reply::pieces), [`stream`](Reply::stream).
///
/// Dropped instead, it is a 500.
#[must_use = "a reply that is dropped is a 500"]
pub struct Reply<'c> {
    exchange: &'c Exchange<'c>,
    status: StatusCode,
    headers: Vec<Header>,
    /// The first mistake, told when it is sent.
    fault: Option<io::Error>,
}

/// The headers that say where a reply ends: they are the server's.
const FRAMING: [&str; 6] = ["content-length", "transfer-encoding", "connection", "keep-alive", "trailer", "upgrade"];

impl<'c> Reply<'c> {
    pub(super) fn new(exchange: &'c Exchange<'c>) -> Reply<'c> {
        Reply { exchange, status: StatusCode(200), headers: Vec::new(), fault: None }
    }

    /// Sets the status, 200 to 599. Defaults to 200.
    pub fn status(mut self, status: impl Into<StatusCode>) -> Reply<'c> {
        self.status = status.into();
        if !(200..600).contains(&self.status.0) {
            self.blame(format!("a reply can't have the status {}", self.status.0));
        }
        self
    }

    /// Adds a header line. Lines of one name add up.
    ///
    /// The name must be a token, the value visible ASCII and blanks: one with
    /// CR, LF or NUL in it never goes out, nor do the headers that say where
    /// the reply ends (`Content-Length`, `Transfer-Encoding`, `Connection`).
    /// Such a mistake is the error of the call that sends the reply.
    pub fn header(self, name: &str, value: &str) -> Reply<'c> {
        match Header::from_bytes(name, value) {
            Ok(header) => self.with(header),
            Err(()) => {
                let mut reply = self;
                reply.blame(format!("the header {name:?} isn't ASCII"));
                reply
            }
        }
    }

    /// Adds a header made elsewhere, under the same rules as [`header`](Reply::header).
    pub fn with(mut self, header: Header) -> Reply<'c> {
        let name = header.field.as_str().as_str();
        let value = header.value.as_bytes();
        if name.is_empty() || !name.bytes().all(is_token) {
            self.blame(format!("{name:?} is no header's name"));
        } else if !value.iter().all(|b| matches!(b, b'\t' | b' '..=b'~')) {
            // The value may be a secret; the name is enough to find it by.
            self.blame(format!("the header {name} has a control character in its value"));
        } else if FRAMING.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            self.blame(format!("the header {name} is the server's to set"));
        } else {
            self.headers.push(header);
        }
        self
    }

    /// Whether the client gets to see a body: not in answer to HEAD. Whatever
    /// is sent then is counted for the head and goes no further.
    pub fn wants_body(&self) -> bool {
        !self.exchange.is_head_request
    }

    /// Set when the server is asked to stop: a long reply ends itself then.
    pub fn stop(&self) -> &'c Stop {
        self.exchange.link.stop()
    }

    /// Sends the whole reply. Blocks until the client's side has taken it, for
    /// at most [`write_time`](super::Limits::write_time) every 64 KiB.
    ///
    /// # Errors
    /// `InvalidInput` for a mistake in status or headers, or a body with 204 or
    /// 304; nothing was sent then. Otherwise the client is gone or too slow.
    pub fn send(self, body: impl AsRef<[u8]>) -> io::Result<Sent> {
        let body = body.as_ref();
        let head = self.sized_head(body.len() as u64)?;
        let shown = if self.has_body() { body } else { &[] };
        self.exchange.begin(&mut [IoSlice::new(&head), IoSlice::new(shown)], shown.len() as u64)?;
        Ok(self.sent())
    }

    /// Sends exactly `length` bytes of `body`; no more of it is read.
    ///
    /// # Errors
    /// As [`send`](Reply::send), and those of `body`. One that ends too early is
    /// `UnexpectedEof`; the connection is cut, so the client knows.
    pub fn copy(self, length: u64, mut body: impl Read) -> io::Result<Sent> {
        let head = self.sized_head(length)?;
        self.exchange.begin(&mut [IoSlice::new(&head)], 0)?;
        let mut left = if self.has_body() { length } else { 0 };
        let mut buf = vec![0; 16 * 1024];
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
            match body.read(&mut buf[..room]) {
                Ok(0) => {
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, "the body ends before its announced length"));
                }
                Ok(read) => {
                    self.exchange.link.write(&mut [IoSlice::new(&buf[..read])])?;
                    self.exchange.count(read as u64);
                    left -= read as u64;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(self.sent())
    }

    /// Sends `length` bytes of a regular file, from `offset` on; without TLS
    /// the kernel copies them (`sendfile(2)`). The file's position is left alone.
    ///
    /// # Errors
    /// As [`copy`](Reply::copy).
    pub fn file(self, file: &File, offset: u64, length: u64) -> io::Result<Sent> {
        self.pieces(&[Piece::File { file, offset, length }])
    }

    /// Sends pieces one behind the other, as one body whose length is theirs.
    ///
    /// # Errors
    /// As [`copy`](Reply::copy).
    pub fn pieces(self, pieces: &[Piece<'_>]) -> io::Result<Sent> {
        let length = pieces.iter().map(Piece::length).fold(0, u64::saturating_add);
        let head = self.sized_head(length)?;
        self.exchange.begin(&mut [IoSlice::new(&head)], 0)?;
        for piece in pieces.iter().filter(|_| self.has_body()) {
            match piece {
                Piece::Bytes(bytes) => self.exchange.link.write(&mut [IoSlice::new(bytes)])?,
                Piece::File { file, offset, length } => self.exchange.link.write_file(file, *offset, *length)?,
            }
            self.exchange.count(piece.length());
        }
        Ok(self.sent())
    }

    /// Says something before the reply: an interim response (RFC 9110, 15.2)
    /// with this status, 102 to 199, and these headers. Where that can't be,
    /// to HTTP/1.0 and on a tiny_http request, nothing is said.
    ///
    /// # Errors
    /// `InvalidInput` for a status or a header that can't be sent. Otherwise the
    /// client is gone or too slow.
    pub fn inform(&self, status: u16, reason: &str, headers: &[(&str, &str)]) -> io::Result<()> {
        let visible = |text: &str| text.bytes().all(|b| matches!(b, b'\t' | b' '..=b'~'));
        let named = |name: &str| !name.is_empty() && name.bytes().all(is_token);
        let sound = headers.iter().all(|(name, value)| named(name) && visible(value));
        if !(102..200).contains(&status) || !visible(reason) || !sound {
            return Err(io::Error::new(ErrorKind::InvalidInput, "an interim response that can't be sent"));
        }
        if self.exchange.is_http_1_0 || !self.exchange.link.can_inform() {
            return Ok(());
        }
        let mut text = format!("HTTP/1.1 {status} {reason}\r\n");
        headers.iter().for_each(|(name, value)| text.extend([*name, ": ", *value, "\r\n"]));
        text.push_str("\r\n");
        let say = || self.exchange.link.write(&mut [IoSlice::new(text.as_bytes())]);
        self.exchange.unless_begun(say).unwrap_or(Ok(()))
    }

    /// Sends the head at once and gives the stream behind it, which must be
    /// [finished](ChunkWriter::finish).
    ///
    /// HTTP/1.1 gets chunks. HTTP/1.0 gets the bytes until the connection's
    /// end, never buffered; unfinished, it ends by a reset. Where no reset is
    /// possible (a Unix socket, a tiny_http request), HTTP/1.0 gets a 505, as
    /// it could take half for the whole. Unless set, `Cache-Control: no-store`
    /// and `X-Accel-Buffering: no` go along, so that proxies pass on what is
    /// flushed.
    ///
    /// # Errors
    /// As [`send`](Reply::send); `Unsupported` after that 505.
    pub fn stream(mut self) -> io::Result<ChunkWriter<'c>> {
        for (name, value) in [("Cache-Control", "no-store"), ("X-Accel-Buffering", "no")] {
            if !self.headers.iter().any(|h| h.field.equiv(name)) {
                self = self.header(name, value);
            }
        }
        self.check()?;
        if !self.has_body() {
            let head = self.head(None, true)?;
            self.exchange.begin(&mut [IoSlice::new(&head)], 0)?;
            return Ok(ChunkWriter::new(self.exchange, self.status.0, Framing::Nothing));
        }
        let framing = if self.exchange.is_http_1_0 { Framing::UntilClose } else { Framing::Chunks };
        if framing == Framing::UntilClose && !self.exchange.link.can_reset() {
            let exchange = self.exchange;
            let _: Sent = Reply::new(exchange).status(505).send("a stream needs HTTP/1.1 here\n")?;
            return Err(io::Error::new(ErrorKind::Unsupported, "a stream over HTTP/1.0 that couldn't be cut visibly"));
        }
        let encoding = (framing == Framing::Chunks).then_some("Transfer-Encoding: chunked\r\n");
        let head = self.head(encoding, framing == Framing::Chunks)?;
        self.exchange.begin(&mut [IoSlice::new(&head)], 0)?;
        Ok(ChunkWriter::new(self.exchange, self.status.0, framing))
    }

    /// As [`stream`](Reply::stream), for [`sse`](super::sse): sets
    /// `Content-Type: text/event-stream`.
    ///
    /// # Errors
    /// As [`stream`](Reply::stream).
    pub fn event_stream(self) -> io::Result<ChunkWriter<'c>> {
        self.header("Content-Type", "text/event-stream").stream()
    }

    fn blame(&mut self, what: String) {
        self.fault.get_or_insert_with(|| io::Error::new(ErrorKind::InvalidInput, what));
    }

    fn check(&mut self) -> io::Result<()> {
        self.fault.take().map_or(Ok(()), Err)
    }

    /// RFC 9110, 6.4.1.
    fn may_have_body(&self) -> bool {
        !matches!(self.status.0, 204 | 304)
    }

    fn has_body(&self) -> bool {
        self.may_have_body() && self.wants_body()
    }

    fn sized_head(&self, length: u64) -> io::Result<Vec<u8>> {
        if let Some(fault) = &self.fault {
            return Err(io::Error::new(fault.kind(), fault.to_string()));
        }
        if !self.may_have_body() {
            if length > 0 {
                return Err(io::Error::new(ErrorKind::InvalidInput, format!("a body with status {}", self.status.0)));
            }
            return self.head(None, true);
        }
        self.head(Some(&format!("Content-Length: {length}\r\n")), true)
    }

    /// The head with the lines that are the server's own.
    fn head(&self, framing: Option<&str>, framing_allows_keeping: bool) -> io::Result<Vec<u8>> {
        let mut head = Vec::with_capacity(256);
        write!(head, "HTTP/1.1 {} {}\r\n", self.status.0, self.status.default_reason_phrase())?;
        if !self.headers.iter().any(|h| h.field.equiv("Date")) {
            write!(head, "Date: {}\r\n", httpdate::fmt_http_date(SystemTime::now()))?;
        }
        for header in &self.headers {
            write!(head, "{header}\r\n")?;
        }
        head.extend_from_slice(framing.unwrap_or("").as_bytes());
        if !self.exchange.decide_to_keep(framing_allows_keeping) {
            head.extend_from_slice(b"Connection: close\r\n");
        } else if self.exchange.is_http_1_0 {
            head.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        head.extend_from_slice(b"\r\n");
        Ok(head)
    }

    fn sent(&self) -> Sent {
        self.exchange.complete();
        Sent { status: self.status.0, body_bytes: self.exchange.bytes(), is_complete: true }
    }
}

impl fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Header values may be secrets.
        f.debug_struct("Reply").field("status", &self.status.0).finish_non_exhaustive()
    }
}
