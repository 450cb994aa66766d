//! The command line: its words, its help, and how flags, environment and
//! `/etc/towpath.conf` come together.

mod arguments;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser};

use arguments::RUN_EXAMPLES;
#[cfg(feature = "http")]
use arguments::{LOGS_EXAMPLES, WATCH_EXAMPLES};
#[cfg(feature = "http")]
pub(crate) use arguments::{ListenArguments, LogsArguments, ServerArguments, WatchArguments};
pub(crate) use arguments::{RunArguments, Unreachable};
#[cfg(all(feature = "form", feature = "http"))]
pub(crate) use arguments::{parse_bytes, parse_size};

use crate::config::{self, Settings};

/// Run a job once across a fleet, and know how it ended
#[derive(Parser)]
#[command(name = "towpath", version, subcommand_required = true, arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "Every flag has an environment variable TOWPATH_<FLAG>; lines TOWPATH_<FLAG>=VALUE in /etc/towpath.conf are read first."
)]
struct Cli {
    #[command(subcommand)]
    subcommand: Subcommand,
}

#[derive(clap::Subcommand)]
pub(crate) enum Subcommand {
    /// Run a command, at most once at a time, and know how it ended
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunArguments>),
    /// Run a command while this host is the leader; stand by, take over, step down
    #[command(after_help = crate::lead::EXAMPLES)]
    Lead(Box<crate::lead::LeadArguments>),
    /// Say who holds a lock, or take it from them
    #[command(after_help = crate::lock::EXAMPLES)]
    Lock(Box<crate::lock::LockArguments>),
    /// Deadlines in Redis, handled by one leader
    #[cfg(feature = "redis")]
    #[command(after_help = crate::expiry::EXAMPLES)]
    Expiry(Box<crate::expiry::ExpiryArguments>),
    /// Merge files, standard input and a command's output; filter, print and serve them
    #[cfg(feature = "http")]
    #[command(after_help = LOGS_EXAMPLES)]
    Logs(Box<LogsArguments>),
    /// Follow a run from anywhere to its end, and exit with its code
    #[cfg(feature = "http")]
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(Box<WatchArguments>),
    /// Fetch a file, or the files of a form, and go on where it was cut
    #[cfg(all(feature = "form", feature = "http"))]
    #[command(after_help = crate::get::EXAMPLES)]
    Get(Box<crate::get::GetArguments>),
    /// Send files to a server: in one form, or each by a PUT
    #[cfg(all(feature = "form", feature = "http"))]
    #[command(after_help = crate::send::EXAMPLES)]
    Send(Box<crate::send::SendArguments>),
    /// Receive files and give them back, over HTTP
    #[cfg(all(feature = "form", feature = "http"))]
    #[command(after_help = crate::serve::EXAMPLES)]
    Serve(Box<crate::serve::ServeArguments>),
    /// Docker by its API: run, ps, stop, logs, images, pull, commit
    #[cfg(feature = "docker")]
    #[command(after_help = crate::docker::EXAMPLES)]
    Docker(Box<crate::docker::DockerArguments>),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  towpath completions bash > /etc/bash_completion.d/towpath")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Why there is nothing to do.
pub(crate) enum Refused {
    /// The answer is a text, as for `--help`.
    Answered(String),
    /// The command line, the environment or the settings are wrong: one line.
    Wrong(String),
}

/// The whole command line, without settings.
pub(crate) fn command() -> clap::Command {
    with_settings(Cli::command(), &Settings::new())
}

/// Takes in the flags, then the environment, then the settings file.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Subcommand, Refused> {
    let arguments: Vec<OsString> = arguments.collect();
    let settings = match settings(&arguments) {
        Ok(settings) => settings,
        Err(wrong) => return without_settings(&arguments).unwrap_or(Err(Refused::Wrong(wrong))),
    };
    let mut command = with_settings(Cli::command(), &settings);
    let matches = command.try_get_matches_from_mut(&arguments).map_err(|error| refused(&error, &arguments))?;
    refuse_useless(&command, &matches)?;
    Cli::from_arg_matches(&matches).map(|cli| cli.subcommand).map_err(|error| refused(&error, &arguments))
}

/// What needs no settings, and so is answered though they are wrong: help, the version, completions.
fn without_settings(arguments: &[OsString]) -> Option<Result<Subcommand, Refused>> {
    match command().try_get_matches_from(arguments) {
        Ok(matches) if matches.subcommand_name() == Some("completions") => {
            Some(Cli::from_arg_matches(&matches).map(|cli| cli.subcommand).map_err(|error| refused(&error, arguments)))
        }
        Ok(_) => None,
        Err(error) => {
            Some(Err(refused(&error, arguments))).filter(|refused| matches!(refused, Err(Refused::Answered(_))))
        }
    }
}

/// The settings that these arguments ask for; one line if they can't be used.
fn settings(arguments: &[OsString]) -> Result<Settings, String> {
    // The file's name may itself come from the flags, so they are read twice.
    let named = command().ignore_errors(true).try_get_matches_from(arguments).ok().and_then(|matches| {
        let (_, matches) = matches.subcommand()?;
        // Of `expiry set` and the like it is the second word that has the flags.
        let matches = matches.subcommand().map_or(matches, |(_, matches)| matches);
        matches.try_get_one::<PathBuf>("config").ok().flatten().cloned()
    });
    let path = named.clone().unwrap_or_else(|| config::DEFAULT_PATH.into());
    let settings = config::read(&path, named.is_some())?;
    for (name, setting) in &settings {
        check(name, &setting.value).map_err(|what| format!("{}: line {}: {what}", path.display(), setting.line))?;
    }
    Ok(settings)
}

/// Gives each flag its variable, and the settings' values as defaults.
fn with_settings(command: clap::Command, settings: &Settings) -> clap::Command {
    command.mut_subcommands(|subcommand| {
        if !has_variables(&subcommand) {
            return subcommand;
        }
        let subcommand = if subcommand.has_subcommands() { with_settings(subcommand, settings) } else { subcommand };
        subcommand.mut_args(|argument| {
            let Some(variable) = variable_of(&argument) else { return argument };
            let argument = match settings.get(&variable) {
                Some(setting) => argument.default_value(setting.value.clone()),
                None => argument,
            };
            argument.env(variable).hide_env(true)
        })
    })
}

/// The commands of `docker` have the docker CLI's variables: a `TOWPATH_TIMEOUT` for
/// runs isn't one for containers.
fn has_variables(command: &clap::Command) -> bool {
    command.get_name() != "docker"
}

/// What is never a setting: the guards of `lock break`, as a command's own
/// `TOWPATH_FENCE` is no permission; and what one deadline alone is about.
const NO_VARIABLES: [&str; 8] = ["help", "version", "yes", "fence", "in", "at", "payload", "failed"];

/// `--hold-at-least` is `TOWPATH_HOLD_AT_LEAST`. Of the two `--relay`, `TOWPATH_RELAY`
/// is the one of runs; that of logs names a key.
fn variable_of(argument: &clap::Arg) -> Option<String> {
    let long = argument.get_long().filter(|long| !NO_VARIABLES.contains(long))?;
    if long == "relay" && argument.get_action().takes_values() {
        return None;
    }
    Some(format!("TOWPATH_{}", long.to_uppercase().replace('-', "_")))
}

/// Whether a setting is one of ours with a value that its flag would take. An
/// unknown one is a mistake: with a misspelt store, jobs would run twice.
fn check(variable: &str, value: &str) -> Result<(), String> {
    let command = Cli::command();
    let own = command.get_subcommands().filter(|command| has_variables(command));
    let arguments = own.flat_map(|command| std::iter::once(command).chain(command.get_subcommands()));
    let arguments = arguments.flat_map(clap::Command::get_arguments);
    let mut known = arguments.filter(|argument| variable_of(argument).as_deref() == Some(variable));
    let Some(argument) = known.next() else {
        return Err(format!("{variable} is no setting of this version; see towpath run --help"));
    };
    let flag = format!("--{}={value}", argument.get_long().unwrap_or_default());
    let alone = clap::Command::new("towpath").arg(argument.clone().action(ArgAction::Set).num_args(1));
    match alone.try_get_matches_from(["towpath".to_owned(), flag]) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{variable}: {}", first_line(&error))),
    }
}

/// What flags need, how that is written, and which they are.
const NEEDED: [(&[&str], &str, &[&str]); 7] = [
    (
        &["image"],
        "--image IMAGE",
        &[
            "image_pull",
            "image_env",
            "image_volume",
            "image_network",
            "image_user",
            "image_workdir",
            "image_entrypoint",
            "image_memory",
            "image_cpus",
        ],
    ),
    (
        &["once"],
        "--once KEY",
        &["store", "wait", "ttl", "if_unreachable", "hold_at_least", "busy_exit", "relay", "relay_keep"],
    ),
    (&["relay"], "--relay", &["relay_keep"]),
    (&["store"], "--store URL", &["store_password_file", "store_ca", "store_cert", "store_key"]),
    (&["ping", "ship"], "--ping URL or --ship FILE=URL", &["ca"]),
    (&["ship"], "--ship FILE=URL", &["ship_token_file"]),
    (
        &["listen"],
        "--listen ADDR",
        &[
            "advertise",
            "linger",
            "keep",
            "token_file",
            "open",
            "tls_cert",
            "tls_key",
            "max_connections",
            "allow_host",
            "header_timeout",
            "idle_timeout",
        ],
    ),
];

/// A flag on the command line that does nothing without another is a mistake;
/// the same in the settings is a default for the runs that use it.
fn refuse_useless(command: &clap::Command, matches: &clap::ArgMatches) -> Result<(), Refused> {
    let Some((name, given)) = matches.subcommand() else { return Ok(()) };
    // Not asked of the matches: only a debug build of clap tells flags that a command doesn't have.
    let flags_of = |command: &clap::Command| command.get_arguments().map(|it| it.get_id().to_string()).collect();
    let known: Vec<String> = command.find_subcommand(name).map(flags_of).unwrap_or_default();
    let has = |flag: &str| known.iter().any(|known| known == flag);
    for (needed, how, flags) in NEEDED {
        let mut needed = needed.iter().filter(|flag| has(flag)).peekable();
        if needed.peek().is_none() || needed.any(|flag| is_set(given, flag)) {
            continue;
        }
        for flag in flags.iter().filter(|flag| has(flag)) {
            refuse_given(given, flag, name, &format!("without {how}"))?;
        }
    }
    let (flags, how): (&[&str], &str) = match name {
        "logs" if has("relay") && !is_set(given, "relay") => (&["wait", "store"], "without --relay KEY"),
        #[cfg(all(feature = "http", feature = "redis"))]
        "watch" if given.get_one::<String>("what").is_some_and(|what| crate::watch::looks_like_a_url(what)) => {
            (&["wait", "tail", "store"], "with a URL, only with a KEY")
        }
        #[cfg(all(feature = "http", feature = "redis"))]
        "watch" => (&["token_file", "ca"], "with a KEY, only with a URL"),
        _ => return Ok(()),
    };
    flags.iter().filter(|flag| has(flag)).try_for_each(|flag| refuse_given(given, flag, name, how))
}

/// Whether a flag has a value; one without values, whether it is there.
fn is_set(given: &clap::ArgMatches, flag: &str) -> bool {
    match given.try_get_one::<bool>(flag) {
        Ok(Some(is_there)) => *is_there,
        _ => given.contains_id(flag),
    }
}

fn refuse_given(given: &clap::ArgMatches, flag: &str, name: &str, how: &str) -> Result<(), Refused> {
    if given.value_source(flag) != Some(clap::parser::ValueSource::CommandLine) {
        return Ok(());
    }
    let flag = flag.replace('_', "-");
    Err(Refused::Wrong(format!("--{flag} does nothing {how}; see towpath {name} --help")))
}

/// clap's many lines as one, with its hint.
fn refused(error: &clap::Error, arguments: &[OsString]) -> Refused {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        let text = error.render().to_string();
        return if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            Refused::Wrong(match arguments.get(1).and_then(|word| word.to_str()) {
                Some(word) => format!("no command after {word}; see towpath {word} --help"),
                None => "no command; the main one is: towpath run [--once KEY] -- CMD (see towpath --help)".to_owned(),
            })
        } else {
            Refused::Answered(text)
        };
    }
    let text = error.to_string();
    let mut line = first_line(error);
    if let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg)
        && error.kind() == ErrorKind::MissingRequiredArgument
    {
        line = format!("missing: {}", missing.join(", "));
    }
    if let Some(tip) = text.lines().find_map(|line| line.trim().strip_prefix("tip: ")) {
        line = format!("{line}; {tip}");
    }
    let (mut of, mut command) = (String::new(), Cli::command());
    for word in arguments.iter().skip(1).map_while(|word| word.to_str()) {
        let Some(found) = command.find_subcommand(word).cloned() else { break };
        of.push_str(&format!("{word} "));
        command = found;
    }
    Refused::Wrong(format!("{line} (see towpath {of}--help)"))
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or("").trim_start_matches("error: ").to_owned()
}
