//! `towpath docker images`.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::{ArgAction, Args};
use towpath::docker::show::{self, ImageColumns};

use super::connection::ConnectionArguments;
use super::{Failure, filters, print, print_json};

pub(super) const EXAMPLES: &str = "\
Examples:
  towpath docker images
  towpath docker images -q --filter dangling=true
  towpath docker images --json | jq -r '.[].RepoTags[]?'";

#[derive(Args)]
pub(crate) struct ImagesArguments {
    /// Only this repository, or this name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
    /// Those that others are built on, too
    #[arg(short, long, action = ArgAction::SetTrue)]
    all: bool,
    /// Show digests
    #[arg(long, action = ArgAction::SetTrue)]
    digests: bool,
    /// Only those that this lets through: reference=app:*, label=app=web, dangling=true; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE", action = ArgAction::Append)]
    filter: Vec<String>,
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

pub(super) fn images(connection: &ConnectionArguments, arguments: &ImagesArguments) -> Result<ExitCode, Failure> {
    let mut filters = filters(&arguments.filter)?;
    if let Some(reference) = &arguments.reference {
        filters = filters.with("reference", reference);
    }
    let list = connection.docker()?.images(arguments.all, &filters)?;
    let columns = ImageColumns { whole: arguments.no_trunc, digests: arguments.digests };
    if arguments.json {
        print_json(list.iter().map(|image| &image.json))?;
    } else if arguments.quiet {
        print(&show::image_ids(&list, columns))?;
    } else {
        print(&show::images(&list, columns, SystemTime::now()))?;
    }
    Ok(ExitCode::SUCCESS)
}
