//! Hidden files that outlive their process: uploads that may go on, each with a
//! record of what it is to become.
//!
//! An id is 32 hexadecimal digits. Of each id there is a record, and, until the
//! file is published, the file as far as it came.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::time::SystemTime;

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::draft::{Draft, Hidden};
use super::hash::Hasher;
use super::hidden;
use super::listing;
use super::name::HIDDEN;
use super::publish::Sealed;
use super::root::Folder;

/// What the names of both files begin with, behind [`HIDDEN`].
const UPLOAD: &str = "upload-";
/// What a record's name ends with.
const RECORD: &str = ".json";
/// Nobody writes a record that is longer.
const RECORD_BYTES: u64 = 64 * 1024;

/// A file that is being written to and stays when it isn't. It is locked: nobody
/// else writes to it, in no process.
#[derive(Debug)]
pub(in crate::inbox) struct Kept {
    folder: Folder,
    file: File,
    name: String,
    written: u64,
    hasher: Option<Hasher>,
}

impl Folder {
    /// Begins a file that is kept.
    pub(in crate::inbox) fn keep(&self, id: &str) -> io::Result<Kept> {
        self.open_kept(id, OFlags::CREATE | OFlags::EXCL)
    }

    /// Goes on with one. `NotFound` if there is none, `WouldBlock` if somebody
    /// else is writing to it.
    pub(in crate::inbox) fn kept(&self, id: &str) -> io::Result<Kept> {
        self.open_kept(id, OFlags::empty())
    }

    fn open_kept(&self, id: &str, flags: OFlags) -> io::Result<Kept> {
        let name = name_of(id);
        let flags = flags | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(self.fd(), &name, flags, hidden::MODE)?);
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(ErrorKind::WouldBlock.into()),
            // No locks here: within this process there are others.
            Err(_) => {}
        }
        if rustix::fs::fstat(&file)?.st_nlink == 0 {
            return Err(ErrorKind::NotFound.into());
        }
        let written = file.seek(SeekFrom::End(0))?;
        Ok(Kept { folder: self.clone(), file, name, written, hasher: None })
    }

    /// Writes the record of an id, in one step, and syncs it.
    pub(in crate::inbox) fn write_record(&self, id: &str, record: &str) -> io::Result<()> {
        let mut draft: Draft = self.draft(None)?;
        draft.write_all(record.as_bytes())?;
        draft.seal()?.publish_hidden(&format!("{}{RECORD}", name_of(id)))
    }

    /// The record of an id.
    pub(in crate::inbox) fn read_record(&self, id: &str) -> io::Result<String> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(self.fd(), format!("{}{RECORD}", name_of(id)), flags, Mode::empty())?;
        let mut text = String::new();
        File::from(fd).take(RECORD_BYTES).read_to_string(&mut text)?;
        Ok(text)
    }

    /// Takes away both files of an id, as far as they are there.
    pub(in crate::inbox) fn forget(&self, id: &str) -> io::Result<()> {
        for name in [name_of(id), format!("{}{RECORD}", name_of(id))] {
            match rustix::fs::unlinkat(self.fd(), &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// All ids, each with the moment of the last change to one of its files.
    pub(in crate::inbox) fn ids(&self) -> io::Result<Vec<(String, SystemTime)>> {
        let mut ids: Vec<(String, SystemTime)> = Vec::new();
        for entry in Dir::read_from(self.fd())? {
            let entry = entry?;
            let Some(id) = entry.file_name().to_str().ok().and_then(id_of) else { continue };
            let Ok(stat) = rustix::fs::statat(self.fd(), entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let changed = listing::moment(stat.st_mtime, stat.st_mtime_nsec);
            match ids.iter_mut().find(|(known, _)| known == id) {
                Some((_, last)) => *last = changed.max(*last),
                None => ids.push((id.to_owned(), changed)),
            }
        }
        Ok(ids)
    }
}

impl Kept {
    /// How many bytes it has.
    pub(in crate::inbox) fn written(&self) -> u64 {
        self.written
    }

    /// As [`Draft::hash`], from its very beginning.
    pub(in crate::inbox) fn hash(&mut self) -> io::Result<()> {
        self.hasher = Some(Hasher::start(self.file.try_clone()?, self.written)?);
        Ok(())
    }

    /// What is written survives a crash of the host.
    pub(in crate::inbox) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Says that all of it is written. It is kept no longer: it is published,
    /// or gone.
    pub(in crate::inbox) fn seal(self) -> io::Result<Sealed> {
        let sha256 = self.hasher.map(Hasher::finish).transpose()?;
        let hidden = Hidden::new(&self.folder, self.name);
        Ok(Sealed::new(self.folder, self.file, Some(hidden), self.written, sha256))
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.written += written as u64;
        if let Some(hasher) = &self.hasher {
            hasher.written(self.written);
        }
        Ok(written)
    }

    /// Nothing is buffered here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn name_of(id: &str) -> String {
    format!("{HIDDEN}{UPLOAD}{id}")
}

fn id_of(name: &str) -> Option<&str> {
    let rest = name.strip_prefix(HIDDEN)?.strip_prefix(UPLOAD)?;
    let id = rest.strip_suffix(RECORD).unwrap_or(rest);
    is_id(id).then_some(id)
}

/// Whether a text is an id, and so part of one file name at most.
pub(in crate::inbox) fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
