//! A form's body while it is sent.

use std::fmt;
use std::io::{self, Read};
use std::vec::IntoIter;

use super::content::Source;

/// The body of a [`Form`](super::Form), to be read to its end.
///
/// There is no buffer in it: a read of a source is as large as the caller's
/// buffer, and gives what the source gives, at once. Blocks as the sources do.
///
/// # Errors
/// A source's own; `UnexpectedEof` if one ended before its length,
/// `InvalidData` if it went on behind it: a file that was written to while it
/// was sent. The final delimiter doesn't come after an error, and every read
/// fails: what was sent can't be taken for a whole form.
pub struct Body {
    frame: Vec<u8>,
    /// How much of the frame has been read.
    passed: usize,
    /// The source that comes next or is being read, and its place in the frame.
    source: Option<(usize, Source)>,
    sources: IntoIter<(usize, Source)>,
    failed: Option<io::ErrorKind>,
}

impl Body {
    pub(super) fn new(frame: Vec<u8>, sources: Vec<(usize, Source)>) -> Body {
        let mut sources = sources.into_iter();
        Body { frame, passed: 0, source: sources.next(), sources, failed: None }
    }

    fn read_on(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let until = self.source.as_ref().map_or(self.frame.len(), |(place, _)| *place);
            if self.passed < until {
                let len = buf.len().min(until - self.passed);
                buf[..len].copy_from_slice(&self.frame[self.passed..self.passed + len]);
                self.passed += len;
                return Ok(len);
            }
            let Some((_, source)) = &mut self.source else { return Ok(0) };
            match source.read(buf)? {
                0 => self.source = self.sources.next(),
                len => return Ok(len),
            }
        }
    }
}

impl Read for Body {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if let Some(kind) = self.failed {
            return Err(io::Error::new(kind, "this form's body has failed before"));
        }
        let result = self.read_on(buf);
        if let Err(error) = &result {
            let passing = matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock);
            self.failed = (!passing).then(|| error.kind());
        }
        result
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("failed", &self.failed).finish_non_exhaustive()
    }
}
