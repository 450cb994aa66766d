//! What came from the client and wasn't taken yet.

use std::io;
use std::time::Instant;

use super::wire::Wire;

/// So much is read at a time where heads and chunk sizes are looked for.
const PIECE_BYTES: usize = 1024;

/// Bytes in front of the next read. As small as what waits in it.
#[derive(Debug, Default)]
pub(super) struct Input {
    buf: Vec<u8>,
    at: usize,
}

impl Input {
    pub(super) fn waiting(&self) -> &[u8] {
        &self.buf[self.at..]
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.at += count;
        if self.at >= self.buf.len() {
            // Freed, not kept: a stream may go on for days behind it.
            self.buf = Vec::new();
            self.at = 0;
        }
    }

    /// Reads once, behind what waits: how much came; zero is the end.
    pub(super) fn fill(&mut self, wire: &Wire, until: Instant) -> io::Result<usize> {
        self.buf.drain(..self.at);
        self.at = 0;
        let before = self.buf.len();
        self.buf.resize(before + PIECE_BYTES, 0);
        let read = wire.read(&mut self.buf[before..], until);
        self.buf.truncate(before + read.as_ref().map_or(0, |read| *read));
        read
    }

    /// Moves waiting bytes out.
    pub(super) fn take(&mut self, buf: &mut [u8]) -> usize {
        let count = buf.len().min(self.waiting().len());
        buf[..count].copy_from_slice(&self.waiting()[..count]);
        self.consume(count);
        count
    }
}
