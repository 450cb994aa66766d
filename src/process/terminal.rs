//! The terminal of our session, and who is in its foreground (`tcsetpgrp(3)`).

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, getpgrp, getsid, test_kill_process_group};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcgetsid, tcsetattr, tcsetpgrp};

use super::sys::with_ttou_blocked;

/// The controlling terminal, with its settings as they were found.
#[derive(Debug)]
pub struct Terminal {
    device: OwnedFd,
    settings: Option<Termios>,
}

impl Terminal {
    /// The terminal that is our standard input, if it is our session's.
    pub fn of_stdin() -> Option<Terminal> {
        let stdin = io::stdin();
        let is_ours = stdin.is_terminal() && tcgetsid(&stdin).ok() == getsid(None).ok();
        is_ours.then(|| stdin.as_fd().try_clone_to_owned().ok()).flatten().map(Terminal::on)
    }

    /// Our session's terminal, whatever standard input is.
    pub fn of_session() -> Option<Terminal> {
        Terminal::of_stdin().or_else(|| File::open("/dev/tty").ok().map(|file| Terminal::on(file.into())))
    }

    fn on(device: OwnedFd) -> Terminal {
        let settings = tcgetattr(&device).ok();
        Terminal { device, settings }
    }

    /// Another descriptor of it.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn device(&self) -> io::Result<OwnedFd> {
        self.device.try_clone()
    }

    /// Whether our own group is in the foreground.
    pub fn is_ours(&self) -> bool {
        tcgetpgrp(&self.device) == Ok(getpgrp())
    }

    /// Whether this group is in the foreground.
    pub fn is_of(&self, group: i32) -> bool {
        tcgetpgrp(&self.device).is_ok_and(|holder| holder.as_raw_pid() == group)
    }

    /// Whether any living group is in the foreground.
    pub fn has_foreground(&self) -> bool {
        tcgetpgrp(&self.device).is_ok_and(|holder| test_kill_process_group(holder) != Err(Errno::SRCH))
    }

    /// Puts a group of our session into the foreground. A group that is gone, or
    /// a terminal that is, takes nothing from the run: it goes on without.
    pub fn give_to(&self, group: i32) {
        if let Some(group) = Pid::from_raw(group) {
            let _: rustix::io::Result<()> = with_ttou_blocked(|| tcsetpgrp(&self.device, group));
        }
    }

    /// Puts our own group into the foreground again.
    pub fn take_back(&self) {
        self.give_to(getpgrp().as_raw_pid());
    }

    /// Runs `body`, which may write to a terminal whose foreground isn't ours
    /// though that is set to stop writers (`stty tostop`).
    pub fn from_background<T>(body: impl FnOnce() -> T) -> T {
        with_ttou_blocked(body)
    }

    /// Sets the terminal as it was found: for a command that was killed before
    /// it could. Doesn't wait for what was written: nobody may read it.
    pub fn restore(&self) {
        if let Some(settings) = &self.settings {
            let _: rustix::io::Result<()> =
                with_ttou_blocked(|| tcsetattr(&self.device, OptionalActions::Now, settings));
        }
    }
}
