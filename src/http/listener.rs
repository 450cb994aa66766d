//! A listening socket, and accepting from it without ever giving up.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, fchmod, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::address::Address;
use super::request::Peer;
use super::socket::Socket;

/// How many connections the kernel holds until they are accepted; it has a
/// bound of its own (`net.core.somaxconn`).
const BACKLOG: i32 = 1024;
/// How often to try for our turn to bind a Unix socket, and how long to wait in between: 1 s in all.
const TURN_TRIES: u32 = 200;
const TURN_PAUSE: Duration = Duration::from_millis(5);
const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

#[derive(Debug)]
pub(super) struct Listener {
    fd: OwnedFd,
    address: Address,
    /// The socket file that is ours to remove.
    file: Option<SocketFile>,
}

/// What an attempt to accept came to.
pub(super) enum Accepted {
    Connection(Socket, Peer),
    /// Nobody is waiting, or no longer.
    Nobody,
}

impl Listener {
    pub(super) fn bind(address: &Address) -> io::Result<Listener> {
        match address {
            Address::Tcp(address) => Listener::bind_tcp(*address),
            Address::Unix(path) => Listener::bind_unix(path),
        }
    }

    fn bind_tcp(address: SocketAddr) -> io::Result<Listener> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let fd = rustix::net::socket_with(family, SocketType::STREAM, FLAGS, None)?;
        // A port that a server of before left in TIME_WAIT is free.
        sockopt::set_socket_reuseaddr(&fd, true)?;
        rustix::net::bind(&fd, &address)?;
        rustix::net::listen(&fd, BACKLOG)?;
        let bound = SocketAddr::try_from(rustix::net::getsockname(&fd)?)?;
        Ok(Listener { fd, address: Address::Tcp(bound), file: None })
    }

    fn bind_unix(path: &Path) -> io::Result<Listener> {
        let address = SocketAddrUnix::new(path)?;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
        // Before the file is there: Linux makes it with this mode.
        fchmod(&fd, Mode::from_raw_mode(0o600))?;
        // Another's that is bound and doesn't listen yet would look dead.
        let _turn = turn_in(path);
        match rustix::net::bind(&fd, &address) {
            Err(Errno::ADDRINUSE) if is_dead(path, &address) => {
                std::fs::remove_file(path)?;
                rustix::net::bind(&fd, &address)?;
            }
            bound => bound?,
        }
        rustix::net::listen(&fd, BACKLOG)?;
        let file = SocketFile { path: path.to_owned(), id: id_of(path)? };
        Ok(Listener { fd, address: Address::Unix(path.to_owned()), file: Some(file) })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Takes the next connection, without waiting for one.
    pub(super) fn accept(&self, write_time: Duration) -> io::Result<Accepted> {
        match rustix::net::acceptfrom_with(&self.fd, FLAGS) {
            Ok((fd, from)) => {
                let peer = from.and_then(|from| SocketAddr::try_from(from).ok()).map_or(Peer::Unix, Peer::Tcp);
                Ok(Accepted::Connection(Socket::new(fd, self.file.is_none(), write_time), peer))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Accepted::Nobody),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Removed with its server, unless somebody has put another in its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if id_of(&self.path).is_ok_and(|id| id == self.id)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::warn!("can't remove the socket {}: {error}", self.path.display());
        }
    }
}

fn id_of(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Whether this is the socket of a server that is gone.
fn is_dead(path: &Path, address: &SocketAddrUnix) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    // Non-blocking: a server that lives and is busy must not hold this up.
    let probe = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None);
    is_socket && probe.is_ok_and(|probe| rustix::net::connect(&probe, address) == Err(Errno::CONNREFUSED))
}

/// Our turn to bind in this directory, until it is dropped; `None` if it can't
/// be had. Then it goes on without: a lock that somebody else holds on the
/// directory, for whatever reason, mustn't keep a server from starting.
fn turn_in(path: &Path) -> Option<OwnedFd> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty()).ok()?;
    for _ in 0..TURN_TRIES {
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(directory),
            // `flock(2)` can't wait with a deadline, and who has it needs it for a moment only.
            Err(Errno::WOULDBLOCK | Errno::INTR) => std::thread::sleep(TURN_PAUSE),
            Err(_) => return None,
        }
    }
    None
}

/// How long to wait after a failed `accept(2)`: 5 ms, doubled each time, at
/// most 1 s. Such failures (a connection that is gone again, no descriptors
/// left) pass; a server that spins or ends because of them doesn't.
#[derive(Debug, Default)]
pub(super) struct BackOff {
    failures: u32,
}

impl BackOff {
    pub(super) fn next(&mut self) -> Duration {
        let time = Duration::from_millis(5 << self.failures.min(8));
        self.failures = self.failures.saturating_add(1);
        time.min(Duration::from_secs(1))
    }

    /// Whether this is the first failure of a row, which is told.
    pub(super) fn is_new(&self) -> bool {
        self.failures == 0
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_from_5_ms_to_1_s_and_start_anew_after_a_success() {
        let mut back_off = BackOff::default();
        let waits: Vec<_> = (0..10).map(|_| back_off.next().as_millis()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert!(!back_off.is_new());
        back_off.reset();
        assert!(back_off.is_new());
        assert_eq!(back_off.next(), Duration::from_millis(5));
    }
}
