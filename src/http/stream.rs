//! A reply whose end isn't known yet: one flush is one chunk on the wire.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select};

use super::exchange::Exchange;
use super::park::{Bell, Course, Outlet};
use super::reply::Sent;
use crate::thread::Stop;

/// What is written waits here for its flush; more goes out by itself. Small,
/// as a server may have a thousand of them.
const BUFFER_BYTES: usize = 1024;
/// The most that one chunk from [`Write::write`] carries.
const CHUNK_BYTES: usize = 32 * 1024;

/// How a stream's bytes are delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Chunks,
    /// HTTP/1.0.
    UntilClose,
    /// HEAD: nothing goes out.
    Nothing,
}

impl Framing {
    /// The slices of one chunk of `length` bytes, with `end` behind it.
    pub(super) fn frame<'a>(
        self,
        head: &'a mut ChunkHead,
        length: usize,
        parts: &'a [IoSlice<'a>],
        end: &'a [u8],
    ) -> Vec<IoSlice<'a>> {
        let is_chunk = self == Framing::Chunks && length > 0;
        if is_chunk {
            head.set(length);
        }
        let mut framed = Vec::with_capacity(parts.len() + 3);
        framed.push(IoSlice::new(head.bytes()));
        framed.extend(parts.iter().map(|part| IoSlice::new(part)));
        framed.push(IoSlice::new(if is_chunk { b"\r\n" } else { b"" }));
        framed.push(IoSlice::new(end));
        framed
    }
}

/// The stream of a reply, from [`Reply::stream`](super::Reply::stream).
///
/// Bytes wait in a buffer of 1 KiB until [`flush`](Write::flush), which makes
/// one chunk of them and is on the wire, or an error, when it returns. More
/// than fits goes out without being asked. Each write to the wire has
/// [`write_time`](super::Limits::write_time); a client that doesn't read for
/// as long is an error, and so is every call after an error.
///
/// It ends in one of two ways: [`finish`](ChunkWriter::finish), or a cut that
/// the client can tell, by [`fail`](ChunkWriter::fail) or by being dropped.
#[must_use = "a stream that is dropped is cut"]
pub struct ChunkWriter<'c> {
    exchange: &'c Exchange<'c>,
    status: u16,
    framing: Framing,
    buffer: Vec<u8>,
    state: State,
    last_look: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Failed,
    Ended,
}

/// What [`ChunkWriter::wait`] woke up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken<T> {
    /// A message came.
    Message(T),
    /// No sender of the channel is left.
    Disconnected,
    /// The time passed.
    Timeout,
    /// The server is asked to stop: say the last, then finish or fail.
    Stopped,
    /// The client is gone, or asked with HEAD and waits for nothing.
    Gone,
}

impl<'c> ChunkWriter<'c> {
    pub(super) fn new(exchange: &'c Exchange<'c>, status: u16, framing: Framing) -> ChunkWriter<'c> {
        ChunkWriter { exchange, status, framing, buffer: Vec::new(), state: State::Open, last_look: Instant::now() }
    }

    /// Sends what is buffered and then `parts`, as one chunk by one `writev(2)`.
    /// With nothing to send, nothing is sent.
    ///
    /// # Errors
    /// The client is gone or too slow.
    pub fn write_chunk(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.check()?;
        let buffered = std::mem::take(&mut self.buffer);
        let sent = self.put(&buffered, parts, b"");
        self.keep_buffer(buffered);
        sent
    }

    /// Waits for a message, for `timeout`, for the server's stop, or until the
    /// client turns out to be gone, which is looked for every
    /// [`gone_time`](super::Limits::gone_time) though nothing is written.
    ///
    /// Once the server's stop is asked for, this no longer waits; drain the
    /// channel yourself if the last is still to come. What is buffered stays
    /// where it is: flush first.
    pub fn wait<T>(&mut self, messages: &Receiver<T>, timeout: Duration) -> Woken<T> {
        if self.framing == Framing::Nothing {
            return Woken::Gone;
        }
        let until = Instant::now().checked_add(timeout);
        loop {
            let now = Instant::now();
            let gone_time = self.exchange.link.gone_time();
            if now.saturating_duration_since(self.last_look) >= gone_time {
                self.last_look = now;
                if self.is_gone() {
                    return Woken::Gone;
                }
            }
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(now));
            // Until the next look is due, which the last call may have brought near.
            let nap = left.min(gone_time.saturating_sub(now.saturating_duration_since(self.last_look)));
            select! {
                recv(messages) -> message => {
                    return message.map_or(Woken::Disconnected, Woken::Message);
                }
                recv(self.stop().receiver()) -> _ => return Woken::Stopped,
                default(nap) => {
                    if left <= nap {
                        return Woken::Timeout;
                    }
                }
            }
        }
    }

    /// As [`wait`](ChunkWriter::wait), without a channel: a pause between two
    /// chunks that heeds the stop and the client.
    pub fn pause(&mut self, time: Duration) -> Woken<()> {
        self.wait(&crossbeam_channel::never(), time)
    }

    /// Whether the client has closed its side, asked now. A client that only
    /// shut down its sending side counts as gone: the two look alike until
    /// something is written. One that asked with HEAD is always gone.
    pub fn is_gone(&self) -> bool {
        self.framing == Framing::Nothing || self.state == State::Failed || self.exchange.link.is_gone()
    }

    /// Set when the server is asked to stop.
    pub fn stop(&self) -> &'c Stop {
        self.exchange.link.stop()
    }

    /// Sends what is buffered and the end, by one write: the client knows that
    /// it has all.
    ///
    /// # Errors
    /// The client is gone or too slow; it then knows that it hasn't.
    pub fn finish(mut self) -> io::Result<Sent> {
        self.check()?;
        let buffered = std::mem::take(&mut self.buffer);
        let end: &[u8] = if self.framing == Framing::Chunks { b"0\r\n\r\n" } else { b"" };
        self.put(&buffered, &[], end)?;
        self.state = State::Ended;
        self.exchange.complete();
        Ok(self.sent(true))
    }

    /// Sends what is buffered and `reason` as the last thing, then cuts the
    /// reply, so that the client knows that it isn't all.
    ///
    /// The reason goes out as it is given, with a line's end behind it: in a
    /// stream of records, give it as one.
    ///
    /// # Errors
    /// The client is gone or too slow; the reply is cut all the same.
    pub fn fail(mut self, reason: &str) -> io::Result<Sent> {
        self.check()?;
        let buffered = std::mem::take(&mut self.buffer);
        self.put(&buffered, &[IoSlice::new(reason.trim_end_matches('\n').as_bytes()), IoSlice::new(b"\n")], b"")?;
        let sent = self.sent(self.framing == Framing::Nothing);
        drop(self); // which cuts
        Ok(sent)
    }

    /// What wakes this stream once it is parked: for those who have news for it.
    /// `None` where it can't be parked: over TLS, on a tiny_http request, in
    /// answer to HEAD, or when the server stops.
    pub fn bell(&self) -> Option<Bell> {
        let may_park = self.framing != Framing::Nothing && self.state == State::Open && !self.stop().is_set();
        self.exchange.link.courier().filter(|_| may_park).map(Bell::new)
    }

    /// Gives up the thread: flushes, then the course goes on with the stream,
    /// whenever its [bell](ChunkWriter::bell) rings. The proof of the end becomes the course's duty:
    /// [`Course::resume`] gives it. Where it can't be parked, it is resumed at once.
    ///
    /// # Errors
    /// The client is gone or too slow.
    pub fn park(mut self, course: Box<dyn Course>) -> io::Result<Sent> {
        self.flush()?;
        if self.bell().is_none() {
            return course.resume(self);
        }
        let outlet = Outlet::new(self.status, self.framing, self.exchange.keeps(), self.exchange.bytes());
        self.exchange.park(outlet, course);
        self.state = State::Ended;
        Ok(self.sent(false))
    }

    fn sent(&self, is_complete: bool) -> Sent {
        Sent { status: self.status, body_bytes: self.exchange.bytes(), is_complete }
    }

    fn check(&self) -> io::Result<()> {
        if self.state == State::Open {
            Ok(())
        } else {
            Err(io::Error::new(ErrorKind::BrokenPipe, "an earlier write to this client failed"))
        }
    }

    /// One chunk of both, then `end`, all in one write.
    fn put(&mut self, first: &[u8], rest: &[IoSlice<'_>], end: &[u8]) -> io::Result<()> {
        let length = first.len() + rest.iter().map(|part| part.len()).sum::<usize>();
        if self.framing == Framing::Nothing || (length == 0 && end.is_empty()) {
            return Ok(());
        }
        let mut parts = Vec::with_capacity(rest.len() + 1);
        parts.push(IoSlice::new(first));
        parts.extend(rest.iter().map(|part| IoSlice::new(part)));
        let mut head = ChunkHead::default();
        let written = self.exchange.link.write(&mut self.framing.frame(&mut head, length, &parts, end));
        match &written {
            Ok(()) => self.exchange.count(length as u64),
            Err(_) => self.state = State::Failed,
        }
        written
    }

    /// Takes the buffer back, empty.
    fn keep_buffer(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.buffer = buffer;
    }
}

impl Write for ChunkWriter<'_> {
    /// Takes all of `bytes`, or 32 KiB of it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        let bytes = &bytes[..bytes.len().min(CHUNK_BYTES)];
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.write_chunk(&[IoSlice::new(bytes)])?;
        } else {
            self.buffer.reserve_exact(if self.buffer.capacity() == 0 { BUFFER_BYTES } else { 0 });
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    /// Sends what is buffered as one chunk, by one write.
    fn flush(&mut self) -> io::Result<()> {
        self.write_chunk(&[])
    }
}

impl Drop for ChunkWriter<'_> {
    fn drop(&mut self) {
        match (self.state, self.framing) {
            (State::Ended, _) => {}
            // The head was all there is to it.
            (State::Open, Framing::Nothing) => self.exchange.complete(),
            (_, framing) => self.exchange.cut(framing == Framing::Chunks),
        }
    }
}

impl fmt::Debug for ChunkWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkWriter").field("status", &self.status).field("state", &self.state).finish_non_exhaustive()
    }
}

/// A chunk's head: at most 16 digits, CR, LF.
#[derive(Default)]
pub(super) struct ChunkHead {
    bytes: [u8; 18],
    length: usize,
}

impl ChunkHead {
    fn set(&mut self, length: usize) {
        let mut room = &mut self.bytes[..];
        // There is room for the largest number.
        let _ = write!(room, "{length:x}\r\n");
        self.length = 18 - room.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
