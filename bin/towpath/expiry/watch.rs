//! `expiry watch`.

use std::os::fd::AsFd;
#[cfg(feature = "http")]
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use crossbeam_channel::select;
use signal_hook::consts as sig;
use towpath::clock::parse_duration;
use towpath::expiry::{Handler, Step, Watch, WatchError};
use towpath::job::{exit_code, with_causes};
use towpath::thread::signals::Signals;
use towpath::thread::{ESSENTIAL_EXIT_CODE, spawn};

use super::{CommonArguments, Failure, shown};
use crate::voice;

/// What is watched, and what is done.
#[derive(Args)]
pub(crate) struct WatchArguments {
    /// Run this by sh for each, with TOWPATH_KEY, TOWPATH_DEADLINE, TOWPATH_ID and more; the payload is its input
    #[arg(long, value_name = "CMD", help_heading = "Handling")]
    exec: Option<String>,
    /// Post JSON to this URL for each [default: a line of JSON each on standard output]
    #[cfg(feature = "http")]
    #[arg(long, value_name = "URL", conflicts_with = "exec", help_heading = "Handling")]
    post: Option<String>,
    /// Send this token with --post
    #[cfg(feature = "http")]
    #[arg(long, value_name = "FILE", help_heading = "Handling")]
    token_file: Option<PathBuf>,
    /// Trust the certificates in this PEM file for --post, instead of the built-in list
    #[cfg(feature = "http")]
    #[arg(long, value_name = "FILE", help_heading = "Handling")]
    ca: Option<PathBuf>,
    /// So many handlers at once
    #[arg(long, value_name = "N", default_value = "4", help_heading = "Handling")]
    concurrency: usize,
    /// A handler that takes longer has failed, and is ended
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration, help_heading = "Handling")]
    handler_timeout: Duration,
    /// What fails so often has failed for good, and is kept: see expiry pending --failed
    #[arg(long, value_name = "N", default_value = "5", help_heading = "Handling")]
    attempts: u32,
    /// Only keys that match, as in session:*; deadlines are all handled
    #[arg(long = "match", value_name = "GLOB", help_heading = "Keys")]
    pattern: Option<String>,
    /// Add what is missing to notify-keyspace-events on every server
    #[arg(long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Keys")]
    configure: bool,
    /// Know the times of so many keys a server, about 200 bytes each; those beyond come late
    #[arg(long, value_name = "N", default_value = "1000000", help_heading = "Keys")]
    max_keys: usize,
    #[command(flatten)]
    common: CommonArguments,
}

pub(super) fn watch(arguments: &WatchArguments) -> Result<ExitCode, Failure> {
    let url = arguments.common.store.url().map_err(Failure::Usage)?;
    let mut watch = Watch::new(url, arguments.common.group.clone(), handler(arguments)?)
        .concurrency(arguments.concurrency)
        .handler_timeout(arguments.handler_timeout)
        .attempts(arguments.attempts)
        .configure(arguments.configure)
        .max_keys(arguments.max_keys);
    if let Some(pattern) = &arguments.pattern {
        watch = watch.matching(pattern.as_bytes());
    }
    let internal = |error: std::io::Error| Failure::Internal(format!("can't prepare to watch: {error}"));
    let signals = Signals::listen(&[sig::SIGHUP, sig::SIGINT, sig::SIGTERM]).map_err(internal)?;
    let worker = spawn("expiry", move |stop| watch.run(stop, Box::new(tell))).map_err(internal)?;
    // No deadline: it watches until it is told to stop, or can't.
    let asked_by = select! {
        recv(signals.receiver()) -> signal => signal.ok(),
        recv(worker.ended()) -> _ => None,
    };
    worker.stop();
    match worker.join() {
        Ok(Ok(())) => Ok(ExitCode::from(asked_by.map_or(0, |signal| 128 + u8::try_from(signal).unwrap_or_default()))),
        Ok(Err(WatchError::Store(error))) => Err(Failure::Store(error)),
        Ok(Err(WatchError::Output(why))) => Err(Failure::File(format!("standard output can't be written: {why}"))),
        Ok(Err(error)) => {
            voice::error(&with_causes(&error));
            Ok(ExitCode::from(ESSENTIAL_EXIT_CODE))
        }
        Err(panic) => {
            panic.log();
            Ok(ExitCode::from(exit_code::INTERNAL))
        }
    }
}

fn handler(arguments: &WatchArguments) -> Result<Handler, Failure> {
    if let Some(command) = &arguments.exec {
        return Ok(Handler::Exec(["/bin/sh", "-c", command].map(Into::into).into()));
    }
    #[cfg(feature = "http")]
    if let Some(url) = &arguments.post {
        use towpath::client::{Target, Token};
        let target = Target::parse(url).map_err(|error| Failure::Usage(format!("--post: {error}")))?;
        let trust = crate::flags::trust(arguments.ca.as_deref()).map_err(Failure::Usage)?;
        let token = arguments.token_file.as_ref().map(|path| {
            let named =
                |error: &dyn std::fmt::Display| Failure::Usage(format!("--token-file {}: {error}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
            Token::new(&text).map_err(|error| named(&error))
        });
        return Ok(Handler::Post { target, trust, token: token.transpose()? });
    }
    let stdout = std::io::stdout().as_fd().try_clone_to_owned();
    stdout.map(Handler::LinesTo).map_err(|error| Failure::File(format!("standard output can't be written: {error}")))
}

fn tell(step: &Step<'_>) {
    match step {
        Step::Listens(node) => voice::note(&format!("listening at {node}")),
        Step::StandsBy => voice::note("standing by to lead"),
        Step::Leads { fence } => voice::note(&format!("leading, with fence {fence}")),
        Step::LeadsNoMore(why) => voice::error(&format!("leading no more: {why}")),
        Step::Trouble(what) => voice::error(what),
        Step::Failed { entry, why, kept } => {
            let then = if *kept { "it is kept: see towpath expiry pending --failed" } else { "it is tried again" };
            voice::error(&format!("the handler for {} failed: {why}; {then}", shown(&entry.key)));
        }
        _ => {}
    }
}
