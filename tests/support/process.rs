//! Processes as `/proc` shows them, told from later owners of their ids.

use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::wait::until;

/// A process: an id, and the start that makes it unlike any other with that id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    started_ticks: u64,
}

impl Process {
    /// The process with this id; `None` if there is none. A zombie is one.
    pub(crate) fn find(pid: i32) -> Option<Process> {
        let started_ticks = field(pid, 19)?.parse().ok()?;
        Some(Process { pid, started_ticks })
    }

    /// The process with this id, which must be there.
    #[track_caller]
    pub(crate) fn of(pid: i32) -> Process {
        Process::find(pid).unwrap_or_else(|| panic!("no process {pid}"))
    }

    /// Every process whose environment has this `NAME=value`.
    pub(crate) fn with_environment(mark: &str) -> Vec<Process> {
        let has_mark = |pid: &i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        all_pids().into_iter().filter(has_mark).filter_map(Process::find).filter(Process::is_alive).collect()
    }

    /// Its one-letter state, as `ps` shows it; `None` if it is gone.
    pub(crate) fn state(&self) -> Option<char> {
        let state = field(self.pid, 0)?.chars().next();
        (Process::find(self.pid) == Some(*self)).then_some(state).flatten()
    }

    /// Whether it can still do anything: a zombie can't.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.state(), None | Some('Z' | 'X'))
    }

    /// Whether it is stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.state() == Some('T')
    }

    /// Its parent.
    #[track_caller]
    pub(crate) fn parent(&self) -> Process {
        Process::of(field(self.pid, 1).expect("it is gone").parse().unwrap())
    }

    /// Its children.
    pub(crate) fn children(&self) -> Vec<Process> {
        let is_child = |pid: &i32| field(*pid, 1).is_some_and(|parent| parent == self.pid.to_string());
        all_pids().into_iter().filter(is_child).filter_map(Process::find).collect()
    }

    /// Whether it runs, and its group is the foreground of its terminal.
    pub(crate) fn has_terminal(&self) -> bool {
        let (group, foreground) = (field(self.pid, 2), field(self.pid, 5));
        self.is_alive() && !self.is_stopped() && group.is_some() && group == foreground
    }

    /// A line of `/proc/PID/status`.
    pub(crate) fn status(&self, name: &str) -> String {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
    }

    /// Sends a signal to it, and never to another; nothing if it is gone.
    pub(crate) fn send(&self, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        if Process::find(self.pid) == Some(*self) {
            let _ = pidfd_send_signal(handle, signal);
        }
    }

    /// Waits until it is gone, or a zombie.
    #[track_caller]
    pub(crate) fn wait_gone(&self) {
        until(format!("the end of {self:?}"), || !self.is_alive());
    }

    /// Waits until it is stopped.
    #[track_caller]
    pub(crate) fn wait_stopped(&self) {
        until(format!("{self:?} to stop"), || self.is_stopped());
    }
}

fn all_pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A field of `/proc/PID/stat`, counted from the state, which is 0.
fn field(pid: i32, index: usize) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything.
    let (_, after_name) = text.rsplit_once(')')?;
    after_name.split_whitespace().nth(index).map(str::to_owned)
}
