//! A run's lines on their way to live readers, held by two: the thread that
//! carries them, and whoever knows in the end how the run ended. That thread
//! may be kept for ever by a reader of stdout, and live readers still get their end.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::interleave::{Interleave, tag};
use crate::flow::tail::Feed;
use crate::flow::{Missed, Piece, Why};
use crate::live::Record;

/// A feed of lines of several sources. Clones share it; what comes after its end is dropped.
#[derive(Clone)]
pub(super) struct Feeding {
    open: Arc<Mutex<Option<Open>>>,
}

/// A feed without its end yet, and whose line is open in it.
struct Open {
    feed: Feed<Record>,
    lines: Interleave,
}

impl Feeding {
    pub(super) fn new(feed: Feed<Record>) -> Feeding {
        Feeding { open: Arc::new(Mutex::new(Some(Open { feed, lines: Interleave::default() }))) }
    }

    /// Gives a source's piece to the readers. Waits for none of them.
    pub(super) fn line(&self, source: usize, mut piece: Piece<'_>) {
        if let Some(Open { feed, lines }) = &mut *self.lock() {
            if lines.has_ended(source, &piece) {
                return;
            }
            let turn = lines.turn(source, piece.end);
            if let Some(open) = turn.cut {
                feed.push_tagged(tag(open), Piece { bytes: b"\n", start: false, end: true });
            }
            piece.start |= turn.starts;
            feed.push_tagged(tag(source), piece);
        }
    }

    /// Says what is missing at this place.
    pub(super) fn missed(&self, missed: Missed) {
        if let Some(open) = &mut *self.lock() {
            open.missed(missed);
        }
    }

    /// The end. `whole`: all lines were given before.
    pub(super) fn finish(&self, record: Record, whole: bool) {
        if let Some(mut open) = self.lock().take() {
            if !whole {
                open.missed(Missed::unknown(Why::NotRead));
            }
            open.feed.finish(record);
        }
    }

    /// A panic in between leaves at worst a line open.
    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn missed(&mut self, missed: Missed) {
        if let Some(open) = self.lines.between() {
            self.feed.push_tagged(tag(open), Piece { bytes: b"\n", start: false, end: true });
        }
        self.feed.record(Record::Gap(missed));
    }
}

impl fmt::Debug for Feeding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feeding").field("has_ended", &self.lock().is_none()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tail::{Item, Start, tail};

    /// The lines of two sources, as a reader gets them.
    fn fed(pieces: &[(usize, &[u8], bool, bool)]) -> Vec<String> {
        let (feed, tail) = tail(4096);
        let feeding = Feeding::new(feed);
        for &(source, bytes, start, end) in pieces {
            feeding.line(source, Piece { bytes, start, end });
        }
        drop(feeding);
        let batch = tail.reader(Start::Beginning).next_batch(100, 4096);
        let mut lines = Vec::new();
        for item in batch.items {
            let Item::Lines(some) = item else { panic!("{item:?}") };
            lines.extend(some.iter().map(|line| String::from_utf8_lossy(line.piece.bytes).into_owned()));
        }
        lines
    }

    #[test]
    fn a_long_line_that_was_ended_for_another_has_no_second_end() {
        let long: (usize, &[u8], bool, bool) = (0, b"long", true, false);
        let end: (usize, &[u8], bool, bool) = (0, b"", false, true);
        assert_eq!(fed(&[long, (1, b"x\n", true, true), end]), ["long", "\n", "x\n"]);
        // Nor does it end the other's line.
        let other = [(1, &b"oth"[..], true, false), end, (1, b"er\n", false, true)];
        assert_eq!(fed(&[&[long][..], &other].concat()), ["long", "\n", "oth", "er\n"]);
        assert_eq!(fed(&[long, end]), ["long", ""]);
    }
}
