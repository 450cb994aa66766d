//! One of our own streams, written without a buffer between.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};

use super::PrintTally;

/// Our stdout or stderr.
///
/// Writing blocks for as long as the other side likes: a terminal stopped by
/// Ctrl-S, a slow pipe. That is meant to slow the child, so there is no
/// deadline; what ends it is the other side, or the process's end.
#[derive(Debug)]
pub(in crate::job) struct Printer {
    /// `None` once its reader has gone.
    to: Option<File>,
    mid_line: bool,
    tally: PrintTally,
}

impl Printer {
    pub(in crate::job) fn new(to: OwnedFd) -> Printer {
        Printer { to: Some(File::from(to)), mid_line: false, tally: PrintTally::default() }
    }

    /// Whether its reader has gone, so that nothing will ever be printed again.
    pub(in crate::job) fn is_closed(&self) -> bool {
        self.to.is_none()
    }

    /// Whether the last thing printed was no line end.
    pub(super) fn is_mid_line(&self) -> bool {
        self.mid_line
    }

    /// Writes all of it, or counts what could not be written.
    pub(in crate::job) fn print(&mut self, bytes: &[u8]) {
        let (written, result) = match &self.to {
            Some(to) => write_all(to, bytes),
            None => (0, Ok(())),
        };
        if let Some(last) = bytes[..written].last() {
            self.mid_line = *last != b'\n';
        }
        self.tally.lost_bytes += (bytes.len() - written) as u64;
        if let Err(error) = result {
            if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) {
                self.to = None;
            }
            self.tally.error.get_or_insert(error);
        }
    }

    /// What became of what was printed.
    #[cfg(feature = "http")]
    pub(in crate::job) fn into_tally(self) -> PrintTally {
        self.tally
    }

    /// The two streams' accounts in one.
    pub(super) fn tally([out, err]: [Printer; 2]) -> PrintTally {
        PrintTally {
            lost_bytes: out.tally.lost_bytes + err.tally.lost_bytes,
            error: out.tally.error.or(err.tally.error),
        }
    }
}

/// How much was written, and why not more.
pub(super) fn write_all(mut to: &File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match to.write(&bytes[written..]) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Somebody who shares the file made it non-blocking; that is no reason to lose output.
            Err(error) if error.kind() == ErrorKind::WouldBlock => match wait_for_room(to) {
                Ok(()) => {}
                Err(error) => return (written, Err(error)),
            },
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// Unblocked by room or by the other side's end.
fn wait_for_room(to: &File) -> io::Result<()> {
    match poll(&mut [PollFd::new(to, PollFlags::OUT)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

    use super::*;

    #[test]
    fn a_pipe_that_somebody_made_non_blocking_loses_nothing() {
        let (mut reader, writer) = io::pipe().unwrap();
        fcntl_setfl(&writer, fcntl_getfl(&writer).unwrap() | OFlags::NONBLOCK).unwrap();
        let sent: Vec<u8> = (0..1_000_000).map(|n| (n % 251) as u8).collect();
        let mut printer = Printer::new(writer.into());
        let printing = std::thread::spawn({
            let sent = sent.clone();
            move || {
                printer.print(&sent);
                printer.tally.lost_bytes
            }
        });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        assert_eq!(printing.join().unwrap(), 0);
        assert!(got == sent);
    }

    #[test]
    fn a_full_disk_is_counted_and_does_not_end_the_printing() {
        let mut printer = Printer::new(File::options().write(true).open("/dev/full").unwrap().into());
        printer.print(b"12345");
        printer.print(b"678");
        assert!(!printer.is_closed());
        assert_eq!(printer.tally.lost_bytes, 8);
        assert_eq!(printer.tally.error.unwrap().kind(), ErrorKind::StorageFull);
    }
}
