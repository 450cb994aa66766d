//! Reading what there is a good deal at a time.
//!
//! A daemon sends each line of a log by itself. To wake for each costs more than the line,
//! on both sides: after some small reads the next one waits a moment, so that lines come
//! together. It is for what is of the past, which nobody waits for.

use std::io::{self, Read};
use std::time::Duration;

/// A read that brings less is small.
const SMALL_BYTE: usize = 16 * 1024;
/// So many of them, and reading is slowed down.
const SMALL_READS: u32 = 32;
/// By so much before a read that comes after a small one: about as long as a daemon takes
/// to fill its socket.
const PAUSE: Duration = Duration::from_micros(500);

/// Reads slowly what comes in small pieces; or, followed, at once.
#[derive(Debug)]
pub(super) struct Gather<R> {
    source: R,
    is_patient: bool,
    small_reads: u32,
    was_small: bool,
}

impl<R> Gather<R> {
    pub(super) fn new(source: R, is_patient: bool) -> Gather<R> {
        Gather { source, is_patient, small_reads: 0, was_small: false }
    }

    pub(super) fn source(&self) -> &R {
        &self.source
    }
}

impl<R: Read> Read for Gather<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_patient && self.was_small && self.small_reads >= SMALL_READS {
            std::thread::sleep(PAUSE);
        }
        let count = self.source.read(buffer)?;
        self.was_small = count < SMALL_BYTE;
        self.small_reads = self.small_reads.saturating_add(u32::from(self.was_small));
        Ok(count)
    }
}
