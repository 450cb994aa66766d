//! The flags of `run`, `logs` and `watch`, and their help.

use std::ffi::OsString;
use std::path::PathBuf;
#[cfg(feature = "http")]
use std::str::FromStr;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use towpath::clock::parse_duration;

use crate::store::StoreArguments;

pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  At most one at a time; a second one exits 75 at once:
    towpath run --once backup -- backup.sh

  From cron: at most once a minute, mail only if it fails, end it after an hour:
    towpath run --once backup --hold-at-least 1m --quiet-success --timeout 1h -- backup.sh

  Keep every line, show only errors, tell a monitor how it went:
    towpath run --log sync.log --include '(?i)error' --ping https://hc.example.org/UUID -- sync

When the command ends, every process that it started and left behind is ended too.

Exit codes: the command's own; 124 timed out, 75 held by somebody else, 69 store
unreachable, 79 the lock was lost, 74 a local file failed, 125 an error of towpath's own, 70 a thread of
towpath's died, 126 can't be executed, 127 not found, 128+n ended by signal n,
2 wrong usage.";

#[cfg(feature = "http")]
pub(super) const LOGS_EXAMPLES: &str = "\
Examples:
  Follow two logs through their rotation, errors only, each line with its file:
    towpath logs -f --tail 10 --prefix --include '(?i)error' app.log db.log

  Let others see a program's output, and the log that it writes:
    towpath logs -f --listen :8080 --token-file /etc/towpath.token app.log -- app

  Search what is there:
    zcat old.log.gz | towpath logs --include timeout - new.log

It ends when all sources have ended, and followed files with the command or by a
signal. Exit codes: the command's own; 125 a source couldn't be read, or the live
view not served; 128+n ended by signal n; 74 not all could be printed; 2 wrong usage.";

#[cfg(feature = "http")]
pub(super) const WATCH_EXAMPLES: &str = "\
Examples:
  towpath watch http://127.0.0.1:8080
  towpath watch --token-file /etc/towpath.token https://web1.example.org:8443

  From any host, a run of towpath run --once backup --relay:
  towpath watch --store redis://db1 backup

The run's lines go to the streams they came from, gaps and lost connections are
told on standard error. Exit codes: the run's own; 76 it was cut for good, or
another run is there now; 69 it can't be reached, or no run of the key is there.";

/// How a live view is served, for every command with `--listen`.
#[cfg(feature = "http")]
#[derive(Args)]
#[command(next_help_heading = "Live view")]
pub(crate) struct ListenArguments {
    /// Serve the output live at this address: 127.0.0.1:8080, :8080, unix:/PATH
    #[arg(long, value_name = "ADDR", value_parser = towpath::http::Address::from_str)]
    pub(crate) listen: Option<towpath::http::Address>,
    /// The URL to tell others, if it isn't the address itself
    #[arg(long, value_name = "URL")]
    pub(crate) advertise: Option<String>,
    /// Stay so long after the end, for who comes late
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    pub(crate) linger: Duration,
    /// Keep so much of the output for late readers
    #[arg(long, value_name = "BYTES", default_value = "4MiB", value_parser = parse_bytes)]
    pub(crate) keep: usize,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
}

/// Who may ask a server, for every command that has one.
#[cfg(feature = "http")]
#[derive(Args)]
pub(crate) struct ServerArguments {
    /// Demand the token in this file, as a bearer token or as a password
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Serve everybody who reaches an address that isn't loopback
    #[arg(long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub(crate) open: bool,
    /// Serve TLS with this certificate chain (PEM)
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Connections at a time
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub(crate) max_connections: usize,
    /// Another name that a loopback server answers to; may be repeated
    #[arg(long, value_name = "NAME", action = ArgAction::Append)]
    pub(crate) allow_host: Vec<String>,
    /// How long a request's head may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub(crate) header_timeout: Duration,
    /// How long a connection may stay without a request
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub(crate) idle_timeout: Duration,
}

#[cfg(feature = "http")]
#[derive(Args)]
pub(crate) struct LogsArguments {
    /// Files to read; - is standard input
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// A command whose output is read too
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,

    /// A container whose log is read too; may be repeated
    #[cfg(feature = "docker")]
    #[arg(long, value_name = "NAME", action = ArgAction::Append, help_heading = "Sources")]
    pub(crate) docker: Vec<String>,
    /// The run with this key, of towpath run --relay, instead of any other source
    #[cfg(feature = "redis")]
    #[arg(long, value_name = "KEY", help_heading = "Sources")]
    pub(crate) relay: Option<String>,
    /// Of a relayed run: wait so long for one that goes on
    #[cfg(feature = "redis")]
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration, help_heading = "Sources")]
    pub(crate) wait: Duration,
    #[cfg(feature = "redis")]
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// Go on at the files' ends, by their names, through rotation
    #[arg(short, long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Sources")]
    pub(crate) follow: bool,
    /// Start with the last N lines of each file, or of the relayed run
    #[arg(long, value_name = "N", help_heading = "Sources")]
    pub(crate) tail: Option<u64>,
    /// From TERM to KILL for the command
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration, help_heading = "Sources")]
    pub(crate) kill_after: Duration,

    /// Print only lines that match; may be repeated
    #[arg(long, value_name = "REGEX", action = ArgAction::Append, help_heading = "Output")]
    pub(crate) include: Vec<String>,
    /// Don't print lines that match; may be repeated
    #[arg(long, value_name = "REGEX", action = ArgAction::Append, help_heading = "Output")]
    pub(crate) exclude: Vec<String>,
    /// Begin each printed line with its source's name
    #[arg(long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Output")]
    pub(crate) prefix: bool,

    #[command(flatten)]
    pub(crate) live: ListenArguments,

    /// Read settings from this file [default: /etc/towpath.conf]
    #[arg(long, value_name = "FILE", help_heading = "Options")]
    pub(crate) config: Option<PathBuf>,
    /// Say more on standard error
    #[arg(short, long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Options")]
    pub(crate) verbose: bool,
}

#[cfg(feature = "http")]
#[derive(Args)]
pub(crate) struct WatchArguments {
    /// Where the run is: what its --listen told, http:// or https://; or the key of
    /// a run with --relay
    #[arg(value_name = "URL|KEY")]
    pub(crate) what: String,
    #[cfg(feature = "redis")]
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// Of a key: wait so long for a run that goes on
    #[cfg(feature = "redis")]
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    pub(crate) wait: Duration,
    /// Of a key: start with the last N lines
    #[cfg(feature = "redis")]
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<u64>,
    /// Try again for so long when the connection is lost
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_duration)]
    pub(crate) retry: Duration,
    /// Send the token in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Trust the certificates in this PEM file, instead of the built-in list
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Read settings from this file [default: /etc/towpath.conf]
    #[arg(long, value_name = "FILE", help_heading = "Options")]
    pub(crate) config: Option<PathBuf>,
    /// Say more on standard error
    #[arg(short, long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Options")]
    pub(crate) verbose: bool,
}

#[derive(Args)]
pub(crate) struct RunArguments {
    /// The command and its arguments
    #[cfg_attr(feature = "docker", arg(required_unless_present = "image"))]
    #[cfg_attr(not(feature = "docker"), arg(required = true))]
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,

    #[cfg(feature = "docker")]
    #[command(flatten)]
    pub(crate) container: crate::container::ContainerArguments,

    /// Run only if nobody else runs with this key
    #[arg(long, value_name = "KEY", help_heading = "At most once")]
    pub(crate) once: Option<String>,
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// How long a lock in Redis outlives its last renewal; 1s at least
    #[cfg(feature = "redis")]
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration, help_heading = "At most once")]
    pub(crate) ttl: Duration,
    /// What to do when the store can't be used: fail (exit 69), skip (exit 0), or run without the lock
    #[arg(long, value_name = "CHOICE", default_value = "fail", help_heading = "At most once")]
    pub(crate) if_unreachable: Unreachable,
    /// How long to wait for the lock
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration, help_heading = "At most once")]
    pub(crate) wait: Duration,
    /// Keep the lock taken for so long from when it was taken, even if the command ends earlier
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration, help_heading = "At most once")]
    pub(crate) hold_at_least: Duration,
    /// The exit code when somebody else holds the lock
    #[arg(long, value_name = "CODE", default_value_t = towpath::job::exit_code::HELD, help_heading = "At most once")]
    pub(crate) busy_exit: u8,

    /// End the command and all it started after so long
    #[arg(long, value_name = "DURATION", value_parser = parse_limit, help_heading = "Limits")]
    pub(crate) timeout: Option<Duration>,
    /// From TERM to KILL [default: 5s; with a lock in Redis, a quarter of --ttl if that is less]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Limits")]
    pub(crate) kill_after: Option<Duration>,

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

    #[cfg(feature = "http")]
    #[command(flatten)]
    pub(crate) live: ListenArguments,

    /// Write the lines to the store beside the lock, for towpath watch KEY on any host
    #[cfg(all(feature = "http", feature = "redis"))]
    #[arg(long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Live view")]
    pub(crate) relay: bool,
    /// Keep so much of the output there
    #[cfg(all(feature = "http", feature = "redis"))]
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = parse_bytes, help_heading = "Live view")]
    pub(crate) relay_keep: usize,

    /// Write how the run ended to a file, as JSON
    #[arg(long, value_name = "FILE", help_heading = "Telling others")]
    pub(crate) report: Option<PathBuf>,
    /// GET URL/start at the start, URL or URL/fail at the end; it never changes the outcome
    #[cfg(feature = "http")]
    #[arg(long, value_name = "URL", help_heading = "Telling others")]
    pub(crate) ping: Option<String>,
    /// Send FILE there after success, while the lock is still held: a form, or a PUT below a URL
    /// that ends in a slash; may be repeated
    #[cfg(all(feature = "form", feature = "http"))]
    #[arg(long, value_name = "FILE=URL", action = ArgAction::Append, help_heading = "Telling others")]
    pub(crate) ship: Vec<OsString>,
    /// Send the token in this file with what is shipped
    #[cfg(all(feature = "form", feature = "http"))]
    #[arg(long, value_name = "FILE", help_heading = "Telling others")]
    pub(crate) ship_token_file: Option<PathBuf>,
    /// Trust the certificates in this PEM file, instead of the built-in list
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", help_heading = "Telling others")]
    pub(crate) ca: Option<PathBuf>,

    /// Read settings from this file [default: /etc/towpath.conf]
    #[arg(long, value_name = "FILE", help_heading = "Options")]
    pub(crate) config: Option<PathBuf>,
    /// Say more on standard error
    #[arg(short, long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Options")]
    pub(crate) verbose: bool,
}

/// `--if-unreachable`.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Unreachable {
    Fail,
    Skip,
    Run,
}

/// A duration that leaves a command any time at all.
fn parse_limit(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(limit) if limit.is_zero() => {
            Err("a limit of 0 would end the command at once; leave it out for none".to_owned())
        }
        Ok(limit) => Ok(limit),
        Err(error) => Err(error.to_string()),
    }
}

/// A number of bytes: `65536`, `64KiB`, `4MiB`, `1GiB`; `k`, `M`, `G` mean the same.
#[cfg(feature = "http")]
pub(crate) fn parse_bytes(text: &str) -> Result<usize, String> {
    parse_size(text)?.try_into().map_err(|_| format!("{text:?} is more than the memory of this host"))
}

/// The same, of a file.
#[cfg(feature = "http")]
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_end_matches("iB") {
        "" | "B" => 0,
        "k" | "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => u64::BITS,
    };
    let number: Option<u64> = number.parse().ok();
    number
        .filter(|_| shift < u64::BITS)
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| format!("{text:?} is no number of bytes; write 65536, 64KiB or 4MiB"))
}
