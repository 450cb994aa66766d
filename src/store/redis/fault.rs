//! What a server's error means, in words.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::super::Error;
use super::super::url::Address;

/// A server that failed, or said no.
pub(super) fn failed(address: &Address, error: RedisError) -> Error {
    let told = match refusal(&error) {
        Some(refusal) => refused(address, refusal),
        None => troubled(address, mishap(&error)),
    };
    told.because(Cause(error))
}

/// A server that can't be used, and won't be by itself.
pub(super) fn refused(address: &Address, what: &str) -> Error {
    troubled(address, what).lasting()
}

/// A server that can't be used at the moment.
pub(super) fn troubled(address: &Address, what: &str) -> Error {
    Error::unreachable(format!("the Redis at {address} {what}"))
}

/// NOPERM inside a script, in the words of Redis 7.0 and of later ones.
const IN_A_SCRIPT: [&str; 2] = ["The user executing the script can't", "ACL failure in script"];

/// What somebody has to change first.
fn refusal(error: &RedisError) -> Option<&'static str> {
    const PERMISSION: &str =
        "doesn't permit our user what it takes; the ACL for locks is in docs/lock.md, for deadlines in docs/expiry.md";
    const LOGIN: &str = "refuses our user or password; see --store-password-file";
    match error.kind() {
        ErrorKind::AuthenticationFailed => Some(LOGIN),
        _ if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => Some(LOGIN),
        ErrorKind::Server(ServerErrorKind::NoPerm) => Some(PERMISSION),
        _ if error.detail().is_some_and(|detail| IN_A_SCRIPT.iter().any(|words| detail.contains(words))) => {
            Some(PERMISSION)
        }
        ErrorKind::Io if error.to_string().contains("invalid peer certificate") => {
            Some("has a certificate that isn't trusted; see --store-ca")
        }
        ErrorKind::InvalidClientConfig => Some("can't be connected to as it was asked for"),
        _ => None,
    }
}

/// What may pass.
fn mishap(error: &RedisError) -> &'static str {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            "is a replica; name the master, or find it by redis-sentinel:// or redis-cluster://"
        }
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot) => {
            "is a node of a Redis Cluster; write redis-cluster://"
        }
        ErrorKind::Server(ServerErrorKind::BusyLoading) => "is loading its data; wait until it has",
        ErrorKind::Server(ServerErrorKind::ClusterDown | ServerErrorKind::MasterDown) => {
            "has no working master for this key; see `redis-cli cluster info`"
        }
        // OOM: `maxmemory` is reached, and nothing may be evicted.
        _ if error.code() == Some("OOM") => "is full (maxmemory); make room, nothing was written",
        _ if error.is_timeout() => "didn't answer in time; look whether it hangs",
        _ if error.is_io_error() => "can't be reached; look whether it is up",
        _ => "failed",
    }
}

/// An error of the redis crate, whose own text has its causes already.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cause(RedisError);

/// What to do after an error.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The keys are at this address now.
    Follow(Address),
    /// The keys are on their way to this address: ask there, this time.
    AskAt(Address),
    /// Find the server anew, after a moment: the servers are sorting themselves out.
    LookAgain,
    /// The connection is broken, and with it perhaps the server.
    Reconnect,
    /// Nothing helps.
    GiveUp,
}

/// What an error of the server, or of the connection to it, asks for.
pub(super) fn next(error: &RedisError) -> Next {
    let target = || error.redirect_node().and_then(|(node, _)| address_of(node));
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::Moved) => target().map_or(Next::LookAgain, Next::Follow),
        ErrorKind::Server(ServerErrorKind::Ask) => target().map_or(Next::LookAgain, Next::AskAt),
        ErrorKind::Server(
            ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::ReadOnly,
        ) => Next::LookAgain,
        ErrorKind::Io | ErrorKind::Parse => Next::Reconnect,
        _ if error.is_io_error() || error.is_connection_dropped() => Next::Reconnect,
        _ => Next::GiveUp,
    }
}

/// `HOST:PORT` as a redirection has it; the host may be an IPv6 address without brackets.
fn address_of(node: &str) -> Option<Address> {
    let (host, port) = node.rsplit_once(':')?;
    (!host.is_empty()).then_some(())?;
    Some(Address::Tcp { host: host.to_owned(), port: port.parse().ok()? })
}
