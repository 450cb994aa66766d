//! A lock that is held.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, never};

use super::Error;
use super::renewal::{Renewer, Tended};
use crate::clock::Moment;
use crate::store::{Hold, Key, Loss};

/// The proof of holding a lock.
///
/// One that lapses is renewed by a thread of its [`Locks`](super::Locks), a
/// third of its ttl after it was last confirmed, until it is released or lost.
///
/// Dropping one that wasn't released lets go as a crash of this process would,
/// and logs it: copies of its descriptor, what is left of its time and the
/// minimum hold go on keeping it.
#[must_use = "dropping a lease lets go of the lock as a crash would; release it"]
pub struct Lease {
    key: Key,
    hold: Arc<dyn Hold>,
    /// `None`: it doesn't lapse, so there is nothing to renew and no thread that could tell.
    tended: Option<Tended>,
    lost: Receiver<Lost>,
    renewed: Receiver<Moment>,
    ended: bool,
}

/// A lease that ended without being released. Its `source()` is why the store
/// couldn't be asked, where that was it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the lock {key} was lost: {loss}")]
#[non_exhaustive]
pub struct Lost {
    /// The lock's key.
    pub key: Key,
    /// How it was lost.
    pub loss: Loss,
    /// When that was noticed here.
    pub noticed: Moment,
    /// What the last renewal failed with.
    #[source]
    pub cause: Option<Arc<Error>>,
}

impl Lease {
    /// `asked`: a moment before the store was asked for it.
    pub(super) fn new(key: Key, hold: Box<dyn Hold>, ttl: Duration, asked: Moment, renewer: &Arc<Renewer>) -> Lease {
        let hold: Arc<dyn Hold> = Arc::from(hold);
        let lapses = hold.valid_until() != Moment::NEVER;
        let tended = lapses.then(|| renewer.tend(&key, &hold, ttl, asked));
        let (lost, renewed) = match &tended {
            Some(tended) => (tended.lost.clone(), tended.renewed.clone()),
            None => (never(), never()),
        };
        Lease { key, hold, tended, lost, renewed, ended: false }
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
    /// which doesn't lapse. It moves as the lease is renewed: see
    /// [`Lease::renewed`].
    pub fn valid_until(&self) -> Moment {
        self.hold.valid_until()
    }

    /// Whether the lock is still ours, as far as this host alone can tell: not
    /// lapsed, not found lost by a renewal, and for a file lock, its file still in
    /// its place. Local and quick, also while the store can't be reached.
    ///
    /// # Errors
    /// [`Lost`]: stop what runs under the lease.
    pub fn check(&self) -> Result<(), Lost> {
        if let Some(lost) = self.tended.as_ref().and_then(Tended::loss) {
            return Err(lost);
        }
        if self.valid_until().has_passed() {
            return Err(self.given_up());
        }
        let lost = |loss| Lost { key: self.key.clone(), loss, noticed: Moment::now(), cause: None };
        self.hold.check().map_err(lost)
    }

    /// Tells of a loss as soon as it is noticed, once, for `select!`: that it
    /// was deleted, at most a third of the ttl later; that it lapsed, within a
    /// second, or when a call that hangs in the store has come back.
    ///
    /// It disconnects without a message if the thread that renews died, or
    /// couldn't be started: the lease lapses then. A lease that doesn't lapse
    /// says nothing here: ask [`Lease::check`].
    pub fn lost(&self) -> &Receiver<Lost> {
        &self.lost
    }

    /// Tells the new [`Lease::valid_until`] after each renewal, for `select!`.
    /// It holds the latest only. Ends as [`Lease::lost`] does.
    pub fn renewed(&self) -> &Receiver<Moment> {
        &self.renewed
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
    /// keeps stays taken. It isn't renewed any more; one renewal that is under way
    /// isn't waited for.
    ///
    /// # Errors
    /// [`Error::is_unreachable`]; the lock then ends as if this process had crashed.
    /// Any other error: the store no longer had it as ours.
    pub fn release(mut self) -> Result<(), Error> {
        self.end();
        self.hold.give_back()
    }

    /// Ceases to renew, and doesn't ask the store: for a lock that is lost, or
    /// whose store can't be reached. If it is still ours after all, it lapses at
    /// [`Lease::valid_until`].
    pub fn abandon(mut self) {
        self.end();
    }

    /// The loss of a lease whose holder can't wait any longer for a renewal.
    pub(crate) fn given_up(&self) -> Lost {
        let cause = self.tended.as_ref().and_then(Tended::trouble);
        Lost { key: self.key.clone(), loss: Loss::Lapsed, noticed: Moment::now(), cause }
    }

    fn end(&mut self) {
        self.ended = true;
        if let Some(tended) = &mut self.tended {
            tended.leave();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.ended {
            log::warn!("the lease of {} was dropped without being released", self.key);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("key", &self.key).field("hold", &self.hold).finish_non_exhaustive()
    }
}
