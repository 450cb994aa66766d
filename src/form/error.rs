//! Why a body could not be read: which limit, which rule, or that it was cut.

use std::error::Error as StdError;
use std::{fmt, io};

/// A body that isn't a form to its proven end. What was read of the part in
/// which it came must not be kept.
#[derive(Debug)]
pub struct Error {
    /// Counted from one; 0 before the first part.
    part: u64,
    kind: ErrorKind,
}

impl Error {
    pub(super) fn new(part: u64, kind: ErrorKind) -> Error {
        Error { part, kind }
    }

    /// The body's own error, which a part passed on as it was.
    #[cfg(feature = "http")]
    pub(crate) fn from_io(error: io::Error) -> Error {
        Error { part: 0, kind: ErrorKind::Io(error) }
    }

    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The part in which it went wrong, counted from one; 0 before the first.
    pub fn part(&self) -> u64 {
        self.part
    }

    /// The error that a [`Part`](super::Part) gave through `Read`; `None` for
    /// one that came from elsewhere, such as the body itself.
    pub fn inside(error: &io::Error) -> Option<&Error> {
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            0 => write!(f, "the form before its first part: {}", self.kind),
            part => write!(f, "the form's part {part}: {}", self.kind),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.kind {
            ErrorKind::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// As a `Read` gives it: the body's own error as it was, any other inside.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match error.kind {
            ErrorKind::Io(error) => return error,
            ErrorKind::Cut => io::ErrorKind::UnexpectedEof,
            ErrorKind::Limit(_) | ErrorKind::Rule(_) => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}

/// The kinds of an [`Error`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The body itself failed; its error is the `source`.
    Io(io::Error),
    /// The body ended, and its final delimiter had not come.
    Cut,
    /// It asked for more than it may have: 413, where HTTP is spoken.
    Limit(Limit),
    /// It broke a rule of the format: 400, where HTTP is spoken.
    Rule(Rule),
}

impl ErrorKind {
    /// The same once more, for those who go on asking.
    pub(super) fn again(&self) -> ErrorKind {
        match self {
            ErrorKind::Io(error) => ErrorKind::Io(io::Error::new(error.kind(), error.to_string())),
            ErrorKind::Cut => ErrorKind::Cut,
            ErrorKind::Limit(limit) => ErrorKind::Limit(*limit),
            ErrorKind::Rule(rule) => ErrorKind::Rule(*rule),
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::Io(_) => f.write_str("the body can't be read"),
            ErrorKind::Cut => f.write_str("the body ended before its final delimiter"),
            ErrorKind::Limit(limit) => limit.fmt(f),
            ErrorKind::Rule(rule) => rule.fmt(f),
        }
    }
}

impl From<Limit> for ErrorKind {
    fn from(limit: Limit) -> ErrorKind {
        ErrorKind::Limit(limit)
    }
}

impl From<Rule> for ErrorKind {
    fn from(rule: Rule) -> ErrorKind {
        ErrorKind::Rule(rule)
    }
}

/// A limit of [`Limits`](super::Limits) that was passed, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::preamble_bytes`](super::Limits::preamble_bytes).
    #[error("more than {0} bytes come before the first delimiter")]
    PreambleBytes(u64),
    /// [`Limits::parts`](super::Limits::parts).
    #[error("there are more than {0} parts")]
    Parts(u64),
    /// [`Limits::headers`](super::Limits::headers).
    #[error("there are more than {0} headers")]
    Headers(usize),
    /// [`Limits::header_bytes`](super::Limits::header_bytes).
    #[error("the headers are longer than {0} bytes")]
    HeaderBytes(usize),
    /// [`Limits::text_bytes`](super::Limits::text_bytes).
    #[error("a field that isn't a file is longer than {0} bytes")]
    TextBytes(u64),
}

/// A rule of the format that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rule {
    /// A delimiter or header line ends in LF without CR.
    #[error("a line ends in LF without CR")]
    LineFeed,
    /// More than 256 blanks follow a delimiter.
    #[error("more than 256 blanks follow a delimiter")]
    Padding,
    /// A header line isn't `Name: value`, is continued on the next line, or
    /// has a control character.
    #[error("a header line can't be read")]
    Header,
    /// Content-Disposition, Content-Type or Content-Transfer-Encoding comes
    /// twice.
    #[error("a header comes twice")]
    HeaderTwice,
    /// There is no `Content-Disposition: form-data`.
    #[error("there is no Content-Disposition: form-data")]
    Disposition,
    /// The parameters of Content-Disposition aren't `; name=value`, or a quoted
    /// value doesn't end.
    #[error("the parameters of Content-Disposition can't be read")]
    Parameter,
    /// `name` or `filename` comes twice.
    #[error("name or filename comes twice")]
    ParameterTwice,
    /// There is no `name`.
    #[error("there is no name")]
    NoName,
    /// The last component of the file name is `.`, `..` or nothing, has a
    /// control character, or is longer than 255 bytes.
    #[error("the file name can't be the name of a file")]
    FileName,
    /// Content comes with an empty file name, which means that no file was
    /// chosen.
    #[error("there is content, but its file name is empty")]
    Unnamed,
    /// Content-Transfer-Encoding is other than `binary`, `8bit` and `7bit`.
    #[error("the content is encoded, which form data can't be (RFC 7578)")]
    TransferEncoding,
    /// A header, or a field that was asked for as text, isn't UTF-8.
    #[error("it isn't UTF-8")]
    Utf8,
}
