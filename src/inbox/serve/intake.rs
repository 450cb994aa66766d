//! A file's bytes, from a request to a draft, within the limits.

use std::cell::Cell;
use std::io::{self, BufRead, ErrorKind, Read, Write};

use super::inbox::Shared;
use super::refused::Refused;
use super::space::Claim;

/// So much is read from the client at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// What file systems write whole: a write that ends within one costs it twice.
const PAGE_BYTES: u64 = 4096;

/// How much to read next, so that the file is written in whole pages.
fn step(written: u64) -> usize {
    BUFFER_BYTES - usize::try_from(written % PAGE_BYTES).unwrap_or(0)
}

/// What ends the taking in.
pub(super) enum Failed {
    /// The body itself: nothing behind it can be read.
    Body(io::Error),
    /// This file isn't wanted; the body can be read on.
    Refused(Refused),
}

/// Where the bytes go, and how many there may be.
pub(super) struct Intake<'i, 's, W> {
    pub(super) to: W,
    /// How many bytes are there.
    pub(super) written: u64,
    pub(super) claim: &'i mut Claim<'s>,
    /// How many may still come.
    pub(super) left_bytes: u64,
    /// What it is when more do.
    pub(super) beyond: &'i dyn Fn() -> Refused,
}

impl<W: Write> Intake<'_, '_, W> {
    /// Takes bytes in.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let count = bytes.len() as u64;
        self.left_bytes = self.left_bytes.checked_sub(count).ok_or_else(|| (self.beyond)())?;
        self.to.write_all(bytes).map_err(|error| Refused::by_disk(&error))?;
        self.written += count;
        self.claim.wrote(count)
    }

    /// Takes in what a reader lends, without a copy on the way; `next` is told
    /// how much it had best read.
    pub(super) fn take_lent(&mut self, from: &mut impl BufRead, next: &Cell<usize>) -> Result<(), Failed> {
        loop {
            let lent = from.fill_buf().map_err(Failed::Body)?;
            if lent.is_empty() {
                return Ok(());
            }
            let count = lent.len();
            let taken = self.take(lent);
            from.consume(count);
            taken.map_err(Failed::Refused)?;
            next.set(step(self.written));
        }
    }

    /// Takes in all that a body has.
    pub(super) fn take_all(&mut self, from: &mut impl Read) -> Result<(), Failed> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match from.read(&mut buffer[..step(self.written)]) {
                Ok(0) => return Ok(()),
                Ok(read) => self.take(&buffer[..read]).map_err(Failed::Refused)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Failed::Body(error)),
            }
        }
    }
}

/// A body that may not be longer than a request's may be.
pub(super) struct Bounded<'n, R> {
    body: R,
    limit: u64,
    left: u64,
    /// The most that is read at a time.
    next: &'n Cell<usize>,
}

impl<'n, R: Read> Bounded<'n, R> {
    pub(super) fn new(body: R, limit: Option<u64>, next: &'n Cell<usize>) -> Bounded<'n, R> {
        let limit = limit.unwrap_or(u64::MAX);
        Bounded { body, limit, left: limit, next }
    }
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = buf.len().min(self.next.get());
        let read = self.body.read(&mut buf[..most])?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => {
                let text = format!("a request may have {} bytes at most", self.limit);
                return Err(io::Error::new(ErrorKind::FileTooLarge, text));
            }
        }
        Ok(read)
    }
}

/// For who reads as much as there is room for.
pub(super) fn as_much_as_fits() -> Cell<usize> {
    Cell::new(usize::MAX)
}

impl Shared {
    /// Refuses, before anything of it is read, what is announced to be too long.
    pub(super) fn check_request(&self, length: Option<u64>) -> Result<(), Refused> {
        match (length, self.settings.max_request_bytes) {
            (Some(length), Some(limit)) if length > limit => Err(Refused::too_long("a request", limit)),
            _ => Ok(()),
        }
    }

    /// The same for a file.
    pub(super) fn check_file(&self, length: Option<u64>) -> Result<(), Refused> {
        match (length, self.settings.max_file_bytes) {
            (Some(length), Some(limit)) if length > limit => Err(Refused::too_long("a file", limit)),
            _ => Ok(()),
        }
    }

    pub(super) fn file_limit(&self) -> u64 {
        self.settings.max_file_bytes.unwrap_or(u64::MAX)
    }

    /// A file turned out to be too long.
    pub(super) fn too_long(&self) -> Refused {
        Refused::too_long("a file", self.file_limit())
    }
}
