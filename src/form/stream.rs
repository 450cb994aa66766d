//! A body cut at its delimiters, through one buffer of a fixed size.
//!
//! Whatever the reads of the body return, the same content comes out: bytes
//! that may be the beginning of a delimiter wait until that is known.

use std::io::{self, Read};

use memchr::memmem::Finder;
use memchr::{memchr, memrchr};

use super::boundary::{Boundary, MAX_CHARACTERS};
use super::error::{ErrorKind, Rule};

/// How many blanks may follow a delimiter on its line.
const MAX_PADDING_BYTES: usize = 256;
/// The smallest buffer: it holds the longest delimiter and its blanks.
const MIN_BUFFER_BYTES: usize = 512;
const _: () = assert!("\r\n--".len() + MAX_CHARACTERS + MAX_PADDING_BYTES + "\r\n".len() < MIN_BUFFER_BYTES);

/// What a delimiter says of what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delimiter {
    /// A part.
    Next,
    /// Nothing that counts.
    Final,
}

/// The body.
pub(super) struct Stream<R> {
    body: R,
    buffer: Box<[u8]>,
    /// What was read and not yet taken: `buffer[start..end]`.
    start: usize,
    end: usize,
    /// How much of it is content for certain.
    content: usize,
    /// CRLF, two hyphens and the boundary.
    needle: Finder<'static>,
    delimiter: Option<Delimiter>,
}

impl<R: Read> Stream<R> {
    pub(super) fn new(body: R, boundary: &Boundary, buffer_bytes: usize) -> Stream<R> {
        let needle = Finder::new(&format!("\r\n--{}", boundary.as_str())).into_owned();
        let mut buffer = vec![0; buffer_bytes.max(MIN_BUFFER_BYTES)].into_boxed_slice();
        // The first delimiter may do without the CRLF of the others.
        buffer[..2].copy_from_slice(b"\r\n");
        Stream { body, buffer, start: 0, end: 2, content: 0, needle, delimiter: None }
    }

    /// How many bytes of content can be taken now; reads if there are none.
    /// 0 at a delimiter, and only there.
    pub(super) fn available(&mut self) -> Result<usize, ErrorKind> {
        while self.content == 0 && self.delimiter.is_none() {
            let window = &self.buffer[self.start..self.end];
            match self.needle.find(window) {
                Some(0) => self.look_behind_needle()?,
                Some(at) => self.content = at,
                None => {
                    self.content = window.len() - undecided(window, self.needle.needle());
                    if self.content == 0 {
                        self.fill()?;
                    }
                }
            }
        }
        Ok(self.content)
    }

    /// The first `len` of the bytes that are available.
    pub(super) fn lent(&self, len: usize) -> &[u8] {
        &self.buffer[self.start..self.start + len.min(self.content)]
    }

    /// Takes `len` of the bytes that are available.
    pub(super) fn consume(&mut self, len: usize) {
        let len = len.min(self.content);
        self.start += len;
        self.content -= len;
    }

    /// The delimiter at which the content ended.
    pub(super) fn delimiter(&self) -> Option<Delimiter> {
        self.delimiter
    }

    /// Content comes next, up to another delimiter.
    pub(super) fn begin_content(&mut self) {
        self.delimiter = None;
    }

    /// Reads a header line into `line`, without its end. False if it is longer
    /// than `max_bytes`, its end included; `line` never holds more.
    pub(super) fn line(&mut self, line: &mut Vec<u8>, max_bytes: usize) -> Result<bool, ErrorKind> {
        line.clear();
        loop {
            let window = &self.buffer[self.start..self.end];
            let end = memchr(b'\n', window);
            let len = end.map_or(window.len(), |at| at + 1);
            if line.len() + len > max_bytes {
                return Ok(false);
            }
            line.extend_from_slice(&window[..len]);
            self.start += len;
            if end.is_some() {
                line.pop();
                return if line.pop() == Some(b'\r') { Ok(true) } else { Err(Rule::LineFeed.into()) };
            }
            self.fill()?;
        }
    }

    /// The needle is the first that was not taken: a delimiter, or content that
    /// looks like one.
    fn look_behind_needle(&mut self) -> Result<(), ErrorKind> {
        let needle_len = self.needle.needle().len();
        match behind(&self.buffer[self.start + needle_len..self.end])? {
            Behind::Delimiter(delimiter, len) => {
                self.start += needle_len + len;
                self.delimiter = Some(delimiter);
            }
            Behind::Content => self.content = needle_len,
            Behind::Unknown => self.fill()?,
        }
        Ok(())
    }

    /// One read, behind what is there. Called only when that is less than the
    /// smallest buffer, so there is room, and little to move.
    fn fill(&mut self) -> Result<(), ErrorKind> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        loop {
            match self.body.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Err(ErrorKind::Cut),
                Ok(len) => {
                    self.end += len;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ErrorKind::Io(error)),
            }
        }
    }
}

enum Behind {
    /// With the number of bytes that still belong to it.
    Delimiter(Delimiter, usize),
    Content,
    Unknown,
}

/// What the bytes behind CRLF, hyphens and boundary make of them.
fn behind(rest: &[u8]) -> Result<Behind, Rule> {
    match rest {
        [] | [b'-'] => return Ok(Behind::Unknown),
        [b'-', b'-', ..] => return Ok(Behind::Delimiter(Delimiter::Final, 2)),
        _ => {}
    }
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    if blanks > MAX_PADDING_BYTES {
        return Err(Rule::Padding);
    }
    match &rest[blanks..] {
        [] | [b'\r'] => Ok(Behind::Unknown),
        [b'\r', b'\n', ..] => Ok(Behind::Delimiter(Delimiter::Next, blanks + 2)),
        // Some would take it for a delimiter.
        [b'\n', ..] => Err(Rule::LineFeed),
        _ => Ok(Behind::Content),
    }
}

/// How many bytes at the end of `window` may be the beginning of the needle.
/// It has one CR, at its beginning, so only the last CR counts.
fn undecided(window: &[u8], needle: &[u8]) -> usize {
    let tail = &window[window.len().saturating_sub(needle.len() - 1)..];
    match memrchr(b'\r', tail) {
        Some(at) if needle.starts_with(&tail[at..]) => tail.len() - at,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_of_a_delimiter_waits() {
        let needle = b"\r\n--ab";
        for (window, want) in [
            (&b""[..], 0),
            (b"x", 0),
            (b"x\r", 1),
            (b"x\r\n", 2),
            (b"x\r\n--a", 5),
            (b"x\r\n--b", 0),
            (b"\r\r", 1),
            (b"\r\n\r\n-", 3),
            (b"\r\n--a\r", 1),
        ] {
            assert_eq!(undecided(window, needle), want, "{window:?}");
        }
    }
}
