//! The folder itself, by its descriptor.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::draft::Draft;
use super::hidden;
use super::listing::{self, Entry};
use super::name::Name;

/// A folder that stays the same one whatever becomes of its path. Clones share
/// its descriptor.
#[derive(Clone, Debug)]
pub struct Folder {
    fd: Arc<OwnedFd>,
    /// Whether files can be written here before they have a name.
    unnamed: bool,
}

impl Folder {
    /// Opens the folder at a path, which may lead through symbolic links.
    /// Nothing is written to it.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `PermissionDenied`, as `open(2)` says.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path.as_ref(), flags, Mode::empty())?;
        let unnamed = hidden::can_be_unnamed(&fd);
        Ok(Folder { fd: Arc::new(fd), unnamed })
    }

    /// The same folder, as if its file system had no unnamed files.
    #[cfg(test)]
    pub(super) fn with_hidden_drafts(self) -> Folder {
        Folder { unnamed: false, ..self }
    }

    /// Begins a file. With a length, its space is reserved, where the file
    /// system can do that, and it can only be published with that length.
    ///
    /// # Errors
    /// `StorageFull` if there isn't so much space, `QuotaExceeded`,
    /// `ReadOnlyFilesystem`, `PermissionDenied`.
    pub fn draft(&self, length: Option<u64>) -> io::Result<Draft> {
        Draft::begin(self, self.unnamed, length)
    }

    /// Opens a file to read it. Symbolic links, folders and whatever else isn't
    /// a regular file are `NotFound`: nobody put them here through us.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`.
    pub fn read(&self, name: &Name) -> io::Result<File> {
        // Looked at first: opening a device or a pipe would do something.
        let is_file = |stat: &rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let nothing = || io::Error::new(ErrorKind::NotFound, "there is no file of that name");
        match rustix::fs::statat(&*self.fd, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_file(&stat) => {}
            Ok(_) | Err(Errno::NOENT) => return Err(nothing()),
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&*self.fd, name.as_str(), flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::LOOP) => return Err(nothing()),
            Err(error) => return Err(error.into()),
        };
        // It may have been exchanged in between.
        if is_file(&rustix::fs::fstat(&fd)?) { Ok(fd.into()) } else { Err(nothing()) }
    }

    /// Whether something has this name, a file or anything else.
    ///
    /// # Errors
    /// `PermissionDenied`, and what the file system says.
    pub fn has(&self, name: &Name) -> io::Result<bool> {
        match rustix::fs::statat(&*self.fd, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a file out of the folder, and syncs it.
    ///
    /// # Errors
    /// `NotFound` as for [`read`](Folder::read), `PermissionDenied`.
    pub fn remove(&self, name: &Name) -> io::Result<()> {
        drop(self.read(name)?);
        rustix::fs::unlinkat(&*self.fd, name.as_str(), AtFlags::empty())?;
        self.sync()
    }

    /// The regular files that have a [`Name`], sorted by it; others don't exist
    /// for those who are served.
    ///
    /// # Errors
    /// What the file system says.
    pub fn list(&self) -> io::Result<Vec<Entry>> {
        listing::list(&self.fd)
    }

    /// How many bytes are free for us on its file system.
    ///
    /// # Errors
    /// What the file system says.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&*self.fd)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// How many bytes its file system has in all.
    ///
    /// # Errors
    /// What the file system says.
    pub fn size_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&*self.fd)?;
        Ok(stat.f_blocks.saturating_mul(stat.f_frsize))
    }

    /// Removes hidden drafts of processes that are gone, and says how many.
    /// Those of living ones, here or in another process, are left alone.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn sweep(&self) -> io::Result<usize> {
        hidden::sweep(&self.fd)
    }

    pub(in crate::inbox) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Names that are in the folder now survive a crash.
    pub(super) fn sync(&self) -> io::Result<()> {
        rustix::fs::fsync(&*self.fd).or_else(|error| match error {
            // Not every file system knows what that means for a folder.
            Errno::INVAL => Ok(()),
            error => Err(error.into()),
        })
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
