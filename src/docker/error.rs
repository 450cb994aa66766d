//! Why Docker could not do what it was asked.

use std::error::Error as StdError;

use crate::client;

/// How long a daemon's own words may be.
const MESSAGE_BYTE: usize = 4096;

/// What failed, on what, and what to do, on one line; the reason below it is the
/// `source`.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    kind: ErrorKind,
    text: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The settings don't say where a daemon is: an address that is none, a file
    /// that is missing or broken. Nothing was asked.
    Settings,
    /// It isn't done for safety's sake: unencrypted to another host.
    Insecure,
    /// No daemon is reached.
    NoDaemon,
    /// It doesn't answer in time.
    TimedOut,
    /// What came isn't what a Docker daemon says.
    Garbage,
    /// The connection broke before the answer's end.
    Cut,
    /// 400: the request makes no sense to the daemon.
    Invalid,
    /// 401, 403: it doesn't let us.
    Unauthorized,
    /// 404: no such container, image, network.
    NotFound,
    /// 409: a name in use, a container that isn't running.
    Conflict,
    /// 500 and all else: it failed, and says why.
    Failed,
    /// On our side: a file, a pipe, a program that can't be used.
    Local,
}

impl Error {
    /// Its kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the daemon itself said so, rather than the way to it.
    pub fn is_daemons(&self) -> bool {
        use ErrorKind::{Conflict, Failed, Invalid, NotFound, Unauthorized};
        matches!(self.kind, Invalid | Unauthorized | NotFound | Conflict | Failed)
    }

    /// An error of our own side, [`ErrorKind::Local`].
    pub fn local(text: &str) -> Error {
        Error::new(ErrorKind::Local, text)
    }

    pub(super) fn new(kind: ErrorKind, text: impl Into<String>) -> Error {
        Error { kind, text: text.into(), source: None }
    }

    pub(super) fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.source = Some(source.into());
        self
    }

    /// Adds what to do, or what else to know.
    pub(super) fn hinting(mut self, hint: &str) -> Error {
        self.text = format!("{}; {hint}", self.text);
        self
    }

    /// The same once more, for those who ask again: its causes as text.
    pub(super) fn again(&self) -> Error {
        let mut text = self.text.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Error::new(self.kind, text)
    }

    /// What a status means, with the daemon's own words, on one line.
    pub(super) fn refused(doing: &str, status: u16, message: &str) -> Error {
        let kind = match status {
            // What isn't a name leads to another path: an empty one, or "..".
            300..=400 => ErrorKind::Invalid,
            401 | 403 => ErrorKind::Unauthorized,
            404 => ErrorKind::NotFound,
            409 => ErrorKind::Conflict,
            _ => ErrorKind::Failed,
        };
        let text = match one_line(message) {
            _ if (300..400).contains(&status) => format!("{doing}: that is no name"),
            message if message.is_empty() => format!("{doing}: status {status}"),
            message => format!("{doing}: {}", cut(&message)),
        };
        Error::new(kind, text)
    }

    /// What an answer that didn't come means.
    pub(super) fn unanswered(doing: &str, error: client::Error) -> Error {
        use std::io::ErrorKind as Io;

        let client::Error::Failed { target, .. } = &error else {
            return Error::new(ErrorKind::Garbage, doing).because(error);
        };
        let (kind, text) = match error.io_kind() {
            _ if error.is_timeout() => {
                (ErrorKind::TimedOut, format!("{doing}: {target} doesn't answer in time; is the daemon well?"))
            }
            Some(Io::NotFound | Io::ConnectionRefused) => (
                ErrorKind::NoDaemon,
                format!("{doing}: no Docker daemon at {target}; is it running? DOCKER_HOST names another"),
            ),
            Some(Io::PermissionDenied) => (
                ErrorKind::NoDaemon,
                format!("{doing}: no permission for {target}; run it as root or in the group docker"),
            ),
            Some(
                Io::UnexpectedEof | Io::ConnectionReset | Io::BrokenPipe | Io::NotConnected | Io::ConnectionAborted,
            ) => (ErrorKind::Cut, format!("{doing}: {target} closed the connection without an answer")),
            Some(_) => (ErrorKind::NoDaemon, format!("{doing}: no Docker daemon at {target}")),
            None if error.is_garbage() => {
                (ErrorKind::Garbage, format!("{doing}: {target} doesn't answer as Docker does"))
            }
            None => (ErrorKind::NoDaemon, format!("{doing}: no connection to {target}")),
        };
        Error::new(kind, text).because(error)
    }

    /// What a body that can't be read to its end means.
    pub(super) fn unread(doing: &str, error: std::io::Error) -> Error {
        use std::io::ErrorKind as Io;

        let (kind, what) = match error.kind() {
            Io::TimedOut | Io::WouldBlock => (ErrorKind::TimedOut, "the answer doesn't come in time"),
            Io::InvalidData => (ErrorKind::Garbage, "the answer isn't what Docker says"),
            _ => (ErrorKind::Cut, "the connection broke before the answer's end"),
        };
        Error::new(kind, format!("{doing}: {what}")).because(error)
    }

    /// What isn't an answer to that.
    pub(super) fn garbage(doing: &str, what: &str) -> Error {
        Error::new(ErrorKind::Garbage, format!("{doing}: the daemon's answer {what}"))
    }
}

/// As much of a message as somebody reads.
fn cut(message: &str) -> &str {
    let longest = message.len().min(MESSAGE_BYTE);
    let end = (0..=longest).rev().find(|end| message.is_char_boundary(*end));
    &message[..end.unwrap_or(0)]
}

/// A message of several lines, on one, without what would steer a terminal.
pub(super) fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for word in message.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_its_kind_and_the_daemons_words_on_one_line() {
        let error = Error::refused("can't start web", 409, "name \"web\"\n is in use\x1b[31m\n");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(error.to_string(), "can't start web: name \"web\" is in use [31m");
        assert!(error.is_daemons());
        assert_eq!(Error::refused("x", 500, " ").to_string(), "x: status 500");
        assert_eq!(Error::refused("x", 500, &"\u{e9}".repeat(9000)).to_string().len(), 3 + MESSAGE_BYTE);
        let error = Error::refused("can't stop ..", 301, "<a href=\"/\">Moved</a>");
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Invalid, "can't stop ..: that is no name"));
    }
}
