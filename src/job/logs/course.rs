//! The course of logs: sources and command started, and ended in the right order.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crossbeam_channel::{Sender, after, bounded, never, select};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts as sig;

use super::super::environment::{self, Facts};
use super::super::feeding::Feeding;
use super::super::output::{DRAIN_LIMIT, Printer};
use super::super::session::{Seen, Session};
use super::super::signals::{Heard, Leaving, die};
use super::super::streams::input;
use super::carry::{Carried, Carrier};
use super::{Logs, LogsEnd};
use crate::flow::Filter;
use crate::flow::merge::{Merge, Source};
use crate::process::{Kept, Spec, Status, Terminal};
use crate::thread::{Panic, Worker, catch, spawn};

/// How long the command waits for files to be looked at: one that hangs, as on
/// a network file system, doesn't hold it up.
const BEGUN_WITHIN: Duration = Duration::from_secs(5);

/// What has been started.
pub(super) struct Course {
    /// What is read to its end.
    finite: Merge,
    /// What has none.
    followed: Merge,
    /// The command's output, which ends with the command and isn't stopped before.
    of_command: Merge,
    /// Our ends of that, to see who else holds it.
    pipes: Vec<OwnedFd>,
    session: Option<Session>,
    logs: Logs,
    names: Vec<String>,
    /// The number of the first followed source.
    first_followed: usize,
}

type Carrying = Worker<Result<Carried, Panic>>;

impl Course {
    /// Starts the sources, then the command: what it writes to a followed file
    /// from its first moment on is read.
    ///
    /// # Errors
    /// No descriptors, memory or threads for that; what was started is ended.
    pub(super) fn start(mut logs: Logs, url: Option<String>) -> io::Result<Course> {
        let (names, first_followed) = (logs.names(), logs.sources.len());
        // Live readers get every line; without any, the sources choose themselves
        // what is printed, on their own threads.
        let chosen = if url.is_some() { Filter::default() } else { std::mem::take(&mut logs.filter) };
        let finite = Merge::start_filtered(std::mem::take(&mut logs.sources), &chosen)?;
        let followed = Merge::start_filtered(std::mem::take(&mut logs.followed), &chosen)?;
        let (mut pipes, mut outputs, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        if logs.command.is_some() {
            for name in ["stdout", "stderr"] {
                let (ours, end) = io::pipe()?;
                pipes.push(ours.as_fd().try_clone_to_owned()?);
                outputs.push(Source::pollable(name, ours));
                ends.push(OwnedFd::from(end));
            }
        }
        let of_command = Merge::start_filtered(outputs, &chosen)?;
        let session = match (logs.command.take(), ends.pop(), ends.pop()) {
            (Some(argv), Some(stderr), Some(stdout)) => {
                if !followed.wait_begun(BEGUN_WITHIN) {
                    log::warn!("a followed file couldn't be looked at in time; the command is started all the same");
                }
                Some(start_command(&logs, argv, [stdout, stderr], url)?)
            }
            _ => None,
        };
        Ok(Course { finite, followed, of_command, pipes, session, logs, names, first_followed })
    }

    /// Sees it through. Who asks for the end is known to `leaving` afterwards.
    pub(super) fn run(mut self, feeding: Option<Feeding>, leaving: &mut Leaving) -> LogsEnd {
        let mut end = LogsEnd::default();
        let (sender, unwanted) = bounded(1);
        let carrying = match self.carry(feeding, sender) {
            Ok(carrying) => carrying,
            Err(error) => return LogsEnd { start_error: Some(error), ..end },
        };
        if let Some(mut session) = self.session.take() {
            session.unwanted = unwanted;
            session.watch(&leaving.signals);
            let seen = &session.seen;
            leaving.count(seen.asked_by, seen.interrupted_alone, seen.asked_again);
            take_seen(seen, &mut end);
            // With its command a log is over; one that couldn't start has none.
            self.followed.stop();
            if end.not_started.is_some() {
                self.finite.stop();
            }
        }
        if self.wait(&carrying, leaving) {
            take_carried(carrying, &mut end);
            end.long_lines +=
                [&self.finite, &self.followed, &self.of_command].map(Merge::long_lines).iter().sum::<u64>();
        } else {
            end.undelivered = true;
        }
        end.asked_by = leaving.asked_by;
        let by_int = end.status.map_or(leaving.asked_by, Status::signal) == Some(sig::SIGINT);
        end.interrupted = by_int && (end.interrupted_alone || leaving.asked_by == Some(sig::SIGINT));
        end
    }

    /// Starts the thread that carries the lines; `unwanted` is told if it ends before they do.
    fn carry(&mut self, feeding: Option<Feeding>, unwanted: Sender<()>) -> io::Result<Carrying> {
        let stdout = Printer::new(io::stdout().as_fd().try_clone_to_owned()?);
        let names = std::mem::take(&mut self.names);
        let of_command = names.len() - self.pipes.len();
        let groups = [
            (0, self.finite.items().clone()),
            (self.first_followed, self.followed.items().clone()),
            (of_command, self.of_command.items().clone()),
        ];
        let tell = std::mem::replace(&mut self.logs.tell, Box::new(|_| {}));
        let carrier = Carrier::new(names, &self.logs.filter, self.logs.prefix, stdout, feeding, tell);
        spawn("lines", move |_| {
            let carried = catch(|| Terminal::from_background(|| carrier.run(groups)));
            if carried.as_ref().map_or(true, |carried| carried.unwanted) {
                // Nobody listens where there is no command.
                let _: Result<(), crossbeam_channel::TrySendError<()>> = unwanted.try_send(());
            }
            carried
        })
    }

    /// Waits until all is carried; whether it was. Where somebody asks for the
    /// end, stdout's reader has as long as the command for the last lines.
    fn wait(&self, carrying: &Carrying, leaving: &mut Leaving) -> bool {
        let mut stopped = false;
        loop {
            if leaving.is_asked() && !stopped {
                stopped = true;
                self.finite.stop();
                self.followed.stop();
            }
            let look = if self.pipes.is_empty() { never() } else { after(DRAIN_LIMIT) };
            select! {
                recv(carrying.ended()) -> _ => return true,
                recv(leaving.too_long()) -> _ => return carrying.is_finished(),
                recv(look) -> _ => if is_held_by_a_stranger(&self.pipes) { self.of_command.stop() },
                recv(leaving.signals) -> signal => if let Heard::Again(signal) = leaving.hear(signal) {
                    die(signal);
                },
            }
        }
    }
}

fn start_command(
    logs: &Logs,
    argv: Vec<OsString>,
    [stdout, stderr]: [OwnedFd; 2],
    url: Option<String>,
) -> io::Result<Session> {
    let (stdin, terminal, place) = input(logs.pass_stdin)?;
    let facts = Facts { url, ..Facts::default() };
    let kept = Kept::start(Spec {
        argv,
        env: environment::for_command(std::env::vars_os(), &facts),
        stdin,
        stdout,
        stderr,
        place,
        last: Vec::new(),
        held: Vec::new(),
        kill_after: logs.kill_after,
        lease: None,
    })?;
    let mut session = Session::new(kept, logs.kill_after);
    session.foreground = terminal.is_some();
    session.terminal = terminal;
    Ok(session)
}

/// What the thread that carried the lines has to say; it has ended.
pub(super) fn take_carried(carrying: Carrying, end: &mut LogsEnd) {
    match carrying.join() {
        Ok(Ok(carried)) => {
            end.failed = carried.failed;
            end.printed = carried.printed;
            end.long_lines = carried.long_lines;
            end.unwanted = carried.unwanted;
        }
        Ok(Err(panic)) | Err(panic) => {
            panic.log();
            end.thread_died = true;
        }
    }
}

fn take_seen(seen: &Seen, end: &mut LogsEnd) {
    end.status = seen.status;
    end.not_started = seen.not_started.map(io::Error::from_raw_os_error);
    end.keeper_died = seen.keeper_died;
    end.stuck = seen.stuck;
    end.interrupted_alone = seen.interrupted_alone;
    end.thread_died = seen.essential.is_some();
}

/// Whether somebody outside the command's tree, which has gone, holds its
/// output open without writing anything.
fn is_held_by_a_stranger(pipes: &[OwnedFd]) -> bool {
    let mut looks: Vec<PollFd<'_>> = pipes.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if poll(&mut looks, Some(&now)).is_err() {
        return false;
    }
    let (mut silent, mut waiting) = (false, false);
    for look in &looks {
        waiting |= look.revents().contains(PollFlags::IN);
        silent |= look.revents().is_empty();
    }
    silent && !waiting
}
