//! Where lines go that somebody has to take: a pipe, a terminal, a file. Nobody
//! is waited for without end.

use std::io::{self, ErrorKind, Write};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, write};

use crate::clock::{Moment, format_duration};
use crate::thread::Stop;

/// What a pipe with any room takes without waiting: PIPE_BUF, see `pipe(7)`.
const PIECE_BYTES: usize = 4096;
/// How long room is waited for before it is looked whether we are to stop:
/// `poll(2)` waits for no channel.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// A descriptor that is written to for so long as something is taken.
pub(super) struct Outlet<'a> {
    to: BorrowedFd<'a>,
    /// Nothing was taken for so long: that is an error.
    limit: Duration,
    stop: &'a Stop,
}

impl<'a> Outlet<'a> {
    pub(super) fn new(to: BorrowedFd<'a>, limit: Duration, stop: &'a Stop) -> Outlet<'a> {
        Outlet { to, limit, stop }
    }

    /// Waits for room, for a while.
    fn wait(&self, until: Moment) -> io::Result<()> {
        loop {
            match poll(&mut [PollFd::new(&self.to, PollFlags::OUT)], Some(&LOOK)) {
                // Also an error is seen when it is written to.
                Ok(ready) if ready > 0 => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if self.stop.is_set() {
                return Err(io::Error::new(ErrorKind::TimedOut, "nobody took it in time before the end"));
            }
            if until.has_passed() {
                let limit = format_duration(self.limit);
                return Err(io::Error::new(ErrorKind::TimedOut, format!("nobody took anything for {limit}")));
            }
        }
    }
}

impl Write for Outlet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let until = Moment::now() + self.limit;
        loop {
            self.wait(until)?;
            match write(self.to, &bytes[..bytes.len().min(PIECE_BYTES)]) {
                Ok(count) => return Ok(count),
                // Somebody who shares it was faster, or it is non-blocking for their sake.
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, pipe};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_nobody_takes_is_an_error_and_what_is_taken_is_written_whole() {
        let (mut reader, writer) = pipe().unwrap();
        let stop = Stop::never();
        let mut outlet = Outlet::new(writer.as_fd(), Duration::from_millis(300), &stop);
        let error = outlet.write_all(&[b'x'; 1 << 20]).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::TimedOut, "nobody took anything for 300ms"));
        let (stopper, stop) = Stop::new();
        stopper.stop();
        let mut outlet = Outlet::new(writer.as_fd(), Duration::MAX, &stop);
        assert_eq!(outlet.write(b"y").unwrap_err().kind(), ErrorKind::TimedOut);
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        let stop = Stop::never();
        let mut outlet = Outlet::new(writer.as_fd(), Duration::from_secs(60), &stop);
        outlet.write_all(&[b'z'; 1 << 20]).unwrap();
        drop(writer);
        assert_eq!(reading.join().unwrap().iter().filter(|byte| **byte == b'z').count(), 1 << 20);
    }
}
