//! The locks of one store.

use std::sync::Arc;
use std::time::Duration;

use super::renewal::Renewer;
use super::{Error, Lease, Request};
use crate::clock::Moment;
use crate::store::{Attempt, Broken, Contender, Holder, Key, LockStore, NodeView, StoreUrl};
use crate::thread::Stop;

/// Before a store is asked again that failed while somebody waited: a server
/// that is away tells nobody when it is back.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// The locks of one store. Leases outlive it.
///
/// Leases that lapse are renewed by one thread for all of them, `lock-renewal`,
/// which starts with the first. The last of the locks and their leases stops it,
/// and waits at most 100 ms for its end.
#[derive(Debug)]
pub struct Locks {
    store: Box<dyn LockStore>,
    renewer: Arc<Renewer>,
}

/// How asking for a lock ended.
#[derive(Debug)]
#[must_use = "it may be a lease, and dropping that lets go of the lock"]
pub enum Acquired {
    /// The lock is ours.
    Lease(Lease),
    /// It is somebody else's, and was until the time to wait was over.
    Held(Holder),
    /// We were told to stop before either.
    Stopped,
}

impl Locks {
    /// Opens the store that `url` names.
    ///
    /// # Errors
    /// [`Error::is_unreachable`] if it can't be used; the text says what to do.
    pub fn open(url: &StoreUrl) -> Result<Locks, Error> {
        Ok(Locks::over(crate::store::open(url)?))
    }

    /// The locks of a store that is open already.
    pub fn over(store: Box<dyn LockStore>) -> Locks {
        Locks { store, renewer: Arc::default() }
    }

    /// Tries once, without waiting for the holder. Of any number who try at once,
    /// one gets it. Never [`Acquired::Stopped`].
    ///
    /// # Errors
    /// [`Error::is_unreachable`] if the store failed; nothing is held then.
    pub fn try_acquire(&self, request: &Request) -> Result<Acquired, Error> {
        self.acquire(request, Duration::ZERO, &Stop::never())
    }

    /// Tries, and waits for the holder for up to `wait` (suspend counted;
    /// [`Duration::MAX`] is without end). Returns when the lock is ours, when
    /// `wait` is over, or when `stop` is set. Waiters get their turn in no
    /// particular order. A store that has answered once may fail for a while, as
    /// in a failover: it is asked again until `wait` is over.
    ///
    /// # Errors
    /// [`Error::is_unreachable`] if the store failed, at first or at the end of
    /// `wait`; nothing is held then.
    pub fn acquire(&self, request: &Request, wait: Duration, stop: &Stop) -> Result<Acquired, Error> {
        let deadline = Moment::now() + wait;
        let mut contender: Box<dyn Contender> = self.store.contender(request.key())?;
        let (mut has_answered, mut is_failing) = (false, false);
        loop {
            if stop.is_set() {
                return Ok(Acquired::Stopped);
            }
            let (claim, asked) = (request.claim(), Moment::now());
            match contender.try_take(claim) {
                Ok(Attempt::Taken(hold)) => {
                    let lease = Lease::new(request.key().clone(), hold, claim.ttl, asked, &self.renewer);
                    return Ok(Acquired::Lease(lease));
                }
                Ok(Attempt::Held(holder)) if deadline.has_passed() => return Ok(Acquired::Held(holder)),
                Ok(Attempt::Held(_)) => {
                    (has_answered, is_failing) = (true, false);
                    contender.wait_for_change(deadline, stop);
                }
                Err(error) if has_answered && error.may_pass() && !deadline.has_passed() => {
                    if !std::mem::replace(&mut is_failing, true) {
                        log::warn!("the lock {} is waited for all the same: {error}", request.key());
                    }
                    // Broken off or not, the loop looks why.
                    let _ = stop.sleep(ASK_AGAIN.min(deadline.remaining()));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Who holds `key`, as each node of the store tells it. Never gets in the
    /// way of those who want it.
    ///
    /// # Errors
    /// [`Error::is_unreachable`] if no node could be asked.
    pub fn inspect(&self, key: &Key) -> Result<Vec<NodeView>, Error> {
        self.store.inspect(key)
    }

    /// Takes `key` from its holder; with `fence`, only from the one with this
    /// fence. Of a file lock, only a minimum hold whose holder has ended can be
    /// broken: a running holder's flock ends with its processes.
    ///
    /// # Errors
    /// [`Error::is_held`] if that holder can't be parted from it, or is another
    /// one; the text says who. [`Error::is_unreachable`] if the store failed.
    pub fn break_lock(&self, key: &Key, fence: Option<u64>) -> Result<Broken, Error> {
        self.store.break_lock(key, fence)
    }
}
