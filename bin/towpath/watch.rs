//! `towpath watch`: a run's lines on the streams they came from, and its code. The
//! run is found by the URL of its live view, or by the key of its lock.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use signal_hook::consts::SIGPIPE;
use towpath::client::{self, Agent, Target, Token};
use towpath::job::{exit_code, with_causes};
#[cfg(feature = "redis")]
use towpath::live::relay::Relayed;
use towpath::live::{Seen, Watch, WatchError};
use towpath::process::Status;
#[cfg(feature = "redis")]
use towpath::store::Key;
use towpath::thread::Stop;

use crate::cli::WatchArguments;
use crate::ending::outlive_file_limit;
use crate::{flags, voice};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Three heartbeats: a stream without any sign of life for so long is lost.
const QUIET: Duration = Duration::from_secs(45);

/// How much is collected for one write, but for a longer piece of a line.
const COLLECTED_BYTES: usize = 64 * 1024;

/// A run that is followed, wherever it is.
enum Follow {
    Url(Watch),
    #[cfg(feature = "redis")]
    Key(Relayed),
}

/// Why it can't be followed: one line, and the code.
struct Ended {
    line: String,
    code: u8,
}

impl Follow {
    fn of(arguments: &WatchArguments) -> Result<Follow, String> {
        #[cfg(feature = "redis")]
        if !looks_like_a_url(&arguments.what) {
            return relayed(arguments).map(Follow::Key);
        }
        let (agent, target) = reader(arguments)?;
        Ok(Follow::Url(Watch::new(agent, &target, arguments.retry)))
    }

    fn is_next_here(&mut self) -> bool {
        match self {
            Follow::Url(watch) => watch.is_next_here(),
            #[cfg(feature = "redis")]
            Follow::Key(relayed) => relayed.is_next_here(),
        }
    }

    fn next(&mut self, stop: &Stop) -> Result<Seen, Ended> {
        match self {
            Follow::Url(watch) => watch.next(stop).map_err(|error| {
                let hint = if asks_for_token(&error) { "; give it a token with --token-file" } else { "" };
                Ended { line: format!("{}{hint}", with_causes(&error)), code: code_of(&error) }
            }),
            #[cfg(feature = "redis")]
            Follow::Key(relayed) => {
                relayed.next(stop).map_err(|error| Ended { line: with_causes(&error), code: error.exit_code() })
            }
        }
    }
}

pub(crate) fn watch(arguments: &WatchArguments) -> ExitCode {
    voice::begin(arguments.verbose);
    let mut watch = match Follow::of(arguments) {
        Ok(watch) => watch,
        Err(line) => {
            voice::error(&line);
            return ExitCode::from(exit_code::USAGE);
        }
    };
    // What fails is seen when it is needed: the write then ends us.
    let _: io::Result<()> = outlive_file_limit();
    // A signal ends us by its default action: there is nothing to put in order.
    let stop = Stop::never();
    let mut print = match Print::new() {
        Ok(print) => print,
        Err(error) => return unprinted(&error),
    };
    loop {
        // What is collected is shown before anything is waited for.
        if !watch.is_next_here()
            && let Err(error) = print.flush()
        {
            return unprinted(&error);
        }
        let next = watch.next(&stop);
        let printed = match &next {
            Ok(Seen::Line { bytes, stream }) => print.line(bytes, stream.as_deref()),
            Ok(Seen::Gap(_)) => print.end_lines(),
            _ => print.flush(),
        };
        if let Err(error) = printed {
            return unprinted(&error);
        }
        match next {
            Ok(Seen::Run(run)) => voice::note(&format!("run {} on {}: {}", run.run, run.host, run.command.join(" "))),
            Ok(Seen::Line { .. }) => {}
            Ok(Seen::Gap(what)) => voice::error(&format!("gap: {what}")),
            Ok(Seen::Lost(why)) => voice::error(&format!("the connection was lost ({why}); trying again")),
            Ok(Seen::End(end)) => {
                voice::note(&end.to_string());
                return ExitCode::from(end.exit_code);
            }
            Err(Ended { line, code }) => {
                voice::error(&line);
                return ExitCode::from(code);
            }
        }
    }
}

/// `unix:` is one, and no scheme of ours has less than `://`.
#[cfg(feature = "redis")]
pub(crate) fn looks_like_a_url(what: &str) -> bool {
    what.contains("://") || what.starts_with("unix:")
}

#[cfg(feature = "redis")]
fn relayed(arguments: &WatchArguments) -> Result<Relayed, String> {
    let about = |error: &dyn std::error::Error| with_causes(error);
    let key = Key::new(&arguments.what).map_err(|error| about(&error))?;
    if arguments.store.store.is_none() {
        return Err(format!("{key} is no URL, so it is a key: say with --store where its run is, or write http://"));
    }
    let store = arguments.store.url()?;
    let relayed = Relayed::of(&store, &key, arguments.retry).map_err(|error| format!("--store: {}", about(&error)))?;
    let relayed = relayed.wait(arguments.wait);
    Ok(match arguments.tail {
        Some(lines) => relayed.tail(lines),
        None => relayed,
    })
}

fn reader(arguments: &WatchArguments) -> Result<(Agent, Target), String> {
    if arguments.what.starts_with("unix:") {
        return Err(
            "the URL: a Unix socket can't be watched; curl --unix-socket PATH http://localhost/log can".to_owned()
        );
    }
    let target = Target::parse(&arguments.what).map_err(|error| format!("the URL: {error}"))?;
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

/// Our own two streams, without buffers of their own, and whether a line goes on in them.
struct Print {
    streams: [File; 2],
    open: [bool; 2],
    /// What comes at once goes out at once: neighbouring lines of one stream.
    collected: Vec<u8>,
    to: usize,
}

impl Print {
    fn new() -> io::Result<Print> {
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        let stderr = io::stderr().as_fd().try_clone_to_owned()?;
        Ok(Print { streams: [stdout.into(), stderr.into()], open: [false; 2], collected: Vec::new(), to: 0 })
    }

    fn line(&mut self, bytes: &[u8], stream: Option<&str>) -> io::Result<()> {
        let index = usize::from(stream == Some("stderr"));
        if index != self.to || self.collected.len() + bytes.len() > COLLECTED_BYTES {
            self.flush()?;
        }
        self.to = index;
        self.open[index] = bytes.last().is_some_and(|last| *last != b'\n');
        self.collected.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what is collected. Blocks as long as our own reader likes.
    fn flush(&mut self) -> io::Result<()> {
        let written = self.streams[self.to].write_all(&self.collected);
        self.collected.clear();
        written
    }

    /// What comes after a gap isn't the rest of the line that came before it.
    fn end_lines(&mut self) -> io::Result<()> {
        self.flush()?;
        for (mut stream, open) in self.streams.iter().zip(&mut self.open) {
            if std::mem::take(open) {
                stream.write_all(b"\n")?;
            }
        }
        Ok(())
    }
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
        // Seen before anything was asked: the URL and the token don't go together.
        WatchError::Refused { source: client::Error::InClear { .. }, .. } => exit_code::USAGE,
        WatchError::Unreachable { .. }
        | WatchError::Cut { .. }
        | WatchError::Refused { .. }
        | WatchError::OtherRun { .. }
        | WatchError::Garbled { .. }
        | WatchError::Stopped => exit_code::CUT,
    }
}
