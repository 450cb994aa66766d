//! `towpath docker`: the Engine API, with the docker CLI's flags, words and exit codes.

mod bars;
mod commit;
mod connection;
mod images;
mod logs;
mod ps;
mod pull;
mod run;
mod stop;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use clap::Args;
use towpath::docker::{Error, Filters};
use towpath::job::with_causes;

use crate::voice;

pub(crate) const EXAMPLES: &str = "\
Examples:
  towpath docker run --rm --timeout 10m alpine:3 sh -c 'echo hello'
  towpath docker ps -a --filter status=exited
  towpath docker stop --all --filter label=app=web --dry-run
  towpath docker pull --user me --password-stdin registry.example.org/app:1 < password

The daemon is found as the docker command finds it: -H, DOCKER_HOST, DOCKER_CONTEXT,
DOCKER_TLS_VERIFY, DOCKER_CERT_PATH, DOCKER_CONFIG. There are no TOWPATH_ variables.

Exit codes: as the docker command's: 1 it failed; of run: the container's own, 125 it
couldn't be run, 126 its command can't be executed, 127 not found; 124 timed out; 2 wrong usage.";

/// What the daemon is asked, and where it is.
#[derive(Args)]
pub(crate) struct DockerArguments {
    #[command(flatten)]
    connection: connection::ConnectionArguments,
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Run a command in a container, and exit with its code
    #[command(after_help = run::EXAMPLES, override_usage = "towpath docker run [OPTIONS] IMAGE [CMD]...")]
    Run(Box<run::RunArguments>),
    /// List containers
    #[command(after_help = ps::EXAMPLES)]
    Ps(ps::PsArguments),
    /// Stop containers: by name, all that a filter lets through, or what crashed runs left
    #[command(after_help = stop::EXAMPLES)]
    Stop(stop::StopArguments),
    /// Print a container's log, or follow it
    #[command(after_help = logs::EXAMPLES)]
    Logs(logs::LogsArguments),
    /// List images
    #[command(after_help = images::EXAMPLES)]
    Images(images::ImagesArguments),
    /// Pull an image, to its proven end
    #[command(after_help = pull::EXAMPLES)]
    Pull(pull::PullArguments),
    /// Make an image of a container
    #[command(after_help = commit::EXAMPLES)]
    Commit(commit::CommitArguments),
}

pub(crate) fn docker(arguments: &DockerArguments) -> ExitCode {
    voice::begin(false);
    let connection = &arguments.connection;
    let done = match &arguments.action {
        Action::Run(arguments) => return run::run(connection, arguments),
        Action::Logs(arguments) => logs::logs(connection, arguments),
        Action::Commit(arguments) => commit::commit(connection, arguments),
        Action::Ps(arguments) => ps::ps(connection, arguments),
        Action::Stop(arguments) => stop::stop(connection, arguments),
        Action::Images(arguments) => images::images(connection, arguments),
        Action::Pull(arguments) => pull::pull(connection, arguments),
    };
    done.unwrap_or_else(Failure::told)
}

/// Why a command did not do what it was asked.
enum Failure {
    /// The flags make no sense: one line.
    Usage(String),
    /// The daemon, or the way to it.
    Docker(Error),
    /// Our own output could not be written.
    Output(io::Error),
}

/// What the docker CLI exits with when a command has failed.
const FAILED: u8 = 1;

impl Failure {
    fn told(self) -> ExitCode {
        match self {
            Failure::Usage(line) => {
                voice::error(&line);
                ExitCode::from(towpath::job::exit_code::USAGE)
            }
            Failure::Docker(error) => {
                voice::error(&with_causes(&error));
                ExitCode::from(FAILED)
            }
            // Who closed the pipe has seen what they wanted.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(FAILED),
            Failure::Output(error) => {
                voice::error(&format!("can't print what is seen: {error}"));
                ExitCode::from(towpath::job::exit_code::FILE)
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Docker(error)
    }
}

impl From<String> for Failure {
    fn from(line: String) -> Failure {
        Failure::Usage(line)
    }
}

/// Our own two streams, without buffers of their own: what comes goes out at once.
fn streams() -> io::Result<[File; 2]> {
    let stdout = io::stdout().as_fd().try_clone_to_owned()?;
    let stderr = io::stderr().as_fd().try_clone_to_owned()?;
    Ok([stdout.into(), stderr.into()])
}

/// What is said of the daemon's answer can't give a terminal orders.
fn print(text: &str) -> Result<(), Failure> {
    let text: String = text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect();
    let mut out = io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// What the daemon said of each, as one array.
fn print_json<'a>(all: impl Iterator<Item = &'a serde_json::Value>) -> Result<(), Failure> {
    print(&format!("{:#}\n", serde_json::Value::Array(all.cloned().collect())))
}

/// `--filter`, each `KEY=VALUE`.
fn filters(given: &[String]) -> Result<Filters, String> {
    given.iter().try_fold(Filters::new(), |filters, filter| match filter.split_once('=') {
        Some((key, value)) => Ok(filters.with(&key.trim().to_lowercase(), value.trim())),
        None => Err(format!("--filter: {filter:?} isn't KEY=VALUE, such as status=exited")),
    })
}
