//! A command under a keeper, seen from the process that started it.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, never};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal, set_child_subreaper,
};
use rustix::time::Timespec;

use super::message::{Event, Frames, Limit, Order, Reason, fits};
use super::{descriptors, keeper, program, tree};
use crate::clock::Moment;
use crate::thread::{Worker, spawn};

/// How long one order to the keeper may take to be written.
const ORDER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a dropped [`Kept`] waits for its keeper's end.
const REAP_WITHIN: Duration = Duration::from_secs(1);

/// Events that wait for the owner to take them; the reader waits while it is full.
const EVENTS: usize = 64;

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
static ADOPTS_ORPHANS: AtomicBool = AtomicBool::new(false);

/// The program that is started as a keeper: this very one, or what
/// [`set_keeper_program`] named.
pub fn keeper_program() -> PathBuf {
    PROGRAM.get().cloned().unwrap_or_else(program::path)
}

/// Names the program that is started as a keeper, once for the whole process.
/// Its main function calls [`super::keeper_entry`] first. Default: this very program.
pub fn set_keeper_program(path: PathBuf) {
    // The first one counts: a keeper may run from it already.
    let _: Result<(), PathBuf> = PROGRAM.set(path);
}

/// Makes this process a sub-reaper, so that it can end a tree whose keeper was
/// killed. For programs that run *one* command and have no other children:
/// whoever is below this process counts as part of the tree.
///
/// # Errors
/// A kernel older than 3.4.
pub fn adopt_orphans() -> io::Result<()> {
    set_child_subreaper(Some(getpid()))?;
    ADOPTS_ORPHANS.store(true, Ordering::Relaxed);
    Ok(())
}

/// What the command has for a terminal.
#[derive(Debug)]
pub enum Place {
    /// A group of its own in our session, in the background of its terminal, if there is one.
    Background,
    /// The same, made the foreground of this terminal, which must be our session's.
    Foreground(OwnedFd),
    /// A session on the terminal that is its standard input: see [`super::Pty`].
    Pty,
}

/// A command to run under a keeper.
#[derive(Debug)]
pub struct Spec {
    /// The program, looked for in `PATH` unless it has a slash, and its arguments.
    pub argv: Vec<OsString>,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// Standard input.
    pub stdin: OwnedFd,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
    /// Its terminal.
    pub place: Place,
    /// A program that the keeper starts when the command was killed and nobody of its
    /// tree is left, for what the command could no longer undo; empty: none. It has the
    /// same environment, and counts as a part of the tree: no [`Event::Gone`] before its
    /// end. No deadline ends it. One that takes longer than 10 s is told as
    /// [`Event::Stuck`], and one that is killed is started again.
    pub last: Vec<OsString>,
    /// Held open by the keeper until the tree is gone; the command doesn't inherit them.
    pub held: Vec<OwnedFd>,
    /// From TERM to KILL where nobody says otherwise: when the owner dies, and for
    /// processes the command leaves behind.
    pub kill_after: Duration,
    /// The deadline for [`Reason::Lease`], from the very start: set later, it
    /// could come too late from an owner that is stopped in between. `None`: there is none.
    pub lease: Option<Limit>,
}

/// A running command and its keeper. Dropping it closes the keeper's control
/// socket, on which the keeper ends the tree.
#[derive(Debug)]
pub struct Kept {
    control: UnixStream,
    keeper: Child,
    /// Its pidfd, which never means another process; `None` where there are none.
    handle: Option<OwnedFd>,
    events: Receiver<Event>,
    reader: Option<Worker<()>>,
}

impl Kept {
    /// Starts a keeper, and orders it to start the command. Whether that worked
    /// is the first event: [`Event::Started`], [`Event::NotStarted`] or [`Event::TooLate`].
    ///
    /// # Errors
    /// The keeper can't be started. `InvalidInput`: no arguments at all, or one
    /// with a NUL in it; E2BIG: too large ones for any program. And when this
    /// process was itself started as a keeper, but its main function doesn't call
    /// [`super::keeper_entry`]. In each case the command hasn't been started.
    pub fn start(spec: Spec) -> io::Result<Kept> {
        check(&spec.argv)?;
        let (control, theirs) = UnixStream::pair()?;
        control.set_write_timeout(Some(ORDER_TIMEOUT))?;
        let mut command = Command::new(keeper_program());
        command.arg0(keeper::NAME).env_clear().envs(spec.env);
        command.stdin(OwnedFd::from(theirs)).stdout(io::stderr().as_fd().try_clone_to_owned()?);
        command.stderr(Stdio::inherit());
        let pty = matches!(spec.place, Place::Pty);
        if !pty {
            // Its own group: what a terminal sends to ours isn't for it.
            command.process_group(0);
        }
        let keeper = command.spawn()?;
        let handle = pidfd_open(Pid::from_child(&keeper), PidfdFlags::empty()).ok();
        let (sender, events) = bounded(EVENTS);
        // From here on an error drops it, which ends the keeper and takes in its end.
        let mut kept = Kept { control, keeper, handle, events, reader: None };
        let of_reader = kept.control.try_clone()?;
        kept.reader = Some(spawn("keeper-events", move |_| read_events(of_reader, &sender))?);
        let terminal = if let Place::Foreground(terminal) = spec.place { Some(terminal) } else { None };
        let streams = [&spec.stdin, &spec.stdout, &spec.stderr];
        let given: Vec<BorrowedFd<'_>> =
            streams.into_iter().chain(terminal.as_ref()).chain(&spec.held).map(AsFd::as_fd).collect();
        descriptors::send(&kept.control, &given)?;
        kept.order(&Order::Start {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            argv: spec.argv,
            last: spec.last,
            descriptors: given.len() as u64,
            foreground: terminal.is_some(),
            pty,
            kill_after: spec.kill_after,
            lease: spec.lease,
        })?;
        Ok(kept)
    }

    /// What happens to the command, in order. The last event is [`Event::Gone`],
    /// [`Event::NotStarted`], [`Event::TooLate`] or [`Event::KeeperDied`]; then the
    /// channel disconnects.
    pub fn events(&self) -> &Receiver<Event> {
        &self.events
    }

    /// The keeper's process id.
    pub fn keeper_pid(&self) -> i32 {
        Pid::from_child(&self.keeper).as_raw_pid()
    }

    /// Sets or moves a deadline: one for [`Reason::Timeout`], one for [`Reason::Lease`].
    ///
    /// # Errors
    /// The keeper is gone, or took no order for 10 s.
    pub fn limit(&self, reason: Reason, limit: Limit) -> io::Result<()> {
        self.order(&Order::Limit { reason, limit })
    }

    /// Sends a signal to the command's group.
    ///
    /// # Errors
    /// As [`Kept::limit`].
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        self.order(&Order::Signal { signal })
    }

    /// Ends the tree: `signal` to all of it now, KILL at `kill_at` to what is left.
    /// Called again, it only moves `kill_at` nearer.
    ///
    /// # Errors
    /// As [`Kept::limit`].
    pub fn end(&self, signal: i32, kill_at: Moment) -> io::Result<()> {
        self.order(&Order::End { signal, kill_at })
    }

    /// Wakes a keeper that somebody stopped (SIGSTOP), so that it does what has fallen due.
    pub fn wake_keeper(&self) {
        // A keeper that is gone is reported as an event. Without a handle, its id is its own until
        // we take in its end.
        let _: rustix::io::Result<()> = match &self.handle {
            Some(handle) => pidfd_send_signal(handle, Signal::CONT),
            None => kill_process(Pid::from_child(&self.keeper), Signal::CONT),
        };
    }

    /// Ends what is left of the tree after [`Event::KeeperDied`]: at once, by
    /// KILL, waiting at most `within`. Returns whether nobody is left.
    ///
    /// Only a process that called [`adopt_orphans`] sees the tree; for others the
    /// death signal has ended the command itself, and its children go on.
    pub fn end_without_keeper(&mut self, within: Duration) -> bool {
        let until = Moment::now() + within;
        // One that can't be understood may live: to it, this is our death.
        self.close();
        // So that it isn't counted.
        self.reap();
        if !ADOPTS_ORPHANS.load(Ordering::Relaxed) {
            return false;
        }
        loop {
            tree::kill_all();
            tree::reap_all();
            if tree::count() == 0 {
                return true;
            }
            if until.has_passed() {
                return false;
            }
            // The kernel tells a sub-reaper of its orphans' ends by a signal that
            // belongs to the whole program, not to us: so look again, soon, and not for long.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn order(&self, order: &Order) -> io::Result<()> {
        (&self.control).write_all(&order.encode())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.close();
        // The reader may wait for room in a full channel: without a receiver it doesn't.
        drop(mem::replace(&mut self.events, never()));
        if let Some(reader) = self.reader.take()
            && let Err(panic) = reader.join()
        {
            panic.log();
        }
        self.reap();
    }
}

impl Kept {
    /// Ends what we say to the keeper, and the reader's wait.
    fn close(&self) {
        // Nothing to do where it is closed already.
        let _: io::Result<()> = self.control.shutdown(std::net::Shutdown::Both);
    }

    /// Takes in the keeper's end, which follows on its last event. A keeper that
    /// still ends a tree goes on without us.
    fn reap(&mut self) {
        let until = Moment::now() + REAP_WITHIN;
        if let Some(handle) = &self.handle {
            let mut waiting = [PollFd::new(handle, PollFlags::IN)];
            let limit = Timespec { tv_sec: REAP_WITHIN.as_secs() as i64, tv_nsec: 0 };
            // Interrupted or not: the question is only whether it has ended.
            let _: rustix::io::Result<usize> = poll(&mut waiting, Some(&limit));
        }
        while matches!(self.keeper.try_wait(), Ok(None)) && self.handle.is_none() && !until.has_passed() {
            // Without pidfds only SIGCHLD would tell, which isn't ours; and not for long.
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whether a keeper can be started for these arguments, and by us.
fn check(argv: &[OsString]) -> io::Result<()> {
    use io::ErrorKind::InvalidInput;
    if std::env::args_os().next().is_some_and(|name| name == keeper::NAME) {
        // Or each keeper would start another, without end.
        return Err(io::Error::other("this program must call process::keeper_entry() first thing in main"));
    }
    if argv.is_empty() {
        return Err(io::Error::new(InvalidInput, "a command needs a program to run"));
    }
    if argv.iter().any(|argument| argument.as_bytes().contains(&0)) {
        return Err(io::Error::new(InvalidInput, "an argument of the command has a NUL in it"));
    }
    if !fits(argv) {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    Ok(())
}

/// Passes events on until the last one. A read has no deadline: the keeper's
/// death and the owner's `shutdown` both end it.
fn read_events(mut control: UnixStream, events: &Sender<Event>) {
    let mut frames = Frames::default();
    let mut buffer = [0; 4096];
    loop {
        match frames.next().and_then(|frame| frame.map(|frame| Event::decode(&frame)).transpose()) {
            Ok(Some(event)) => {
                let last = matches!(event, Event::Gone | Event::NotStarted { .. } | Event::TooLate);
                // The owner who doesn't listen any more has dropped the whole.
                if events.send(event).is_err() || last {
                    return;
                }
                continue;
            }
            Ok(None) => {}
            Err(_) => break,
        }
        match control.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => frames.push(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    // As above: an owner who left needn't know.
    let _: Result<(), crossbeam_channel::SendError<Event>> = events.send(Event::KeeperDied);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// One whose keeper is another program, for which we speak.
    fn kept_by(program: &mut Command) -> (Kept, UnixStream) {
        let (control, theirs) = UnixStream::pair().unwrap();
        let keeper = program.spawn().unwrap();
        let handle = pidfd_open(Pid::from_child(&keeper), PidfdFlags::empty()).ok();
        let (sender, events) = bounded(EVENTS);
        let of_reader = control.try_clone().unwrap();
        let reader = spawn("keeper-events", move |_| read_events(of_reader, &sender)).unwrap();
        (Kept { control, keeper, handle, events, reader: Some(reader) }, theirs)
    }

    #[test]
    fn dropping_it_does_not_wait_for_events_that_nobody_takes() {
        let (kept, mut theirs) = kept_by(&mut Command::new("true"));
        theirs.write_all(&Event::Continued.encode().repeat(EVENTS * 4)).unwrap();
        let full = Moment::now() + PATIENCE;
        while kept.events.len() < EVENTS {
            assert!(!full.has_passed(), "the events didn't come");
            std::thread::yield_now();
        }
        let dropping = spawn("dropping", move |_| drop(kept)).unwrap();
        assert!(dropping.join_within(PATIENCE).is_ok(), "it waits for ever");
    }

    #[test]
    fn a_keeper_that_talks_nonsense_and_lives_is_left_without_waiting_for_its_end() {
        let (kept, mut theirs) = kept_by(Command::new("sleep").arg("1000"));
        let keeper = kept.handle.as_ref().unwrap().try_clone().unwrap();
        theirs.write_all(&[1, 0, 0, 0, 99]).unwrap();
        assert_eq!(kept.events().recv_timeout(PATIENCE), Ok(Event::KeeperDied));
        let ending = spawn("ending", move |_| {
            let mut kept = kept;
            kept.end_without_keeper(Duration::ZERO)
        })
        .unwrap();
        let ended = ending.join_within(PATIENCE);
        // A keeper takes the end of its socket for the death of its owner, and ends the tree.
        let told = (&theirs).read(&mut [0]);
        pidfd_send_signal(&keeper, Signal::KILL).unwrap();
        assert!(!ended.expect("it waits for ever").unwrap(), "nobody was ended");
        assert_eq!(told.unwrap(), 0);
    }

    #[test]
    fn without_a_handle_the_keepers_end_is_taken_in_too() {
        let (mut kept, _theirs) = kept_by(&mut Command::new("true"));
        kept.handle = None;
        kept.reap();
        assert!(matches!(kept.keeper.try_wait(), Ok(Some(_))));
    }

    #[test]
    fn arguments_that_no_program_can_have_are_refused() {
        let start = |argv: &[&str]| {
            let null = || OwnedFd::from(File::options().read(true).write(true).open("/dev/null").unwrap());
            let argv = argv.iter().map(OsString::from).collect();
            let (stdin, stdout, stderr) = (null(), null(), null());
            let (place, kill_after) = (Place::Background, Duration::ZERO);
            Kept::start(Spec {
                argv,
                env: vec![],
                stdin,
                stdout,
                stderr,
                place,
                held: vec![],
                last: vec![],
                kill_after,
                lease: None,
            })
            .unwrap_err()
        };
        for argv in [&[][..], &["echo", "a\0b"]] {
            assert_eq!(start(argv).kind(), io::ErrorKind::InvalidInput, "{argv:?}");
        }
        assert_eq!(start(&["echo", &"x".repeat(9 << 20)]).raw_os_error(), Some(libc::E2BIG));
    }
}
