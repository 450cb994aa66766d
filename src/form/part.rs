//! One part of a body, lent for its turn.

use std::fmt;
use std::io::{self, BufRead, Read};

use super::disposition::FileName;
use super::error::{Error, Limit, Rule};
use super::reader::Reader;

/// A field or a file. Its content comes through `Read`, or without a copy
/// through `BufRead`; `Ok(0)` means that the delimiter behind it was seen.
///
/// It borrows the reader, so it can't outlive its turn. One that is dropped
/// early is read over by the next [`Reader::next_part`].
///
/// # Errors
/// Those of `Read` are those of [`Reader::next_part`], inside an [`io::Error`]
/// ([`Error::inside`]); an error of the body itself is passed on as it is.
pub struct Part<'r, R> {
    reader: &'r mut Reader<R>,
}

impl<'r, R: Read> Part<'r, R> {
    pub(super) fn new(reader: &'r mut Reader<R>) -> Part<'r, R> {
        Part { reader }
    }

    /// The field's name, which may be empty.
    pub fn name(&self) -> &str {
        &self.reader.heading().name
    }

    /// The file's name: the last component of what was sent, in UTF-8, at most
    /// 255 bytes, never empty, `.` or `..`, without control characters. `None`
    /// if this is a field.
    pub fn file_name(&self) -> Option<&str> {
        match &self.reader.heading().file {
            FileName::Chosen(name) => Some(name),
            FileName::None | FileName::NotChosen => None,
        }
    }

    /// The part's Content-Type as it was sent; nobody checked that it is true.
    pub fn content_type(&self) -> Option<&str> {
        self.reader.heading().content_type.as_deref()
    }

    /// The rest of the content as text.
    ///
    /// # Errors
    /// Those of [`Reader::next_part`]; also if it isn't UTF-8, or longer than
    /// [`Limits::text_bytes`](super::Limits::text_bytes), a file's too.
    pub fn text(self) -> Result<String, Error> {
        let limit = self.reader.limits().text_bytes;
        let mut text = Vec::new();
        loop {
            let lent = self.reader.lend()?;
            if lent.is_empty() {
                break;
            }
            if (text.len() + lent.len()) as u64 > limit {
                return Err(self.reader.fail(Limit::TextBytes(limit).into()));
            }
            text.extend_from_slice(lent);
            let len = lent.len();
            self.reader.consume(len);
        }
        String::from_utf8(text).map_err(|_| self.reader.fail(Rule::Utf8.into()))
    }
}

impl<R: Read> Read for Part<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let lent = self.reader.lend()?;
        let len = lent.len().min(buf.len());
        buf[..len].copy_from_slice(&lent[..len]);
        self.reader.consume(len);
        Ok(len)
    }
}

impl<R: Read> BufRead for Part<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.reader.lend()?)
    }

    fn consume(&mut self, len: usize) {
        self.reader.consume(len);
    }
}

impl<R: Read> fmt::Debug for Part<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("heading", self.reader.heading()).finish_non_exhaustive()
    }
}
