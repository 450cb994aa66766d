//! A file that is being written, and that nobody sees yet.

use std::fs::File;
use std::io::{self, ErrorKind, Write};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::hash::Hasher;
use super::hidden;
use super::name::Name;
use super::publish::{OnConflict, Published, Sealed};
use super::root::Folder;

/// A file in the making, from [`Folder::draft`]. Dropped, it is gone.
///
/// It is written through `Write`, one `write(2)` a call. Each write blocks as
/// long as the disk does. After one that failed it can't be published, though
/// later ones may succeed.
#[derive(Debug)]
pub struct Draft {
    folder: Folder,
    file: File,
    /// The name to be removed, where it has one.
    hidden: Option<Hidden>,
    expected: Option<u64>,
    written: u64,
    failed: bool,
    hasher: Option<Hasher>,
}

impl Draft {
    pub(super) fn begin(folder: &Folder, unnamed: bool, expected: Option<u64>) -> io::Result<Draft> {
        let (file, hidden) = if unnamed {
            (hidden::unnamed(folder.fd())?.into(), None)
        } else {
            let (fd, name) = hidden::named(folder.fd())?;
            (fd.into(), Some(Hidden::new(folder, name)))
        };
        let draft = Draft { folder: folder.clone(), file, hidden, expected, written: 0, failed: false, hasher: None };
        if let Some(length) = expected {
            reserve(&draft.file, length)?;
        }
        Ok(draft)
    }

    /// Has its SHA-256 taken beside the writing, by a thread of its own. What
    /// is written already counts too.
    ///
    /// # Errors
    /// The system gives no thread or no descriptor.
    pub fn hash(&mut self) -> io::Result<()> {
        if self.hasher.is_none() {
            self.hasher = Some(Hasher::start(self.file.try_clone()?, self.written)?);
        }
        Ok(())
    }

    /// A draft that outlives this process under a hidden name, and goes on where
    /// it was left; `WouldBlock` if somebody has it.
    pub(in crate::inbox) fn kept(folder: &Folder, name: &str) -> io::Result<Draft> {
        use std::io::Seek;
        let mut file: File = hidden::kept(folder.fd(), name)?.into();
        let written = file.seek(io::SeekFrom::End(0))?;
        let hidden = Some(Hidden::new(folder, name.to_owned()));
        Ok(Draft { folder: folder.clone(), file, hidden, expected: None, written, failed: false, hasher: None })
    }

    /// Leaves a draft that outlives this process where it is.
    pub(in crate::inbox) fn leave(mut self) {
        self.hidden.take().into_iter().for_each(Hidden::renamed);
    }

    /// The length it is to have, which is known only now.
    pub(in crate::inbox) fn announce(&mut self, length: Option<u64>) -> io::Result<()> {
        self.expected = length.filter(|length| *length >= self.written);
        self.expected.map_or(Ok(()), |length| reserve(&self.file, length))
    }

    /// Takes back what is behind so many bytes.
    pub(in crate::inbox) fn shorten(&mut self, bytes: u64) -> io::Result<()> {
        use std::io::Seek;
        self.file.set_len(bytes)?;
        self.written = self.file.seek(io::SeekFrom::Start(bytes))?;
        Ok(())
    }

    /// How many bytes it has.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Begins again with nothing: what was written was another version.
    /// `length` as for [`Folder::draft`].
    ///
    /// # Errors
    /// As for [`Folder::draft`].
    pub fn restart(&mut self, length: Option<u64>) -> io::Result<()> {
        use std::io::Seek;
        let hashes = self.hasher.take().is_some();
        self.file.set_len(0)?;
        self.file.rewind()?;
        (self.written, self.failed, self.expected) = (0, false, length);
        if let Some(length) = length {
            reserve(&self.file, length)?;
        }
        if hashes { self.hash() } else { Ok(()) }
    }

    /// Says that all of it is written. Blocks until the hash, if one was asked
    /// for, has caught up.
    ///
    /// # Errors
    /// `UnexpectedEof` if it is shorter than was announced; an earlier write
    /// had failed; the hash could not be taken. The draft is gone then.
    pub fn seal(mut self) -> io::Result<Sealed> {
        if self.failed {
            return Err(io::Error::other("an earlier write to this file failed"));
        }
        if let Some(expected) = self.expected.filter(|expected| *expected != self.written) {
            let text = format!("only {} of {expected} bytes came", self.written);
            return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
        }
        let sha256 = self.hasher.take().map(Hasher::finish).transpose()?;
        Ok(Sealed::new(self.folder, self.file, self.hidden, self.written, sha256))
    }

    /// Seals it and gives it its name: [`seal`](Draft::seal), then
    /// [`Sealed::publish`].
    ///
    /// # Errors
    /// Those of both. The draft is gone then.
    pub fn publish(self, name: &Name, on_conflict: OnConflict) -> io::Result<Published> {
        self.seal()?.publish(name, on_conflict)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.expected.is_some_and(|expected| bytes.len() as u64 > expected - self.written) {
            self.failed = true;
            return Err(io::Error::new(ErrorKind::InvalidData, "more bytes came than were announced"));
        }
        match self.file.write(bytes) {
            Ok(written) => {
                self.written += written as u64;
                if let Some(hasher) = &self.hasher {
                    hasher.written(self.written);
                }
                Ok(written)
            }
            Err(error) => {
                self.failed |= error.kind() != ErrorKind::Interrupted;
                Err(error)
            }
        }
    }

    /// Nothing is buffered here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A hidden name, removed when dropped unless it was given away.
#[derive(Debug)]
pub(super) struct Hidden {
    folder: Folder,
    name: Option<String>,
}

impl Hidden {
    pub(super) fn new(folder: &Folder, name: String) -> Hidden {
        Hidden { folder: folder.clone(), name: Some(name) }
    }

    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// It has another name now.
    pub(super) fn renamed(mut self) {
        self.name = None;
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            hidden::remove(self.folder.fd(), name);
        }
    }
}

/// Has the file system promise the space; one that can't goes without.
fn reserve(file: &File, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    loop {
        // The file's length stays what was written of it.
        match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, length) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
