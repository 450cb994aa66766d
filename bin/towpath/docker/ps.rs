//! `towpath docker ps`.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::{ArgAction, Args};
use towpath::docker::show;

use super::connection::ConnectionArguments;
use super::{Failure, filters, print, print_json};

pub(super) const EXAMPLES: &str = "\
Examples:
  towpath docker ps -a
  towpath docker ps -q --filter label=app=web --filter status=running
  towpath docker ps --json | jq -r '.[].Names[0]'";

#[derive(Args)]
pub(crate) struct PsArguments {
    /// Those that don't run, too
    #[arg(short, long, action = ArgAction::SetTrue)]
    all: bool,
    /// Only those that this lets through: status=exited, label=app=web, name=web; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE", action = ArgAction::Append)]
    filter: Vec<String>,
    /// The N newest, whether they run or not; 0 and -1 are as if it weren't said
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true)]
    last: Option<i64>,
    /// The newest, whether it runs or not
    #[arg(short, long, action = ArgAction::SetTrue)]
    latest: bool,
    /// Don't cut what is long
    #[arg(long, action = ArgAction::SetTrue)]
    no_trunc: bool,
    /// Ids alone
    #[arg(short, long, action = ArgAction::SetTrue)]
    quiet: bool,
    /// What the daemon says of each, as JSON
    #[arg(long, action = ArgAction::SetTrue, conflicts_with = "quiet")]
    json: bool,
}

pub(super) fn ps(connection: &ConnectionArguments, arguments: &PsArguments) -> Result<ExitCode, Failure> {
    let filters = filters(&arguments.filter)?;
    let last = arguments.last.filter(|last| *last > 0).and_then(|last| usize::try_from(last).ok());
    let newest = last.or(arguments.latest.then_some(1));
    let mut list = connection.docker()?.containers(arguments.all || newest.is_some(), &filters)?;
    list.truncate(newest.unwrap_or(usize::MAX));
    if arguments.json {
        print_json(list.iter().map(|container| &container.json))?;
    } else if arguments.quiet {
        print(&show::container_ids(&list, arguments.no_trunc))?;
    } else {
        print(&show::containers(&list, arguments.no_trunc, SystemTime::now()))?;
    }
    Ok(ExitCode::SUCCESS)
}
