//! The lock of a run: waited for, and let go.

use std::io;

use crossbeam_channel::{Receiver, select};
use signal_hook::consts as sig;

use super::outcome::{Outcome, Verdict};
use super::signals::{ends_a_run, suspend};
use super::spec::Once;
use crate::lock::{Acquired, Lease, Locks};
use crate::thread::spawn;

/// Waits for the lock on a thread of its own, so that a signal can end the wait.
pub(super) fn take_lease(once: Once, signals: &Receiver<i32>) -> Result<Lease, Box<Verdict>> {
    let locks = Locks::open(&once.store).map_err(|error| Box::new(Verdict::Store(error)))?;
    if once.wait.is_zero() {
        return acquired(locks.try_acquire(&once.request));
    }
    let worker = spawn("lock-wait", move |stop| locks.acquire(&once.request, once.wait, stop))
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
    let lease = worker
        .join()
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
        Ok(Acquired::Lease(lease)) => return Ok(lease),
        Ok(Acquired::Held(holder)) => Verdict::Held(holder),
        Ok(Acquired::Stopped) => Verdict::Start(io::Error::other("the wait for the lock was stopped")),
        Err(error) => Verdict::Store(error),
    }))
}

pub(super) fn release(lease: Option<Lease>, outcome: &mut Outcome) {
    if let Some(lease) = lease {
        outcome.release_error = lease.release().err();
    }
}
