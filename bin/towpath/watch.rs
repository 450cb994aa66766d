//! `towpath watch`: a run's lines on the streams they came from, and its code.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use signal_hook::consts::SIGPIPE;
use towpath::client::{self, Agent, Target, Token};
use towpath::job::{exit_code, with_causes};
use towpath::live::{Seen, Watch, WatchError};
use towpath::process::Status;
use towpath::thread::Stop;

use crate::cli::WatchArguments;
use crate::ending::outlive_file_limit;
use crate::{flags, voice};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Three heartbeats: a stream without any sign of life for so long is lost.
const QUIET: Duration = Duration::from_secs(45);

pub(crate) fn watch(arguments: &WatchArguments) -> ExitCode {
    voice::begin(arguments.verbose);
    let (agent, target) = match reader(arguments) {
        Ok(reader) => reader,
        Err(line) => {
            voice::error(&line);
            return ExitCode::from(exit_code::USAGE);
        }
    };
    // What fails is seen when it is needed: the write then ends us.
    let _: io::Result<()> = outlive_file_limit();
    let mut watch = Watch::new(agent, &target, arguments.retry);
    // A signal ends us by its default action: there is nothing to put in order.
    let stop = Stop::never();
    let mut print = Print::default();
    loop {
        match watch.next(&stop) {
            Ok(Seen::Run(run)) => voice::note(&format!("run {} on {}: {}", run.run, run.host, run.command.join(" "))),
            Ok(Seen::Line { bytes, stream }) => {
                if let Err(error) = print.line(&bytes, stream.as_deref()) {
                    return unprinted(&error);
                }
            }
            Ok(Seen::Gap(what)) => {
                if let Err(error) = print.end_lines() {
                    return unprinted(&error);
                }
                voice::error(&format!("gap: {what}"));
            }
            Ok(Seen::Lost(why)) => voice::error(&format!("the connection was lost ({why}); trying again")),
            Ok(Seen::End(end)) => {
                voice::note(&end.to_string());
                return ExitCode::from(end.exit_code);
            }
            Err(error) => {
                let hint = if asks_for_token(&error) { "; give it a token with --token-file" } else { "" };
                voice::error(&format!("{}{hint}", with_causes(&error)));
                return ExitCode::from(code_of(&error));
            }
        }
    }
}

fn reader(arguments: &WatchArguments) -> Result<(Agent, Target), String> {
    if arguments.url.starts_with("unix:") {
        return Err(
            "the URL: a Unix socket can't be watched; curl --unix-socket PATH http://localhost/log can".to_owned()
        );
    }
    let target = Target::parse(&arguments.url).map_err(|error| format!("the URL: {error}"))?;
    let token = match &arguments.token_file {
        Some(path) => {
            let token = Token::in_file(path);
            Some(token.map_err(|error| format!("--token-file {}: {}", path.display(), with_causes(&error)))?)
        }
        None => None,
    };
    #[cfg(feature = "tls")]
    let trust = flags::trust(arguments.ca.as_deref())?;
    #[cfg(not(feature = "tls"))]
    let trust = flags::trust(None)?;
    Ok((Agent::for_streams(CONNECT, QUIET, &trust, token), target))
}

/// Our own two streams, and whether a line goes on in them.
#[derive(Default)]
struct Print {
    open: [bool; 2],
}

impl Print {
    fn line(&mut self, bytes: &[u8], stream: Option<&str>) -> io::Result<()> {
        let index = usize::from(stream == Some("stderr"));
        self.open[index] = bytes.last().is_some_and(|last| *last != b'\n');
        write(index, bytes)
    }

    /// What comes after a gap isn't the rest of the line that came before it.
    fn end_lines(&mut self) -> io::Result<()> {
        for (index, open) in self.open.iter_mut().enumerate() {
            if std::mem::take(open) {
                write(index, b"\n")?;
            }
        }
        Ok(())
    }
}

/// To stdout, 0, or stderr, 1. A piece of a line is to be seen too.
fn write(index: usize, bytes: &[u8]) -> io::Result<()> {
    if index == 1 {
        return io::stderr().write_all(bytes);
    }
    let mut stdout = io::stdout();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// A reader who has seen enough, as in `| head`: silent, with the code of a
/// program that SIGPIPE ended, as the run's own end wasn't seen.
fn unprinted(error: &io::Error) -> ExitCode {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return ExitCode::from(Status::Signaled(SIGPIPE).code());
    }
    voice::error(&format!("can't print what is seen: {error}"));
    ExitCode::from(exit_code::FILE)
}

fn asks_for_token(error: &WatchError) -> bool {
    matches!(error, WatchError::Refused { source: client::Error::Status { status: 401, .. }, .. })
}

fn code_of(error: &WatchError) -> u8 {
    match error {
        WatchError::Unreachable { seen: false, .. } => exit_code::UNREACHABLE,
        WatchError::Unreachable { .. }
        | WatchError::Cut { .. }
        | WatchError::Refused { .. }
        | WatchError::OtherRun { .. }
        | WatchError::Garbled { .. }
        | WatchError::Stopped => exit_code::CUT,
    }
}
