//! The course of a run: report, log, lease, command, and everything undone in
//! the right order afterwards.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, select};
use signal_hook::consts as sig;
use signal_hook::low_level::emulate_default_handler;

use super::environment::{self, Told};
use super::outcome::{Outcome, Verdict};
use super::output::{Log, Output, Tally};
#[cfg(feature = "http")]
use super::ping::Pings;
use super::report;
use super::session::{Seen, Session};
use super::spec::{Job, Once};
use super::streams::Streams;
use crate::clock::{Moment, unix_now};
use crate::lock::{Acquired, Lease, Locks};
use crate::process::{Kept, Reason, Spec, Status, Terminal};
use crate::thread::{Worker, spawn};

impl Job {
    /// Runs the command, and blocks until it and everything below it has ended,
    /// its output is delivered, its lock released, and its end told.
    ///
    /// `signals` brings the numbers of signals that this process received; keep
    /// its sender alive while the job runs. HUP, INT, QUIT and TERM end the
    /// run: the first is passed on, and what is left is killed after
    /// [`Job::kill_after`]; the second kills at once. TSTP and CONT suspend and
    /// resume command and process; others are passed on.
    pub fn run(mut self, signals: &Receiver<i32>) -> Outcome {
        let mut outcome = begin(&self);
        let busy = self.busy_exit;
        let report = self.report.take();
        if let Some(path) = &report
            && let Err(error) = report_begun(path, &outcome)
        {
            outcome.verdict = Verdict::File { path: path.clone(), error };
            return outcome;
        }
        let end_of_pings = self.under_lease(signals, &mut outcome);
        write_report(report.as_deref(), &mut outcome, busy);
        if let Some(end_of_pings) = end_of_pings {
            end_of_pings(&mut outcome);
            write_report(report.as_deref(), &mut outcome, busy);
        }
        outcome
    }

    /// Runs with the log open and the lease taken, if there are to be any.
    /// Gives back what is left to do once the outcome is final.
    fn under_lease(mut self, signals: &Receiver<i32>, outcome: &mut Outcome) -> Option<AfterTheEnd> {
        let log = match self.log.take().map(|path| Log::open(&path).map_err(|error| (path, error))).transpose() {
            Ok(log) => log,
            Err((path, error)) => {
                outcome.verdict = Verdict::File { path, error };
                return None;
            }
        };
        let asked = Moment::now();
        let lease = match self.once.take().map(|once| take_lease(once, signals)).transpose() {
            Ok(lease) => lease,
            Err(verdict) => {
                outcome.waited = asked.elapsed();
                outcome.interrupted = matches!(*verdict, Verdict::Interrupted(sig::SIGINT));
                outcome.verdict = *verdict;
                return None;
            }
        };
        outcome.waited = asked.elapsed();
        outcome.fence = lease.as_ref().map(Lease::fence);
        #[cfg(feature = "http")]
        let pings = self.ping.take().and_then(|to| Pings::begin(to).ok());
        self.command(signals, log, lease, outcome);
        #[cfg(feature = "http")]
        return pings.map(|pings| -> AfterTheEnd {
            Box::new(move |outcome| outcome.pings = Some(pings.finish(outcome.success())))
        });
        #[cfg(not(feature = "http"))]
        None
    }

    /// Starts the command and sees it through.
    fn command(mut self, signals: &Receiver<i32>, log: Option<Log>, lease: Option<Lease>, outcome: &mut Outcome) {
        let started = Moment::now();
        let mut session = match self.start(log, lease.as_ref(), outcome) {
            Ok(session) => session,
            Err(error) => {
                outcome.verdict = Verdict::Start(error);
                release(lease, outcome);
                return;
            }
        };
        outcome.started = Some(SystemTime::now());
        if let Some(timeout) = self.timeout {
            session.set_timeout(timeout);
        }
        session.watch(signals);
        outcome.ran = started.elapsed();
        // The keys typed from now on aren't the command's.
        session.feed = None;
        let stuck = session.seen.stuck.is_some();
        if stuck {
            // Its keeper goes on holding the lock: letting go here would free it under the process.
            drop(lease);
        } else {
            release(lease, outcome);
        }
        let Session { kept, mut seen, pump, drain, pty, .. } = session;
        if let Some(drain) = drain {
            drain.tree_gone();
        }
        if let Some(pump) = pump {
            take_output(pump, &mut seen, signals);
        }
        // Our own terminal comes back to its settings before anything more is printed on it.
        drop(pty);
        drop(kept);
        conclude(seen, signals, outcome);
    }

    fn start(&mut self, log: Option<Log>, lease: Option<&Lease>, outcome: &Outcome) -> io::Result<Session> {
        let streams = Streams::open(self, log)?;
        let held = lease.map(Lease::hold_descriptor).transpose()?.flatten();
        let told = Told {
            key: outcome.key.clone(),
            fence: outcome.fence,
            deadline_unix_ms: self.timeout.map(|timeout| (unix_now() + timeout).as_millis()),
        };
        let foreground = streams.ours.terminal.is_some();
        let kept = Kept::start(Spec {
            argv: self.argv.clone(),
            env: environment::for_command(std::env::vars_os(), &told),
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
            place: streams.place,
            held: held.into_iter().collect(),
            kill_after: self.kill_after,
        })?;
        let mut session = Session::new(kept, self.kill_after);
        session.terminal = streams.ours.terminal;
        session.foreground = foreground;
        session.pty = streams.ours.pty;
        session.feed = streams.ours.feed;
        if let Some((pump, drain)) = streams.ours.pump {
            session.pump = Some(spawn("output", move |_| Terminal::from_background(|| pump.run()))?);
            session.drain = Some(drain);
        }
        Ok(session)
    }
}

/// What is left to do when the outcome is final and told.
type AfterTheEnd = Box<dyn FnOnce(&mut Outcome)>;

fn begin(job: &Job) -> Outcome {
    let micros = unix_now().as_micros();
    Outcome {
        verdict: Verdict::Start(io::Error::other("it was never started")),
        run: format!("{micros:013x}{:06x}", std::process::id()),
        argv: job.argv.clone(),
        key: job.once.as_ref().map(|once| once.request.key().as_str().to_owned()),
        fence: None,
        began: SystemTime::now(),
        waited: Duration::ZERO,
        started: None,
        ran: Duration::ZERO,
        pid: None,
        status: None,
        asked_by: None,
        interrupted: false,
        interrupted_alone: false,
        left_behind: 0,
        output: None,
        release_error: None,
        #[cfg(feature = "http")]
        pings: None,
        report_error: None,
    }
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

/// Waits for the lock on a thread of its own, so that a signal can end the wait.
fn take_lease(once: Once, signals: &Receiver<i32>) -> Result<Lease, Box<Verdict>> {
    let locks = Locks::open(&once.store).map_err(|error| Box::new(Verdict::Store(error)))?;
    if once.wait.is_zero() {
        return acquired(locks.try_acquire(&once.request));
    }
    let worker = spawn("lock-wait", move |stop| locks.acquire(&once.request, once.wait, stop))
        .map_err(|error| Box::new(Verdict::Start(error)))?;
    let mut interrupted = None;
    loop {
        select! {
            recv(worker.ended()) -> _ => break,
            recv(signals) -> signal => match signal {
                Ok(sig::SIGTSTP) => suspend(),
                Ok(signal @ (sig::SIGHUP | sig::SIGINT | sig::SIGQUIT | sig::SIGTERM)) => {
                    interrupted = Some(signal);
                    worker.stop();
                    break;
                }
                Ok(_) => {}
                Err(_) => {
                    worker.stop();
                    break;
                }
            },
        }
    }
    let lease = worker.join().map_err(|panic| Box::new(essential("lock-wait", panic))).and_then(acquired);
    match (interrupted, lease) {
        (Some(signal), Ok(lease)) => {
            // It came in the same moment. Nothing ran under it: a failure to let go is a crash's.
            let _: Result<(), crate::lock::Error> = lease.release();
            Err(Box::new(Verdict::Interrupted(signal)))
        }
        (Some(signal), Err(verdict)) if matches!(*verdict, Verdict::Start(_)) => {
            Err(Box::new(Verdict::Interrupted(signal)))
        }
        (_, lease) => lease,
    }
}

fn acquired(answer: Result<Acquired, crate::lock::Error>) -> Result<Lease, Box<Verdict>> {
    Err(Box::new(match answer {
        Ok(Acquired::Lease(lease)) => return Ok(lease),
        Ok(Acquired::Held(holder)) => Verdict::Held(holder),
        Ok(Acquired::Stopped) => Verdict::Start(io::Error::other("the wait for the lock was stopped")),
        Err(error) => Verdict::Store(error),
    }))
}

fn release(lease: Option<Lease>, outcome: &mut Outcome) {
    if let Some(lease) = lease {
        outcome.release_error = lease.release().err();
    }
}

fn suspend() {
    // It stops us as if there were no handler; nobody is to be told if it doesn't.
    let _: io::Result<()> = emulate_default_handler(sig::SIGTSTP);
}

/// Waits until the output is delivered. Its readers may take for ever: then a
/// signal ends the whole process, the tree being gone already.
fn take_output(pump: Worker<Output>, seen: &mut Seen, signals: &Receiver<i32>) {
    wait_or_die(&pump, signals);
    match pump.join() {
        Ok(output) => seen.output = Some(output),
        Err(panic) => {
            panic.log();
            seen.essential.get_or_insert(("output", Some(panic)));
        }
    }
}

fn wait_or_die<T>(worker: &Worker<T>, signals: &Receiver<i32>) {
    loop {
        select! {
            recv(worker.ended()) -> _ => return,
            recv(signals) -> signal => match signal {
                Ok(sig::SIGTSTP) => suspend(),
                Ok(signal @ (sig::SIGHUP | sig::SIGINT | sig::SIGQUIT | sig::SIGTERM)) => {
                    // It ends this process; what can't be written is lost with it.
                    let _: io::Result<()> = emulate_default_handler(signal);
                }
                Ok(_) => {}
                Err(_) => return,
            },
        }
    }
}

/// Prints what was kept back, and settles the verdict.
fn conclude(seen: Seen, signals: &Receiver<i32>, outcome: &mut Outcome) {
    outcome.pid = seen.pid;
    outcome.status = seen.status;
    outcome.left_behind = seen.left_behind;
    outcome.asked_by = seen.asked_by;
    outcome.interrupted = seen.status.and_then(Status::signal) == Some(sig::SIGINT)
        && (seen.interrupted_alone || seen.asked_by == Some(sig::SIGINT));
    outcome.interrupted_alone = seen.interrupted_alone;
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
    } else if let Some(pid) = seen.stuck {
        Verdict::Stuck(pid)
    } else if let Some(status) = seen.status {
        Verdict::Ended(status)
    } else {
        Verdict::Start(io::Error::other("its end was not told"))
    };
    if let Some(output) = output {
        outcome.output = close(output, outcome.exit_code(0) == 0, signals);
    }
}

/// On a thread, as [`take_output`]: what is printed at the end may find no reader either.
fn close(output: Output, succeeded: bool, signals: &Receiver<i32>) -> Option<Tally> {
    let worker = spawn("spool", move |_| Terminal::from_background(|| output.close(succeeded))).ok()?;
    wait_or_die(&worker, signals);
    worker.join().map_err(|panic| panic.log()).ok()
}

fn essential(thread: &'static str, panic: crate::thread::Panic) -> Verdict {
    panic.log();
    Verdict::Essential { thread, panic: Some(panic) }
}
