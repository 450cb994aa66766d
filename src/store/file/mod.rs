//! Locks as files of one directory: `flock(2)` on `NAME.lock`, and the
//! holder's record in `NAME.json`.
//!
//! Promises: the kernel alone decides who holds, and frees the lock when the
//! last copy of the holder's descriptor is closed, however its process ends.
//! A lock file is never unlinked by us. The record is written only by who
//! holds the flock, replaced whole, and on disk before the fence is used; one
//! that is missing, torn or foreign blocks nobody.
//!
//! Ends at one user of one host: file systems shared over a network don't
//! promise any of this, and NFS refuses the lock (we open read-only).

mod contender;
mod directory;
mod files;
mod hold;
#[cfg(test)]
mod tests;
mod wake;

use std::path::Path;
use std::sync::Arc;

use contender::FileContender;
use directory::Directory;
use files::{Files, Flock, REPLACEMENTS};
use wake::{Alarm, Pool};

use super::contract::{Broken, Contender, Holder, LockStore, NodeState, NodeView};
use super::now::Now;
use super::{Error, Key};

/// The store of one directory.
#[derive(Debug)]
pub struct FileStore {
    directory: Arc<Directory>,
    pool: Arc<Pool>,
    now: fn() -> Now,
}

impl FileStore {
    /// Opens the directory that all jobs of this user on this host share:
    /// `/run/lock/towpath-UID`, or `/tmp/towpath-UID` where there is no
    /// `/run/lock` that this user may write to. UID is the effective one.
    /// Created with mode 0700. The environment has no say: cron's differs from
    /// a shell's.
    ///
    /// # Errors
    /// [`Error::is_unreachable`] if it can't be created or opened, is no real
    /// directory (a symbolic link isn't), belongs to another user, or is open to
    /// the group or to others.
    pub fn open_default() -> Result<FileStore, Error> {
        Ok(FileStore::over(Directory::open_default()?))
    }

    /// Opens the directory at `path`; creates it with mode 0700 if only its last
    /// part is missing.
    ///
    /// # Errors
    /// [`Error::is_unreachable`] if it can't be created or opened, is no real
    /// directory (a symbolic link isn't), belongs to another user, or can be
    /// written to by the group or by others.
    pub fn open(path: &Path) -> Result<FileStore, Error> {
        Ok(FileStore::over(Directory::open(path)?))
    }

    fn over(directory: Directory) -> FileStore {
        FileStore { directory: Arc::new(directory), pool: Arc::default(), now: Now::read }
    }

    fn files(&self, key: &Key) -> Files {
        Files::new(Arc::clone(&self.directory), key)
    }

    fn state(&self, files: &Files) -> Result<NodeState, Error> {
        let held = match files.open_existing()? {
            None => false,
            Some(lock) => lock.is_held_by_another()?,
        };
        let record = files.read_record();
        let kept_until = record.as_ref().and_then(|record| record.kept_until(&(self.now)()));
        Ok(match (held, kept_until) {
            (true, _) => NodeState::Held(Holder { record, ended: false, free_at: None }),
            (false, Some(_)) => NodeState::Held(Holder { record, ended: true, free_at: kept_until }),
            (false, None) => NodeState::Free,
        })
    }

    /// Only for who has the flock.
    fn end_minimum_hold(&self, key: &Key, files: &Files, fence: Option<u64>) -> Result<Broken, Error> {
        // Read again: only under the flock is it sure to stay.
        let record = files.read_record();
        let kept_until = record.as_ref().and_then(|record| record.kept_until(&(self.now)()));
        let (Some(record), Some(_)) = (record, kept_until) else {
            return Ok(Broken::WasFree);
        };
        let holder = Holder { record: Some(record.clone()), ended: true, free_at: kept_until };
        if fence.is_some_and(|fence| fence != record.fence) {
            return Err(Error::held(format!(
                "lock {key} is not with the holder you named but with {holder}, fence {}; look again",
                record.fence
            )));
        }
        files.write_record(&record.without_hold())?;
        Ok(Broken::From(holder))
    }
}

impl LockStore for FileStore {
    fn contender(&self, key: &Key) -> Result<Box<dyn Contender>, Error> {
        Ok(Box::new(FileContender::new(self.files(key), key.clone(), self.now, Alarm::new(Arc::clone(&self.pool)))))
    }

    fn inspect(&self, key: &Key) -> Result<Vec<NodeView>, Error> {
        let state = self.state(&self.files(key))?;
        Ok(vec![NodeView { node: self.directory.to_string(), state: Ok(state) }])
    }

    /// Ends a minimum hold whose holder has ended. A running holder can't be
    /// parted from its flock: it says who that is.
    fn break_lock(&self, key: &Key, fence: Option<u64>) -> Result<Broken, Error> {
        let files = self.files(key);
        for _ in 0..REPLACEMENTS {
            let lock = match self.state(&files)? {
                NodeState::Free => return Ok(Broken::WasFree),
                NodeState::Held(holder) if !holder.ended => return Err(unbreakable(key, &holder)),
                NodeState::Held(_) => files.open()?,
            };
            if lock.try_exclusive()? != Flock::Granted {
                return Err(unbreakable(key, &Holder { record: files.read_record(), ended: false, free_at: None }));
            }
            // The flock of a file that was replaced since it was opened excludes nobody.
            let broken = lock.is_current().then(|| self.end_minimum_hold(key, &files, fence));
            lock.unlock()?;
            if let Some(broken) = broken {
                return broken;
            }
        }
        Err(files.replaced())
    }
}

fn unbreakable(key: &Key, holder: &Holder) -> Error {
    Error::held(format!("lock {key} is held by {holder}; a file lock can't be broken: end that process"))
}
