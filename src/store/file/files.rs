//! The files of one key: the lock file and the record.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, Timestamps, UTIME_NOW, flock, fstat, futimens, openat, renameat,
    statat,
};
use rustix::io::Errno;
use rustix::time::Timespec;

use super::super::{Error, Key, Record};
use super::directory::Directory;

/// More than any record of ours; what is longer is none.
const RECORD_LIMIT: u64 = 64 * 1024;
/// How often the lock file may be replaced under our hands before we say that
/// somebody keeps doing it.
pub(super) const REPLACEMENTS: u32 = 16;
/// How often a lock that is only being looked at is tried again, and the pause
/// between: a look takes microseconds.
const LOOKS: u32 = 50;
const LOOK_PAUSE: Duration = Duration::from_millis(1);

/// Where the files of one key are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    directory: Arc<Directory>,
    key: Key,
    lock: String,
    record: String,
    fresh: String,
}

/// An open lock file. The flock belongs to it and to every copy of its
/// descriptor together.
#[derive(Debug)]
pub(super) struct LockFile {
    fd: OwnedFd,
    files: Files,
}

/// How an attempt to get the flock ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flock {
    Granted,
    /// Somebody has it to hold it.
    Held,
    /// Somebody has a shared one, and not just to look: none of ours.
    Shared,
}

impl Files {
    pub(super) fn new(directory: Arc<Directory>, key: &Key) -> Files {
        let name = key.file_name();
        Files {
            directory,
            key: key.clone(),
            lock: format!("{name}.lock"),
            record: format!("{name}.json"),
            fresh: format!("{name}.json.tmp"),
        }
    }

    /// The lock file's path, for inotify, which takes no directory descriptor.
    pub(super) fn lock_path(&self) -> PathBuf {
        self.directory.path().join(&self.lock)
    }

    /// Opens the lock file; creates it, empty, if it isn't there.
    pub(super) fn open(&self) -> Result<LockFile, Error> {
        self.open_with(OFlags::CREATE).map_err(|error| self.failed("open the lock file", error))
    }

    /// Opens the lock file if it is there.
    pub(super) fn open_existing(&self) -> Result<Option<LockFile>, Error> {
        match self.open_with(OFlags::empty()) {
            Err(Errno::NOENT) => Ok(None),
            result => result.map(Some).map_err(|error| self.failed("open the lock file", error)),
        }
    }

    fn open_with(&self, create: OFlags) -> Result<LockFile, Errno> {
        // Read-only: nothing is ever written to it. Non-blocking: a FIFO of that
        // name would block us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | create;
        let fd = openat(&self.directory, &self.lock, flags, Mode::RUSR | Mode::WUSR)?;
        if FileType::from_raw_mode(fstat(&fd)?.st_mode) != FileType::RegularFile {
            return Err(Errno::EXIST);
        }
        Ok(LockFile { fd, files: self.clone() })
    }

    /// The record, if there is a whole one. What can't be read counts as absent:
    /// a record must never block a lock.
    pub(super) fn read_record(&self) -> Option<Record> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = openat(&self.directory, &self.record, flags, Mode::empty()).ok()?;
        let mut text = Vec::new();
        File::from(fd).take(RECORD_LIMIT).read_to_end(&mut text).ok()?;
        Record::from_json(&text)
    }

    /// Replaces the record; on disk before it returns. Only for who has the
    /// flock: the name of the temporary file is always the same, so that a crash
    /// leaves no litter.
    pub(super) fn write_record(&self, record: &Record) -> Result<(), Error> {
        let mut text = record.to_json().to_string();
        text.push('\n');
        let write = || -> io::Result<()> {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = openat(&self.directory, &self.fresh, flags | OFlags::NONBLOCK, Mode::RUSR | Mode::WUSR)?;
            let mut file = File::from(fd);
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            renameat(&self.directory, &self.fresh, &self.directory, &self.record)?;
            rustix::fs::fsync(&self.directory)?;
            Ok(())
        };
        write().map_err(|error| self.failed("write the holder's record", error))
    }

    /// Makes waiters look again, as closing the lock file does.
    pub(super) fn nudge(&self) {
        drop(self.open_with(OFlags::empty()));
    }

    /// The error after [`REPLACEMENTS`].
    pub(super) fn replaced(&self) -> Error {
        Error::unreachable(format!(
            "the lock file {} is replaced again and again; find out by whom",
            self.lock_path().display()
        ))
    }

    fn failed(&self, what: &str, error: impl Into<io::Error>) -> Error {
        let error = error.into();
        let advice = match Errno::from_io_error(&error) {
            Some(Errno::NOSPC | Errno::DQUOT) => "its file system is full; make room there",
            Some(Errno::ROFS) => "its file system is read-only; name another directory as file:/DIR",
            Some(Errno::NOENT) => "the directory was removed; start again",
            Some(Errno::ACCESS | Errno::PERM) => "look at the owner and mode of what is there",
            Some(Errno::MFILE | Errno::NFILE) => "too many files are open; raise the limit",
            Some(Errno::BADF | Errno::OPNOTSUPP | Errno::NOLCK | Errno::NOSYS) => {
                "its file system has no locks that we can use; name a directory on a local one as file:/DIR"
            }
            _ => "look at what is there, or name another directory as file:/DIR",
        };
        Error::unreachable(format!("cannot {what} of {} in the store directory {}; {advice}", self.key, self.directory))
            .because(error)
    }
}

impl LockFile {
    /// Tries to get the exclusive flock. One that is only being looked at (see
    /// [`LockFile::is_held_by_another`]) is waited for: a look must not make
    /// anybody believe that the lock is held.
    pub(super) fn try_exclusive(&self) -> Result<Flock, Error> {
        for _ in 0..LOOKS {
            if self.flock(FlockOperation::NonBlockingLockExclusive)? {
                return Ok(Flock::Granted);
            }
            if self.is_held_by_another()? {
                return Ok(Flock::Held);
            }
            // There is no event for the end of a shared lock; bounded by LOOKS.
            std::thread::sleep(LOOK_PAUSE);
        }
        Ok(Flock::Shared)
    }

    /// Whether another open file has the exclusive flock: if none has, a shared
    /// one is granted, and given back at once.
    pub(super) fn is_held_by_another(&self) -> Result<bool, Error> {
        let granted = self.flock(FlockOperation::NonBlockingLockShared)?;
        if granted {
            self.unlock()?;
        }
        Ok(!granted)
    }

    /// Gives the flock back, whoever else has a copy of the descriptor.
    pub(super) fn unlock(&self) -> Result<(), Error> {
        self.flock(FlockOperation::Unlock).map(drop)
    }

    fn flock(&self, operation: FlockOperation) -> Result<bool, Error> {
        match rustix::io::retry_on_intr(|| flock(&self.fd, operation)) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(self.files.failed("lock the file", error)),
        }
    }

    /// Whether this is still the file that others find under its name: a flock
    /// on one that was deleted excludes nobody.
    pub(super) fn is_current(&self) -> bool {
        let named = statat(&self.files.directory, &self.files.lock, AtFlags::SYMLINK_NOFOLLOW);
        matches!((named, fstat(&self.fd)), (Ok(named), Ok(ours))
            if (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino))
    }

    /// Makes the file look used, lest a cleaner of old files delete it.
    pub(super) fn touch(&self) {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        if let Err(error) = futimens(&self.fd, &Timestamps { last_access: now, last_modification: now }) {
            log::debug!("cannot touch {}: {error}", self.files.lock_path().display());
        }
    }

    /// A copy of the descriptor, close-on-exec.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        Ok(rustix::io::fcntl_dupfd_cloexec(self.fd.as_fd(), 3)?)
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }
}
