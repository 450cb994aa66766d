//! A file on its way into a request: counted, hashed, and held to its length.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::item::Item;
use crate::inbox::Meter;
use crate::inbox::digest::Lane;

/// One item, read as it is sent. It is opened at its first read, so that many
/// of them don't need a descriptor each.
pub(super) struct Outflow {
    item: Item,
    reader: Option<Box<dyn Read + Send>>,
    beside: Beside,
    /// How far this try has read, and the hash has been fed in any try.
    at: u64,
    hashed: Arc<AtomicU64>,
    ended: bool,
}

/// What happens beside the sending.
#[derive(Clone)]
pub(super) struct Beside {
    pub(super) meter: Meter,
    pub(super) lane: Option<Lane>,
    /// The item that is being read, for an error to name.
    pub(super) index: Arc<AtomicUsize>,
    pub(super) own_index: usize,
    /// How far it was read.
    pub(super) passed: Arc<AtomicU64>,
}

impl Outflow {
    pub(super) fn new(item: &Item, beside: Beside) -> Outflow {
        Outflow::going_on(item, beside, None, Arc::default())
    }

    /// A try that starts in the middle, at a place of `reader`; what was hashed
    /// isn't hashed again.
    pub(super) fn going_on(
        item: &Item,
        beside: Beside,
        reader: Option<(File, u64)>,
        hashed: Arc<AtomicU64>,
    ) -> Outflow {
        let (reader, at) = match reader {
            Some((file, at)) => (Some(Box::new(file) as Box<dyn Read + Send>), at),
            None => (None, 0),
        };
        Outflow { item: item.clone(), reader, beside, at, hashed, ended: false }
    }

    fn read_on(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.reader.is_none() {
            self.beside.index.store(self.beside.own_index, Ordering::Relaxed);
            self.beside.meter.set_name(&self.item.name);
            self.reader = Some(self.item.open()?);
        }
        let Some(reader) = &mut self.reader else { return Ok(0) };
        loop {
            match reader.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl Read for Outflow {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.ended || buf.is_empty() {
            return Ok(0);
        }
        let len = self.read_on(buf)?;
        let Beside { meter, lane, .. } = &self.beside;
        if len == 0 {
            self.ended = true;
            // Its descriptor isn't needed any more.
            self.reader = Some(Box::new(io::empty()));
            if let Some(lane) = lane {
                lane.end();
            }
            return Ok(0);
        }
        if let Some(lane) = lane {
            let known = self.hashed.load(Ordering::Relaxed).saturating_sub(self.at);
            let known = usize::try_from(known).unwrap_or(usize::MAX).min(len);
            if known < len {
                lane.feed(&buf[known..len]);
                self.hashed.store(self.at + len as u64, Ordering::Relaxed);
            }
        }
        self.at += len as u64;
        self.beside.passed.store(self.at, Ordering::Relaxed);
        meter.add(len as u64);
        Ok(len)
    }
}

/// A body as ureq reads it: never more at once than was asked for, and the
/// error kept that ended it.
pub(super) struct Outgoing<R> {
    body: R,
    buffer_bytes: usize,
    failed: Failed,
    /// Whether anything was read, how much, and whether its end was.
    begun: bool,
    passed: u64,
    ended: bool,
}

/// Where the error of a body is left.
pub(super) type Failed = Arc<Mutex<Option<io::Error>>>;

/// Takes the error that a body left.
pub(super) fn taken(failed: &Failed) -> Option<io::Error> {
    failed.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl<R: Read> Outgoing<R> {
    pub(super) fn new(body: R, buffer_bytes: usize) -> Outgoing<R> {
        Outgoing { body, buffer_bytes, failed: Failed::default(), begun: false, passed: 0, ended: false }
    }

    pub(super) fn failed(&self) -> Failed {
        self.failed.clone()
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether all of it was read: so many bytes, or to its end.
    pub(super) fn is_whole(&self, length: Option<u64>) -> bool {
        self.ended || length.is_some_and(|length| length == self.passed)
    }
}

impl<R: Read> Read for Outgoing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.begun = true;
        let most = buf.len().min(self.buffer_bytes);
        match self.body.read(&mut buf[..most]) {
            Ok(len) => {
                self.passed += len as u64;
                self.ended |= len == 0 && most > 0;
                Ok(len)
            }
            Err(error) => {
                let told = io::Error::new(error.kind(), "what is sent can't be read");
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(told)
            }
        }
    }
}

/// Exactly so many bytes of a reader; the last ones only if there are no more.
pub(super) struct Exactly<R> {
    reader: R,
    length: u64,
    left: u64,
}

impl<R: Read> Exactly<R> {
    pub(super) fn new(reader: R, length: u64) -> Exactly<R> {
        Exactly { reader, length, left: length }
    }
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || self.left == 0 {
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let len = self.reader.read(&mut buf[..most])?;
        if len == 0 {
            let text = format!("it has become shorter while it was sent, by {} bytes", self.left);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        self.left -= len as u64;
        // Before the server has all that was announced: it then has nothing whole.
        if self.left == 0 && self.reader.read(&mut [0])? > 0 {
            let text = format!("it has become longer than its {} bytes while it was sent", self.length);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(len)
    }
}

/// A file to be read from a place on.
pub(super) fn from(file: &File, at: u64) -> io::Result<File> {
    let mut file = file.try_clone()?;
    file.seek(SeekFrom::Start(at))?;
    Ok(file)
}
