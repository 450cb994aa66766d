//! `towpath lead`: a command that runs while this host is the leader.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use towpath::clock::{format_duration, parse_duration};
use towpath::job::{Job, LEAD_TTL, Lead, OnExit, Outcome, Step, Verdict, exit_code, with_causes};
use towpath::lock::Request;
use towpath::process::Status;
use towpath::store::Key;

#[cfg(feature = "http")]
use crate::cli::ListenArguments;
use crate::ending::{pass_on_interrupt, prepare};
use crate::store::StoreArguments;
use crate::words::Words;
use crate::{flags, voice};

pub(crate) const EXAMPLES: &str = "\
Examples:
  On each of three hosts; one runs the scheduler, and another takes over when it ends:
    towpath lead scheduler --store redis://redis1 -- scheduler --config /etc/s.conf

  Start it again on the same host when it exits, and show who leads:
    towpath lead scheduler --store redis-cluster://r1,r2,r3 --on-exit restart --listen :8080 --open -- scheduler
    curl http://localhost:8080/status

Exit codes: the command's own, with --on-exit end or when a signal ended it; 128+n
ended by signal n while it stood by; 69 the store refuses us; 70 a thread of
towpath's died; 79 the lock was lost as it ended; 2 wrong usage.";

/// What the command's own end means.
#[derive(Clone, Copy, ValueEnum)]
enum Exit {
    /// Let another host take over, and stand by again
    Release,
    /// Start it again, and stay the leader
    Restart,
    /// End too
    End,
}

#[derive(Args)]
pub(crate) struct LeadArguments {
    /// What to lead: one leads at a time for each key
    #[arg(value_name = "KEY")]
    key: String,
    /// The command to run while leading, and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<OsString>,

    #[command(flatten)]
    store: StoreArguments,
    /// Another host takes over so long after this one was last heard of
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration, help_heading = "Leading")]
    ttl: Duration,
    /// What the command's own end means
    #[arg(long, value_name = "WHAT", default_value = "release", help_heading = "Leading")]
    on_exit: Exit,
    /// From TERM to KILL [default: 5s, or a quarter of --ttl if that is less]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Leading")]
    kill_after: Option<Duration>,

    /// Append every line of output to a file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    log: Option<PathBuf>,

    #[cfg(feature = "http")]
    #[command(flatten)]
    live: ListenArguments,

    /// Read settings from this file [default: /etc/towpath.conf]
    #[arg(long, value_name = "FILE", help_heading = "Options")]
    pub(crate) config: Option<PathBuf>,
}

pub(crate) fn lead(arguments: LeadArguments) -> ExitCode {
    // A leader's log says who led when, so unlike a run it always says all of it.
    voice::begin(true);
    let lead = match lead_of(arguments) {
        Ok(lead) => lead,
        Err(line) => {
            voice::error(&line);
            return ExitCode::from(exit_code::USAGE);
        }
    };
    let signals = match prepare() {
        Ok(signals) => signals,
        Err(code) => return code,
    };
    let outcome = lead.run(signals.receiver());
    // A term's end was told as a step.
    match &outcome.verdict {
        Verdict::Store(error) => voice::error(&format!("can't lead: {}", with_causes(error))),
        Verdict::Essential { thread, .. } if outcome.started.is_none() => {
            voice::error(&format!("can't lead: towpath's thread {thread} died"));
        }
        _ => {}
    }
    pass_on_interrupt(outcome.interrupted, outcome.interrupted_alone);
    ExitCode::from(outcome.exit_code(exit_code::HELD))
}

fn lead_of(arguments: LeadArguments) -> Result<Lead, String> {
    let key = Key::new(&arguments.key).map_err(|error| format!("KEY: {}", with_causes(&error)))?;
    let line = Job::command_line(&arguments.command);
    let request = Request::new(key).ttl(arguments.ttl).command(line);
    let words = Words {
        command: arguments.command.first().map_or(String::new(), |word| word.to_string_lossy().into_owned()),
        timeout: String::new(),
        log: arguments.log.as_ref().map_or(String::new(), |path| path.display().to_string()),
        report: String::new(),
        is_quiet: false,
        is_container: false,
    };
    let name = arguments.key;
    let tell = Box::new(move |step: &Step<'_>| tell(&name, &words, step));
    let mut lead =
        Lead::new(arguments.store.url()?, request, arguments.command, tell).on_exit(match arguments.on_exit {
            Exit::Release => OnExit::Release,
            Exit::Restart => OnExit::Restart,
            Exit::End => OnExit::End,
        });
    if let Some(kill_after) = arguments.kill_after {
        lead = lead.kill_after(kill_after);
    }
    if let Some(log) = arguments.log {
        lead = lead.log(log);
    }
    #[cfg(feature = "http")]
    if let Some(listen) = crate::listen::listen(arguments.live, "it stands by and leads all the same")? {
        lead = lead.listen(listen);
    }
    lead.check().map_err(|unfit| flags::unfit(&unfit))?;
    Ok(lead)
}

fn tell(key: &str, words: &Words, step: &Step<'_>) {
    match step {
        Step::StandsBy => voice::note(&format!("standing by to lead {key}")),
        Step::Leads { fence } => voice::note(&format!("leading {key}, with fence {fence}")),
        Step::Ended(outcome) => {
            words.tell(outcome);
            if let Some(end) = end_of(outcome) {
                voice::error(&format!("{} {end}", words.command));
            }
        }
        Step::Trouble(error) => voice::error(&with_causes(*error)),
        Step::Pauses(pause) => voice::note(&format!("pausing for {}", format_duration(*pause))),
        _ => {}
    }
}

/// The end that [`Words`] leave to the exit code.
fn end_of(outcome: &Outcome) -> Option<String> {
    match outcome.verdict {
        Verdict::Ended(Status::Exited(code)) => Some(format!("exited with code {code}")),
        Verdict::Ended(Status::Signaled(signal)) => Some(format!("was ended by signal {signal}")),
        _ => None,
    }
}

const _: () = assert!(LEAD_TTL.as_secs() == 10, "the default of --ttl, as a text, is LEAD_TTL");
