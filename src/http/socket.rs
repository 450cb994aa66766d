//! One connected socket, and waiting for it. Nothing here blocks but [`wait`].

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, sockopt};

/// `IOV_MAX` of Linux: `sendmsg(2)` refuses more.
const MAX_SLICES: usize = 1024;

/// A connected TCP or Unix socket, non-blocking.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    is_tcp: bool,
}

impl Socket {
    /// Takes over an accepted, non-blocking socket.
    pub(super) fn new(fd: OwnedFd, is_tcp: bool, write_time: Duration) -> Socket {
        let socket = Socket { fd, is_tcp };
        if is_tcp {
            // None of these can be refused in a way that serving should fail for.
            let _ = socket.set_tcp_options(write_time);
        }
        socket
    }

    /// A flushed chunk leaves at once, and a host that vanished is noticed
    /// though nothing is written.
    fn set_tcp_options(&self, write_time: Duration) -> rustix::io::Result<()> {
        sockopt::set_tcp_nodelay(&self.fd, true)?;
        // The kernel counts in an int.
        let write_ms = u32::try_from(write_time.as_millis()).unwrap_or(u32::MAX).min(i32::MAX.unsigned_abs());
        sockopt::set_tcp_user_timeout(&self.fd, write_ms)?;
        sockopt::set_socket_keepalive(&self.fd, true)?;
        sockopt::set_tcp_keepidle(&self.fd, Duration::from_secs(30))?;
        sockopt::set_tcp_keepintvl(&self.fd, Duration::from_secs(10))
    }

    pub(super) fn is_tcp(&self) -> bool {
        self.is_tcp
    }

    /// Reads what is there; `None` if nothing is, `Some(0)` at the end.
    pub(super) fn try_read(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        retry(|| rustix::net::recv(&self.fd, &mut *buf, RecvFlags::DONTWAIT).map(|(read, _)| read))
    }

    /// Writes what there is room for; `None` if there is none.
    pub(super) fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let parts = &parts[..parts.len().min(MAX_SLICES)];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        retry(|| rustix::net::sendmsg(&self.fd, parts, &mut SendAncillaryBuffer::default(), flags))
    }

    /// Sends from a file without a copy; `Some(0)` at the file's end.
    pub(super) fn try_send_file(&self, file: &File, offset: &mut u64, count: usize) -> io::Result<Option<usize>> {
        retry(|| rustix::fs::sendfile(&self.fd, file, Some(offset), count))
    }

    /// Whether the client has closed, shut down its sending side, or vanished.
    pub(super) fn is_gone(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::RDHUP)];
        match poll(&mut fds, Some(&Timespec::default())) {
            Ok(_) => fds[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR),
            Err(_) => false,
        }
    }

    /// Says that nothing more will be sent. The other direction stays open.
    pub(super) fn half_close(&self) {
        // It fails only if the connection is gone.
        let _ = rustix::net::shutdown(&self.fd, Shutdown::Write);
    }

    /// Makes the close a reset instead of an end: the client's read fails.
    pub(super) fn reset_on_close(&self) {
        let _ = sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO));
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The moment so long from now; of a limit that was set to last for ever, in a
/// hundred years.
pub(super) fn moment_in(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or_else(|| now + Duration::from_secs(100 * 365 * 86_400))
}

/// Polls until one of `fds` is ready: true; or until the moment has passed: false.
///
/// `None` waits for ever: only for those that include something that is sure to
/// become ready.
pub(super) fn wait(fds: &mut [PollFd<'_>], until: Option<Instant>) -> io::Result<bool> {
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| {
            let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
            Timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() }
        });
        match poll(fds, timeout.as_ref()) {
            Ok(0) if until.is_some_and(|until| Instant::now() >= until) => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Again when a signal interrupts it; `None` where it would block.
fn retry(mut call: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match call() {
            Ok(count) => return Ok(Some(count)),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}
