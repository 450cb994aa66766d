//! `towpath docker commit`.

use std::process::ExitCode;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use towpath::docker::{CommitSpec, ImageRef};

use super::connection::ConnectionArguments;
use super::{Failure, print};

pub(super) const EXAMPLES: &str = "\
Examples:
  towpath docker commit web
  towpath docker commit -m 'with data' -c 'CMD [\"serve\"]' web shop:1

It prints the image's id.";

#[derive(Args)]
pub(crate) struct CommitArguments {
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The image's name; none if it isn't given
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
    /// Who made it
    #[arg(short, long, value_name = "AUTHOR")]
    author: Option<String>,
    /// What it is for
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// A line of a Dockerfile: 'ENV A=1', 'CMD ["sh"]'; may be repeated
    #[arg(short, long, value_name = "LINE", action = ArgAction::Append)]
    change: Vec<String>,
    /// Pause the container meanwhile: true or false
    #[arg(short, long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    pause: bool,
}

pub(super) fn commit(connection: &ConnectionArguments, arguments: &CommitArguments) -> Result<ExitCode, Failure> {
    if let Some(reference) = &arguments.reference {
        reference.parse::<ImageRef>().map_err(|error| format!("{error}"))?;
    }
    let spec = CommitSpec {
        reference: arguments.reference.clone(),
        author: arguments.author.clone(),
        message: arguments.message.clone(),
        changes: arguments.change.clone(),
        running: !arguments.pause,
    };
    let id = connection.docker()?.container(&arguments.container).commit(&spec)?;
    print(&format!("{id}\n"))?;
    Ok(ExitCode::SUCCESS)
}
