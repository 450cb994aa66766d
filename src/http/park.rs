//! A stream that has nothing to say keeps no thread: it is parked.
//!
//! A thousand readers of a quiet stream are a thousand sockets then, and not a
//! thousand stacks; and a line goes out to all of them without waking a thread
//! for each. What is written to a parked stream never waits: a client that
//! has no room gets a thread again, which waits for it.

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::courier::Courier;
use super::reply::Sent;
use super::stream::{ChunkHead, ChunkWriter, Framing};
use super::wire::Wire;
use crate::thread::context;

/// What goes on with a stream while it is parked, and after.
pub trait Course: Send {
    /// Writes what is new, and says when to ask again. Called whenever a
    /// [`Bell`] of the server rings and when the time of the last answer has
    /// passed, on a thread that other streams share, or the ringer's own: it
    /// must not block.
    fn advance(&mut self, out: &mut Gate<'_>) -> Step;

    /// Goes on with the stream on a thread of its own, and ends it or parks it again.
    ///
    /// # Errors
    /// As of any handler.
    fn resume(self: Box<Self>, out: ChunkWriter<'_>) -> io::Result<Sent>;
}

/// What a [`Course`] wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To be asked again when a bell rings, and after so much time at the latest.
    Wait(Duration),
    /// A thread of its own.
    Resume,
}

/// The way to the client of a parked stream.
pub struct Gate<'p> {
    wire: &'p Wire,
    stream: &'p mut Outlet,
}

impl Gate<'_> {
    /// Writes one chunk, without waiting. False if the client had no room for
    /// all of it, or is gone: then nothing more can be written here. What is
    /// left goes out first when the stream is resumed.
    pub fn write_chunk(&mut self, parts: &[IoSlice<'_>]) -> bool {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if self.stream.is_stuck() {
            return false;
        }
        if length == 0 {
            return true;
        }
        let mut head = ChunkHead::default();
        let framed = self.stream.framing.frame(&mut head, length, parts, b"");
        let total: usize = framed.iter().map(|part| part.len()).sum();
        match self.wire.try_write(&framed) {
            Ok(written) => {
                self.stream.bytes += length as u64;
                let mut behind = written.unwrap_or(0);
                if behind < total {
                    for part in &framed {
                        let skipped = behind.min(part.len());
                        behind -= skipped;
                        self.stream.unsent.extend_from_slice(&part[skipped..]);
                    }
                }
            }
            Err(error) => self.stream.failed = Some(error),
        }
        !self.stream.is_stuck()
    }
}

impl fmt::Debug for Gate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("bytes", &self.stream.bytes).finish_non_exhaustive()
    }
}

/// Wakes a server's parked streams: whoever has news for them rings it.
///
/// A few streams are served by the thread that rings, which saves them a
/// wake-up and costs it a `send(2)` for each; more by a thread of the server's.
#[derive(Clone)]
pub struct Bell(Weak<Courier>);

impl Bell {
    pub(super) fn new(courier: &Arc<Courier>) -> Bell {
        Bell(Arc::downgrade(courier))
    }

    /// Has every parked stream look for news. Doesn't wait for any of them.
    pub fn ring(&self) {
        if let Some(courier) = self.0.upgrade() {
            courier.ring();
        }
    }
}

impl PartialEq for Bell {
    /// Whether both wake the same streams.
    fn eq(&self, other: &Bell) -> bool {
        Weak::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").finish_non_exhaustive()
    }
}

/// How far a stream has come, apart from who writes it.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) status: u16,
    pub(super) framing: Framing,
    /// Whether the connection is kept behind its end.
    pub(super) keeps: bool,
    pub(super) bytes: u64,
    /// Framed already, and still to be written.
    pub(super) unsent: Vec<u8>,
    failed: Option<io::Error>,
}

impl Outlet {
    pub(super) fn new(status: u16, framing: Framing, keeps: bool, bytes: u64) -> Outlet {
        Outlet { status, framing, keeps, bytes, unsent: Vec::new(), failed: None }
    }

    fn is_stuck(&self) -> bool {
        self.failed.is_some() || !self.unsent.is_empty()
    }
}

/// A stream without its connection.
pub(super) struct Stream {
    pub(super) outlet: Outlet,
    pub(super) course: Box<dyn Course>,
    /// The request line, for the evidence of a panic.
    pub(super) line: String,
}

/// A stream and its connection, without a thread.
pub(super) struct Parked {
    pub(super) connection: Connection,
    pub(super) stream: Stream,
    /// When to ask it again, though nobody rings.
    pub(super) due: Option<Instant>,
}

/// What became of a parked stream.
pub(super) enum Turn {
    Stays,
    WantsThread,
    /// Its client is gone.
    Gone(io::Error),
}

impl Parked {
    /// Lets it write what is new.
    pub(super) fn advance(&mut self) -> Turn {
        let _peer = context("peer", self.connection.peer);
        let Stream { outlet, course, line } = &mut self.stream;
        let _request = context("request", line);
        let step = course.advance(&mut Gate { wire: &self.connection.wire, stream: outlet });
        if let Some(error) = outlet.failed.take() {
            return Turn::Gone(error);
        }
        match step {
            Step::Wait(time) if !outlet.is_stuck() => {
                self.due = Instant::now().checked_add(time);
                Turn::Stays
            }
            Step::Wait(_) | Step::Resume => Turn::WantsThread,
        }
    }

    /// Ends it short of its end, so that the client can tell.
    pub(super) fn cut(self) {
        let delimited = self.stream.outlet.framing == Framing::Chunks;
        self.connection.cut(delimited);
    }
}
