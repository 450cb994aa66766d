//! `towpath run`: a job made from the flags, and its outcome in words.

use std::process::ExitCode;

#[cfg(feature = "http")]
use towpath::client::Target;
#[cfg(all(feature = "form", feature = "http"))]
use towpath::client::Token;
use towpath::clock::format_duration;
#[cfg(all(feature = "form", feature = "http"))]
use towpath::inbox::send::Shipment;
#[cfg(feature = "http")]
use towpath::job::PingTo;
#[cfg(all(feature = "form", feature = "http"))]
use towpath::job::Ship;
use towpath::job::{IfUnreachable, Job, Once, exit_code, with_causes};
#[cfg(all(feature = "http", feature = "redis"))]
use towpath::live::relay::Relay;
use towpath::lock::Request;
use towpath::process::missing_here;
use towpath::store::Key;

use crate::cli::{RunArguments, Unreachable};
use crate::ending::{pass_on_interrupt, prepare};
#[cfg(feature = "http")]
use crate::listen;
use crate::words::Words;
use crate::{flags, voice};

pub(crate) fn run(arguments: RunArguments) -> ExitCode {
    voice::begin(arguments.verbose);
    let (busy, verbose) = (arguments.busy_exit, arguments.verbose);
    let words = words_of(&arguments);
    let job = match job(arguments) {
        Ok(job) => job,
        Err(line) => {
            voice::error(&line);
            return ExitCode::from(exit_code::USAGE);
        }
    };
    let signals = match prepare() {
        Ok(signals) => signals,
        Err(code) => return code,
    };
    if verbose {
        missing_here().into_iter().for_each(voice::note);
    }
    let outcome = job.run(signals.receiver());
    words.tell(&outcome);
    pass_on_interrupt(outcome.interrupted, outcome.interrupted_alone);
    ExitCode::from(outcome.exit_code(busy))
}

/// A job as the flags describe it; one line if they don't make sense.
fn job(arguments: RunArguments) -> Result<Job, String> {
    #[cfg(all(feature = "form", feature = "http"))]
    let ships = ships(&arguments)?;
    let mut job = Job::new(arguments.command.clone()).busy_exit(arguments.busy_exit);
    job = job.if_unreachable(match arguments.if_unreachable {
        Unreachable::Fail => IfUnreachable::Fail,
        Unreachable::Skip => IfUnreachable::Skip,
        Unreachable::Run => IfUnreachable::Run,
    });
    if let Some(kill_after) = arguments.kill_after {
        job = job.kill_after(kill_after);
    }
    if let Some(key) = &arguments.once {
        let once = once(key, &arguments)?;
        #[cfg(all(feature = "http", feature = "redis"))]
        if arguments.relay {
            let relay = Relay::to(&once.store, once.request.key(), arguments.relay_keep);
            job = job.relay(relay.map_err(|error| format!("--relay: {}", with_causes(&error)))?);
        }
        job = job.once(once);
    }
    if let Some(timeout) = arguments.timeout {
        job = job.timeout(timeout);
    }
    if let Some(log) = arguments.log {
        job = job.log(log);
    }
    if let Some(report) = arguments.report {
        job = job.report(report);
    }
    if arguments.quiet_success {
        job = job.quiet_success();
    }
    if arguments.no_stdin {
        job = job.no_stdin();
    }
    if arguments.pty {
        job = job.pty();
    }
    #[cfg(feature = "docker")]
    if let Some(container) = crate::container::container(arguments.container)? {
        job = job.container(container);
    }
    if !arguments.include.is_empty() || !arguments.exclude.is_empty() {
        job = job.filter(flags::filter(&arguments.include, &arguments.exclude)?);
    }
    #[cfg(feature = "http")]
    if let Some(listen) = listen::listen(arguments.live, "the command runs all the same")? {
        job = job.listen(listen);
    }
    #[cfg(feature = "http")]
    if let Some(url) = arguments.ping {
        let target = Target::parse(&url).map_err(|error| format!("--ping: {error}"))?;
        #[cfg(feature = "tls")]
        let trust = flags::trust(arguments.ca.as_deref())?;
        #[cfg(not(feature = "tls"))]
        let trust = flags::trust(None)?;
        job = job.ping(PingTo { target, trust });
    }
    #[cfg(all(feature = "form", feature = "http"))]
    for ship in ships {
        job = job.ship(ship);
    }
    job.check().map_err(|unfit| flags::unfit(&unfit))?;
    Ok(job)
}

/// `--ship`, each taken apart at its `=http`: neither half may have another.
#[cfg(all(feature = "form", feature = "http"))]
fn ships(arguments: &RunArguments) -> Result<Vec<Ship>, String> {
    use std::os::unix::ffi::OsStrExt;
    let token = match &arguments.ship_token_file {
        Some(path) => {
            let token = Token::in_file(path);
            Some(token.map_err(|error| format!("--ship-token-file {}: {}", path.display(), with_causes(&error)))?)
        }
        None => None,
    };
    #[cfg(feature = "tls")]
    let trust = flags::trust(arguments.ca.as_deref())?;
    #[cfg(not(feature = "tls"))]
    let trust = flags::trust(None)?;
    let mut ships = Vec::new();
    for ship in &arguments.ship {
        let bytes = ship.as_bytes();
        let split = bytes.windows(5).position(|window| window == b"=http").filter(|at| *at > 0);
        let at = split.ok_or("--ship: not FILE=URL with an http:// or https:// URL")?;
        let file = std::path::PathBuf::from(std::ffi::OsStr::from_bytes(&bytes[..at]));
        let url = str::from_utf8(&bytes[at + 1..]).map_err(|_| "--ship: the URL isn't UTF-8".to_owned())?;
        let target = Target::parse(url).map_err(|error| format!("--ship {}: {error}", file.display()))?;
        if token.is_some() && !target.is_encrypted() && !target.is_loopback() {
            return Err(format!("--ship-token-file: no token is sent to {target} unencrypted; use https://"));
        }
        let mut shipment = Shipment::new(target).trust(trust.clone());
        if let Some(token) = &token {
            shipment = shipment.token(token.clone());
        }
        ships.push(Ship { file, shipment });
    }
    Ok(ships)
}

fn once(key: &str, arguments: &RunArguments) -> Result<Once, String> {
    let key = Key::new(key).map_err(|error| format!("--once: {}", with_causes(&error)))?;
    let store = arguments.store.url()?;
    let request =
        Request::new(key).hold_at_least(arguments.hold_at_least).command(Job::command_line(&arguments.command));
    #[cfg(feature = "redis")]
    let request = request.ttl(arguments.ttl);
    Ok(Once { store, request, wait: arguments.wait })
}

/// What is run, for people: the command, or the image whose own it is.
fn named(arguments: &RunArguments) -> String {
    let command = arguments.command.first().map(|word| word.to_string_lossy().into_owned());
    #[cfg(feature = "docker")]
    let command = command.or_else(|| arguments.container.image.clone());
    command.unwrap_or_default()
}

/// What an outcome is told with.
fn words_of(arguments: &RunArguments) -> Words {
    let path =
        |path: &Option<std::path::PathBuf>| path.as_ref().map_or(String::new(), |path| path.display().to_string());
    Words {
        command: named(arguments),
        timeout: arguments.timeout.map_or(String::new(), format_duration),
        log: path(&arguments.log),
        report: path(&arguments.report),
        is_quiet: arguments.quiet_success,
        #[cfg(feature = "docker")]
        is_container: arguments.container.image.is_some(),
        #[cfg(not(feature = "docker"))]
        is_container: false,
    }
}
