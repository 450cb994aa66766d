//! One request, as its handler sees it.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;

use tiny_http::{HTTPVersion, Method};

use super::cutter::Cutter;
use super::exchange::Exchange;
use super::head::{Framing, Head};
use super::query::{self, InvalidQuery};
use crate::thread::Stop;

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The other end of a TCP connection.
    Tcp(SocketAddr),
    /// Somebody on this host, over a Unix socket.
    Unix,
    /// A tiny_http request that doesn't know.
    Unknown,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            Peer::Unix => f.write_str("unix"),
            Peer::Unknown => f.write_str("unknown"),
        }
    }
}

/// One request: its head, already checked, and its body, still to be read.
pub struct Request<'c> {
    head: &'c Head,
    peer: Peer,
    exchange: &'c Exchange<'c>,
    body: Body<'c>,
}

impl<'c> Request<'c> {
    pub(super) fn new(
        head: &'c Head,
        peer: Peer,
        exchange: &'c Exchange<'c>,
        source: &'c mut (dyn Read + Send),
    ) -> Request<'c> {
        Request { head, peer, exchange, body: Body { source, exchange } }
    }

    /// The method, as it was written: methods are case-sensitive.
    pub fn method(&self) -> &'c Method {
        self.head.method()
    }

    /// The path, still percent-encoded: see [`percent_decode`](super::percent_decode).
    /// `*` for `OPTIONS *`.
    pub fn path(&self) -> &'c str {
        self.head.path()
    }

    /// What follows the first `?`, still encoded.
    pub fn query(&self) -> Option<&'c str> {
        self.head.query()
    }

    /// The query's names and values, decoded, in their order.
    ///
    /// # Errors
    /// A `%` without two hex digits, or what isn't UTF-8: answer it with 400.
    pub fn params(&self) -> Result<Vec<(String, String)>, InvalidQuery> {
        query::pairs(self.query().unwrap_or(""))
    }

    /// The target as it was sent: path and query, or a whole URL.
    pub fn target(&self) -> &'c str {
        self.head.target()
    }

    /// `HTTPVersion(1, 1)` or `(1, 0)`.
    pub fn version(&self) -> HTTPVersion {
        self.head.version()
    }

    /// The first header of this name, whatever its case; none if it isn't UTF-8.
    pub fn header(&self, name: &str) -> Option<&'c str> {
        self.head.header(name)
    }

    /// All header lines in their order. A value may hold any bytes but control
    /// characters.
    pub fn headers(&self) -> impl Iterator<Item = (&'c str, &'c [u8])> {
        self.head.headers()
    }

    /// Host and port that the client asked for.
    pub fn authority(&self) -> Option<&'c str> {
        self.head.authority()
    }

    /// The length that the body was announced with; none for chunks.
    pub fn content_length(&self) -> Option<u64> {
        match self.head.framing {
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        }
    }

    /// Who sent it.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Set when the server is asked to stop: a long handler ends itself then.
    pub fn stop(&self) -> &'c Stop {
        self.exchange.link.stop()
    }

    /// What ends this request's connection from another thread.
    ///
    /// # Errors
    /// `Unsupported` for a tiny_http request; the system gives no descriptor.
    pub fn cutter(&self) -> io::Result<Cutter> {
        self.exchange.link.cutter()
    }

    /// The body.
    pub fn body(&mut self) -> &mut Body<'c> {
        &mut self.body
    }
}

impl fmt::Debug for Request<'_> {
    /// Without the headers: they carry secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", self.method())
            .field("target", &self.target())
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// A request's body. `Ok(0)` means that all of it came: a client that ends
/// early is `UnexpectedEof`.
///
/// A read blocks until something comes, under the minimum rate of
/// [`body_window`](super::Limits::body_window) (`TimedOut`); malformed chunks
/// are `InvalidData`. If the handler gives such an error back and has sent
/// nothing, the client gets 408 or 400. A client that sent
/// `Expect: 100-continue` is told to go ahead by the first read.
pub struct Body<'c> {
    source: &'c mut (dyn Read + Send),
    exchange: &'c Exchange<'c>,
}

impl Body<'_> {
    /// Reads all of it, if it has at most `limit_bytes`.
    ///
    /// # Errors
    /// As for reads; `FileTooLarge` for more than that, which the client gets
    /// as a 413 if the handler gives it back.
    pub fn read_all(&mut self, limit_bytes: usize) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        // One byte further, to tell a body that ends there from a longer one.
        let limit = u64::try_from(limit_bytes).unwrap_or(u64::MAX).saturating_add(1);
        self.take(limit).read_to_end(&mut all)?;
        if all.len() > limit_bytes {
            self.exchange.blame_client(413);
            let text = format!("the request's body has more than {limit_bytes} bytes");
            return Err(io::Error::new(ErrorKind::FileTooLarge, text));
        }
        Ok(all)
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.source.read(buf)
    }
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}
