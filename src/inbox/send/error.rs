//! Why files didn't arrive.

use std::io;

use super::super::Sha;
use crate::client;

/// Why a shipment failed. What had arrived before it is named where that is known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// A local file can't be read, or changed while it was sent.
    #[error("can't send {what}")]
    File {
        /// Which one.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// No answer, in as many tries as were allowed; or none that another try is safe after.
    #[error("{target} can't be reached{}", tries(*count))]
    Unreachable {
        /// Where: scheme and host.
        target: String,
        /// How many tries there were.
        count: u32,
        /// The last one's error.
        source: client::Error,
    },
    /// The connection was cut, and what was sent can't be read again.
    #[error("{target} cut the connection, and {what} can't be read a second time")]
    Cut {
        /// Where: scheme and host.
        target: String,
        /// What can be read once only.
        what: String,
        /// How it was cut.
        source: client::Error,
    },
    /// The server answered, and it isn't a success; after as many tries as were
    /// allowed where it might have passed.
    #[error("{target} refused{}: {status}{}", of(what), said(text))]
    Refused {
        /// Where: scheme and host.
        target: String,
        /// Which file, if it is about one.
        what: Option<String>,
        /// The status.
        status: u16,
        /// The first line of what it said.
        text: String,
    },
    /// It has something else than was sent.
    #[error("{target} has other bytes of {what} than were sent: sha256 {theirs} there, {ours} here")]
    Mismatch {
        /// Where: scheme and host.
        target: String,
        /// Which file.
        what: String,
        /// What was sent.
        ours: Sha,
        /// What it has.
        theirs: Sha,
    },
    /// It sends us elsewhere, where this isn't sent by itself.
    #[error("{target} answered {status} and points to {to}; send there if that is meant")]
    Redirected {
        /// Where: scheme and host.
        target: String,
        /// The status.
        status: u16,
        /// To where: scheme and host, or nothing that can be read.
        to: String,
    },
    /// The answer isn't one that this protocol has.
    #[error("{target} doesn't speak as an upload server does: {what}")]
    Garbled {
        /// Where: scheme and host.
        target: String,
        /// What is wrong.
        what: String,
    },
    /// Nothing was sent: a secret would have gone over a plain connection, or
    /// the form can't be made.
    #[error(transparent)]
    Unsendable(Box<dyn std::error::Error + Send + Sync>),
    /// The system gives no thread, or one died.
    #[error("can't hash what is sent")]
    Hash(#[source] io::Error),
    /// A stop was asked for.
    #[error("stopped")]
    Stopped,
}

fn tries(count: u32) -> String {
    if count > 1 { format!(" after {count} tries") } else { String::new() }
}

fn of(what: &Option<String>) -> String {
    what.as_ref().map_or(String::new(), |what| format!(" {what}"))
}

fn said(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}
