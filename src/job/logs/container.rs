//! A container's log as a source of lines.
//!
//! A thread reads it from the daemon into a pipe, which can be waited for together with a
//! stop; the pipe's end is the log's, proven or failed. To drop the source ends the thread.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use crate::docker::{Docker, Ender, Error, LogsQuery};
use crate::flow::merge::Source;
use crate::pipe;

/// The log of the container of this name or id, both its streams, as one source of that
/// name. One that can't be read is a source that fails, as a file is.
pub fn container_log(docker: &Docker, name: &str, query: &LogsQuery) -> Source {
    match lines(docker, name, query) {
        Ok(lines) => Source::pollable(name, lines),
        Err(error) => no_log(name, error),
    }
}

/// A source that fails with this error: for a log that can't even be asked for.
pub fn no_log(name: &str, error: Error) -> Source {
    Source::reader(name, Failing(Some(error)))
}

fn lines(docker: &Docker, name: &str, query: &LogsQuery) -> Result<Lines, Error> {
    let mut logs = docker.container(name).logs(query)?;
    let ender = logs.ender();
    let thread = format!("log of {name}").replace('\0', "?");
    let produced = pipe::produce(&thread, move |sink| {
        while let Some(chunk) = logs.next_chunk().map_err(io::Error::other)? {
            sink.write_all(chunk.bytes)?;
        }
        Ok(())
    });
    let lines = produced.map_err(|_| Error::local("no pipe or thread is left to read a container's log"))?;
    Ok(Lines { lines, ender })
}

struct Failing(Option<Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), |error| Err(io::Error::other(error)))
    }
}

/// The pipe's end, and what ends the thread at its other one.
struct Lines {
    lines: pipe::Source,
    ender: Ender,
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.lines.read(buffer)
    }
}

impl AsFd for Lines {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lines.as_fd()
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // Before the pipe, which waits for the thread.
        self.ender.now();
    }
}
