//! The lock of a run: waited for, and let go.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError, select};
use signal_hook::consts as sig;

use super::outcome::{Outcome, Verdict};
use super::signals::{ends_a_run, suspend};
use super::spec::Once;
use crate::clock::Moment;
use crate::lock::{Acquired, Lease, Locks};
use crate::thread::spawn;

/// The thread of `lock` that renews, as panics and reports call it.
pub(super) const RENEWAL: &str = "lock-renewal";

/// How long a wait that a signal ended is given to end in order. A server that
/// hangs may keep it longer; a lock that comes then lapses.
const INTERRUPTED_WITHIN: Duration = Duration::from_secs(2);

/// Waits for the lock, and for a server that is slow to answer, on a thread of
/// its own, so that a signal can end the wait.
pub(super) fn take_lease(once: Once, open: Option<Arc<Locks>>, signals: &Receiver<i32>) -> Result<Lease, Box<Verdict>> {
    if once.wait.is_zero() && open.is_none() && !once.store.lapses() {
        // A directory answers at once.
        return acquired(Locks::open(&once.store).and_then(|locks| locks.try_acquire(&once.request)));
    }
    let worker = spawn("lock-wait", move |stop| {
        let locks = open.map_or_else(|| Locks::open(&once.store).map(Arc::new), Ok)?;
        locks.acquire(&once.request, once.wait, stop)
    })
    .map_err(|error| Box::new(Verdict::Start(error)))?;
    let mut interrupted = None;
    loop {
        select! {
            recv(worker.ended()) -> _ => break,
            recv(signals) -> signal => match signal {
                Ok(sig::SIGTSTP) => suspend(),
                Ok(signal) if ends_a_run(signal).is_break() => {
                    interrupted = Some(signal);
                    worker.stop();
                    break;
                }
                Ok(_) => {}
                Err(_) => {
                    worker.stop();
                    break;
                }
            },
        }
    }
    let joined = match interrupted {
        None => worker.join(),
        Some(signal) => match worker.join_within(INTERRUPTED_WITHIN) {
            Ok(joined) => joined,
            Err(_) => return Err(Box::new(Verdict::Interrupted(signal))),
        },
    };
    let lease = joined
        .map_err(|panic| {
            panic.log();
            Box::new(Verdict::Essential { thread: "lock-wait", panic: Some(panic) })
        })
        .and_then(acquired);
    match (interrupted, lease) {
        (Some(signal), Ok(lease)) => {
            // It came in the same moment. Nothing ran under it: a failure to let go is a crash's.
            let _: Result<(), crate::lock::Error> = lease.release();
            Err(Box::new(Verdict::Interrupted(signal)))
        }
        (Some(signal), Err(verdict)) if matches!(*verdict, Verdict::Start(_)) => {
            Err(Box::new(Verdict::Interrupted(signal)))
        }
        (_, lease) => lease,
    }
}

fn acquired(answer: Result<Acquired, crate::lock::Error>) -> Result<Lease, Box<Verdict>> {
    Err(Box::new(match answer {
        Ok(Acquired::Lease(lease)) if lease.lost().try_recv().err() == Some(TryRecvError::Disconnected) => {
            // As below: nothing ran under it.
            let _: Result<(), crate::lock::Error> = lease.release();
            Verdict::Essential { thread: RENEWAL, panic: None }
        }
        Ok(Acquired::Lease(lease)) => return Ok(lease),
        Ok(Acquired::Held(holder)) => Verdict::Held(holder),
        Ok(Acquired::Stopped) => Verdict::Start(io::Error::other("the wait for the lock was stopped")),
        Err(error) => Verdict::Store(error),
    }))
}

/// Lets go when the tree is gone. What is lost isn't asked for again: its store
/// may be one that hangs.
pub(super) fn release(lease: Option<Lease>, outcome: &mut Outcome) {
    let Some(lease) = lease else { return };
    if lease.valid_until() == Moment::NEVER {
        outcome.release_error = lease.release().err();
        return;
    }
    if let Err(lost) = lease.check() {
        outcome.lost.get_or_insert(lost);
    }
    if outcome.lost.is_some() {
        lease.abandon();
    } else {
        outcome.release_error = lease.release().err();
    }
}
