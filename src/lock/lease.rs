//! A lock that is held.

use std::io;
use std::os::fd::OwnedFd;

use crossbeam_channel::{Receiver, never};

use super::Error;
use crate::clock::Moment;
use crate::store::{Hold, Key, Loss};

/// The proof of holding a lock.
///
/// Dropping one that wasn't released lets go as a crash of this process would,
/// and logs it: copies of its descriptor and the minimum hold go on keeping it.
#[derive(Debug)]
#[must_use = "dropping a lease lets go of the lock as a crash would; release it"]
pub struct Lease {
    key: Key,
    hold: Box<dyn Hold>,
    lost: Receiver<Lost>,
    released: bool,
}

/// A lease that ended without being released.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lock {key} was lost: {loss}")]
#[non_exhaustive]
pub struct Lost {
    /// The lock's key.
    pub key: Key,
    /// How it was lost.
    pub loss: Loss,
    /// When that was noticed here.
    pub noticed: Moment,
}

impl Lease {
    pub(super) fn new(key: Key, hold: Box<dyn Hold>) -> Lease {
        // A hold that doesn't lapse has nothing to renew, and so no thread that
        // could tell of a loss.
        Lease { key, hold, lost: never(), released: false }
    }

    /// The fencing token: larger than that of every holder of this key before,
    /// so that a resource which refuses smaller ones is safe from a late holder.
    pub fn fence(&self) -> u64 {
        self.hold.fence()
    }

    /// The key that is held.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Until when the lock is ours for sure; [`Moment::NEVER`] for a file lock,
    /// which doesn't lapse. It moves as the lease is renewed.
    pub fn valid_until(&self) -> Moment {
        self.hold.valid_until()
    }

    /// Whether the lock is still ours, as far as this host alone can tell: not
    /// lapsed, and for a file lock, its file still in its place. Local and quick.
    ///
    /// # Errors
    /// [`Lost`]: stop what runs under the lease.
    pub fn check(&self) -> Result<(), Lost> {
        let noticed = Moment::now();
        let standing = if self.valid_until() <= noticed { Err(Loss::Lapsed) } else { self.hold.check() };
        standing.map_err(|loss| Lost { key: self.key.clone(), loss, noticed })
    }

    /// Tells of a loss as soon as it is noticed, for `select!`. A lease that
    /// doesn't lapse never does: ask [`Lease::check`].
    pub fn lost(&self) -> &Receiver<Lost> {
        &self.lost
    }

    /// A descriptor (close-on-exec) that keeps the lock as long as any copy of
    /// it is open, in any process; `None` if the store has no such thing. Given to
    /// the keeper, it makes the lock outlive us until the job's processes have
    /// ended.
    ///
    /// # Errors
    /// This process has too many open files.
    pub fn hold_descriptor(&self) -> io::Result<Option<OwnedFd>> {
        self.hold.descriptor()
    }

    /// Lets go at once, also of every copy of [`Lease::hold_descriptor`]: call
    /// it when the job's processes have ended. What the minimum hold still
    /// keeps stays taken.
    ///
    /// # Errors
    /// [`Error::is_unreachable`]; the lock then ends as if this process had crashed.
    pub fn release(mut self) -> Result<(), Error> {
        self.released = true;
        self.hold.give_back()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.released {
            log::warn!("the lease of {} was dropped without being released", self.key);
        }
    }
}
