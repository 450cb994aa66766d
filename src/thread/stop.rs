//! Asking a thread to stop, and being asked.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, never};

use super::lock;

/// What never exists: the item of a channel that only ever disconnects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {}

/// The asked side: whether a stop was asked for, and a way to wait for it.
///
/// Cheap to clone and to hand on; all clones see the same stop. Once set, it
/// stays set.
#[derive(Clone)]
pub struct Stop {
    receiver: Receiver<Never>,
}

/// The asking side of a [`Stop`]. Clones ask for the same stop.
///
/// Dropping the last clone asks as well: nobody could do it any more, and work
/// whose owner left early (by `?`, by a panic) must not run on without one.
/// What shall never be stopped takes [`Stop::never`].
#[derive(Clone)]
pub struct Stopper {
    sender: Arc<Mutex<Option<Sender<Never>>>>,
}

impl Stop {
    /// A stop, and what asks for it.
    pub fn new() -> (Stopper, Stop) {
        // Capacity 1 and never used: this kind of channel answers `is_set` without a lock.
        let (sender, receiver) = bounded(1);
        (Stopper { sender: Arc::new(Mutex::new(Some(sender))) }, Stop { receiver })
    }

    /// A stop that nobody will ask for, for calls that demand one.
    pub fn never() -> Stop {
        Stop { receiver: never() }
    }

    /// Whether a stop was asked for. Cheap enough for an inner loop.
    pub fn is_set(&self) -> bool {
        matches!(self.receiver.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Sleeps for `duration`; a stop wakes it at once.
    ///
    /// `Break`: a stop was asked for, before or during the sleep. `Continue`:
    /// the time passed. Counts as `Instant` does, so not while the host sleeps.
    pub fn sleep(&self, duration: Duration) -> ControlFlow<()> {
        match self.receiver.recv_timeout(duration) {
            Err(RecvTimeoutError::Timeout) => ControlFlow::Continue(()),
            Err(RecvTimeoutError::Disconnected) => ControlFlow::Break(()),
            Ok(never) => match never {},
        }
    }

    /// Blocks until a stop is asked for; only that unblocks it.
    pub fn wait(&self) {
        // No deadline: to wait for the stop, however long, is what it is for.
        if let Ok(never) = self.receiver.recv() {
            match never {}
        }
    }

    /// A channel that disconnects when a stop is asked for, for `select!`:
    /// `recv(stop.receiver()) -> _ => break`.
    pub fn receiver(&self) -> &Receiver<Never> {
        &self.receiver
    }
}

impl Stopper {
    /// Asks for the stop and returns at once. Asking again changes nothing.
    pub fn stop(&self) {
        drop(lock(&self.sender).take());
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop").field("is_set", &self.is_set()).finish()
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").field("asked", &lock(&self.sender).is_none()).finish()
    }
}
