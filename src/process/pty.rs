//! A pseudo-terminal for a command, and our own terminal lent to it.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use super::sys::with_ttou_blocked;
use crate::thread::{Worker, spawn};

/// The size of a pseudo-terminal when we have no terminal to take it from.
const DEFAULT_SIZE: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };

/// How much of standard input is carried at a time: what a terminal holds.
const FEED_BYTES: usize = 4096;

/// A pseudo-terminal: we hold the master, the command the other end (`pty(7)`).
#[derive(Debug)]
pub struct Pty {
    master: OwnedFd,
}

impl Pty {
    /// Opens one, as large as the terminal on our standard output or input, or
    /// 24 rows by 80 columns. Returns the command's end beside it.
    ///
    /// # Errors
    /// There is no `/dev/ptmx` (an empty root directory), or no pseudo-terminal is left.
    pub fn open() -> io::Result<(Pty, OwnedFd)> {
        Pty::open_any().map_err(|source| io::Error::new(source.kind(), NoPty { source }))
    }

    fn open_any() -> io::Result<(Pty, OwnedFd)> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let command_end = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        // Reads go by epoll; a write must never block on a command that doesn't read.
        rustix::fs::fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK)?;
        let pty = Pty { master };
        pty.resize();
        Ok((pty, command_end))
    }

    /// Another descriptor of the master, to read the command's output from. It
    /// doesn't block; a read fails with EIO once the command's end is closed.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn output(&self) -> io::Result<OwnedFd> {
        self.master.try_clone()
    }

    /// Makes it as large as our own terminal is now (SIGWINCH).
    pub fn resize(&self) {
        let size = tcgetwinsize(io::stdout()).or_else(|_| tcgetwinsize(io::stdin())).unwrap_or(DEFAULT_SIZE);
        // The size is a courtesy: a terminal without one works.
        let _: rustix::io::Result<()> = tcsetwinsize(&self.master, size);
    }

    /// Carries our standard input to the command on a thread of its own, until
    /// the input ends (then the command's terminal says end-of-file) or the
    /// [`Feed`] is dropped.
    ///
    /// # Errors
    /// No descriptor or no thread is free.
    pub fn feed_stdin(&self) -> io::Result<Feed> {
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        let master = self.master.try_clone()?;
        if !input.as_fd().is_terminal() {
            // Nobody types: an echo would only repeat the input as output.
            let mut settings = tcgetattr(&master)?;
            settings.local_modes.remove(LocalModes::ECHO);
            tcsetattr(&master, OptionalActions::Now, &settings)?;
        }
        let (stopped, stop) = io::pipe()?;
        let worker = spawn("stdin", move |_| feed(&input, &master, &stopped.into()))?;
        Ok(Feed { stop: Some(stop), worker: Some(worker) })
    }
}

/// Why a command can't have a terminal of its own.
#[derive(Debug, thiserror::Error)]
#[error("no pseudo-terminal can be had; it takes a /dev/ptmx")]
struct NoPty {
    source: io::Error,
}

/// The thread that carries standard input. Dropping it stops the thread, and
/// waits up to 100 ms for it: where somebody else reads the same input, it may
/// hang in a read of what the other one got.
#[derive(Debug)]
pub struct Feed {
    stop: Option<io::PipeWriter>,
    worker: Option<Worker<()>>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop = None;
        // A dropped worker waits only so long, and logs its thread's panic.
        drop(self.worker.take());
    }
}

/// Ends when the input does, when the command's end is gone, and when `stopped` closes.
fn feed(input: &OwnedFd, master: &OwnedFd, stopped: &OwnedFd) {
    let mut buffer = [0; FEED_BYTES];
    while wait_for(input, PollFlags::IN, stopped) {
        match rustix::io::read(input, &mut buffer) {
            Ok(0) => {
                let end_of_file =
                    tcgetattr(master).map_or(4, |settings| settings.special_codes[SpecialCodeIndex::VEOF]);
                // Once more in case the last line had no end: the first then only sends the line.
                write_all(master, &[end_of_file, end_of_file], stopped);
                return;
            }
            Ok(length) => {
                if !write_all(master, &buffer[..length], stopped) {
                    return;
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return,
        }
    }
}

fn write_all(master: &OwnedFd, mut bytes: &[u8], stopped: &OwnedFd) -> bool {
    while !bytes.is_empty() {
        if !wait_for(master, PollFlags::OUT, stopped) {
            return false;
        }
        match rustix::io::write(master, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Whether it is ready, as opposed to being stopped. No deadline: a person types when they like.
fn wait_for(descriptor: &OwnedFd, what: PollFlags, stopped: &OwnedFd) -> bool {
    loop {
        let mut waiting = [PollFd::new(descriptor, what), PollFd::new(stopped, PollFlags::IN)];
        match poll(&mut waiting, None) {
            Err(Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) if !waiting[1].revents().is_empty() => return false,
            Ok(_) => return true,
        }
    }
}

/// Our terminal with its line discipline switched off, so that every key,
/// Ctrl-C included, reaches the command's own terminal. Dropping it restores it.
#[derive(Debug)]
pub struct RawMode {
    device: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Switches the terminal on our standard input over; `None` if there is none.
    pub fn of_stdin() -> Option<RawMode> {
        let device = io::stdin().as_fd().try_clone_to_owned().ok()?;
        let before = tcgetattr(&device).ok()?;
        let mode = RawMode { device, before };
        mode.enter();
        Some(mode)
    }

    /// Switches over once more, after [`RawMode::leave`].
    pub fn enter(&self) {
        let mut raw = self.before.clone();
        raw.make_raw();
        self.set(&raw);
    }

    /// Restores the terminal for a while, as when the run is suspended.
    pub fn leave(&self) {
        self.set(&self.before);
    }

    fn set(&self, settings: &Termios) {
        // Now, as a terminal that nobody reads never drains. One that is gone needs no settings.
        let _: rustix::io::Result<()> = with_ttou_blocked(|| tcsetattr(&self.device, OptionalActions::Now, settings));
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        self.leave();
    }
}
