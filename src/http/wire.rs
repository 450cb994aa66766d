//! One connection of our server: a socket, TLS over it or not, and a deadline
//! for every wait.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::Limits;
use super::courier::Courier;
use super::cutter::Cutter;
use super::link::Link;
use super::socket::{Socket, moment_in, wait};
#[cfg(feature = "tls")]
use super::tls::Session;
use crate::thread::{Flag, Stop};

/// So much at a time goes out within one write limit.
const PIECE_BYTES: usize = 64 * 1024;

/// What the kernel is asked to send of a file at a time.
const SEND_FILE_BYTES: usize = 1024 * 1024;

/// What ends a server's connections. `stopping` is raised with `stop`, for
/// those that poll: no new connection, none without a request. `cut` ends all.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) stop: Stop,
    pub(super) stopping: Flag,
    pub(super) cut: Flag,
}

pub(super) struct Wire {
    socket: Socket,
    #[cfg(feature = "tls")]
    session: Option<Box<Session>>,
    ends: Arc<Ends>,
    courier: Option<Arc<Courier>>,
    write_time: Duration,
    gone_time: Duration,
}

/// What a wait for the next request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    Readable,
    Late,
    Stopped,
}

impl Wire {
    pub(super) fn plain(socket: Socket, ends: Arc<Ends>, limits: &Limits, courier: &Arc<Courier>) -> Wire {
        Wire { courier: Some(Arc::clone(courier)), ..Wire::unparked(socket, ends, limits) }
    }

    fn unparked(socket: Socket, ends: Arc<Ends>, limits: &Limits) -> Wire {
        Wire {
            socket,
            #[cfg(feature = "tls")]
            session: None,
            ends,
            courier: None,
            write_time: limits.write_time,
            gone_time: limits.gone_time,
        }
    }

    /// Goes through the TLS handshake, within its limit.
    #[cfg(feature = "tls")]
    pub(super) fn encrypted(
        socket: Socket,
        ends: Arc<Ends>,
        limits: &Limits,
        tls: &super::tls::Tls,
    ) -> io::Result<Wire> {
        let mut wire = Wire::unparked(socket, ends, limits);
        wire.session = Some(Box::new(Session::new(tls)?));
        wire.handshake(moment_in(limits.handshake_time))?;
        Ok(wire)
    }

    #[cfg(feature = "tls")]
    fn handshake(&self, until: Instant) -> io::Result<()> {
        let Some(session) = &self.session else { return Ok(()) };
        loop {
            let wants = session.handshake(&self.socket)?;
            if wants.is_empty() {
                return Ok(());
            }
            self.wait(wants, until)?;
        }
    }

    /// Reads what is there, at least one byte; zero is the end.
    ///
    /// Blocks until something comes, the moment passes (`TimedOut`), or the
    /// server cuts its connections.
    pub(super) fn read(&self, buf: &mut [u8], until: Instant) -> io::Result<usize> {
        loop {
            if let Some(read) = self.try_read(buf)? {
                return Ok(read);
            }
            self.wait(PollFlags::IN, until)?;
        }
    }

    fn try_read(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        #[cfg(feature = "tls")]
        if let Some(session) = &self.session {
            return session.try_read(&self.socket, buf);
        }
        self.socket.try_read(buf)
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Writes what there is room for; `None` if there is none.
    pub(super) fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        #[cfg(feature = "tls")]
        if let Some(session) = &self.session {
            return session.try_write(&self.socket, parts);
        }
        self.socket.try_write(parts)
    }

    /// Waits for the first byte of the next request.
    pub(super) fn wait_for_request(&self, until: Instant) -> io::Result<Waited> {
        #[cfg(feature = "tls")]
        if self.session.as_ref().is_some_and(|session| session.has_plaintext()) {
            return Ok(Waited::Readable);
        }
        let mut fds = [
            PollFd::new(&self.socket, PollFlags::IN),
            PollFd::new(&self.ends.stopping, PollFlags::IN),
            PollFd::new(&self.ends.cut, PollFlags::IN),
        ];
        if !wait(&mut fds, Some(until))? {
            return Ok(Waited::Late);
        }
        let stopped = !fds[1].revents().is_empty() || !fds[2].revents().is_empty();
        Ok(if stopped { Waited::Stopped } else { Waited::Readable })
    }

    fn wait(&self, flags: PollFlags, until: Instant) -> io::Result<()> {
        let mut fds = [PollFd::new(&self.socket, flags), PollFd::new(&self.ends.cut, PollFlags::IN)];
        if !wait(&mut fds, Some(until))? {
            return Err(io::Error::new(ErrorKind::TimedOut, "the client was too slow"));
        }
        if fds[1].revents().is_empty() {
            Ok(())
        } else {
            Err(io::Error::new(ErrorKind::ConnectionAborted, "the server stops, and waits no longer"))
        }
    }

    /// Ends the connection after a complete reply: says so, then reads for a
    /// while what the client still sends. Without that, bytes on their way to
    /// us would make a reset of the close, and the client's system throw the
    /// reply away.
    ///
    /// With no time to linger it still says so, but doesn't read.
    pub(super) fn close(self, linger_time: Duration) {
        #[cfg(feature = "tls")]
        if let Some(session) = &self.session {
            session.say_goodbye(&self.socket);
        }
        self.linger(linger_time);
    }

    /// Ends the connection without the goodbye of TLS: cut, not closed.
    /// `delimited`: as for [`Link::cut`].
    pub(super) fn abandon(self, delimited: bool, linger_time: Duration) {
        if delimited {
            self.linger(linger_time);
        } else {
            // A reset throws away what the client's system hasn't taken yet;
            // so what was said last gets its time first.
            self.socket.reset_on_close();
            let _ = self.wait(PollFlags::RDHUP, moment_in(linger_time));
        }
    }

    fn linger(&self, linger_time: Duration) {
        self.socket.half_close();
        let until = moment_in(linger_time);
        // On the heap: a connection's thread keeps the stack that it once used.
        let mut unread = vec![0; 1024];
        loop {
            match self.socket.try_read(&mut unread) {
                Ok(Some(0)) | Err(_) => return,
                Ok(Some(_)) if Instant::now() < until => {}
                Ok(None) if self.wait(PollFlags::IN, until).is_ok() => {}
                Ok(_) => return,
            }
        }
    }
}

impl Link for Wire {
    /// With as few calls as the socket lets it; each 64 KiB of progress has a
    /// write limit of its own.
    fn write(&self, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        IoSlice::advance_slices(&mut parts, 0);
        let (mut deadline, mut progress) = (Deadline::new(self.write_time), 0);
        while !parts.is_empty() {
            match self.try_write(parts)? {
                Some(0) => return Err(ErrorKind::WriteZero.into()),
                Some(written) => {
                    IoSlice::advance_slices(&mut parts, written);
                    progress += written;
                    if progress >= PIECE_BYTES {
                        (deadline, progress) = (Deadline::new(self.write_time), 0);
                    }
                }
                None => self.wait(PollFlags::OUT, deadline.moment())?,
            }
        }
        #[cfg(feature = "tls")]
        if let Some(session) = &self.session {
            while !session.try_flush(&self.socket)? {
                self.wait(PollFlags::OUT, deadline.moment())?;
            }
        }
        Ok(())
    }

    fn write_file(&self, file: &File, offset: u64, length: u64) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if self.session.is_some() {
            return copy_file(self, file, offset, length);
        }
        let (mut at, end) = (offset, offset.saturating_add(length));
        while at < end {
            // One write limit for each piece, as in `write`.
            let deadline = Deadline::new(self.write_time);
            let piece_end = end.min(at + PIECE_BYTES as u64);
            while at < piece_end {
                let room = usize::try_from(end - at).unwrap_or(SEND_FILE_BYTES).min(SEND_FILE_BYTES);
                match self.socket.try_send_file(file, &mut at, room) {
                    Ok(Some(0)) => return Err(too_short()),
                    Ok(Some(_)) => {}
                    Ok(None) => self.wait(PollFlags::OUT, deadline.moment())?,
                    // Not every file system can do it.
                    Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
                        return copy_file(self, file, at, end - at);
                    }
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(())
    }

    fn is_gone(&self) -> bool {
        self.socket.is_gone()
    }

    fn gone_time(&self) -> Duration {
        self.gone_time
    }

    fn can_reset(&self) -> bool {
        self.socket.is_tcp()
    }

    fn can_inform(&self) -> bool {
        true
    }

    fn cutter(&self) -> io::Result<Cutter> {
        Cutter::of(&self.socket)
    }

    fn cut(&self, delimited: bool) {
        if delimited {
            // An end, not a reset, which might take with it what was said last.
            self.socket.half_close();
        } else {
            self.socket.reset_on_close();
        }
    }

    fn courier(&self) -> Option<&Arc<Courier>> {
        self.courier.as_ref()
    }

    fn stop(&self) -> &Stop {
        &self.ends.stop
    }
}

/// As [`Link::write_file`], through memory.
pub(super) fn copy_file(link: &dyn Link, file: &File, offset: u64, length: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let mut buf = vec![0; 16 * 1024];
    let (mut at, end) = (offset, offset.saturating_add(length));
    while at < end {
        let room = usize::try_from(end - at).unwrap_or(usize::MAX).min(buf.len());
        match file.read_at(&mut buf[..room], at) {
            Ok(0) => return Err(too_short()),
            Ok(read) => {
                link.write(&mut [IoSlice::new(&buf[..read])])?;
                at += read as u64;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn too_short() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the file ends before the length that was announced")
}

/// A moment that is only looked up if something has to be waited for.
struct Deadline {
    time: Duration,
    moment: std::cell::OnceCell<Instant>,
}

impl Deadline {
    fn new(time: Duration) -> Deadline {
        Deadline { time, moment: std::cell::OnceCell::new() }
    }

    fn moment(&self) -> Instant {
        *self.moment.get_or_init(|| moment_in(self.time))
    }
}
