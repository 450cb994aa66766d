//! Where lines come from.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::{Halt, Outlet};
use crate::flow::Splitter;
use crate::flow::follow::{Watcher, follow, open, start_offset};

/// Read at a time.
const READ_BYTES: usize = 64 * 1024;
/// The same of a file in which lines are looked for: what passes of it wakes who takes it.
const SEARCHED_BYTES: usize = 256 * 1024;

/// One source of a [`Merge`](super::Merge).
#[must_use = "a source does nothing until it is merged"]
pub struct Source {
    name: String,
    kind: Kind,
}

enum Kind {
    File(LogFile),
    Pollable(Box<dyn Pollable>),
    Reader(Box<dyn Read + Send>),
}

/// What can be waited for, together with a stop.
trait Pollable: Read + Send {
    fn descriptor(&self) -> BorrowedFd<'_>;
}

impl<T: Read + AsFd + Send> Pollable for T {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

impl Source {
    /// What comes out of a pipe, a socket, a terminal: a child's output, or a
    /// [`pipe::Source`](crate::pipe::Source), whose error is then the source's end.
    /// It must not buffer: what it holds back isn't seen.
    pub fn pollable(name: impl Into<String>, reader: impl Read + AsFd + Send + 'static) -> Source {
        Source { name: name.into(), kind: Kind::Pollable(Box::new(reader)) }
    }

    /// Any reader. A read that blocks sees no stop: only its end ends the source.
    pub fn reader(name: impl Into<String>, reader: impl Read + Send + 'static) -> Source {
        Source { name: name.into(), kind: Kind::Reader(Box::new(reader)) }
    }

    /// Our standard input, named `-`.
    ///
    /// # Errors
    /// It is closed (`EBADF`), or no descriptor is left (`EMFILE`).
    pub fn stdin() -> io::Result<Source> {
        // A descriptor of its own: std's stdin buffers.
        Ok(Source::pollable("-", File::from(io::stdin().as_fd().try_clone_to_owned()?)))
    }

    /// Its path, or the name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn wants_events(&self) -> bool {
        matches!(&self.kind, Kind::File(file) if file.follow && !file.poll)
    }

    /// Reads to the end, or until it is halted.
    pub(super) fn read(self, watcher: &Watcher, halt: &Halt, out: &mut Outlet) -> io::Result<()> {
        match self.kind {
            Kind::File(file) => file.read(watcher, halt, out),
            Kind::Pollable(mut reader) => read_pollable(&mut *reader, halt, out),
            Kind::Reader(mut reader) => read_all(halt, out, |buffer| reader.read(buffer)),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where reading a file starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// At its beginning; the default.
    #[default]
    Beginning,
    /// With its last so many lines. One without an end counts.
    Last(u64),
    /// At its end.
    End,
}

/// A file, read to its end or followed by its name.
///
/// Followed, it may be renamed, replaced, truncated, deleted, and appear later;
/// [`StartAt`] is about the file that is there first, and those that come after
/// it are read from their beginning. A followed file ends only by a stop; one
/// that isn't a regular file (a FIFO, a terminal) by its end.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is merged"]
pub struct LogFile {
    pub(in crate::flow) path: PathBuf,
    pub(in crate::flow) from: StartAt,
    follow: bool,
    poll: bool,
}

impl LogFile {
    /// The file at `path`, read from its beginning to its end.
    pub fn new(path: impl Into<PathBuf>) -> LogFile {
        LogFile { path: path.into(), from: StartAt::Beginning, follow: false, poll: false }
    }

    /// Whether to go on at its end; defaults to false.
    pub fn follow(mut self, follow: bool) -> LogFile {
        self.follow = follow;
        self
    }

    /// Where to start; defaults to [`StartAt::Beginning`].
    pub fn start_at(mut self, from: StartAt) -> LogFile {
        self.from = from;
        self
    }

    /// Whether to look four times a second and leave inotify alone: for file
    /// systems on which other hosts write. Defaults to false: with inotify it
    /// still looks every 2 s.
    pub fn poll(mut self, poll: bool) -> LogFile {
        self.poll = poll;
        self
    }

    fn read(self, watcher: &Watcher, halt: &Halt, out: &mut Outlet) -> io::Result<()> {
        if self.follow && is_regular_or_absent(&self.path)? {
            return if self.poll {
                follow(&self, &Watcher::blind(), halt, out)
            } else {
                follow(&self, watcher, halt, out)
            };
        }
        let mut file = open(&self.path)?;
        if !file.metadata()?.is_file() {
            return read_pollable(&mut file, halt, out);
        }
        let mut offset = start_offset(&file, self.from)?;
        let size = if out.chooses() { SEARCHED_BYTES } else { READ_BYTES };
        read_all_by(size, halt, out, |buffer| {
            let length = file.read_at(buffer, offset)?;
            offset += length as u64;
            Ok(length)
        })
    }
}

impl From<LogFile> for Source {
    fn from(file: LogFile) -> Source {
        Source { name: file.path.display().to_string(), kind: Kind::File(file) }
    }
}

/// What isn't there yet may come; what can't be looked at now, too.
fn is_regular_or_absent(path: &Path) -> io::Result<bool> {
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => Err(Errno::ISDIR.into()),
        Ok(metadata) => Ok(metadata.is_file()),
        Err(_) => Ok(true),
    }
}

fn read_pollable(reader: &mut dyn Pollable, halt: &Halt, out: &mut Outlet) -> io::Result<()> {
    read_all(halt, out, |buffer| {
        let (descriptor, halted) = (reader.descriptor(), halt.as_fd());
        let mut ready =
            [PollFd::from_borrowed_fd(descriptor, PollFlags::IN), PollFd::from_borrowed_fd(halted, PollFlags::IN)];
        // No deadline: how long a source is silent is its own affair, and the halt unblocks it.
        poll(&mut ready, None)?;
        if ready[0].revents().is_empty() {
            // Halted, which the loop sees, or woken for nothing.
            return Err(io::ErrorKind::Interrupted.into());
        }
        reader.read(buffer)
    })
}

fn read_all(halt: &Halt, out: &mut Outlet, read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<()> {
    read_all_by(READ_BYTES, halt, out, read)
}

/// Reads to the end, `size` bytes at a time, line by line into the outlet.
fn read_all_by(
    size: usize,
    halt: &Halt,
    out: &mut Outlet,
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
) -> io::Result<()> {
    out.begun();
    let mut buffer = vec![0; size];
    let mut splitter = Splitter::new();
    let mut result = Ok(());
    while !halt.is_set() {
        match read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => splitter.push_blocks(&buffer[..length], |piece| out.piece(piece)),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(error) => {
                result = Err(error);
                break;
            }
        }
        out.flush();
    }
    splitter.finish(|piece| out.piece(piece));
    out.flush();
    result
}
