//! `towpath expiry`: deadlines, and keys that expire, handled by one leader.

mod deadlines;
mod watch;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use towpath::expiry::{Error, Group};
use towpath::job::{exit_code, with_causes};

use crate::store::StoreArguments;
use crate::voice;

pub(crate) const EXAMPLES: &str = "\
Examples:
  On each of three hosts; one handles, and another takes over when it ends:
    towpath expiry watch --store redis-cluster://r1,r2,r3 --match 'session:*' --exec 'log-out \"$TOWPATH_KEY\"'

  Have it in half an hour, with what its handler needs; think better of it:
    echo '{\"order\": 17}' | towpath expiry set order-17 --in 30m --payload - --store redis://r1
    towpath expiry cancel order-17 --store redis://r1

  What is to come, and what has failed for good:
    towpath expiry pending --store redis-cluster://r1,r2,r3
    towpath expiry pending --failed --json --store redis-cluster://r1,r2,r3

Exit codes: 0 done; of watch: 128+n ended by signal n, 70 a thread of towpath's died; 69 the store can't be used; 75 cancel: its handler runs already;
76 cancel: there is none; 74 the payload or our output failed; 2 wrong usage, or a
store that is a directory or a quorum.";

/// What is done, and with which deadlines.
#[derive(Args)]
pub(crate) struct ExpiryArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Handle what falls due, and keys that expire, while this host leads; else stand by
    Watch(watch::WatchArguments),
    /// Set a deadline, in place of the one that the key has
    Set(deadlines::SetArguments),
    /// Take a deadline back
    Cancel(deadlines::CancelArguments),
    /// List what is to come, or what has failed for good
    Pending(deadlines::PendingArguments),
}

/// What all of them have.
#[derive(Args)]
pub(crate) struct CommonArguments {
    /// Whose deadlines: one leader of the group handles them
    #[arg(long, value_name = "NAME", default_value = "default", help_heading = "Options")]
    group: Group,
    #[command(flatten)]
    store: StoreArguments,
    /// Read settings from this file [default: /etc/towpath.conf]
    #[arg(long, value_name = "FILE", help_heading = "Options")]
    config: Option<PathBuf>,
}

pub(crate) fn expiry(arguments: &ExpiryArguments) -> ExitCode {
    // Who led when belongs in a watcher's log.
    voice::begin(matches!(arguments.action, Action::Watch(_)));
    let done = match &arguments.action {
        Action::Watch(arguments) => watch::watch(arguments),
        Action::Set(arguments) => deadlines::set(arguments),
        Action::Cancel(arguments) => deadlines::cancel(arguments),
        Action::Pending(arguments) => deadlines::pending(arguments),
    };
    done.unwrap_or_else(Failure::told)
}

/// Why a command did not do what it was asked.
enum Failure {
    /// The flags make no sense: one line.
    Usage(String),
    /// A file of this host's: one line.
    File(String),
    /// Our own trouble: one line.
    Internal(String),
    /// The store.
    Store(Error),
}

/// A key on one line, whatever its bytes.
fn shown(key: &[u8]) -> String {
    format!("{:?}", OsString::from_vec(key.to_vec()))
}

impl Failure {
    fn told(self) -> ExitCode {
        let (line, code) = match self {
            Failure::Usage(line) => (line, exit_code::USAGE),
            Failure::File(line) => (line, exit_code::FILE),
            Failure::Internal(line) => (line, exit_code::INTERNAL),
            Failure::Store(error) if error.is_unfit() => {
                (format!("--store: {}", with_causes(&error)), exit_code::USAGE)
            }
            Failure::Store(error) => (with_causes(&error), exit_code::UNREACHABLE),
        };
        voice::error(&line);
        ExitCode::from(code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Store(error)
    }
}
