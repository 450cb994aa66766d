//! Ending a connection from another thread.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::Shutdown;

/// What ends the connection of one request, from any thread, from
/// [`Request::cutter`](super::Request::cutter): for a handler that is waiting
/// for a body which somebody else knows will not come.
#[derive(Debug)]
pub struct Cutter {
    socket: OwnedFd,
}

impl Cutter {
    /// Ends the connection, in both directions, and returns at once. The
    /// handler's read or write fails, as if the client had gone. Cutting a
    /// connection that has ended does nothing.
    pub fn cut(&self) {
        // It fails only if the connection is gone.
        let _: rustix::io::Result<()> = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }

    /// A copy of a descriptor that is in use elsewhere.
    pub(super) fn of(socket: impl AsFd) -> io::Result<Cutter> {
        Ok(Cutter { socket: socket.as_fd().try_clone_to_owned()? })
    }
}
