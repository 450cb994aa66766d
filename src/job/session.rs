//! A command while it runs: its events, our signals, and the terminal they share.
//!
//! Job control follows the shell's rules. On a terminal the command's group is
//! the foreground, so the kernel sends Ctrl-C and Ctrl-Z to it; what reaches
//! *us* is passed on. When the command stops, we stop too, so that the shell
//! gets its terminal; when we go on, so does the command.

use std::time::Duration;

use crossbeam_channel::{Receiver, never, select};
use rustix::process::{Signal, kill_current_process_group};
use signal_hook::consts as sig;

use super::lease::RENEWAL;
use super::output::{Drain, Output};
use super::signals::{ends_a_run, suspend};
use super::tether::Tether;
use crate::clock::Moment;
use crate::lock::Lost;
use crate::process::{Event, Feed, Kept, Limit, Pty, RawMode, Reason, Status, Terminal};
use crate::thread::signals::ignored_at_start;
use crate::thread::{Panic, Worker};

/// After a tree should have been killed, how long until its keeper is woken:
/// somebody may have stopped it.
const KEEPER_LATE: Duration = Duration::from_secs(1);

/// How long we try to end a tree ourselves, after its keeper died.
const WITHOUT_KEEPER: Duration = Duration::from_secs(10);

/// What a run needs while it runs.
pub(super) struct Session {
    pub(super) kept: Kept,
    pub(super) kill_after: Duration,
    pub(super) timeout_at: Option<Moment>,
    pub(super) terminal: Option<Terminal>,
    /// Whether the command's group has, or should have, the foreground.
    pub(super) foreground: bool,
    pub(super) pty: Option<(Pty, Option<RawMode>)>,
    /// The thread that carries the output; an essential one.
    pub(super) pump: Option<Worker<Output>>,
    /// Tells the pump that the tree is gone.
    pub(super) drain: Option<Drain>,
    /// The thread that carries our input to a pseudo-terminal.
    pub(super) feed: Option<Feed>,
    /// A message: the run is to end, as nobody takes its output.
    pub(super) unwanted: Receiver<()>,
    /// The lease it runs under, if that lapses.
    pub(super) tether: Option<Tether>,
    /// Ends what the command left elsewhere, if the keeper can't have it done: whether
    /// that is proven.
    pub(super) sweep: Option<Box<dyn Fn(Duration) -> bool>>,
    pub(super) seen: Seen,
    stop_passed_on: bool,
    /// When we asked for what is left to be killed.
    kill_at: Option<Moment>,
}

/// What has been seen of a run.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) pid: Option<i32>,
    pub(super) not_started: Option<i32>,
    pub(super) status: Option<Status>,
    pub(super) left_behind: u32,
    /// Why the keeper ended the command, if it did.
    pub(super) cause: Option<Reason>,
    /// The lease was found lost before the tree was gone.
    pub(super) lost: Option<Lost>,
    /// And that was why we asked the keeper for the end, nothing before.
    pub(super) ended_for_loss: bool,
    /// The lease was over before the command could be started.
    pub(super) too_late: bool,
    /// The first signal by which somebody asked for the end.
    pub(super) asked_by: Option<i32>,
    /// There was a second.
    pub(super) asked_again: bool,
    pub(super) stuck: Option<i32>,
    /// Nothing of the tree is left, as far as anybody can see: not told otherwise, it may run.
    pub(super) tree_gone: bool,
    pub(super) keeper_died: bool,
    /// After the keeper's death: whether all of the tree was found and ended.
    pub(super) ended_without_keeper: bool,
    /// One of our own threads died, without which the run can't be trusted.
    pub(super) essential: Option<(&'static str, Option<Panic>)>,
    /// The command died by Ctrl-C on a terminal that was its own.
    pub(super) interrupted_alone: bool,
    pub(super) output: Option<Output>,
    /// Nobody took the output, and who asked for the end didn't wait for that.
    pub(super) undelivered: bool,
}

impl Seen {
    /// Whether the command was ended, or not even started, because its lease was
    /// over. One that ended by itself was ended by nobody.
    pub(super) fn ended_with_lease(&self) -> bool {
        let by_us = self.ended_for_loss && self.cause == Some(Reason::Asked);
        self.too_late || by_us || self.cause == Some(Reason::Lease)
    }

    /// Whether the command ended well, by itself, and nothing of it is left: what
    /// it made is what it meant to make.
    pub(super) fn succeeded(&self) -> bool {
        let by_itself = self.cause != Some(Reason::Timeout) && !self.ended_with_lease() && !self.keeper_died;
        by_itself && self.tree_gone && self.essential.is_none() && self.status == Some(Status::Exited(0))
    }
}

impl Session {
    pub(super) fn new(kept: Kept, kill_after: Duration) -> Session {
        Session {
            kept,
            kill_after,
            timeout_at: None,
            terminal: None,
            foreground: false,
            pty: None,
            pump: None,
            drain: None,
            feed: None,
            unwanted: never(),
            tether: None,
            sweep: None,
            seen: Seen::default(),
            stop_passed_on: false,
            kill_at: None,
        }
    }

    /// Blocks until the tree is gone, or nobody can end it. The keeper's
    /// deadlines bound it if there are any; signals end it.
    pub(super) fn watch(&mut self, signals: &Receiver<i32>) {
        let mut signals = signals.clone();
        loop {
            let pump_ended = self.pump.as_ref().map_or_else(never, |pump| pump.ended().clone());
            let late = self.keeper_is_late_in();
            let (renewed, lost) =
                self.tether.as_ref().map_or_else(|| (never(), never()), |tie| (tie.renewed.clone(), tie.lost.clone()));
            select! {
                recv(self.kept.events()) -> event => match event {
                    Ok(event) => if self.on_event(&event) { break },
                    Err(_) => {
                        // The reader ended without a last event; dropping `kept` ends the tree.
                        self.seen.essential.get_or_insert(("keeper-events", None));
                        break;
                    }
                },
                recv(signals) -> signal => match signal {
                    Ok(signal) => self.on_signal(signal),
                    Err(_) => {
                        signals = never();
                        self.essential_died("signals", None);
                    }
                },
                recv(pump_ended) -> _ => self.on_pump_ended(),
                recv(self.unwanted) -> message => {
                    self.unwanted = never();
                    if message.is_ok() {
                        self.ask(sig::SIGTERM, Moment::now() + self.kill_after);
                    }
                },
                // A renewal that can't be told any more is no news: `lost` tells the same.
                recv(renewed) -> until => match until {
                    Ok(until) => self.on_renewed(until),
                    Err(_) => self.on_lost(lost.try_recv().ok()),
                },
                recv(lost) -> lost => self.on_lost(lost.ok()),
                recv(late) -> _ => self.kept.wake_keeper(),
            }
        }
        self.give_terminal_back();
    }

    /// Takes an event in; whether it was the last.
    fn on_event(&mut self, event: &Event) -> bool {
        match *event {
            Event::Started { pid } => self.seen.pid = Some(pid),
            Event::NotStarted { errno } => {
                self.seen.not_started = Some(errno);
                self.seen.tree_gone = true;
                return true;
            }
            Event::TooLate => {
                self.seen.too_late = true;
                self.seen.tree_gone = true;
                return true;
            }
            Event::Stopped { signal } => self.on_stopped(signal),
            Event::Continued => self.stop_passed_on = false,
            Event::Ending { reason } => {
                if reason != Reason::Left && self.seen.status.is_none() {
                    self.seen.cause.get_or_insert(reason);
                }
            }
            Event::Exited { status, left_behind } => {
                self.seen.status = Some(status);
                self.seen.left_behind = left_behind;
            }
            Event::Stuck { pid } => {
                self.seen.stuck = Some(pid);
                return true;
            }
            Event::Gone => {
                self.seen.tree_gone = true;
                return true;
            }
            Event::KeeperDied => {
                self.seen.keeper_died = true;
                let ended = self.kept.end_without_keeper(WITHOUT_KEEPER);
                let swept = self.sweep.as_ref().is_none_or(|sweep| sweep(WITHOUT_KEEPER));
                self.seen.ended_without_keeper = ended && swept;
                self.seen.tree_gone = self.seen.ended_without_keeper;
                return true;
            }
        }
        false
    }

    fn on_pump_ended(&mut self) {
        // It has ended: joining it doesn't block. Its end is in order when the
        // command closed its output; a panic isn't.
        match self.pump.take().map(Worker::join) {
            Some(Ok(output)) => self.seen.output = Some(output),
            Some(Err(panic)) => self.essential_died("output", Some(panic)),
            None => {}
        }
    }

    fn essential_died(&mut self, thread: &'static str, panic: Option<Panic>) {
        if let Some(panic) = &panic {
            panic.log();
        }
        self.seen.essential.get_or_insert((thread, panic));
        self.ask(sig::SIGTERM, Moment::now() + self.kill_after);
    }

    fn on_signal(&mut self, signal: i32) {
        match signal {
            // The first in order, the second at once.
            _ if ends_a_run(signal).is_break() => {
                let first = self.seen.asked_by.is_none();
                let grace = if first { self.kill_after } else { Duration::ZERO };
                self.seen.asked_again |= !first;
                self.seen.asked_by.get_or_insert(signal);
                self.ask(signal, Moment::now() + grace);
            }
            sig::SIGTSTP => self.suspend(),
            sig::SIGCONT => self.resume(),
            sig::SIGWINCH => match &self.pty {
                Some((pty, _)) => pty.resize(),
                None => self.pass_on(signal),
            },
            _ => self.pass_on(signal),
        }
    }

    fn on_renewed(&mut self, until: Moment) {
        if let Some(tether) = &mut self.tether {
            // As `ask`.
            let _: std::io::Result<()> = self.kept.limit(Reason::Lease, tether.moved(until));
        }
    }

    /// Somebody else may have the lock: the tree ends. The keeper's deadline for
    /// it stands, and is never later than before. `None`: nobody renews it any more.
    fn on_lost(&mut self, lost: Option<Lost>) {
        let Some(tether) = &mut self.tether else { return };
        let kill_at = (Moment::now() + self.kill_after).min(tether.limit().kill_at);
        // Both are told once.
        (tether.renewed, tether.lost) = (never(), never());
        let Some(lost) = lost else { return self.essential_died(RENEWAL, None) };
        let seen = &mut self.seen;
        seen.ended_for_loss = seen.asked_by.is_none() && seen.essential.is_none();
        seen.lost.get_or_insert(lost);
        self.ask(sig::SIGTERM, kill_at);
    }

    /// The keeper's death, the only reason for an order to fail, comes as an event.
    fn ask(&mut self, signal: i32, kill_at: Moment) {
        self.kill_at = Some(self.kill_at.map_or(kill_at, |before| before.min(kill_at)));
        let _: std::io::Result<()> = self.kept.end(signal, kill_at);
    }

    /// As [`Session::ask`].
    fn pass_on(&self, signal: i32) {
        let _: std::io::Result<()> = self.kept.signal(signal);
    }

    /// The command stopped. If it wants the terminal and we have it, it gets it;
    /// if it was stopped on the terminal, so are we.
    fn on_stopped(&mut self, signal: i32) {
        if self.stop_passed_on {
            return;
        }
        let Some(pid) = self.seen.pid else { return };
        if self.terminal.is_none() {
            self.terminal = Terminal::of_session();
        }
        let Some(terminal) = &self.terminal else { return };
        if matches!(signal, sig::SIGTTIN | sig::SIGTTOU) {
            self.foreground = true;
            if terminal.is_ours() {
                terminal.give_to(pid);
            }
            // It may have got the terminal since it stopped: `resume` gives it before we hear of the stop.
            if terminal.is_of(pid) {
                self.pass_on(sig::SIGCONT);
            } else {
                // In the background ourselves: wait for the shell's `fg`, as any job that wants to read.
                stop_own_group(Signal::TTIN);
            }
        } else if (terminal.is_of(pid) || self.pty.is_some()) && !ignored_at_start(sig::SIGTSTP) {
            self.leave_raw_mode();
            terminal.take_back();
            // It comes back to us as a signal, on which we stop: see `suspend`.
            stop_own_group(Signal::TSTP);
        }
    }

    /// SIGTSTP: the command stops, and so do we, until SIGCONT.
    fn suspend(&mut self) {
        // Also if it has stopped, as far as we know: it may have been told to go on since.
        // To one that is stopped it does nothing: the SIGCONT that follows discards it.
        self.stop_passed_on = true;
        self.pass_on(sig::SIGTSTP);
        self.leave_raw_mode();
        suspend();
    }

    /// SIGCONT: the command goes on, in the foreground if it was there and we are.
    fn resume(&mut self) {
        if let (Some(terminal), Some(pid)) = (&self.terminal, self.seen.pid)
            && terminal.is_ours()
        {
            if let Some((_, Some(raw))) = &self.pty {
                raw.enter();
            } else if self.foreground {
                terminal.give_to(pid);
            }
        }
        self.pass_on(sig::SIGCONT);
    }

    fn leave_raw_mode(&self) {
        if let Some((_, Some(raw))) = &self.pty {
            raw.leave();
        }
    }

    fn give_terminal_back(&mut self) {
        let (Some(terminal), Some(pid)) = (&self.terminal, self.seen.pid) else { return };
        if !self.foreground || self.pty.is_some() {
            return;
        }
        // Nobody of the tree is left, so a foreground that isn't ours is a group without processes,
        // or a shell that took it while we were suspended.
        if terminal.is_of(pid) || !terminal.has_foreground() {
            terminal.take_back();
            let signal = self.seen.status.and_then(Status::signal);
            if signal.is_some() {
                terminal.restore();
            }
            self.seen.interrupted_alone = signal == Some(sig::SIGINT) && self.seen.asked_by.is_none();
        }
    }

    /// A channel that rings when the keeper should have ended the tree by now.
    fn keeper_is_late_in(&self) -> Receiver<std::time::Instant> {
        let of_timeout = self.timeout_at.map(|at| at + self.kill_after);
        let of_lease = self.tether.as_ref().map(|tether| tether.limit().kill_at);
        let due = [self.kill_at, of_timeout, of_lease].into_iter().flatten().min();
        due.map_or_else(never, |due| crossbeam_channel::after((due + KEEPER_LATE).remaining().max(KEEPER_LATE)))
    }

    /// Sets the time limit; the keeper counts it.
    pub(super) fn set_timeout(&mut self, timeout: Duration) {
        let term_at = Moment::now() + timeout;
        self.timeout_at = Some(term_at);
        let limit = Limit { term_at, kill_at: term_at + self.kill_after };
        // As `ask`.
        let _: std::io::Result<()> = self.kept.limit(Reason::Timeout, limit);
    }
}

/// Everybody in our group, as the terminal itself would: a pipeline stops as one.
fn stop_own_group(signal: Signal) {
    // Our own group is there as long as we are.
    let _: rustix::io::Result<()> = kill_current_process_group(signal);
}
