//! The course of a run: report, log, lease, command, and everything undone in
//! the right order afterwards.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crossbeam_channel::Receiver;
use signal_hook::consts as sig;

use super::audience::Audience;
use super::causes::with_causes;
use super::environment::{self, Facts};
use super::lease::{release, take_lease};
use super::outcome::{Outcome, Verdict};
use super::output::{Log, Output, Tally};
use super::report;
use super::session::{Seen, Session};
use super::signals::Leaving;
use super::spec::{IfUnreachable, Job, Once};
use super::streams::Streams;
use super::tether::{Tether, default_grace};
use crate::clock::{Moment, unix_now};
use crate::lock::Lease;
use crate::process::{Kept, Reason, Spec, Status, Terminal};
use crate::thread::{Worker, spawn};

impl Job {
    /// Runs the command, and blocks until it and everything below it has ended,
    /// its output is delivered, its lock released, and its end told.
    ///
    /// `signals` brings the numbers of signals that this process received; keep
    /// its sender alive while the job runs. HUP, INT, QUIT and TERM end the
    /// run: the first is passed on, and what is left is killed after
    /// [`Job::kill_after`]; the second kills at once. After the command's end the
    /// first gives those who take its output as long, and the second ends this
    /// process by its default action, or the wait for live readers. TSTP and CONT suspend and
    /// resume command and process; others are passed on.
    pub fn run(mut self, signals: &Receiver<i32>) -> Outcome {
        let mut outcome = begin(&self);
        if let Err(unfit) = self.check() {
            outcome.verdict = Verdict::Start(io::Error::new(io::ErrorKind::InvalidInput, unfit));
            return outcome;
        }
        let busy = self.busy_exit;
        let report = self.report.take();
        if let Some(path) = &report
            && let Err(error) = report_begun(path, &outcome)
        {
            outcome.verdict = Verdict::File { path: path.clone(), error };
            Audience::monitored(&mut self).tell(&mut outcome, busy);
            return outcome;
        }
        let mut audience = Audience::monitored(&mut self);
        self.under_lease(signals, &mut audience, &mut outcome);
        // A stream is written to once, when all is known.
        write_report(report.as_deref().filter(|path| !report::is_stream(path)), &mut outcome, busy);
        audience.tell(&mut outcome, busy);
        write_report(report.as_deref(), &mut outcome, busy);
        audience.dismiss(signals, &outcome);
        outcome
    }

    /// Runs with the log open and the lease taken, if there are to be any.
    fn under_lease(mut self, signals: &Receiver<i32>, audience: &mut Audience, outcome: &mut Outcome) {
        let log = match self.log.take().map(|path| Log::open(&path).map_err(|error| (path, error))).transpose() {
            Ok(log) => log,
            Err((path, error)) => {
                outcome.verdict = Verdict::File { path, error };
                return;
            }
        };
        let asked = Moment::now();
        let open = self.locks.take();
        let ttl = self.once.as_ref().map(|once| once.request.ttl_wanted());
        audience.prepare(&mut self);
        let taken = self.take_once(audience.url()).map(|once| take_lease(once, open, signals)).transpose();
        outcome.waited = asked.elapsed();
        let lease = match taken.or_else(|verdict| self.without_lease(*verdict, outcome)) {
            Ok(lease) => lease,
            Err(verdict) => {
                if let Verdict::Interrupted(signal) = *verdict {
                    outcome.asked_by = Some(signal);
                    outcome.interrupted = signal == sig::SIGINT;
                }
                outcome.verdict = *verdict;
                return;
            }
        };
        outcome.fence = lease.as_ref().map(Lease::fence);
        outcome.ttl = ttl.filter(|_| lease.as_ref().is_some_and(|lease| lease.valid_until() != Moment::NEVER));
        audience.gather(outcome);
        let mut lease = lease;
        self.command(signals, log, Under { lease: &mut lease, keep: false }, audience, outcome);
    }

    /// Runs the command once under a lease that is there already.
    pub(super) fn term(
        mut self,
        under: Under<'_>,
        ttl: Option<Duration>,
        signals: &Receiver<i32>,
        audience: &mut Audience,
    ) -> Outcome {
        let mut outcome = begin(&self);
        outcome.key = under.lease.as_ref().map(|lease| lease.key().as_str().to_owned());
        outcome.fence = under.lease.as_ref().map(Lease::fence);
        outcome.ttl = ttl;
        match self.log.take().map(|path| Log::open(&path).map_err(|error| (path, error))).transpose() {
            Ok(log) => self.command(signals, log, under, audience, &mut outcome),
            Err((path, error)) => outcome.verdict = Verdict::File { path, error },
        }
        outcome
    }

    /// What there is to do without the lock: to run all the same, or the verdict.
    fn without_lease(&self, verdict: Verdict, outcome: &mut Outcome) -> Result<Option<Lease>, Box<Verdict>> {
        match (self.if_unreachable, verdict) {
            (IfUnreachable::Run, Verdict::Store(error)) if error.may_pass() => {
                log::warn!("{}; the command runs without its lock", with_causes(&error));
                outcome.unlocked = Some(error);
                Ok(None)
            }
            (IfUnreachable::Skip, Verdict::Store(error)) if error.may_pass() => Err(Box::new(Verdict::Skipped(error))),
            (_, verdict) => Err(Box::new(verdict)),
        }
    }

    /// The lock to run under, with the URL that its record shall name.
    fn take_once(&mut self, url: Option<String>) -> Option<Once> {
        let once = self.once.take()?;
        Some(match url {
            Some(url) => Once { request: once.request.clone().url(url), ..once },
            None => once,
        })
    }

    /// Starts the command and sees it through.
    fn command(
        mut self,
        signals: &Receiver<i32>,
        log: Option<Log>,
        under: Under<'_>,
        audience: &mut Audience,
        outcome: &mut Outcome,
    ) {
        let Under { lease, keep } = under;
        let started = Moment::now();
        let grace = self.kill_after.unwrap_or_else(|| default_grace(outcome.ttl));
        let mut session = match self.start(log, lease.as_ref(), grace, audience, outcome) {
            Ok(session) => session,
            Err(error) => {
                outcome.verdict = Verdict::Start(error);
                release(lease.take(), outcome);
                return;
            }
        };
        outcome.started = Some(SystemTime::now());
        if let Some(timeout) = self.timeout {
            session.set_timeout(timeout);
        }
        let is_pumped = session.pump.is_some();
        session.watch(signals);
        outcome.ran = started.elapsed();
        // The keys typed from now on aren't the command's.
        session.feed = None;
        let ended_with_lease = session.seen.ended_with_lease();
        outcome.lost = session.seen.lost.take();
        if let Some(lease) = lease.as_ref().filter(|_| ended_with_lease && outcome.lost.is_none()) {
            // Its end is near, or passed while we were stopped.
            outcome.lost = Some(lease.check().err().unwrap_or_else(|| lease.given_up()));
        }
        if !session.seen.tree_gone {
            // Its keeper goes on holding the lock, if that is one which a process can
            // hold: letting go here would free it under the tree.
            drop(lease.take());
        }
        let lets_go = !keep || outcome.lost.is_some() || session.seen.asked_by.is_some();
        let holds_on = session.seen.succeeded() && outcome.lost.is_none() && self.has_ships();
        if lets_go && !holds_on {
            release(lease.take(), outcome);
        }
        let Session { kept, mut seen, pump, drain, pty, .. } = session;
        if let Some(drain) = drain {
            drain.tree_gone();
        }
        // Our own terminal comes back to its settings before anything is waited for: Ctrl-C is a signal again.
        drop(pty);
        let mut leaving = Leaving::new(signals, grace);
        leaving.count(seen.asked_by, seen.interrupted_alone, seen.asked_again);
        if let Some(pump) = pump {
            take_output(pump, &mut seen, &mut leaving);
        }
        if holds_on {
            self.send_away(lease.as_ref(), &mut leaving, outcome);
            if lets_go {
                release(lease.take(), outcome);
            }
        }
        drop(kept);
        if is_pumped && seen.output.is_none() {
            audience.cut_short();
        }
        conclude(seen, &mut leaving, outcome);
    }

    /// Sends away what the command made.
    #[cfg(all(feature = "form", feature = "http"))]
    fn send_away(&mut self, lease: Option<&Lease>, leaving: &mut Leaving, outcome: &mut Outcome) {
        outcome.shipped = super::ship::ship(std::mem::take(&mut self.ships), lease, leaving);
    }

    #[cfg(not(all(feature = "form", feature = "http")))]
    fn send_away(&mut self, _lease: Option<&Lease>, _leaving: &mut Leaving, _outcome: &mut Outcome) {}

    fn has_ships(&self) -> bool {
        #[cfg(all(feature = "form", feature = "http"))]
        return !self.ships.is_empty();
        #[cfg(not(all(feature = "form", feature = "http")))]
        false
    }

    fn start(
        &mut self,
        log: Option<Log>,
        lease: Option<&Lease>,
        grace: Duration,
        audience: &Audience,
        outcome: &Outcome,
    ) -> io::Result<Session> {
        let streams = Streams::open(self, log, audience)?;
        let held = lease.map(Lease::hold_descriptor).transpose()?.flatten();
        let facts = Facts {
            key: outcome.key.clone(),
            fence: outcome.fence,
            deadline_unix_ms: self.timeout.map(|timeout| unix_now().saturating_add(timeout).as_millis()),
            url: audience.url(),
        };
        let foreground = streams.ours.terminal.is_some();
        let role = self.role(&outcome.run, &facts, grace, streams.stdin)?;
        let tether = lease.zip(outcome.ttl).and_then(|(lease, ttl)| Tether::to(lease, ttl, grace, role.is_elsewhere()));
        // Before the command: an error from here means that nothing runs, and the lock can be given back.
        let carried = match streams.ours.pump {
            Some((pump, drain)) => Some((spawn("output", move |_| Terminal::from_background(|| pump.run()))?, drain)),
            None => None,
        };
        let kept = Kept::start(Spec {
            argv: role.argv,
            env: environment::for_command(std::env::vars_os(), &facts),
            stdin: role.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
            place: streams.place,
            last: role.last,
            held: held.into_iter().collect(),
            kill_after: grace,
            lease: tether.as_ref().map(Tether::limit),
        })?;
        let mut session = Session::new(kept, grace);
        session.tether = tether;
        session.sweep = role.sweep;
        session.terminal = streams.ours.terminal;
        session.foreground = foreground;
        session.pty = streams.ours.pty;
        session.feed = streams.ours.feed;
        (session.pump, session.drain) = carried.unzip();
        Ok(session)
    }
}

/// What the keeper starts: the command, or the attendant of a container with it.
struct Role {
    argv: Vec<OsString>,
    stdin: OwnedFd,
    /// For an attendant that was killed.
    last: Vec<OsString>,
    sweep: Option<Box<dyn Fn(Duration) -> bool>>,
}

impl Role {
    fn is_elsewhere(&self) -> bool {
        !self.last.is_empty()
    }
}

impl Job {
    #[cfg(not(feature = "docker"))]
    fn role(&self, _run: &str, _facts: &Facts, _grace: Duration, stdin: OwnedFd) -> io::Result<Role> {
        Ok(Role { argv: self.argv.clone(), stdin, last: Vec::new(), sweep: None })
    }

    #[cfg(feature = "docker")]
    fn role(&self, run: &str, facts: &Facts, grace: Duration, stdin: OwnedFd) -> io::Result<Role> {
        use super::container::{InContainer, sweep_now};

        let Some(container) = &self.container else {
            return Ok(Role { argv: self.argv.clone(), stdin, last: Vec::new(), sweep: None });
        };
        let words: Option<Vec<&str>> = self.argv.iter().map(|word| word.to_str()).collect();
        let words = words.ok_or_else(|| io::Error::other("an argument isn't UTF-8, which Docker can't take"))?;
        let mut spec = container.spec.clone().command(words);
        for (name, value) in facts.told() {
            spec = spec.env(&format!("{name}={value}"));
        }
        let run = run.to_owned();
        Ok(Role {
            argv: InContainer::attendant(),
            // The container is killed before the attendant would be.
            stdin: container.told(&run, grace * 3 / 4, &spec)?,
            last: InContainer::sweeper(&run),
            sweep: Some(Box::new(move |within| sweep_now(&run, within))),
        })
    }
}

/// The lease that a command runs under.
pub(super) struct Under<'a> {
    pub(super) lease: &'a mut Option<Lease>,
    /// Doesn't let go after a command that ended by itself: another will run under it.
    pub(super) keep: bool,
}

pub(super) fn begin(job: &Job) -> Outcome {
    Outcome {
        verdict: Verdict::Start(io::Error::other("it was never started")),
        run: new_name(),
        argv: job.argv.clone(),
        key: job.once.as_ref().map(|once| once.request.key().as_str().to_owned()),
        fence: None,
        ttl: None,
        lost: None,
        unlocked: None,
        began: SystemTime::now(),
        waited: Duration::ZERO,
        started: None,
        ran: Duration::ZERO,
        pid: None,
        status: None,
        asked_by: None,
        interrupted: false,
        interrupted_alone: false,
        stuck: None,
        left_behind: 0,
        output: None,
        undelivered: false,
        release_error: None,
        #[cfg(feature = "http")]
        pings: None,
        #[cfg(all(feature = "http", feature = "redis"))]
        relay: None,
        #[cfg(all(feature = "form", feature = "http"))]
        shipped: Vec::new(),
        report_error: None,
    }
}

/// A name unlike any other run's of this host.
pub(super) fn new_name() -> String {
    format!("{:013x}{:06x}", unix_now().as_micros(), std::process::id())
}

fn report_begun(path: &Path, outcome: &Outcome) -> io::Result<()> {
    let argv: Vec<String> = outcome.argv.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    report::write_begun(path, &outcome.run, &argv, outcome.key.as_deref(), outcome.began)
}

fn write_report(path: Option<&Path>, outcome: &mut Outcome, busy: u8) {
    if let Some(path) = path {
        outcome.report_error = report::write_ended(path, outcome, busy).err();
    }
}

/// Waits until the output is delivered. Its readers may take for ever: whoever
/// asks for the end doesn't wait for them longer than for the command.
fn take_output(pump: Worker<Output>, seen: &mut Seen, leaving: &mut Leaving) {
    if !leaving.wait(&pump) {
        seen.undelivered = true;
        return;
    }
    match pump.join() {
        Ok(output) => seen.output = Some(output),
        Err(panic) => {
            panic.log();
            seen.essential.get_or_insert(("output", Some(panic)));
        }
    }
}

/// Prints what was kept back, and settles the verdict.
fn conclude(seen: Seen, leaving: &mut Leaving, outcome: &mut Outcome) {
    outcome.undelivered = seen.undelivered;
    outcome.pid = seen.pid;
    outcome.status = seen.status;
    outcome.left_behind = seen.left_behind;
    outcome.stuck = seen.stuck;
    outcome.interrupted_alone = seen.interrupted_alone;
    let ended_with_lease = seen.ended_with_lease();
    let output = seen.output;
    outcome.verdict = if let Some((thread, panic)) = seen.essential {
        Verdict::Essential { thread, panic }
    } else if let Some(errno) = seen.not_started {
        outcome.started = None;
        Verdict::NotStarted(io::Error::from_raw_os_error(errno))
    } else if seen.keeper_died {
        Verdict::KeeperDied { whole_tree: seen.ended_without_keeper }
    } else if seen.cause == Some(Reason::Timeout) {
        Verdict::TimedOut(seen.status)
    } else if let Some(lost) = outcome.lost.clone().filter(|_| ended_with_lease) {
        if seen.too_late {
            outcome.started = None;
        }
        Verdict::LeaseLost { lost, status: seen.status }
    } else if let Some(pid) = seen.stuck {
        Verdict::Stuck(pid)
    } else if let Some(status) = seen.status {
        Verdict::Ended(status)
    } else {
        Verdict::Start(io::Error::other("its end was not told"))
    };
    if let Some(output) = output {
        outcome.output = close(output, outcome.exit_code(0) == 0, leaving);
        outcome.undelivered |= outcome.output.is_none();
    }
    // Also by a signal that came after the command's end: it ended the wait for our readers.
    outcome.asked_by = leaving.asked_by;
    outcome.interrupted = seen.status.and_then(Status::signal) == Some(sig::SIGINT)
        && (seen.interrupted_alone || leaving.asked_by == Some(sig::SIGINT));
}

/// On a thread, as [`take_output`]: what is printed at the end may find no reader either.
fn close(output: Output, succeeded: bool, leaving: &mut Leaving) -> Option<Tally> {
    let worker = spawn("spool", move |_| Terminal::from_background(|| output.close(succeeded))).ok()?;
    if !leaving.wait(&worker) {
        return None;
    }
    worker.join().map_err(|panic| panic.log()).ok()
}
