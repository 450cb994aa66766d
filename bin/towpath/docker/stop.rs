//! `towpath docker stop`.

use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgAction, Args};
use towpath::docker::{Docker, ErrorKind, Listed, Stopped, Stopping};
use towpath::job::with_causes;

use super::connection::ConnectionArguments;
use super::{FAILED, Failure, filters, print};
use crate::voice;

pub(super) const EXAMPLES: &str = "\
Examples:
  towpath docker stop -t 30 web db
  towpath docker stop --all --filter label=app=web --dry-run
  towpath docker stop --orphans

It prints the name of each container that was stopped, and says why one wasn't; the
exit code is then 1. One that doesn't run is as good as stopped.";

#[derive(Args)]
pub(crate) struct StopArguments {
    /// Names or ids
    #[arg(value_name = "CONTAINER", required_unless_present_any = ["all", "orphans"])]
    containers: Vec<String>,
    /// All that run
    #[arg(long, action = ArgAction::SetTrue)]
    all: bool,
    /// What runs of towpath's on this host left behind when they were killed; removes it too
    #[arg(long, action = ArgAction::SetTrue, conflicts_with = "all")]
    orphans: bool,
    /// Of all, only those that this lets through: label=app=web, name=web; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE", action = ArgAction::Append)]
    filter: Vec<String>,
    /// Only say which it would be
    #[arg(long, action = ArgAction::SetTrue)]
    dry_run: bool,
    /// Seconds from TERM to KILL [default: the container's own, or 10]
    #[arg(short, long, value_name = "SECONDS")]
    time: Option<u32>,
}

pub(super) fn stop(connection: &ConnectionArguments, arguments: &StopArguments) -> Result<ExitCode, Failure> {
    // By hand: clap doesn't ask for what conflicts with something that is given.
    let is_named = !arguments.containers.is_empty();
    let wrong = match (arguments.all, arguments.orphans) {
        (true, _) | (_, true) if is_named => Some("--all and --orphans don't go together with names of containers"),
        (false, false) if arguments.dry_run => Some("--dry-run is for --all and --orphans"),
        (false, _) if !arguments.filter.is_empty() => Some("--filter is for --all"),
        _ => None,
    };
    if let Some(wrong) = wrong {
        return Err(format!("{wrong}; see towpath docker stop --help").into());
    }
    let filters = filters(&arguments.filter)?;
    let docker = connection.docker()?;
    let names: Vec<String> = match (arguments.all, arguments.orphans) {
        (true, _) => docker.containers(false, &filters)?.iter().map(name_of).collect(),
        (_, true) => docker.orphans()?.iter().map(name_of).collect(),
        _ => arguments.containers.clone(),
    };
    if arguments.dry_run {
        names.iter().try_for_each(|name| print(&format!("{name}\n")))?;
        voice::note(&format!("{} would be stopped; nothing was done", names.len()));
        return Ok(ExitCode::SUCCESS);
    }
    stop_each(&docker, &names, arguments)
}

fn stop_each(docker: &Docker, names: &[String], arguments: &StopArguments) -> Result<ExitCode, Failure> {
    let grace = arguments.time.map(|seconds| Duration::from_secs(seconds.into()));
    let (mut failed, mut printed) = (false, Ok(()));
    docker.stop_all(names, Stopping { grace, removing: arguments.orphans }, &mut |name, stopped| match stopped {
        Ok(Stopped::Ended | Stopped::NotRunning) => {
            if printed.is_ok() {
                printed = print(&format!("{name}\n"));
            }
        }
        // One that was listed and has gone by itself is as good as stopped.
        Err(error) if arguments.containers.is_empty() && error.kind() == ErrorKind::NotFound => {
            voice::note(&format!("{name} was gone already"));
        }
        Err(error) => {
            failed = true;
            voice::error(&with_causes(&error));
        }
    });
    printed?;
    Ok(ExitCode::from(if failed { FAILED } else { 0 }))
}

/// Its own name, not one that a link gives it.
fn name_of(container: &Listed) -> String {
    container.names.iter().find(|name| !name.contains('/')).unwrap_or(&container.id).clone()
}
