//! `towpath docker pull`.

use std::io::{self, Read};
use std::process::ExitCode;

use clap::{ArgAction, Args};
use towpath::docker::{Credentials, ImageRef, PullOptions};

use super::bars::Bars;
use super::connection::ConnectionArguments;
use super::{Failure, print};
use crate::voice;

pub(super) const EXAMPLES: &str = "\
Examples:
  towpath docker pull alpine:3
  towpath docker pull --user me --password-stdin registry.example.org/app:1 < password

It prints the image's whole name once the image is there, and nothing before. Credentials
are found as the docker command finds them (docker login), unless --user gives others.";

/// How long a password may be.
const PASSWORD_BYTE: u64 = 64 << 10;

#[derive(Args)]
pub(crate) struct PullArguments {
    /// What to pull; without a tag or digest, latest
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    image: String,
    /// For another platform: linux/arm64
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Be this user to the registry
    #[arg(long, value_name = "USER", requires = "password_stdin")]
    user: Option<String>,
    /// Read the user's password, or token, from standard input
    #[arg(long, action = ArgAction::SetTrue, requires = "user")]
    password_stdin: bool,
    /// Draw no bars
    #[arg(short, long, action = ArgAction::SetTrue)]
    quiet: bool,
}

pub(super) fn pull(connection: &ConnectionArguments, arguments: &PullArguments) -> Result<ExitCode, Failure> {
    let image: ImageRef = arguments.image.parse().map_err(|error| format!("{error}"))?;
    let credentials = match &arguments.user {
        Some(user) => Some(Credentials::password(user, &password()?)),
        None => None,
    };
    let options = PullOptions { credentials, platform: arguments.platform.clone() };
    let docker = connection.docker()?;
    // A signal ends us by its default action: the connection goes with us, and the pull with it.
    let mut pull = docker.pull_with(&image, &options)?;
    let mut bars = Bars::begin(!arguments.quiet);
    let mut status = None;
    for progress in pull.by_ref().filter_map(Result::ok) {
        bars.show(&progress);
        status = progress.status.strip_prefix("Status: ").map(str::to_owned).or(status);
    }
    bars.end();
    // It repeats the error that ended the progress.
    pull.finish()?;
    if let (Some(status), false) = (status, arguments.quiet) {
        voice::note(&status);
    }
    print(&format!("{image}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn password() -> Result<String, String> {
    let mut text = String::new();
    let read = io::stdin().take(PASSWORD_BYTE + 1).read_to_string(&mut text);
    read.map_err(|error| format!("the password on standard input: {error}"))?;
    match text.trim_end_matches(['\n', '\r']) {
        "" => Err("there is no password on standard input".to_owned()),
        _ if text.len() as u64 > PASSWORD_BYTE => Err("the password is longer than 64 KiB".to_owned()),
        password => Ok(password.to_owned()),
    }
}
