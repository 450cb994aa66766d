//! The body of a request on a connection of ours, as it comes.

use std::io::{self, ErrorKind, IoSlice, Read};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Limits;
use super::exchange::Exchange;
use super::head::{Framing, Head};
use super::input::Input;
use super::link::Link;
use super::socket::moment_in;
use super::wire::Wire;
use crate::client::chunked::{Decoder, Next};

/// Reads the body's bytes, and no byte behind them.
pub(super) struct Incoming<'c> {
    wire: &'c Wire,
    input: &'c mut Input,
    exchange: &'c Exchange<'c>,
    left: Left,
    /// The client waits for a 100 before it sends the body.
    waits_for_go: bool,
    rate: Rate,
    drain_bytes: u64,
    failed: Option<ErrorKind>,
}

enum Left {
    Length(u64),
    Chunks(Decoder),
    Nothing,
}

impl<'c> Incoming<'c> {
    pub(super) fn new(
        wire: &'c Wire,
        input: &'c mut Input,
        exchange: &'c Exchange<'c>,
        head: &Head,
        limits: &Limits,
    ) -> Incoming<'c> {
        let (left, too_long) = match head.framing {
            Framing::Length(0) => (Left::Nothing, false),
            Framing::Length(length) => (Left::Length(length), length > limits.drain_bytes),
            Framing::Chunked => (Left::Chunks(Decoder::new()), false),
        };
        exchange.body_is_in_the_way.store(head.expects_continue || too_long, Ordering::Release);
        Incoming {
            wire,
            input,
            exchange,
            left,
            waits_for_go: head.expects_continue,
            rate: Rate::new(limits),
            drain_bytes: limits.drain_bytes,
            failed: None,
        }
    }

    /// Reads what the handler left, so that the next request can be found.
    /// False if that can't be done within the limits.
    pub(super) fn drain(&mut self) -> bool {
        if matches!(self.left, Left::Nothing) {
            return true;
        }
        if self.waits_for_go || self.failed.is_some() {
            return false;
        }
        let until = moment_in(self.rate.window);
        // On the heap: a connection's thread keeps the stack that it once used.
        let (mut buf, mut drained) = (vec![0; 1024], 0);
        while drained <= self.drain_bytes && Instant::now() < until {
            match self.read(&mut buf) {
                Ok(0) => return true,
                Ok(read) => drained += read as u64,
                Err(_) => return false,
            }
        }
        false
    }

    fn read_some(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let size = match &mut self.left {
                Left::Nothing => return Ok(0),
                Left::Length(left) => *left,
                Left::Chunks(decoder) => {
                    let (taken, next) = decoder.parse(self.input.waiting()).map_err(|why| {
                        self.exchange.blame_client(400);
                        io::Error::new(ErrorKind::InvalidData, why)
                    })?;
                    self.input.consume(taken);
                    match next {
                        Next::Data(size) => size,
                        Next::More => {
                            self.fill()?;
                            continue;
                        }
                        Next::End => {
                            self.end();
                            return Ok(0);
                        }
                    }
                }
            };
            let room = buf.len().min(usize::try_from(size).unwrap_or(usize::MAX));
            let read = self.read_data(&mut buf[..room])?;
            self.took(read as u64);
            return Ok(read);
        }
    }

    fn took(&mut self, count: u64) {
        match &mut self.left {
            Left::Length(left) => {
                *left -= count;
                if *left == 0 {
                    self.end();
                }
            }
            Left::Chunks(decoder) => decoder.took(count),
            Left::Nothing => {}
        }
    }

    fn end(&mut self) {
        self.left = Left::Nothing;
        if self.failed.is_none() {
            self.exchange.body_is_in_the_way.store(false, Ordering::Release);
        }
    }

    /// Data goes from the socket straight to the reader.
    fn read_data(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let taken = self.input.take(buf);
        if taken > 0 {
            return Ok(taken);
        }
        let (wire, rate) = (self.wire, &mut self.rate);
        let read = rate.watch(|until| wire.read(buf, until));
        self.judge(read)
    }

    fn fill(&mut self) -> io::Result<()> {
        let (wire, input, rate) = (self.wire, &mut *self.input, &mut self.rate);
        let read = rate.watch(|until| input.fill(wire, until));
        self.judge(read).map(|_| ())
    }

    fn judge(&self, read: io::Result<usize>) -> io::Result<usize> {
        match read {
            Ok(0) => {
                self.exchange.blame_client(400);
                Err(io::Error::new(ErrorKind::UnexpectedEof, "the client ended before its body did"))
            }
            Err(e) if e.kind() == ErrorKind::ConnectionReset => {
                self.exchange.blame_client(400);
                Err(e)
            }
            Err(e) if e.kind() == ErrorKind::TimedOut => {
                self.exchange.blame_client(408);
                Err(io::Error::new(ErrorKind::TimedOut, "the request's body came too slowly"))
            }
            read => read,
        }
    }

    /// Asks the client for its body, the first time that somebody wants it.
    fn go_ahead(&mut self) -> io::Result<()> {
        if !self.waits_for_go {
            return Ok(());
        }
        // The reply may be another thread's.
        let said = self.exchange.unless_begun(|| {
            self.waits_for_go = false;
            // A client that didn't wait needs no answer (RFC 9110, 10.1.1).
            if self.input.waiting().is_empty() {
                self.wire.write(&mut [IoSlice::new(b"HTTP/1.1 100 Continue\r\n\r\n")])?;
            }
            Ok(())
        });
        said.unwrap_or_else(|| {
            let text = "the reply has begun, and the client waits for nothing else";
            Err(io::Error::new(ErrorKind::InvalidInput, text))
        })
    }
}

impl Read for Incoming<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(kind) = self.failed {
            return Err(io::Error::new(kind, "an earlier read of this body failed"));
        }
        if buf.is_empty() || matches!(self.left, Left::Nothing) {
            return Ok(0);
        }
        let read = self.go_ahead().and_then(|()| self.read_some(buf));
        if let Err(e) = &read {
            self.failed = Some(e.kind());
            self.exchange.never_keep();
        }
        read
    }
}

/// The minimum rate: so many bytes for each window of time spent waiting.
#[derive(Debug)]
struct Rate {
    window: Duration,
    window_bytes: u64,
    waited: Duration,
    bytes: u64,
}

impl Rate {
    fn new(limits: &Limits) -> Rate {
        Rate { window: limits.body_window, window_bytes: limits.body_window_bytes, waited: Duration::ZERO, bytes: 0 }
    }

    fn watch(&mut self, read: impl FnOnce(Instant) -> io::Result<usize>) -> io::Result<usize> {
        let start = Instant::now();
        let count = read(moment_in(self.window.saturating_sub(self.waited)))?;
        self.waited += start.elapsed();
        self.bytes += count as u64;
        if self.bytes >= self.window_bytes {
            self.waited = Duration::ZERO;
            self.bytes = 0;
        }
        Ok(count)
    }
}
