//! The command line: its words, its help, and how flags, environment and
//! `/etc/towpath.conf` come together.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser};
use towpath::clock::parse_duration;

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
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  towpath completions bash > /etc/bash_completion.d/towpath")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

const RUN_EXAMPLES: &str = "\
Examples:
  At most one at a time; a second one exits 75 at once:
    towpath run --once backup -- backup.sh

  From cron on two hosts whose clocks differ by a little: print only what
  failed, end it after an hour:
    towpath run --once backup --hold-at-least 1m --quiet-success --timeout 1h -- backup.sh

  Keep every line, show only errors, tell a monitor how it went:
    towpath run --log /var/log/sync.log --include '(?i)error' --ping https://hc.example.org/UUID -- sync

Exit codes: the command's own; 124 timed out, 75 held by somebody else, 69 store
unreachable, 74 a local file failed, 125 an error of towpath's own, 126 can't be
executed, 127 not found, 128+n ended by signal n, 2 wrong usage.";

#[derive(Args)]
pub(crate) struct RunArguments {
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,

    /// Run only if nobody else runs with this key
    #[arg(long, value_name = "KEY", help_heading = "At most once")]
    pub(crate) once: Option<String>,
    /// Where locks are kept: file:DIR [default: a directory of this host's and user's]
    #[arg(long, value_name = "URL", help_heading = "At most once")]
    pub(crate) store: Option<String>,
    /// How long to wait for the lock
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration, help_heading = "At most once")]
    pub(crate) wait: Duration,
    /// Keep the lock taken for so long after its taking, even if the command is done earlier
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration, help_heading = "At most once")]
    pub(crate) hold_at_least: Duration,
    /// The exit code when somebody else holds the lock
    #[arg(long, value_name = "CODE", default_value_t = towpath::job::exit_code::HELD, help_heading = "At most once")]
    pub(crate) busy_exit: u8,

    /// End the command and all it started after so long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Limits")]
    pub(crate) timeout: Option<Duration>,
    /// From TERM to KILL
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration, help_heading = "Limits")]
    pub(crate) kill_after: Duration,

    /// Append every line of output to a file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) log: Option<PathBuf>,
    /// Print the output only if the run fails
    #[arg(long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Output")]
    pub(crate) quiet_success: bool,
    /// Print only lines that match; may be repeated
    #[arg(long, value_name = "REGEX", action = ArgAction::Append, help_heading = "Output")]
    pub(crate) include: Vec<String>,
    /// Don't print lines that match; may be repeated
    #[arg(long, value_name = "REGEX", action = ArgAction::Append, help_heading = "Output")]
    pub(crate) exclude: Vec<String>,
    /// Give the command a terminal of its own; its stdout and stderr are then one
    #[arg(long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Output")]
    pub(crate) pty: bool,
    /// Give the command an empty standard input
    #[arg(long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Output")]
    pub(crate) no_stdin: bool,

    /// Write how the run ended to a file, as JSON
    #[arg(long, value_name = "FILE", help_heading = "Telling others")]
    pub(crate) report: Option<PathBuf>,
    /// Ask for URL/start, then URL or URL/fail; it never changes the outcome
    #[cfg(feature = "http")]
    #[arg(long, value_name = "URL", help_heading = "Telling others")]
    pub(crate) ping: Option<String>,
    /// Trust the certificates in this PEM file, instead of the built-in list
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", help_heading = "Telling others")]
    pub(crate) ca: Option<PathBuf>,

    /// Read settings from this file [default: /etc/towpath.conf]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Say more on standard error
    #[arg(short, long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub(crate) verbose: bool,
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
    // The file's name may itself come from the flags, so they are read twice.
    let named = command().ignore_errors(true).try_get_matches_from(&arguments).ok().and_then(|matches| {
        let (_, matches) = matches.subcommand()?;
        matches.try_get_one::<PathBuf>("config").ok().flatten().cloned()
    });
    let path = named.clone().unwrap_or_else(|| config::DEFAULT_PATH.into());
    let settings = config::read(&path, named.is_some()).map_err(Refused::Wrong)?;
    for (name, setting) in &settings {
        check(name, &setting.value)
            .map_err(|what| Refused::Wrong(format!("{}: line {}: {what}", path.display(), setting.line)))?;
    }
    let matches =
        with_settings(Cli::command(), &settings).try_get_matches_from(&arguments).map_err(|error| refused(&error))?;
    refuse_useless(&matches)?;
    Cli::from_arg_matches(&matches).map(|cli| cli.subcommand).map_err(|error| refused(&error))
}

/// Gives each flag its variable, and the settings' values as defaults.
fn with_settings(command: clap::Command, settings: &Settings) -> clap::Command {
    command.mut_subcommands(|subcommand| {
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

/// `--hold-at-least` is `TOWPATH_HOLD_AT_LEAST`; `--help` has none.
fn variable_of(argument: &clap::Arg) -> Option<String> {
    let long = argument.get_long().filter(|long| !matches!(*long, "help" | "version"))?;
    Some(format!("TOWPATH_{}", long.to_uppercase().replace('-', "_")))
}

/// Whether a setting is one of ours with a value that its flag would take. An
/// unknown one is a mistake: with a misspelt store, jobs would run twice.
fn check(variable: &str, value: &str) -> Result<(), String> {
    let command = Cli::command();
    let arguments = command.get_subcommands().flat_map(clap::Command::get_arguments);
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

/// A flag on the command line that does nothing without another is a mistake;
/// the same in the settings is a default for the runs that use it.
fn refuse_useless(matches: &clap::ArgMatches) -> Result<(), Refused> {
    let Some(("run", run)) = matches.subcommand() else { return Ok(()) };
    if run.contains_id("once") {
        return Ok(());
    }
    for flag in ["wait", "hold_at_least", "busy_exit"] {
        if run.value_source(flag) == Some(clap::parser::ValueSource::CommandLine) {
            let flag = flag.replace('_', "-");
            return Err(Refused::Wrong(format!("--{flag} does nothing without --once KEY; see towpath run --help")));
        }
    }
    Ok(())
}

/// clap's many lines as one, with its hint.
fn refused(error: &clap::Error) -> Refused {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        let text = error.render().to_string();
        return if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            Refused::Wrong(
                "no command; the main one is: towpath run [--once KEY] -- CMD (see towpath --help)".to_owned(),
            )
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
    Refused::Wrong(format!("{line} (see towpath run --help)"))
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or("").trim_start_matches("error: ").to_owned()
}
