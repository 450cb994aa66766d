//! One of the files that had the followed name, and how far it is read.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Instant;

use rustix::fs::SeekFrom;

use super::start::start_offset;
use crate::flow::Splitter;
use crate::flow::merge::{Outlet, StartAt};

/// So many bytes before the place it was read to are compared at each look.
const FINGERPRINT_BYTES: usize = 64;

/// Device and inode: a file's identity for as long as it is open here.
pub(super) type Id = (u64, u64);

pub(super) fn id(metadata: &fs::Metadata) -> Id {
    (metadata.dev(), metadata.ino())
}

/// What a look at the file found.
pub(super) enum Seen {
    Nothing,
    /// Bytes, which went to the outlet.
    Growth,
    /// It is another one now: what was read is gone. It will be read from its beginning.
    Truncation,
}

pub(super) struct File {
    pub(super) id: Id,
    /// The inotify watch on it.
    pub(super) watch: Option<i32>,
    /// Since when it hasn't grown, or since it was replaced.
    pub(super) quiet_since: Instant,
    /// Whether all of it was read at the last look: only then may it be let go.
    pub(super) is_read: bool,
    /// One before it couldn't be opened in time, which is told before its lines.
    pub(super) missed_before: bool,
    file: fs::File,
    offset: u64,
    /// As large as it was seen before its first byte was read, while there is no fingerprint.
    seen_bytes: u64,
    /// The last bytes before the offset.
    fingerprint: Vec<u8>,
    /// After a truncation: a writer that doesn't append goes on at its old place, and leaves NULs before it.
    in_hole: bool,
    splitter: Splitter,
    mid_line: bool,
    /// How far it is read when the following is over.
    until: Option<u64>,
    /// Since that was set, it was looked at once: a truncation may have come before.
    is_checked: bool,
}

impl File {
    pub(super) fn new(file: fs::File, id: Id, watch: Option<i32>) -> File {
        File {
            id,
            watch,
            quiet_since: Instant::now(),
            is_read: false,
            missed_before: false,
            file,
            offset: 0,
            seen_bytes: 0,
            fingerprint: Vec::new(),
            in_hole: false,
            splitter: Splitter::new(),
            mid_line: false,
            until: None,
            is_checked: false,
        }
    }

    /// Goes to where the reading is to start.
    pub(super) fn start(&mut self, from: StartAt) -> io::Result<()> {
        let offset = start_offset(&self.file, from)?;
        let known = offset.min(FINGERPRINT_BYTES as u64);
        let mut before = vec![0; known as usize];
        self.file.read_exact_at(&mut before, offset - known)?;
        (self.offset, self.fingerprint, self.seen_bytes) = (offset, before, 0);
        Ok(())
    }

    /// Whether the last line that was read has no end yet.
    pub(super) fn is_mid_line(&self) -> bool {
        self.mid_line
    }

    /// Whether no name leads to it any more.
    pub(super) fn is_unlinked(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Sets that it is read to where it ends now, and no further.
    pub(super) fn look_last(&mut self) {
        self.until.get_or_insert_with(|| self.file.metadata().map_or(0, |metadata| metadata.len()));
    }

    pub(super) fn is_last_look(&self) -> bool {
        self.until.is_some()
    }

    /// While it waits to be read, its size is all that tells a truncation.
    pub(super) fn note_size(&mut self) {
        self.seen_bytes = self.file.metadata().map_or(0, |metadata| metadata.len()).max(self.seen_bytes);
    }

    /// Reads up to a buffer. Fingerprint and news come with one system call, so
    /// that no truncation gets between them.
    pub(super) fn read(&mut self, buffer: &mut [u8], out: &mut Outlet) -> io::Result<Seen> {
        if self.is_checked && self.until.is_some_and(|until| self.offset >= until) {
            return Ok(Seen::Nothing);
        }
        self.is_checked = self.is_last_look();
        if self.in_hole && self.fingerprint.is_empty() {
            self.skip_hole();
        }
        let known = self.fingerprint.len();
        let length = match self.file.read_at(buffer, self.offset - known as u64) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Seen::Growth),
            other => other?,
        };
        let is_shorter = known == 0 && (length as u64) < self.seen_bytes.min(buffer.len() as u64);
        self.seen_bytes = 0;
        if is_shorter || length < known || buffer[..known] != self.fingerprint[..] {
            self.end_line(out);
            (self.offset, self.in_hole) = (0, true);
            self.fingerprint.clear();
            return Ok(Seen::Truncation);
        }
        let new = &buffer[known..length];
        self.is_read = new.is_empty();
        if self.is_read {
            return Ok(Seen::Nothing);
        }
        self.offset += new.len() as u64;
        let before = length.saturating_sub(FINGERPRINT_BYTES);
        self.fingerprint.clear();
        self.fingerprint.extend_from_slice(&buffer[before..length]);
        self.quiet_since = Instant::now();
        self.pass_on(new, out);
        Ok(Seen::Growth)
    }

    fn pass_on(&mut self, mut new: &[u8], out: &mut Outlet) {
        if self.in_hole {
            let nuls = new.iter().take_while(|&&byte| byte == 0).count();
            new = &new[nuls..];
            self.in_hole = new.is_empty();
        }
        if let Some(&last) = new.last() {
            self.mid_line = last != b'\n';
            self.splitter.push_blocks(new, |piece| out.piece(piece));
        }
    }

    /// To the first byte that was ever written; on a file system that can't tell, to the beginning.
    fn skip_hole(&mut self) {
        self.offset = rustix::fs::seek(&self.file, SeekFrom::Data(0)).unwrap_or(0);
    }

    /// Gives the last line though it has no end.
    pub(super) fn end_line(&mut self, out: &mut Outlet) {
        self.mid_line = false;
        self.splitter.finish(|piece| out.piece(piece));
    }
}
