//! Lines of several sources in one stream, so that none has another inside it.
//!
//! A line too long to be held back comes in pieces. If another source comes
//! between them, the line ends there, and its rest is a line of its own.

use crate::flow::Piece;

/// Whose line is open where the lines of several sources meet.
#[derive(Debug, Default)]
pub(super) struct Interleave {
    open: Option<usize>,
}

/// What to do before a source's next bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// End this source's line first.
    pub(super) cut: Option<usize>,
    /// The bytes begin a line, also if their own beginning was ended for another's sake.
    pub(super) starts: bool,
}

impl Interleave {
    /// `source` has bytes, which end its line or leave it open.
    pub(super) fn turn(&mut self, source: usize, ends_line: bool) -> Turn {
        let turn = Turn { cut: self.open.filter(|open| *open != source), starts: self.open != Some(source) };
        self.open = (!ends_line).then_some(source);
        turn
    }

    /// A line of nobody's comes: whose line to end first.
    pub(super) fn between(&mut self) -> Option<usize> {
        self.open.take()
    }

    /// Whether a piece is the end of a long line that was ended already, for another's sake.
    pub(super) fn has_ended(&self, source: usize, piece: &Piece<'_>) -> bool {
        piece.bytes.is_empty() && self.open != Some(source)
    }
}

/// A tail's tags are bytes: from the 256th on, sources share the last.
pub(super) fn tag(source: usize) -> u8 {
    u8::try_from(source).unwrap_or(u8::MAX)
}
