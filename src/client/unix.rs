//! HTTP over a Unix socket. One of the files that name `ureq::unversioned`, whose
//! traits may change with any release of ureq.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout as Direction, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};

/// An agent all of whose requests go to one socket, whatever host they name.
pub(super) fn agent(config: ureq::config::Config, path: &Path) -> ureq::Agent {
    ureq::Agent::with_parts(config, ToSocket::at(path), NoNames)
}

/// Connects to a socket.
#[derive(Debug)]
pub(super) struct ToSocket {
    path: PathBuf,
}

/// A path needs no address.
#[derive(Debug)]
pub(super) struct NoNames;

impl ToSocket {
    pub(super) fn at(path: &Path) -> ToSocket {
        ToSocket { path: path.to_owned() }
    }
}

impl Resolver for NoNames {
    fn resolve(&self, _: &Uri, _: &ureq::config::Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

impl<In: Transport> Connector<In> for ToSocket {
    type Out = Socket;

    fn connect(&self, details: &ConnectionDetails, _: Option<In>) -> Result<Option<Socket>, ureq::Error> {
        let limit = details.timeout.not_zero().map(|limit| *limit);
        let stream = connect(&self.path, limit).map_err(|error| told(error, details.timeout))?;
        let stream = Arc::new(stream);
        let handle = Arc::new(Handle(stream.clone()));
        (details.register_shutdown)(Arc::downgrade(&handle) as Weak<dyn ShutdownHandle>)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Socket { stream, buffers, read_limit: None, write_limit: None, _handle: handle }))
    }
}

/// Connects within `limit`: a listener whose queue is full makes others wait, and
/// the time-out of writes is what the kernel measures that by (`unix(7)`).
fn connect(path: &Path, limit: Option<Duration>) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Direction::Send, limit)?;
    loop {
        match rustix::net::connect(&socket, &address) {
            Ok(()) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let stream = UnixStream::from(socket);
    stream.set_write_timeout(None)?;
    Ok(stream)
}

pub(super) struct Socket {
    stream: Arc<UnixStream>,
    buffers: LazyBuffers,
    /// The limits that the kernel knows, so that it is told only of others.
    read_limit: Option<Duration>,
    write_limit: Option<Duration>,
    _handle: Arc<Handle>,
}

/// What ends a socket's reads from another thread.
struct Handle(Arc<UnixStream>);

impl ShutdownHandle for Handle {
    fn shutdown(&self) {
        // It fails if the other side was quicker: then nobody waits any more.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Socket {
    fn limit_reads(&mut self, limit: Option<Duration>) -> io::Result<()> {
        if self.read_limit != limit {
            self.stream.set_read_timeout(limit)?;
            self.read_limit = limit;
        }
        Ok(())
    }

    fn limit_writes(&mut self, limit: Option<Duration>) -> io::Result<()> {
        if self.write_limit != limit {
            self.stream.set_write_timeout(limit)?;
            self.write_limit = limit;
        }
        Ok(())
    }
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let timeout = timeout.for_write();
        self.limit_writes(timeout.not_zero().map(|limit| *limit))?;
        let output = &self.buffers.output()[..amount];
        (&*self.stream).write_all(output).map_err(|error| told(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let timeout = timeout.for_read();
        let until = timeout.not_zero().map(|limit| Instant::now() + *limit);
        let mut left = timeout.not_zero().map(|limit| *limit);
        loop {
            self.limit_reads(left)?;
            let stream = self.stream.clone();
            match (&*stream).read(self.buffers.input_append_buf()) {
                Ok(count) => {
                    self.buffers.input_appended(count);
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    // At least a moment: zero would mean that there is no limit.
                    left = until.map(|until| (until - Instant::now()).max(Duration::from_millis(1)));
                }
                Err(error) => return Err(told(error, timeout)),
            }
        }
    }

    /// Between two requests nothing may come: what is readable is the end, or garbage.
    fn is_open(&mut self) -> bool {
        use rustix::event::{PollFd, PollFlags, poll};

        let mut ready = [PollFd::new(&*self.stream, PollFlags::IN)];
        poll(&mut ready, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|count| count == 0)
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Socket")
    }
}

/// The kernel calls a time-out "try again".
fn told(error: io::Error, timeout: NextTimeout) -> ureq::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ureq::Error::Timeout(timeout.reason),
        _ => ureq::Error::Io(error),
    }
}
