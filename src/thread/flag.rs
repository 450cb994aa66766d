//! A flag that wakes every thread that polls it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

/// An `eventfd(2)`: readable while it is raised, for as many pollers as there are.
#[derive(Debug)]
pub(crate) struct Flag(OwnedFd);

impl Flag {
    pub(crate) fn new() -> io::Result<Flag> {
        Ok(Flag(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Wakes whoever polls it, now and from now on, until it is lowered.
    pub(crate) fn raise(&self) {
        // It fails only when it was raised 2^64 - 2 times, and is up then.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    #[cfg(feature = "http")]
    pub(crate) fn lower(&self) {
        let mut count = [0; 8];
        // It fails if it is down already.
        let _ = rustix::io::read(&self.0, &mut count);
    }
}

impl AsFd for Flag {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
