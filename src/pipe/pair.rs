//! The two halves.

use std::io::{self, IoSlice, IoSliceMut, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

use super::verdict::{Shared, Verdict};
use crate::thread::Worker;

/// A pipe with the kernel's default capacity: 64 KiB, or one page once the
/// user has very many of them (`pipe(7)`).
///
/// # Errors
/// `EMFILE`, `ENFILE`: no descriptor left, here or on the host.
pub fn pair() -> io::Result<(Sink, Source)> {
    let (reader, writer) = io::pipe()?;
    let shared = Arc::new(Shared::default());
    let sink = Sink { end: writer, shared: Arc::clone(&shared) };
    Ok((sink, Source { end: reader, shared, producer: None }))
}

/// A pipe that holds at least `bytes`. The kernel rounds up, to a power of two
/// of pages ([`Sink::capacity`] tells), and gives an unprivileged user up to
/// `/proc/sys/fs/pipe-max-size`, 1 MiB by default (F_SETPIPE_SZ in `fcntl(2)`).
///
/// # Errors
/// As [`pair`]; and `PermissionDenied` (EPERM) beyond the user's limit,
/// `InvalidInput` (EINVAL) beyond any.
pub fn pair_with_capacity(bytes: usize) -> io::Result<(Sink, Source)> {
    let (sink, source) = pair()?;
    fcntl_setpipe_size(&source, bytes)?;
    Ok((sink, source))
}

/// The writing half. Each write goes into the pipe at once; it blocks while
/// the pipe is full, until the reader takes some or is gone.
///
/// End it with [`finish`](Sink::finish) or [`fail`](Sink::fail): dropped
/// without a word, it is an error at the reader, and one that names the
/// panic's thread if it was dropped by unwinding.
#[must_use = "a dropped sink is an error at its reader"]
#[derive(Debug)]
pub struct Sink {
    /// Closed after `drop` has said the last word, by which a reader learns to look for it.
    end: PipeWriter,
    shared: Arc<Shared>,
}

/// The reading half. `Ok(0)` means that the writer has finished (or that the
/// buffer given was empty); every other end is an error.
///
/// A read blocks until there are bytes or an end. Dropping it fails the
/// writer's next write with `BrokenPipe`, except while a lent copy lives.
#[derive(Debug)]
pub struct Source {
    end: PipeReader,
    shared: Arc<Shared>,
    /// The thread of `produce`, until the end was seen. Dropped after `end`,
    /// as its order here says: a broken pipe is what stops it.
    producer: Option<Worker<()>>,
}

impl Sink {
    /// The end, as it should be: the reader gets `Ok(0)` after the last byte.
    /// Nothing is buffered here, so nothing is left to fail.
    pub fn finish(self) {
        self.shared.say(|| Verdict::Finished);
    }

    /// The end, by an error: the reader gets it after the last byte, in place
    /// of `Ok(0)`. The kinds `Interrupted` and `WouldBlock`, which readers take
    /// for "again", become `Other`.
    pub fn fail(self, error: io::Error) {
        self.shared.say(|| Verdict::failed(error));
    }

    /// A copy of this end for a child: `Command::stdout(sink.lend()?)`.
    ///
    /// The pipe stays open until all copies are closed, in whatever process:
    /// the [module](super) tells what that means. It isn't inherited by other
    /// children (`O_CLOEXEC`).
    ///
    /// # Errors
    /// `EMFILE`: no descriptor left.
    pub fn lend(&self) -> io::Result<OwnedFd> {
        Ok(self.end.try_clone()?.into())
    }

    /// How many bytes the pipe holds before a write blocks.
    ///
    /// # Errors
    /// None is known on Linux.
    pub fn capacity(&self) -> io::Result<usize> {
        Ok(fcntl_getpipe_size(&self.end)?)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // Counts only if neither finish nor fail came before.
        self.shared.say(|| {
            if thread::panicking() {
                let name = thread::current().name().unwrap_or("unnamed").to_owned();
                Verdict::failed(io::Error::other(format!("thread {name:?} panicked before it finished the pipe")))
            } else {
                let text = "the writing side of the pipe was dropped before it said how it ended";
                Verdict::failed(io::Error::new(io::ErrorKind::UnexpectedEof, text))
            }
        });
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.end.write(bytes)
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.end.write_vectored(bytes)
    }

    /// Does nothing: nothing is buffered.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source {
    /// What the writer has said about the end by now: None if nothing yet. For
    /// those whose child reads a [lent](Source::lend) end: a child that has
    /// read to the end can't tell a finish from a failure, but this can.
    /// Doesn't block, and says nothing about bytes still in the pipe.
    pub fn verdict(&self) -> Option<io::Result<()>> {
        self.shared.verdict().map(|verdict| verdict.to_result())
    }

    /// A copy of this end for a child: `Command::stdin(source.lend()?)`.
    ///
    /// Whoever reads from it sees a bare pipe, where a failure looks like an
    /// end: ask [`verdict`](Source::verdict) when the child is done. As long as
    /// a copy is open, here or there, the writer gets no `BrokenPipe`.
    ///
    /// # Errors
    /// `EMFILE`: no descriptor left.
    pub fn lend(&self) -> io::Result<OwnedFd> {
        Ok(self.end.try_clone()?.into())
    }

    pub(super) fn owning(mut self, producer: Worker<()>) -> Source {
        self.producer = Some(producer);
        self
    }

    /// Makes sense of what the kernel gave for a buffer with room.
    fn judge(&mut self, read: io::Result<usize>) -> io::Result<usize> {
        if !matches!(read, Ok(0)) {
            return read;
        }
        // The producer has said its last word: this joins it.
        self.producer = None;
        match self.verdict() {
            Some(verdict) => verdict.map(|()| 0),
            // All ends are closed, ours included, and that one speaks before it closes.
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the pipe ended without a verdict")),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.shared.reader_is_gone();
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = self.end.read(buffer);
        self.judge(read)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if buffers.iter().all(|buffer| buffer.is_empty()) {
            return Ok(0);
        }
        let read = self.end.read_vectored(buffers);
        self.judge(read)
    }
}

/// For polling with a deadline: readable means bytes or an end. Reading from
/// it directly bypasses the proof of the end.
impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}
