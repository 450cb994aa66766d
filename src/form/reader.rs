//! Part after part of a body.

use std::fmt;
use std::io::Read;

use super::boundary::Boundary;
use super::disposition::FileName;
use super::error::{Error, ErrorKind, Limit, Rule};
use super::head::{Head, Heading};
use super::limits::Limits;
use super::part::Part;
use super::stream::{Delimiter, Stream};

/// The buffer's size unless the caller chooses: 64 KiB.
const BUFFER_BYTES: usize = 64 * 1024;

/// Reads a `multipart/form-data` body, and lends its parts one after the other.
///
/// The body is read as far as the final delimiter, and up to the buffer's size
/// beyond it: what comes after it means nothing.
pub struct Reader<R> {
    stream: Stream<R>,
    limits: Limits,
    heading: Option<Heading>,
    /// The parts begun so far.
    parts: u64,
    /// How much may still come of what is being read, and what it is when more does.
    left_bytes: u64,
    beyond: Beyond,
    /// What every call gives from now on.
    failed: Option<ErrorKind>,
    line: Vec<u8>,
}

/// What is wrong with content that is longer than it may be.
type Beyond = fn(&Limits) -> ErrorKind;

impl<R: Read> Reader<R> {
    /// A reader with a buffer of 64 KiB. Reads nothing yet.
    pub fn new(body: R, boundary: Boundary, limits: Limits) -> Reader<R> {
        Reader::with_buffer(body, boundary, limits, BUFFER_BYTES)
    }

    /// A reader with a buffer of `buffer_bytes`, at least 512: the most that one
    /// read asks of the body, and the most that a part lends at once.
    #[allow(clippy::needless_pass_by_value)] // a boundary belongs to one body
    pub fn with_buffer(body: R, boundary: Boundary, limits: Limits, buffer_bytes: usize) -> Reader<R> {
        Reader {
            stream: Stream::new(body, &boundary, buffer_bytes),
            limits,
            heading: None,
            parts: 0,
            left_bytes: limits.preamble_bytes.saturating_add(2), // the CRLF that the stream puts before it
            beyond: preamble,
            failed: None,
            line: Vec::new(),
        }
    }

    /// The next part, or `None` behind the final delimiter. What was left of
    /// the part before is read and dropped; so are file fields in which no file
    /// was chosen. Blocks as the body does.
    ///
    /// # Errors
    /// Whatever keeps the body from being a form: see [`ErrorKind`]. It may be
    /// the part before that was cut. All calls after it fail in the same way;
    /// the body is at no particular place then, and its connection can't be
    /// used again.
    pub fn next_part(&mut self) -> Result<Option<Part<'_, R>>, Error> {
        if let Err(kind) = self.advance() {
            return Err(self.fail(kind));
        }
        Ok(if self.heading.is_some() { Some(Part::new(self)) } else { None })
    }

    /// Of the part that is being read.
    pub(super) fn heading(&self) -> &Heading {
        self.heading.as_ref().expect("a part is lent only where there is one")
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Content that is there, lent; empty at the part's proven end.
    pub(super) fn lend(&mut self) -> Result<&[u8], Error> {
        match self.available() {
            Ok(len) => Ok(self.stream.lent(len)),
            Err(kind) => Err(self.fail(kind)),
        }
    }

    /// Takes `len` bytes of what was lent.
    pub(super) fn consume(&mut self, len: usize) {
        let len = self.stream.lent(len).len();
        self.left_bytes -= len as u64;
        self.stream.consume(len);
    }

    /// From now on there are errors only.
    pub(super) fn fail(&mut self, kind: ErrorKind) -> Error {
        self.failed = Some(kind.again());
        Error::new(self.parts, kind)
    }

    fn available(&mut self) -> Result<usize, ErrorKind> {
        if let Some(kind) = &self.failed {
            return Err(kind.again());
        }
        let len = self.stream.available()?;
        if len as u64 > self.left_bytes { Err((self.beyond)(&self.limits)) } else { Ok(len) }
    }

    fn advance(&mut self) -> Result<(), ErrorKind> {
        loop {
            loop {
                match self.available()? {
                    0 => break,
                    len => self.consume(len),
                }
            }
            self.heading = None;
            if self.stream.delimiter() == Some(Delimiter::Final) {
                return Ok(());
            }
            self.parts += 1;
            if self.parts > self.limits.parts {
                return Err(Limit::Parts(self.limits.parts).into());
            }
            let heading = self.read_heading()?;
            self.stream.begin_content();
            let chosen = heading.file != FileName::NotChosen;
            self.expect(&heading);
            if chosen {
                self.heading = Some(heading);
                return Ok(());
            }
        }
    }

    fn expect(&mut self, heading: &Heading) {
        self.beyond = if heading.file == FileName::NotChosen { unnamed } else { too_long };
        self.left_bytes = match heading.file {
            FileName::Chosen(_) => u64::MAX, // no body has as much
            FileName::NotChosen => 0,
            FileName::None => self.limits.text_bytes,
        };
    }

    fn read_heading(&mut self) -> Result<Heading, ErrorKind> {
        let mut head = Head::default();
        let mut left_bytes = self.limits.header_bytes;
        for _ in 0..=self.limits.headers {
            // The empty line that ends them isn't counted.
            if !self.stream.line(&mut self.line, left_bytes.max(2))? {
                return Err(Limit::HeaderBytes(self.limits.header_bytes).into());
            }
            if self.line.is_empty() {
                return Ok(head.finish()?);
            }
            head.line(&self.line)?;
            left_bytes -= self.line.len() + 2;
        }
        Err(Limit::Headers(self.limits.headers).into())
    }
}

fn preamble(limits: &Limits) -> ErrorKind {
    Limit::PreambleBytes(limits.preamble_bytes).into()
}

fn too_long(limits: &Limits) -> ErrorKind {
    Limit::TextBytes(limits.text_bytes).into()
}

fn unnamed(_: &Limits) -> ErrorKind {
    Rule::Unnamed.into()
}

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("parts", &self.parts).field("failed", &self.failed).finish_non_exhaustive()
    }
}
