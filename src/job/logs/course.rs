//! The course of logs: sources and command started, and ended in the right order.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts as sig;
use signal_hook::low_level::emulate_default_handler;

use super::super::environment::{self, Told};
use super::super::output::{DRAIN_LIMIT, Printer};
use super::super::session::{Seen, Session};
use super::super::signals::{ends_a_run, suspend};
use super::super::streams::input;
use super::carry::{Carried, Carrier};
use super::{Logs, LogsEnd};
use crate::flow::merge::{Merge, Source};
use crate::flow::tail::Feed;
use crate::live::Record;
use crate::process::{Kept, Spec, Terminal};
use crate::thread::{Panic, Worker, catch, spawn};

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
    /// Starts the command, then the sources.
    ///
    /// # Errors
    /// No descriptors, memory or threads for that; what was started is ended.
    pub(super) fn start(mut logs: Logs, url: Option<String>) -> io::Result<Course> {
        let (names, first_followed) = (logs.names(), logs.sources.len());
        let (mut pipes, mut outputs) = (Vec::new(), Vec::new());
        let session = match logs.command.take() {
            None => None,
            Some(argv) => {
                let (from_stdout, stdout) = io::pipe()?;
                let (from_stderr, stderr) = io::pipe()?;
                pipes = vec![from_stdout.as_fd().try_clone_to_owned()?, from_stderr.as_fd().try_clone_to_owned()?];
                outputs = vec![Source::pollable("stdout", from_stdout), Source::pollable("stderr", from_stderr)];
                let (stdin, terminal, place) = input(logs.pass_stdin)?;
                let told = Told { url, ..Told::default() };
                let kept = Kept::start(Spec {
                    argv,
                    env: environment::for_command(std::env::vars_os(), &told),
                    stdin,
                    stdout: stdout.into(),
                    stderr: stderr.into(),
                    place,
                    held: Vec::new(),
                    kill_after: logs.kill_after,
                    lease: None,
                })?;
                let mut session = Session::new(kept, logs.kill_after);
                session.foreground = terminal.is_some();
                session.terminal = terminal;
                Some(session)
            }
        };
        let finite = Merge::start(std::mem::take(&mut logs.sources))?;
        let followed = Merge::start(std::mem::take(&mut logs.followed))?;
        let of_command = Merge::start(outputs)?;
        Ok(Course { finite, followed, of_command, pipes, session, logs, names, first_followed })
    }

    /// Sees it through, and gives the feed back for its end.
    pub(super) fn run(
        mut self,
        feed: Option<Feed<Record>>,
        signals: &Receiver<i32>,
    ) -> (LogsEnd, Option<Feed<Record>>) {
        let mut end = LogsEnd::default();
        let (sender, unwanted) = bounded(1);
        let carrying = match self.carry(feed, sender) {
            Ok(carrying) => carrying,
            Err(error) => return (LogsEnd { start_error: Some(error), ..end }, None),
        };
        if let Some(mut session) = self.session.take() {
            session.unwanted = unwanted;
            session.watch(signals);
            take_seen(&session.seen, &mut end);
            // With its command a log is over; one that couldn't start has none.
            self.followed.stop();
            if end.not_started.is_some() {
                self.finite.stop();
            }
        }
        if !self.wait(&carrying, signals, &mut end.asked_by) {
            end.undelivered = true;
            return (end, None);
        }
        let feed = match carrying.join() {
            Ok(Ok(carried)) => {
                end.failed = carried.failed;
                end.printed = carried.printed;
                end.long_lines = carried.long_lines;
                end.unwanted = carried.unwanted;
                carried.feed
            }
            Ok(Err(panic)) | Err(panic) => {
                panic.log();
                end.thread_died = true;
                None
            }
        };
        (end, feed)
    }

    /// Starts the thread that carries the lines; `unwanted` is told if it ends before they do.
    fn carry(&mut self, feed: Option<Feed<Record>>, unwanted: Sender<()>) -> io::Result<Carrying> {
        let stdout = Printer::new(io::stdout().as_fd().try_clone_to_owned()?);
        let names = std::mem::take(&mut self.names);
        let of_command = names.len() - self.pipes.len();
        let groups = [
            (0, self.finite.items().clone()),
            (self.first_followed, self.followed.items().clone()),
            (of_command, self.of_command.items().clone()),
        ];
        let tell = std::mem::replace(&mut self.logs.tell, Box::new(|_| {}));
        let carrier = Carrier::new(names, &self.logs.filter, self.logs.prefix, stdout, feed, tell);
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
    fn wait(&self, carrying: &Carrying, signals: &Receiver<i32>, asked_by: &mut Option<i32>) -> bool {
        let mut too_long = never();
        let mut stopped = false;
        let mut signals = signals.clone();
        loop {
            if asked_by.is_some() && !stopped {
                stopped = true;
                self.finite.stop();
                self.followed.stop();
                too_long = after(self.logs.kill_after);
            }
            let look = if self.pipes.is_empty() { never() } else { after(DRAIN_LIMIT) };
            select! {
                recv(carrying.ended()) -> _ => return true,
                recv(too_long) -> _ => return carrying.is_finished(),
                recv(look) -> _ => if is_held_by_a_stranger(&self.pipes) { self.of_command.stop() },
                recv(signals) -> signal => match signal {
                    Ok(sig::SIGTSTP) => suspend(),
                    Ok(signal) if ends_a_run(signal).is_break() => {
                        if asked_by.replace(signal).is_some() {
                            // The second: what can't be written is lost with it.
                            let _: io::Result<()> = emulate_default_handler(signal);
                        }
                    }
                    Ok(_) => {}
                    Err(_) => signals = never(),
                },
            }
        }
    }
}

fn take_seen(seen: &Seen, end: &mut LogsEnd) {
    end.status = seen.status;
    end.not_started = seen.not_started.map(io::Error::from_raw_os_error);
    end.keeper_died = seen.keeper_died;
    end.stuck = seen.stuck;
    end.asked_by = seen.asked_by;
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
