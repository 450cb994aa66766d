//! A file lock that was taken.

use std::io;
use std::os::fd::OwnedFd;

use super::super::Error;
use super::super::contract::{Hold, Loss, Renewal};
use super::files::LockFile;
use crate::clock::Moment;

/// Holds the flock as long as it, or a copy of its descriptor, is open.
#[derive(Debug)]
pub(super) struct FileHold {
    pub(super) lock: LockFile,
    pub(super) fence: u64,
}

impl Hold for FileHold {
    fn fence(&self) -> u64 {
        self.fence
    }

    fn valid_until(&self) -> Moment {
        Moment::NEVER
    }

    fn renew(&self) -> Result<Renewal, Error> {
        Ok(self.check().map_or_else(Renewal::Lost, |()| Renewal::Kept))
    }

    fn check(&self) -> Result<(), Loss> {
        if self.lock.is_current() { Ok(()) } else { Err(Loss::Deleted) }
    }

    fn descriptor(&self) -> io::Result<Option<OwnedFd>> {
        self.lock.duplicate().map(Some)
    }

    fn give_back(&self) -> Result<(), Error> {
        self.lock.unlock()?;
        // Unlocking is no event, and our close is none while a copy is open.
        self.lock.files().nudge();
        Ok(())
    }
}
