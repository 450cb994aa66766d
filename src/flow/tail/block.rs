//! A block: neighbouring lines in one piece of memory, shared by all who read them.

use std::ops::Range;
use std::sync::Arc;

use memchr::memchr_iter;

use crate::flow::Piece;

/// What a block costs beside its lines: three allocations and what their heads take.
const OVERHEAD_BYTES: usize = 160;

/// A place in the stream, told by what came before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) pieces: u64,
    pub(super) records: u64,
    /// Lines that had ended.
    pub(super) lines: u64,
    pub(super) bytes: u64,
    /// The piece before it didn't end its line.
    pub(super) mid_line: bool,
}

impl Place {
    /// Grows with everything that came before: what orders places.
    pub(super) fn order(&self) -> u64 {
        self.pieces + self.records
    }
}

/// Pieces in a row, and where each ends.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) at: Place,
    pub(super) bytes: Vec<u8>,
    marks: Vec<Mark>,
    /// Each piece's tag; empty while all are 0, as most streams have one source.
    tags: Vec<u8>,
    /// How many pieces have a tag, were it 0.
    tagged: usize,
    /// How many of its pieces end a line.
    ends: u64,
}

/// Where a piece ends in its block, and whether a line starts and ends with it:
/// in one word, as every line has one. Blocks are far below 2^30 bytes.
#[derive(Clone, Copy, Debug)]
struct Mark(u32);

impl Mark {
    fn new(end_at: usize, start: bool, end: bool) -> Mark {
        Mark((end_at as u32) << 2 | u32::from(start) << 1 | u32::from(end))
    }

    fn end_at(self) -> usize {
        (self.0 >> 2) as usize
    }

    fn starts_line(self) -> bool {
        self.0 & 2 != 0
    }

    fn ends_line(self) -> bool {
        self.0 & 1 != 0
    }
}

impl Block {
    pub(super) fn starting_at(at: Place) -> Block {
        Block { at, ..Block::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    pub(super) fn pieces(&self) -> usize {
        self.marks.len()
    }

    /// The place behind its last piece.
    pub(super) fn after(&self) -> Place {
        self.place(self.marks.len(), self.ends)
    }

    /// The place behind `pieces` of its pieces, which end `lines` lines.
    fn place(&self, pieces: usize, lines: u64) -> Place {
        let mid_line = match pieces {
            0 => self.at.mid_line,
            some => !self.marks[some - 1].ends_line(),
        };
        Place {
            pieces: self.at.pieces + pieces as u64,
            records: self.at.records,
            lines: self.at.lines + lines,
            bytes: self.at.bytes + self.start_of(pieces) as u64,
            mid_line,
        }
    }

    /// The place behind the first `pieces` of its pieces. Counts through them.
    pub(super) fn place_behind(&self, pieces: usize) -> Place {
        let ends = if pieces == self.marks.len() { self.ends } else { self.ends_in(0..pieces) };
        self.place(pieces, ends)
    }

    fn ends_in(&self, range: Range<usize>) -> u64 {
        self.marks[range].iter().filter(|mark| mark.ends_line()).count() as u64
    }

    /// Adds a piece, or several whole lines.
    pub(super) fn push(&mut self, tag: u8, piece: Piece<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(piece.bytes);
        if piece.start && piece.end {
            for at in memchr_iter(b'\n', piece.bytes) {
                self.mark(start + at + 1, true, true);
            }
            if piece.bytes.last() != Some(&b'\n') {
                self.mark(self.bytes.len(), true, true);
            }
        } else {
            self.mark(self.bytes.len(), piece.start, piece.end);
        }
        self.tag_untagged(tag);
    }

    /// Gives its tag to every piece that has none yet.
    fn tag_untagged(&mut self, tag: u8) {
        if tag != 0 || !self.tags.is_empty() {
            let before = if self.tags.is_empty() { self.tagged } else { self.tags.len() };
            self.tags.resize(before, 0);
            self.tags.resize(self.marks.len(), tag);
        }
        self.tagged = self.marks.len();
    }

    fn mark(&mut self, end_at: usize, start: bool, end: bool) {
        self.marks.push(Mark::new(end_at, start, end));
        self.ends += u64::from(end);
    }

    /// Adds the lines of the block that follows it.
    pub(super) fn append(&mut self, next: &Block) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&next.bytes);
        let moved = |mark: &Mark| Mark::new(start + mark.end_at(), mark.starts_line(), mark.ends_line());
        self.marks.extend(next.marks.iter().map(moved));
        if next.tags.is_empty() {
            self.tag_untagged(0);
        } else {
            self.tags.resize(self.tagged, 0);
            self.tags.extend_from_slice(&next.tags);
            self.tagged = self.marks.len();
        }
        self.ends += next.ends;
    }

    /// Gives back what it took ahead, if that is worth the copy.
    pub(super) fn settle(&mut self) {
        if self.bytes.capacity() > self.bytes.len() + self.bytes.len() / 8 {
            self.bytes.shrink_to_fit();
        }
        if self.marks.capacity() > 2 * self.marks.len() {
            self.marks.shrink_to_fit();
        }
    }

    /// An empty block that uses this one's memory.
    pub(super) fn reused_at(mut self, at: Place) -> Block {
        self.bytes.clear();
        self.marks.clear();
        self.tags.clear();
        Block { at, bytes: self.bytes, marks: self.marks, tags: self.tags, tagged: 0, ends: 0 }
    }

    /// An empty block with room for as much as this one has.
    pub(super) fn alike_at(&self, at: Place) -> Block {
        let (bytes, marks) = (Vec::with_capacity(self.bytes.len()), Vec::with_capacity(self.marks.len()));
        Block { at, bytes, marks, ..Block::default() }
    }

    /// What it takes of memory, in bytes.
    pub(super) fn cost_bytes(&self) -> usize {
        self.bytes.capacity() + self.marks.capacity() * size_of::<Mark>() + self.tags.capacity() + OVERHEAD_BYTES
    }

    /// How many pieces from `from` on fit into the limits.
    pub(super) fn fitting(&self, from: usize, max_lines: usize, max_bytes: usize) -> usize {
        if self.marks.len() <= max_lines && self.bytes.len() <= max_bytes {
            return self.marks.len() - from;
        }
        let last = self.marks.len().min(from.saturating_add(max_lines));
        let limit = self.start_of(from).saturating_add(max_bytes);
        self.marks[from..last].partition_point(|mark| mark.end_at() <= limit)
    }

    /// The piece at which the last `lines` lines that start in this block start;
    /// an error is how many there are if there are less.
    pub(super) fn last_starting(&self, lines: u64) -> Result<usize, u64> {
        let mut left = lines;
        for (index, mark) in self.marks.iter().enumerate().rev() {
            left -= u64::from(mark.starts_line());
            if left == 0 {
                return Ok(index);
            }
        }
        Err(lines - left)
    }

    fn start_of(&self, piece: usize) -> usize {
        if piece == 0 { 0 } else { self.marks[piece - 1].end_at() }
    }
}

/// Neighbouring lines, in one piece of memory that is shared, not copied.
#[derive(Clone, Debug)]
pub struct Lines {
    block: Arc<Block>,
    range: Range<usize>,
}

/// A line, or a piece of one of more than 64 KiB, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Grows by one from piece to piece; the stream's first has 1.
    pub seq: u64,
    /// The tag that it was pushed with: which source it came from.
    pub tag: u8,
    /// Its bytes, and whether a line starts and ends with them.
    pub piece: Piece<'a>,
}

impl Lines {
    pub(super) fn new(block: Arc<Block>, range: Range<usize>) -> Lines {
        Lines { block, range }
    }

    /// All their bytes, as they came in: what one write sends where no line is
    /// chosen or decorated. Only the last line may lack its end.
    pub fn bytes(&self) -> &[u8] {
        &self.block.bytes[self.block.start_of(self.range.start)..self.block.start_of(self.range.end)]
    }

    /// How many pieces: one a line, for lines of up to 64 KiB.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// The number of the last one: what a reader resumes from.
    pub fn last_seq(&self) -> u64 {
        self.block.at.pieces + self.range.end as u64
    }

    /// Line by line.
    pub fn iter(&self) -> impl Iterator<Item = Line<'_>> {
        self.range.clone().map(|index| {
            let mark = self.block.marks[index];
            let bytes = &self.block.bytes[self.block.start_of(index)..mark.end_at()];
            let piece = Piece { bytes, start: mark.starts_line(), end: mark.ends_line() };
            let tag = self.block.tags.get(index).copied().unwrap_or(0);
            Line { seq: self.block.at.pieces + index as u64 + 1, tag, piece }
        })
    }
}
