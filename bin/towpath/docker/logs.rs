//! `towpath docker logs`.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::{ArgAction, Args};
use towpath::docker::{Error, ErrorKind, LogsQuery, parse_moment};

use super::connection::ConnectionArguments;
use super::{FAILED, Failure, streams};
use crate::ending::outlive_file_limit;

pub(super) const EXAMPLES: &str = "\
Examples:
  towpath docker logs --tail 100 -f web
  towpath docker logs --since 10m --timestamps web

What is followed is followed through lost connections, to the container's end. Standard
output and standard error stay apart.";

#[derive(Args)]
pub(crate) struct LogsArguments {
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Go on with what is logged from now on, until the container ends
    #[arg(short, long, action = ArgAction::SetTrue)]
    follow: bool,
    /// Nothing from before: 10m (that long ago), 2026-11-22T08:00:00Z, Unix seconds
    #[arg(long, value_name = "MOMENT")]
    since: Option<String>,
    /// Nothing from after; with --follow it ends there
    #[arg(long, value_name = "MOMENT")]
    until: Option<String>,
    /// So many lines from the end, or all
    #[arg(short = 'n', long, value_name = "N", default_value = "all", allow_negative_numbers = true)]
    tail: String,
    /// Begin each line with its moment
    #[arg(short, long, action = ArgAction::SetTrue)]
    timestamps: bool,
}

pub(super) fn logs(connection: &ConnectionArguments, arguments: &LogsArguments) -> Result<ExitCode, Failure> {
    let now = SystemTime::now();
    let moment = |flag: &str, text: &Option<String>| match text {
        Some(text) => parse_moment(text, now).map(Some).map_err(|error| format!("--{flag}: {error}")),
        None => Ok(None),
    };
    let query = LogsQuery {
        follow: arguments.follow,
        since: moment("since", &arguments.since)?,
        until: moment("until", &arguments.until)?,
        tail: tail(&arguments.tail)?,
        timestamps: arguments.timestamps,
    };
    // What fails is seen when it is needed: the write then ends us.
    let _: std::io::Result<()> = outlive_file_limit();
    let [mut out, mut err] = streams().map_err(Failure::Output)?;
    // A signal ends us by its default action: there is nothing to put in order.
    let mut logs = connection.docker()?.container(&arguments.container).logs(&query)?;
    match logs.copy_to(&mut out, &mut err) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if is_reader_gone(&error) => Ok(ExitCode::from(FAILED)),
        Err(error) => Err(error.into()),
    }
}

/// `all`, and as the docker CLI has it any negative number, is without a limit.
fn tail(text: &str) -> Result<Option<u64>, String> {
    match text.parse::<i64>() {
        _ if text == "all" => Ok(None),
        Ok(lines) => Ok(u64::try_from(lines).ok()),
        Err(_) => Err(format!("--tail: {text:?} is no number of lines; write 100, or all")),
    }
}

/// Whether somebody has seen enough of what we print, as in `| head`.
pub(super) fn is_reader_gone(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    error.kind() == ErrorKind::Local && source.is_some_and(|source| source.kind() == std::io::ErrorKind::BrokenPipe)
}
