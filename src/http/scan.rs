//! Finding the end of a request's head, byte by byte, and refusing at the first
//! byte that can't belong to one.
//!
//! Stricter than the parser behind it: RFC 9112 lets a recipient take a bare LF
//! for a line's end and unfold folded lines, and each such leniency is a place
//! where two readers of one connection disagree about where a request ends.

use super::Limits;
use super::refusal::Refusal;

/// Where the search stands. It never looks at a byte twice.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    at: usize,
    line_start: usize,
    /// Complete lines, the request line among them.
    lines: usize,
    /// Where the request line starts: 2 after the one empty line that may precede it.
    start: usize,
}

impl Scanner {
    /// Goes on through `buf`, which holds all that came so far.
    ///
    /// `Some`: where the head starts, and where it ends (past the empty line).
    /// `None`: it isn't complete yet. The result doesn't depend on how the
    /// bytes were split over calls.
    pub(super) fn scan(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<(usize, usize)>, Refusal> {
        while self.at < buf.len() {
            let byte = buf[self.at];
            let after_cr = self.at > self.line_start && buf[self.at - 1] == b'\r';
            self.at += 1;
            match byte {
                b'\n' if !after_cr => return Err(Refusal::bad("a line ends without CR")),
                b'\n' => {
                    if self.end_line(limits)? {
                        return Ok(Some((self.start, self.at)));
                    }
                }
                _ if after_cr => return Err(Refusal::bad("a CR without LF")),
                b'\r' | b'\t' | b' '..=b'~' | 0x80.. => self.check_byte(byte)?,
                _ => return Err(Refusal::bad("a control character in the head")),
            }
            self.check_length(limits)?;
        }
        Ok(None)
    }

    /// A line is complete: whether it is the empty one that ends the head.
    fn end_line(&mut self, limits: &Limits) -> Result<bool, Refusal> {
        let is_empty = self.at - self.line_start == 2;
        self.line_start = self.at;
        if is_empty && self.lines == 0 {
            // RFC 9112, 2.2: one empty line before a request is forgiven, as
            // old clients send one after a body.
            if self.start > 0 {
                return Err(Refusal::bad("empty lines instead of a request"));
            }
            self.start = self.at;
            return Ok(false);
        }
        if !is_empty {
            self.lines += 1;
            if self.lines > limits.headers + 1 {
                return Err(Refusal::new(431, "too many header lines"));
            }
        }
        Ok(is_empty)
    }

    fn check_byte(&self, byte: u8) -> Result<(), Refusal> {
        if self.at - 1 == self.line_start && matches!(byte, b' ' | b'\t') {
            return Err(Refusal::bad("a line starts with white space"));
        }
        if self.lines == 0 && byte >= 0x80 {
            return Err(Refusal::bad("a request line that isn't ASCII"));
        }
        Ok(())
    }

    fn check_length(&self, limits: &Limits) -> Result<(), Refusal> {
        let length = self.at - self.start;
        if self.lines == 0 && length > limits.request_line_bytes.min(limits.head_bytes) {
            return Err(Refusal::new(414, "the request line is too long"));
        }
        if length > limits.head_bytes {
            return Err(Refusal::new(431, "the head is too long"));
        }
        Ok(())
    }
}
