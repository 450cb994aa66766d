//! What a keeper does last: a program that undoes elsewhere what a killed command left.
//!
//! A command may have things done by others, such as a daemon that runs a container for
//! it. One that ends by itself has seen to that. One that is killed can't; so the keeper
//! then starts this program, when nobody of the tree is left, and says that the tree is
//! gone only after it: whatever the keeper holds is held until then. No deadline ends it.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Pid;

use super::Status;
use crate::clock::Moment;

/// Until it is started again, after it couldn't be or was killed.
const AGAIN: Duration = Duration::from_secs(1);
/// One that takes longer is reported.
const LATE: Duration = Duration::from_secs(10);

/// The program, and how far it is.
#[derive(Debug, Default)]
pub(super) struct Last {
    /// Empty: there is none.
    argv: Vec<OsString>,
    /// The command was killed.
    is_due: bool,
    is_done: bool,
    running: Option<Pid>,
    begun: Option<Moment>,
    again_at: Option<Moment>,
    is_reported: bool,
}

impl Last {
    pub(super) fn new(argv: Vec<OsString>) -> Last {
        Last { argv, ..Last::default() }
    }

    /// How the command ended.
    pub(super) fn command_ended(&mut self, status: Status) {
        self.is_due = matches!(status, Status::Signaled(_)) && !self.argv.is_empty();
    }

    /// Whether nothing is left to be done, once the tree is gone.
    pub(super) fn is_over(&self) -> bool {
        !self.is_due || self.is_done
    }

    /// Whether it was begun: from then on whoever is left isn't the command's.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Starts it, if it doesn't run and it is time.
    pub(super) fn start(&mut self) {
        let now = Moment::now();
        self.begun.get_or_insert(now);
        if self.running.is_some() || self.again_at.is_some_and(|at| !at.has_passed()) {
            return;
        }
        match spawn(&self.argv) {
            Ok(pid) => self.running = Some(pid),
            // Processes or memory are short: they may come free.
            Err(_) => self.again_at = Some(now + AGAIN),
        }
    }

    /// A child that isn't the command has ended.
    pub(super) fn ended(&mut self, pid: Pid, status: Status) {
        if self.running != Some(pid) {
            return;
        }
        self.running = None;
        match status {
            // Whatever its code: it has said what it has to say.
            Status::Exited(_) => self.is_done = true,
            Status::Signaled(_) => self.again_at = Some(Moment::now() + AGAIN),
        }
    }

    /// Its process, once, if it takes long.
    pub(super) fn late(&mut self) -> Option<Pid> {
        let pid = self.running.filter(|_| !self.is_reported && self.begun.is_some_and(|at| at.elapsed() >= LATE))?;
        self.is_reported = true;
        Some(pid)
    }

    /// When to look again.
    pub(super) fn next_look(&self) -> Moment {
        let late_at = self.begun.filter(|_| !self.is_reported).map(|at| at + LATE);
        let again_at = self.again_at.filter(|_| self.running.is_none());
        [late_at, again_at].into_iter().flatten().min().unwrap_or(Moment::NEVER)
    }
}

fn spawn(argv: &[OsString]) -> io::Result<Pid> {
    let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    // A stream at its end; there may be no `/dev/null`.
    let (nothing, _) = io::pipe()?;
    let mut command = Command::new(program);
    command.args(arguments).process_group(0).stdin(nothing);
    command.stdout(io::stderr().as_fd().try_clone_to_owned()?).stderr(Stdio::inherit());
    Ok(Pid::from_child(&command.spawn()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_command_that_was_killed_needs_it() {
        let mut last = Last::new(vec!["true".into()]);
        last.command_ended(Status::Exited(1));
        assert!(last.is_over());
        last.command_ended(Status::Signaled(9));
        assert!(!last.is_over());
        let mut none = Last::default();
        none.command_ended(Status::Signaled(9));
        assert!(none.is_over());
    }

    #[test]
    fn one_that_is_killed_itself_is_started_again() {
        let mut last = Last::new(vec!["true".into()]);
        last.command_ended(Status::Signaled(9));
        last.start();
        let first = last.running.expect("started");
        last.ended(first, Status::Signaled(9));
        assert!(!last.is_over() && last.next_look() != Moment::NEVER);
        last.again_at = Some(Moment::now());
        last.start();
        let second = last.running.expect("started again");
        last.ended(second, Status::Exited(3));
        assert!(last.is_over());
    }
}
