//! The keeper: a small process between towpath and the command, the command's
//! parent and the sub-reaper of its whole tree.
//!
//! It has one thread, holds the run's deadlines, and ends the tree when its
//! owner dies, asks for it, or lets a deadline pass without moving it. A
//! stopped or killed owner can't end its child; the keeper can. It also holds
//! what must be held until the tree is gone, such as the flock of a file store;
//! the command doesn't inherit that.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process_group, set_child_subreaper, setsid, wait};
use signal_hook::consts as sig;

use super::alarm::Alarm;
use super::last::Last;
use super::message::{Event, Frames, Limit, Order, Reason};
use super::{Status, descriptors, sys, tree};
use crate::clock::Moment;

/// The keeper's name in a process listing, and how it knows that it is one.
pub(super) const NAME: &str = "towpath-keeper";

/// Between two rounds of killing, growing from the first to the second.
const KILL_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A process that outlives SIGKILL for so long is reported.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// Signals that a keeper outlives: a terminal or a shell may send them to
/// everybody. TERM is handled: it ends the run in order.
const OUTLIVED: [i32; 9] = [
    sig::SIGHUP,
    sig::SIGINT,
    sig::SIGQUIT,
    sig::SIGUSR1,
    sig::SIGUSR2,
    sig::SIGALRM,
    sig::SIGTSTP,
    sig::SIGTTIN,
    sig::SIGTTOU,
];

/// Runs as a keeper on the control socket that is standard input, and returns
/// the process' exit code.
pub(super) fn main() -> i32 {
    // The name is for `ps` alone.
    let _: rustix::io::Result<()> = rustix::thread::set_name(c"towpath-keeper");
    match Keeper::begin() {
        Ok(Some(keeper)) => keeper.run(),
        Ok(None) => 0,
        Err(error) => {
            say(&format!("towpath: the keeper can't start: {error}\n"));
            125
        }
    }
}

struct Keeper {
    control: Option<UnixStream>,
    frames: Frames,
    outbox: Vec<u8>,
    child_signal: UnixStream,
    term_signal: UnixStream,
    alarm: Alarm,
    /// The command; its id is its group's.
    command: Pid,
    command_ended: bool,
    limits: [Option<(Reason, Limit)>; 2],
    kill_after: Duration,
    ending: Option<Ending>,
    last: Last,
    /// Held open until the tree is gone.
    _held: Vec<OwnedFd>,
}

struct Ending {
    kill_at: Moment,
    /// How long until the next round of killing.
    again: Duration,
    killing_since: Option<Moment>,
    stuck_reported: bool,
}

impl Keeper {
    /// Takes the order to start, and starts the command. `None`: there is
    /// nothing to keep, and the owner knows.
    fn begin() -> io::Result<Option<Keeper>> {
        let child_signal = on_signal(sig::SIGCHLD)?;
        let term_signal = on_signal(sig::SIGTERM)?;
        outlive_signals()?;
        let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        let mut frames = Frames::default();
        let Some((order, mut given)) = receive_start(&control, &mut frames)? else { return Ok(None) };
        let Order::Start { version, argv, last, descriptors, foreground, pty, kill_after, lease } = order else {
            return Err(io::Error::other("the first order wasn't to start"));
        };
        if version != env!("CARGO_PKG_VERSION") {
            return Err(io::Error::other(format!(
                "version {version} can't use this keeper; was the program replaced?"
            )));
        }
        let streams = if foreground { 4 } else { 3 };
        // One too few could be the lock's: the command would run without it.
        if given.len() < streams || given.len() as u64 != descriptors {
            return Err(io::Error::other(format!("{} of {descriptors} descriptors arrived", given.len())));
        }
        // What may fail comes before the command: it would be left without anybody to keep it.
        set_child_subreaper(Some(getpid()))?;
        control.set_nonblocking(true)?;
        let alarm = Alarm::new()?;
        let held = given.split_off(streams);
        let terminal = if foreground { given.pop() } else { None };
        // An owner that was stopped for long orders what it shouldn't any more.
        let is_late = lease.is_some_and(|limit| limit.term_at.has_passed());
        let spawned = if is_late { None } else { Some(spawn(argv, given, terminal, pty)) };
        let mut keeper = Keeper {
            control: Some(control),
            frames,
            outbox: Vec::new(),
            child_signal,
            term_signal,
            alarm,
            command: getpid(),
            command_ended: false,
            limits: [None, lease.map(|limit| (Reason::Lease, limit))],
            kill_after,
            ending: None,
            last: Last::new(last),
            _held: held,
        };
        match spawned {
            Some(Ok(pid)) => {
                keeper.command = pid;
                keeper.tell(&Event::Started { pid: pid.as_raw_pid() });
                Ok(Some(keeper))
            }
            Some(Err(error)) => {
                keeper.tell(&Event::NotStarted { errno: error.raw_os_error().unwrap_or(libc::EIO) });
                Ok(None)
            }
            None => {
                keeper.tell(&Event::TooLate);
                Ok(None)
            }
        }
    }

    fn run(mut self) -> i32 {
        // The command may use the place it was started in as it likes; we don't hold on to it.
        let _: io::Result<()> = std::env::set_current_dir("/");
        // Orders may have come in one piece with the first.
        self.obey_all();
        loop {
            self.reap();
            if self.command_ended && nobody_left() {
                if self.last.is_over() {
                    self.tell(&Event::Gone);
                    return 0;
                }
                self.last.start();
            }
            self.keep_time();
            self.wait_for_something();
        }
    }

    /// Takes in every process that changed state.
    fn reap(&mut self) {
        let had_ended = self.command_ended;
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED) {
            if pid != self.command {
                if let Some(status) = Status::of(status) {
                    self.last.ended(pid, status);
                }
                continue;
            }
            if let Some(signal) = status.stopping_signal() {
                self.tell_if_room(&Event::Stopped { signal });
            } else if status.continued() {
                self.tell_if_room(&Event::Continued);
            } else if let Some(status) = Status::of(status) {
                self.command_ended = true;
                self.last.command_ended(status);
                let left_behind = if nobody_left() { 0 } else { tree::count() };
                let left_behind = u32::try_from(left_behind).unwrap_or(u32::MAX);
                self.tell(&Event::Exited { status, left_behind });
            }
        }
        // Whoever was counted: what the kernel says is left has to end, and to be reported if it doesn't.
        if self.command_ended && !had_ended && !nobody_left() {
            self.end(Reason::Left, Signal::TERM, Moment::now() + self.kill_after);
        }
    }

    /// Does what has fallen due, and sets the alarm to what falls due next.
    fn keep_time(&mut self) {
        if self.last.has_begun() {
            // The tree is gone, and this has no deadline.
            if let Some(pid) = self.last.late() {
                self.tell(&Event::Stuck { pid: pid.as_raw_pid() });
            }
            return self.alarm.set(self.last.next_look());
        }
        for (reason, limit) in self.limits.into_iter().flatten() {
            if self.ending.is_none() && limit.term_at.has_passed() {
                self.end(reason, Signal::TERM, limit.kill_at);
            }
        }
        let mut next = self.limits.iter().flatten().map(|(_, limit)| limit.term_at).min().unwrap_or(Moment::NEVER);
        if self.ending.is_some() {
            next = self.keep_killing();
        }
        self.alarm.set(next);
    }

    /// Once its time has come, kills round after round what is left of the tree.
    fn keep_killing(&mut self) -> Moment {
        // The lease's deadline stands above any grace.
        let lease_end = self.limits[1].map_or(Moment::NEVER, |(_, limit)| limit.kill_at);
        let Some(ending) = &mut self.ending else { return Moment::NEVER };
        let kill_at = ending.kill_at.min(lease_end);
        if !kill_at.has_passed() {
            return kill_at;
        }
        tree::kill_all();
        let now = Moment::now();
        let since = *ending.killing_since.get_or_insert(now);
        let again = ending.again;
        ending.again = (again * 2).min(KILL_AGAIN.1);
        // Nobody to be found has just ended, or is found in the next round.
        if now - since >= STUCK_AFTER
            && !ending.stuck_reported
            && let Some(pid) = tree::any()
        {
            ending.stuck_reported = true;
            self.tell(&Event::Stuck { pid: pid.as_raw_pid() });
        }
        Moment::now() + again
    }

    /// Begins to end the tree: asks all of it, and sets when to kill what is left.
    fn end(&mut self, reason: Reason, signal: Signal, kill_at: Moment) {
        if self.last.has_begun() {
            return;
        }
        if let Some(ending) = &mut self.ending {
            ending.kill_at = ending.kill_at.min(kill_at);
            return;
        }
        self.ending = Some(Ending { kill_at, again: KILL_AGAIN.0, killing_since: None, stuck_reported: false });
        self.tell(&Event::Ending { reason });
        if !kill_at.has_passed() {
            tree::signal_all(signal);
            // A stopped process would neither hear of it nor be able to obey.
            tree::signal_all(Signal::CONT);
        }
    }

    /// Waits until a process changed state, an order came, the owner died, or a moment fell due.
    fn wait_for_something(&mut self) {
        let mut ready = [false; 4];
        {
            let of_control = if self.outbox.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            let mut waiting = vec![
                PollFd::new(&self.child_signal, PollFlags::IN),
                PollFd::new(&self.term_signal, PollFlags::IN),
                PollFd::new(&self.alarm, PollFlags::IN),
            ];
            if let Some(control) = &self.control {
                waiting.push(PollFd::new(control, of_control));
            }
            // No limit: the alarm is among what is waited for, and EINTR only goes round once more.
            if poll(&mut waiting, None).is_ok() {
                for (ready, waited) in ready.iter_mut().zip(&waiting) {
                    *ready = !waited.revents().is_empty();
                }
            }
        }
        if ready[0] {
            drain(&self.child_signal);
        }
        if ready[1] {
            drain(&self.term_signal);
            self.end(Reason::Asked, Signal::TERM, Moment::now() + self.kill_after);
        }
        if ready[2] {
            self.alarm.clear();
        }
        if ready[3] {
            self.flush();
            self.take_orders();
        }
    }

    fn take_orders(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(control) = &mut self.control {
            match control.read(&mut buffer) {
                Ok(0) => return self.owner_died(),
                Ok(length) => self.frames.push(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return self.owner_died(),
            }
        }
        self.obey_all();
    }

    fn obey_all(&mut self) {
        loop {
            match self.frames.next().and_then(|frame| frame.map(|frame| Order::decode(&frame)).transpose()) {
                Ok(Some(order)) => self.obey(&order),
                Ok(None) => return,
                Err(_) => return self.owner_died(),
            }
        }
    }

    fn obey(&mut self, order: &Order) {
        match *order {
            // Only the first order is to start.
            Order::Start { .. } => {}
            Order::Limit { reason, limit } => {
                self.limits[usize::from(reason == Reason::Lease)] = Some((reason, limit));
            }
            Order::Signal { signal } => {
                if let Some(signal) = Signal::from_named_raw(signal).filter(|_| !self.command_ended) {
                    // The group may just have ended.
                    let _: rustix::io::Result<()> = kill_process_group(self.command, signal);
                }
            }
            Order::End { signal, kill_at } => {
                let signal = Signal::from_named_raw(signal).unwrap_or(Signal::TERM);
                self.end(Reason::Asked, signal, kill_at);
            }
        }
    }

    /// Nobody moves the deadlines any more, nor wants the result: the tree ends.
    fn owner_died(&mut self) {
        self.control = None;
        // An owner who was told of a process that can't be killed may leave.
        let is_told = self.ending.as_ref().is_some_and(|ending| ending.stuck_reported);
        let has_work = !nobody_left() && !self.last.has_begun();
        // First what must be done; words may fail.
        self.end(Reason::Orphaned, Signal::TERM, Moment::now() + self.kill_after);
        if has_work && !is_told {
            say("towpath: towpath itself was killed while its command ran; the keeper ends the command\n");
        }
    }

    fn tell(&mut self, event: &Event) {
        if self.control.is_some() {
            self.outbox.extend_from_slice(&event.encode());
            self.flush();
        }
    }

    /// Stops and continuations may come without end while the owner doesn't read: they may be lost.
    fn tell_if_room(&mut self, event: &Event) {
        if self.outbox.is_empty() {
            self.tell(event);
        }
    }

    fn flush(&mut self) {
        let Some(control) = &self.control else { return };
        while !self.outbox.is_empty() {
            match rustix::net::send(control, &self.outbox, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => drop(self.outbox.drain(..sent)),
                Err(Errno::INTR) => {}
                // The rest goes when the owner has read; its death is seen by reading.
                Err(_) => return,
            }
        }
    }
}

/// Whether no child of ours is left, zombies included.
fn nobody_left() -> bool {
    let options = rustix::process::WaitIdOptions::EXITED
        | rustix::process::WaitIdOptions::NOHANG
        | rustix::process::WaitIdOptions::NOWAIT;
    rustix::process::waitid(rustix::process::WaitId::All, options).is_err_and(|error| error == Errno::CHILD)
}

fn receive_start(control: &UnixStream, frames: &mut Frames) -> io::Result<Option<(Order, Vec<OwnedFd>)>> {
    // No deadline: the owner's death ends the wait, and its write has one.
    let given = match descriptors::receive(control) {
        Ok(given) => given,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut buffer = [0; 4096];
    loop {
        if let Some(frame) = frames.next()? {
            return Ok(Some((Order::decode(&frame)?, given)));
        }
        match (&mut &*control).read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(length) => frames.push(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn spawn(argv: Vec<OsString>, streams: Vec<OwnedFd>, terminal: Option<OwnedFd>, pty: bool) -> io::Result<Pid> {
    let mut argv = argv.into_iter();
    let mut command = Command::new(argv.next().ok_or(io::ErrorKind::InvalidInput)?);
    command.args(argv).process_group(0);
    let mut foreground_of = terminal;
    if pty {
        // The session is ours, so that the command's group isn't an orphaned one:
        // the kernel refuses to stop those (Ctrl-Z).
        setsid()?;
        rustix::process::ioctl_tiocsctty(&streams[0])?;
        foreground_of = Some(streams[0].try_clone()?);
    }
    let mut streams = streams.into_iter().map(Stdio::from);
    if let (Some(stdin), Some(stdout), Some(stderr)) = (streams.next(), streams.next(), streams.next()) {
        command.stdin(stdin).stdout(stdout).stderr(stderr);
    }
    sys::before_exec(&mut command, foreground_of);
    let child = command.spawn().map_err(|error| as_a_shell_says(error, command.get_program()))?;
    Ok(Pid::from_child(&child))
}

/// A name that is nowhere is not found, also where one of the directories in
/// `PATH` can't be searched: execvp(3) reports that before it says so.
fn as_a_shell_says(error: io::Error, program: &OsStr) -> io::Error {
    if error.raw_os_error() != Some(libc::EACCES) || program.as_bytes().contains(&b'/') {
        return error;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |directory: PathBuf| directory.join(program).symlink_metadata().is_ok();
    if std::env::split_paths(&path).any(is_there) { error } else { io::Error::from_raw_os_error(libc::ENOENT) }
}

/// A socket that becomes readable when the signal came.
fn on_signal(signal: i32) -> io::Result<UnixStream> {
    let (ours, handler) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal, handler)?;
    Ok(ours)
}

/// Handlers that do nothing: exec resets them, so that the command doesn't
/// inherit an ignored signal. What was ignored already (nohup) stays ignored.
fn outlive_signals() -> io::Result<()> {
    for signal in OUTLIVED {
        if !crate::thread::signals::ignored_at_start(signal) {
            signal_hook::flag::register(signal, std::sync::Arc::default())?;
        }
    }
    Ok(())
}

/// Writes to standard error if that can be done at once: a reader who doesn't
/// read must not keep us from ending the tree. Nor must a terminal that stops
/// who writes from its background (`stty tostop`): we outlive that signal, and
/// would write again for ever.
fn say(line: &str) {
    let stderr = io::stderr();
    let mut ready = [PollFd::new(&stderr, PollFlags::OUT)];
    let at_once = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    if poll(&mut ready, Some(&at_once)) == Ok(1) && ready[0].revents().contains(PollFlags::OUT) {
        // Nobody is left to be told that nobody listens.
        let _: rustix::io::Result<usize> = sys::with_ttou_blocked(|| rustix::io::write(&stderr, line.as_bytes()));
    }
}

fn drain(socket: &UnixStream) {
    let mut buffer = [0; 64];
    while (&mut &*socket).read(&mut buffer).is_ok_and(|length| length > 0) {}
}
