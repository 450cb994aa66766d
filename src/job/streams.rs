//! A command's standard streams: ours as they are where nobody needs to see
//! what passes, else pipes or a pseudo-terminal with a pump behind them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::Job;
use super::audience::Audience;
use super::output::{Drain, Log, Plan, Pump};
use crate::process::{Feed, Place, Pty, RawMode, Terminal};

/// The command's ends, and ours.
pub(super) struct Streams {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) place: Place,
    pub(super) ours: Ours,
}

/// What stays with us while the command runs.
#[derive(Default)]
pub(super) struct Ours {
    pub(super) pump: Option<(Pump, Drain)>,
    pub(super) terminal: Option<Terminal>,
    pub(super) pty: Option<(Pty, Option<RawMode>)>,
    pub(super) feed: Option<Feed>,
}

impl Streams {
    pub(super) fn open(job: &mut Job, log: Option<Log>, audience: &Audience) -> io::Result<Streams> {
        let seen = log.is_some() || job.quiet_success || job.filter.is_some() || audience.wants_lines();
        let mut plan = Plan::default();
        (plan.filter, plan.log, plan.quiet) = (job.filter.take(), log, job.quiet_success);
        audience.join(&mut plan);
        if job.pty { on_pty(job.stdin, plan) } else { on_streams(job.stdin, seen.then_some(plan)) }
    }
}

fn on_streams(pass_stdin: bool, plan: Option<Plan>) -> io::Result<Streams> {
    let (stdin, terminal, place) = input(pass_stdin)?;
    let ours = Ours { terminal, ..Ours::default() };
    let Some(plan) = plan else {
        let (stdout, stderr) = (duplicate(io::stdout())?, duplicate(io::stderr())?);
        return Ok(Streams { stdin, stdout, stderr, place, ours });
    };
    let (from_stdout, stdout) = io::pipe()?;
    let (from_stderr, stderr) = io::pipe()?;
    let pump = pump(from_stdout.into(), Some(from_stderr.into()), plan)?;
    let ours = Ours { pump: Some(pump), ..ours };
    Ok(Streams { stdin, stdout: stdout.into(), stderr: stderr.into(), place, ours })
}

/// The command's input, ours or none, with the terminal that is lent to it.
pub(super) fn input(pass_stdin: bool) -> io::Result<(OwnedFd, Option<Terminal>, Place)> {
    let stdin = if pass_stdin { duplicate(io::stdin())? } else { nothing_to_read()? };
    // A command that reads from the terminal is its foreground; any other gets it when it asks (SIGTTIN).
    let terminal = if pass_stdin { Terminal::of_stdin().filter(Terminal::is_ours) } else { None };
    let place = match &terminal {
        Some(terminal) => Place::Foreground(terminal.device()?),
        None => Place::Background,
    };
    Ok((stdin, terminal, place))
}

fn on_pty(pass_stdin: bool, plan: Plan) -> io::Result<Streams> {
    let (pty, end) = Pty::open()?;
    let pump = pump(pty.output()?, None, plan)?;
    let terminal = if pass_stdin { Terminal::of_stdin() } else { None };
    let raw = if terminal.as_ref().is_some_and(Terminal::is_ours) { RawMode::of_stdin() } else { None };
    let feed = if pass_stdin { Some(pty.feed_stdin()?) } else { None };
    let (stdin, stdout) = (end.try_clone()?, end.try_clone()?);
    let ours = Ours { pump: Some(pump), terminal, pty: Some((pty, raw)), feed };
    Ok(Streams { stdin, stdout, stderr: end, place: Place::Pty, ours })
}

fn pump(stdout: OwnedFd, stderr: Option<OwnedFd>, plan: Plan) -> io::Result<(Pump, Drain)> {
    Pump::new(stdout, stderr, plan, duplicate(io::stdout())?, duplicate(io::stderr())?)
}

fn duplicate(stream: impl AsFd) -> io::Result<OwnedFd> {
    stream.as_fd().try_clone_to_owned()
}

/// A stream that is at its end; there may be no `/dev/null`.
fn nothing_to_read() -> io::Result<OwnedFd> {
    let (read, _write) = io::pipe()?;
    Ok(read.into())
}
