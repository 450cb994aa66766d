//! A stop for those who wait in `poll(2)`, and for those who wait in a channel;
//! and beyond it, that nobody takes anything any more.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crossbeam_channel::Receiver;

use crate::thread::{Flag, Never, Stop, Stopper};

/// One stop, as a channel that disconnects and as a descriptor that gets readable.
pub(in crate::flow) struct Halt {
    stopper: Stopper,
    stop: Stop,
    /// Never lowered.
    bell: Flag,
    giver_up: Stopper,
    given_up: Stop,
}

impl Halt {
    pub(in crate::flow) fn new() -> io::Result<Halt> {
        let (stopper, stop) = Stop::new();
        let (giver_up, given_up) = Stop::new();
        Ok(Halt { stopper, stop, bell: Flag::new()?, giver_up, given_up })
    }

    pub(super) fn stop(&self) {
        self.stopper.stop();
        self.bell.raise();
    }

    /// A stop, after which what was read has nowhere to go either.
    pub(super) fn give_up(&self) {
        self.stop();
        self.giver_up.stop();
    }

    pub(super) fn given_up(&self) -> &Receiver<Never> {
        self.given_up.receiver()
    }

    pub(in crate::flow) fn is_set(&self) -> bool {
        self.stop.is_set()
    }

    pub(in crate::flow) fn receiver(&self) -> &Receiver<Never> {
        self.stop.receiver()
    }
}

/// Readable once the stop is set.
impl AsFd for Halt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
