//! `towpath logs`: sources from the flags, and their end in words.

use std::io;
use std::path::Path;
use std::process::ExitCode;
#[cfg(feature = "redis")]
use std::time::Duration;

use signal_hook::consts as sig;
use towpath::flow::merge::{LogFile, Source, StartAt};
use towpath::job::logs::{Logs, LogsEnd, Notice};
use towpath::job::{exit_code, with_causes};
#[cfg(feature = "redis")]
use towpath::live::relay::Relayed;
use towpath::process::adopt_orphans;
#[cfg(feature = "redis")]
use towpath::store::Key;
use towpath::thread::signals::Signals;

use crate::cli::LogsArguments;
use crate::ending::{outlive_file_limit, pass_on_interrupt};
use crate::{flags, listen, voice};

/// What ends logs, in order the first time.
const ENDING: [i32; 4] = [sig::SIGHUP, sig::SIGINT, sig::SIGQUIT, sig::SIGTERM];

/// How long a relay's store may be away.
#[cfg(feature = "redis")]
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command has to do with beside them.
const PASSED_ON: [i32; 5] = [sig::SIGTSTP, sig::SIGCONT, sig::SIGWINCH, sig::SIGUSR1, sig::SIGUSR2];

pub(crate) fn logs(arguments: LogsArguments) -> ExitCode {
    voice::begin(arguments.verbose);
    let command = arguments.command.first().map(|word| word.to_string_lossy().into_owned());
    #[cfg(feature = "redis")]
    let relayed = match relayed(&arguments) {
        Ok(relayed) => relayed,
        Err(line) => {
            voice::error(&line);
            return ExitCode::from(exit_code::USAGE);
        }
    };
    let logs = match merged(arguments) {
        Ok(logs) => logs,
        Err(line) => {
            voice::error(&line);
            return ExitCode::from(exit_code::USAGE);
        }
    };
    let signals = match prepare(command.is_some()) {
        Ok(signals) => signals,
        Err(error) => {
            voice::error(&format!("can't prepare to read: {error}"));
            return ExitCode::from(exit_code::INTERNAL);
        }
    };
    #[cfg(feature = "redis")]
    let end = match relayed {
        Some(relayed) => logs.run_relayed(relayed, signals.receiver()),
        None => logs.run(signals.receiver()),
    };
    #[cfg(not(feature = "redis"))]
    let end = logs.run(signals.receiver());
    tell(&end, command.as_deref().unwrap_or_default());
    pass_on_interrupt(end.interrupted, end.interrupted_alone);
    ExitCode::from(end.exit_code())
}

/// The relayed run that is to be read instead of other sources, if one is.
#[cfg(feature = "redis")]
fn relayed(arguments: &LogsArguments) -> Result<Option<Relayed>, String> {
    let Some(key) = &arguments.relay else { return Ok(None) };
    #[cfg(feature = "docker")]
    let has_containers = !arguments.docker.is_empty();
    #[cfg(not(feature = "docker"))]
    let has_containers = false;
    if !arguments.files.is_empty() || !arguments.command.is_empty() || has_containers {
        return Err("--relay: a run has lines of its own; leave out other sources".to_owned());
    }
    let key = Key::new(key).map_err(|error| format!("--relay: {}", with_causes(&error)))?;
    let relayed = Relayed::of(&arguments.store.url()?, &key, PATIENCE);
    let relayed = relayed.map_err(|error| format!("--relay: {}", with_causes(&error)))?.wait(arguments.wait);
    Ok(Some(match arguments.tail {
        Some(lines) => relayed.tail(lines),
        None => relayed,
    }))
}

fn prepare(with_command: bool) -> io::Result<Signals> {
    outlive_file_limit()?;
    if !with_command {
        return Signals::listen(&ENDING);
    }
    adopt_orphans()?;
    Signals::listen(&[&ENDING[..], &PASSED_ON].concat())
}

/// Logs as the flags describe them; one line if they don't make sense.
fn merged(arguments: LogsArguments) -> Result<Logs, String> {
    #[cfg(feature = "docker")]
    let containers = arguments.docker.as_slice();
    #[cfg(not(feature = "docker"))]
    let containers: &[String] = &[];
    #[cfg(feature = "redis")]
    let is_relay = arguments.relay.is_some();
    #[cfg(not(feature = "redis"))]
    let is_relay = false;
    if arguments.files.is_empty() && arguments.command.is_empty() && containers.is_empty() && !is_relay {
        return Err(
            "nothing to read: name files, - for standard input, --docker NAME, or a command after -- (see towpath logs --help)"
                .to_owned(),
        );
    }
    let mut logs = Logs::new(Box::new(notice)).prefix(arguments.prefix).kill_after(arguments.kill_after);
    let start_at = arguments.tail.map_or(StartAt::Beginning, StartAt::Last);
    let mut takes_stdin = false;
    for file in &arguments.files {
        if file == Path::new("-") {
            if std::mem::replace(&mut takes_stdin, true) {
                return Err("standard input (-) can be read once only".to_owned());
            }
            logs = logs.source(Source::stdin().map_err(|error| format!("standard input: {error}"))?).no_stdin();
            continue;
        }
        let file = LogFile::new(file).follow(arguments.follow).start_at(start_at);
        logs = if arguments.follow { logs.followed(file) } else { logs.source(file) };
    }
    #[cfg(feature = "docker")]
    for source in container_logs(containers, arguments.follow, arguments.tail) {
        logs = if arguments.follow { logs.followed(source) } else { logs.source(source) };
    }
    if !arguments.command.is_empty() {
        logs = logs.command(arguments.command);
    }
    logs = logs.filter(flags::filter(&arguments.include, &arguments.exclude)?);
    Ok(match listen::listen(arguments.live, "nothing was read")? {
        Some(listen) => logs.listen(listen),
        None => logs,
    })
}

/// The logs of containers; those that can't be read say so in their turn.
#[cfg(feature = "docker")]
fn container_logs(names: &[String], follow: bool, tail: Option<u64>) -> Vec<Source> {
    use towpath::docker::{Docker, LogsQuery};
    use towpath::job::logs::{container_log, no_log};

    let query = LogsQuery { follow, tail, ..LogsQuery::default() };
    let mut docker = None;
    let mut source = |name: &String| {
        let docker = match docker.take().map_or_else(Docker::from_environment, Ok) {
            Ok(found) => docker.insert(found),
            Err(error) => return no_log(name, error),
        };
        container_log(docker, name, &query)
    };
    names.iter().map(&mut source).collect()
}

fn notice(notice: &Notice<'_>) {
    match notice {
        Notice::Trouble { source, error } if error.kind() == io::ErrorKind::NotFound => {
            voice::error(&format!("{source}: not there yet; still trying"));
        }
        Notice::Trouble { source, error } => {
            voice::error(&format!("{source}: {}; still trying", with_causes(*error)));
        }
        Notice::Failed { source, error } => voice::error(&format!("{source}: {}", with_causes(*error))),
    }
}

/// What went wrong with the whole of it; sources have been named before.
fn tell(end: &LogsEnd, command: &str) {
    if let Some(error) = &end.start_error {
        voice::error(&format!("can't start: {}", with_causes(error)));
    }
    match &end.not_started {
        Some(error) if error.kind() == io::ErrorKind::NotFound => {
            voice::error(&format!("{command}: command not found"));
        }
        Some(error) => voice::error(&format!("{command} can't be executed: {error}")),
        None => {}
    }
    if end.keeper_died {
        voice::error(&format!("somebody killed the keeper of {command}; processes that it started may still run"));
    }
    if let Some(pid) = end.stuck {
        voice::error(&format!("process {pid} of {command} outlived SIGKILL"));
    }
    #[cfg(feature = "redis")]
    match &end.relayed {
        Some(Ok(its)) => voice::note(&its.to_string()),
        Some(Err(error)) if end.asked_by.is_none() && !end.unwanted => voice::error(&with_causes(error)),
        _ => {}
    }
    if end.thread_died {
        voice::error("a thread of towpath's died; lines may be missing");
    }
    if let Some(error) = end.unprinted() {
        voice::error(&format!("{} bytes couldn't be printed: {error}", end.printed.lost_bytes));
    }
    if end.undelivered {
        voice::note("the last lines were left out: nobody took them");
    }
    if end.long_lines > 0 {
        voice::note(&format!("{} lines were longer than 64 KiB and judged by their beginning", end.long_lines));
    }
}
