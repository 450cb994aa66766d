//! Why a file didn't come.

use std::io;
use std::path::PathBuf;

use super::super::Sha;
use crate::client;

/// Why a file wasn't fetched. Nothing has a final name then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// The file's place can't be written to, or something is there already.
    #[error("can't write {}", path.display())]
    File {
        /// The place.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No answer, in as many tries as were allowed.
    #[error("{target} can't be reached after {count} tries")]
    Unreachable {
        /// Where: scheme and host.
        target: String,
        /// How many tries there were.
        count: u32,
        /// The last one's error.
        source: client::Error,
    },
    /// It was cut, as often as was allowed or where it can't go on.
    #[error("{target} cut it at {bytes} bytes{}", if *kept { "; the same command goes on from there" } else { "" })]
    Cut {
        /// Where: scheme and host.
        target: String,
        /// How far it came.
        bytes: u64,
        /// Whether these bytes are kept for the next try.
        kept: bool,
        /// How it was cut.
        source: io::Error,
    },
    /// It answered, and that isn't a file.
    #[error("{target} refused: {status}{}", if text.is_empty() { String::new() } else { format!(" ({text})") })]
    Refused {
        /// Where: scheme and host.
        target: String,
        /// The status.
        status: u16,
        /// The first line of what it said.
        text: String,
    },
    /// It leads elsewhere in a way that isn't followed.
    #[error("{target} answered {status} and leads to {to}, which isn't followed")]
    Redirected {
        /// Where: scheme and host.
        target: String,
        /// The status.
        status: u16,
        /// To where: scheme and host, or nothing that can be read.
        to: String,
    },
    /// What came isn't what the server says it has.
    #[error("other bytes came than {target} has: sha256 {ours} here, {theirs} there")]
    Mismatch {
        /// Where: scheme and host.
        target: String,
        /// Of what came.
        ours: Sha,
        /// What it has.
        theirs: Sha,
    },
    /// Neither a length nor chunks: whether all of it came, nobody knows.
    #[error("{target} doesn't say where the file ends, so that a cut can't be told")]
    Unproven {
        /// Where: scheme and host.
        target: String,
    },
    /// It is larger than was allowed.
    #[error("{target} has more than the {limit} bytes that are allowed")]
    TooLarge {
        /// Where: scheme and host.
        target: String,
        /// The limit.
        limit: u64,
    },
    /// The answer contradicts itself, or the question.
    #[error("{target} doesn't answer as was asked: {what}")]
    Garbled {
        /// Where: scheme and host.
        target: String,
        /// What is wrong.
        what: String,
    },
    /// Its form can't be taken apart; none of its files was kept.
    #[error("the form from {target} can't be taken apart, and nothing of it was kept")]
    Form {
        /// Where: scheme and host.
        target: String,
        /// What is wrong.
        source: crate::form::Error,
    },
    /// It is a form of several files, and there is a place for one.
    #[error("{target} sends a form of files: name a directory for them")]
    NeedsDirectory {
        /// Where: scheme and host.
        target: String,
    },
    /// A secret would have gone over a connection that others can read.
    #[error(transparent)]
    InClear(client::Error),
    /// The system gives no thread, or one died.
    #[error("can't hash what comes")]
    Hash(#[source] io::Error),
    /// A stop was asked for.
    #[error("stopped")]
    Stopped,
}
