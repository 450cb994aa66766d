//! The shelf: the newest blocks of a stream, within a budget.

use std::collections::VecDeque;
use std::sync::Arc;

use memchr::{memchr, memrchr};

use super::block::{Block, Lines, Place};
use super::{Batch, Ending, Item, Start};
use crate::flow::{Gap, MAX_LINE_BYTES, Missed, Piece, Why};

/// A block is closed at this size. Large enough for one write to be worth its
/// system call, small enough that a reader stuck in a write pins little.
const BLOCK_BYTES: usize = 16 * 1024;

/// As many small blocks in a row become one.
const SMALL_BLOCKS: usize = 32;

/// What lies between producer and readers. All of it is under one lock, and
/// each call is short: a reader takes blocks, not lines.
#[derive(Debug)]
pub(super) struct Shelf<R> {
    sealed: VecDeque<Sealed<R>>,
    /// Takes lines until a reader wants them or it is full.
    open: Block,
    budget_bytes: usize,
    block_bytes: usize,
    cost_bytes: usize,
    /// The block that was dropped last, if nobody reads it: for the next one.
    spare: Option<Block>,
    /// How many of the last sealed blocks are small and not yet put together.
    small: usize,
    /// Records were dropped since the last piece that was.
    lost_record: bool,
    pub(super) end: Option<Ending<R>>,
}

#[derive(Debug)]
struct Sealed<R> {
    block: Arc<Block>,
    /// Comes behind the block's lines.
    record: Option<R>,
    /// The place behind both: here, so that a search doesn't touch the blocks.
    after: Place,
}

impl<R> Sealed<R> {
    fn new(mut block: Block, record: Option<R>) -> Sealed<R> {
        block.settle();
        let mut after = block.after();
        after.records += u64::from(record.is_some());
        Sealed { block: Arc::new(block), record, after }
    }

    fn cost_bytes(&self) -> usize {
        self.block.cost_bytes() + size_of::<Sealed<R>>()
    }
}

impl<R: Clone> Shelf<R> {
    pub(super) fn new(budget_bytes: usize) -> Shelf<R> {
        Shelf {
            sealed: VecDeque::new(),
            open: Block::default(),
            budget_bytes,
            block_bytes: (budget_bytes / 16).clamp(1, BLOCK_BYTES),
            cost_bytes: 0,
            spare: None,
            small: 0,
            lost_record: false,
            end: None,
        }
    }

    /// The oldest place that is still here.
    pub(super) fn first(&self) -> Place {
        self.sealed.front().map_or(self.open.at, |oldest| oldest.block.at)
    }

    /// The place of what comes next.
    pub(super) fn next(&self) -> Place {
        self.open.after()
    }

    /// What is kept takes so many bytes of memory.
    pub(super) fn kept_bytes(&self) -> usize {
        self.cost_bytes + self.open.cost_bytes()
    }

    pub(super) fn push(&mut self, tag: u8, mut piece: Piece<'_>) {
        // Only the rest of a long line can be of any length.
        while !piece.start && piece.bytes.len() > MAX_LINE_BYTES {
            let (bytes, rest) = piece.bytes.split_at(MAX_LINE_BYTES);
            self.push_bounded(tag, Piece { bytes, end: false, ..piece });
            piece.bytes = rest;
        }
        // Many lines at once are no reason for a block that the budget has no room for.
        while piece.start && piece.end && piece.bytes.len() > self.block_bytes {
            let (bytes, rest) = piece.bytes.split_at(lines_within(piece.bytes, self.block_bytes));
            if rest.is_empty() {
                break;
            }
            self.push_bounded(tag, Piece { bytes, ..piece });
            piece.bytes = rest;
        }
        self.push_bounded(tag, piece);
    }

    fn push_bounded(&mut self, tag: u8, piece: Piece<'_>) {
        if !self.open.is_empty() && self.open.bytes.len() + piece.bytes.len() > self.block_bytes {
            self.seal();
        }
        self.open.push(tag, piece);
        // A line without an end is the last of its block: nothing is to look like the rest of it.
        let lacks_end = piece.end && piece.bytes.last() != Some(&b'\n');
        if lacks_end || self.open.bytes.len() >= self.block_bytes {
            self.seal();
        }
        self.trim();
    }

    pub(super) fn record(&mut self, record: R) {
        self.seal_with(Some(record));
        self.trim();
    }

    fn seal(&mut self) {
        if !self.open.is_empty() {
            self.seal_with(None);
        }
    }

    fn seal_with(&mut self, record: Option<R>) {
        let sealed = Sealed::new(std::mem::take(&mut self.open), record);
        self.open = self.block_behind(&sealed);
        self.cost_bytes += sealed.cost_bytes();
        let is_small = sealed.block.bytes.len() < self.block_bytes / 4;
        let stays_apart = sealed.record.is_some() || sealed.block.bytes.last() != Some(&b'\n');
        self.sealed.push_back(sealed);
        self.small = if is_small && !stays_apart { self.small + 1 } else { 0 };
        if self.small >= SMALL_BLOCKS {
            self.join_small();
        }
    }

    /// While the stream is fast, blocks have the same size, and use one another's memory.
    fn block_behind(&mut self, sealed: &Sealed<R>) -> Block {
        let (size, at) = (sealed.block.bytes.len(), sealed.after);
        let is_full = size > self.block_bytes / 2 && size <= self.block_bytes;
        match self.spare.take() {
            _ if !is_full => Block::starting_at(at),
            Some(spare) => spare.reused_at(at),
            None => sealed.block.alike_at(at),
        }
    }

    /// A quiet stream is sealed line by line: put together, they cost less, and late readers get them faster.
    fn join_small(&mut self) {
        let start = self.sealed.len() - self.small;
        let mut joined = Block::starting_at(self.sealed[start].block.at);
        for part in self.sealed.drain(start..) {
            self.cost_bytes -= part.cost_bytes();
            joined.append(&part.block);
        }
        let joined = Sealed::new(joined, None);
        self.cost_bytes += joined.cost_bytes();
        self.sealed.push_back(joined);
        self.small = 0;
    }

    /// Drops the oldest blocks while all of it is over the budget; the newest one stays.
    fn trim(&mut self) {
        let newest = usize::from(self.open.is_empty());
        while self.sealed.len() > newest && self.kept_bytes() > self.budget_bytes {
            if let Some(oldest) = self.sealed.pop_front() {
                self.cost_bytes -= oldest.cost_bytes();
                self.lost_record = oldest.record.is_some() || (self.lost_record && oldest.block.is_empty());
                self.spare = Arc::into_inner(oldest.block).filter(|block| block.bytes.capacity() <= self.block_bytes);
            }
        }
        self.small = self.small.min(self.sealed.len());
    }

    /// Where a new reader starts; where that can't be told any more, the oldest
    /// place that is still here, and what lies between.
    pub(super) fn start(&self, start: Start) -> (Place, Option<Missed>) {
        match start {
            Start::Now => (self.next(), None),
            Start::Beginning => (Place::default(), None),
            Start::Since(seq) => self.since(seq),
            Start::Tail(lines) => self.tail(lines),
        }
    }

    fn since(&self, seq: u64) -> (Place, Option<Missed>) {
        let first = self.first();
        if seq == 0 {
            return (Place::default(), None);
        }
        if seq > self.next().pieces {
            return (self.next(), None);
        }
        if seq == first.pieces && self.lost_record {
            // Nobody knows whether it got the record, nor what that said.
            return (first, Some(Missed { lines: None, bytes: None, why: Why::NotKept }));
        }
        if seq >= first.pieces {
            return (self.behind(seq), None);
        }
        // As long as no line came in pieces, their number is that of the lines.
        let all_whole = first.pieces == first.lines;
        let lines = all_whole.then_some(first.pieces - seq);
        (first, Some(Missed { lines, bytes: None, why: Why::NotKept }))
    }

    fn tail(&self, lines: u64) -> (Place, Option<Missed>) {
        if lines == 0 {
            return (self.next(), None);
        }
        let mut wanted = lines;
        let blocks = self.sealed.iter().map(|sealed| &*sealed.block);
        for block in blocks.chain([&self.open]).rev() {
            match block.last_starting(wanted) {
                Ok(index) => return (block.place_behind(index), None),
                Err(there) => wanted -= there,
            }
        }
        let first = self.first();
        // The lines before it: those that ended, and one that goes on here.
        let before = first.lines + u64::from(first.mid_line);
        if wanted >= before {
            return (Place::default(), None);
        }
        (first, Some(Missed { lines: Some(wanted), bytes: None, why: Why::NotKept }))
    }

    /// The place behind piece number `seq`, which is here.
    fn behind(&self, seq: u64) -> Place {
        let index = self.sealed.partition_point(|sealed| sealed.after.pieces < seq);
        let block = self.sealed.get(index).map_or(&self.open, |sealed| &*sealed.block);
        block.place_behind((seq - block.at.pieces) as usize)
    }

    /// That place if it is still here, else the oldest that is, and what lies between.
    fn enter(&self, place: Place, why: Why) -> (Place, Option<Missed>) {
        let first = self.first();
        if place.order() >= first.order() {
            return (place, None);
        }
        let lines = first.lines - place.lines + u64::from(first.mid_line);
        let gap = Gap { lines, bytes: first.bytes - place.bytes };
        (first, Some(Missed::counted(gap, why)))
    }

    /// What a reader at `place` lacks, which then stands behind it.
    pub(super) fn skip(&self, place: &mut Place, why: Why) -> Option<Missed> {
        let (entered, missed) = self.enter(*place, why);
        *place = entered;
        missed
    }

    /// What a reader at `place`, which is here, gets; it then stands behind it.
    pub(super) fn read(&mut self, place: &mut Place, max_lines: usize, max_bytes: usize) -> Batch<R> {
        let mut batch = Batch { missed: None, items: Vec::new(), end: None };
        let mut room = Room { lines: max_lines.max(1), bytes: max_bytes };
        let mut index = self.sealed.partition_point(|sealed| sealed.after.order() <= place.order());
        while room.lines > 0 {
            if index == self.sealed.len() {
                if self.open.is_empty() {
                    batch.end = self.end.clone();
                    break;
                }
                self.seal();
                // Sealing may have put small blocks together.
                index = self.sealed.len() - 1;
            }
            if !self.sealed[index].read(place, &mut room, &mut batch.items) {
                break;
            }
            index += 1;
        }
        batch
    }
}

/// How many bytes the whole lines take that fit into `limit`, or the first one alone.
fn lines_within(lines: &[u8], limit: usize) -> usize {
    let fitting = memrchr(b'\n', &lines[..limit]);
    fitting.or_else(|| memchr(b'\n', lines)).map_or(lines.len(), |last| last + 1)
}

/// What a batch has room for yet.
struct Room {
    lines: usize,
    bytes: usize,
}

impl<R: Clone> Sealed<R> {
    /// Gives what comes behind `place`, which is in it; whether that was all.
    fn read(&self, place: &mut Place, room: &mut Room, items: &mut Vec<Item<R>>) -> bool {
        let from = (place.pieces - self.block.at.pieces) as usize;
        let left = self.block.pieces() - from;
        let mut count = self.block.fitting(from, room.lines, room.bytes);
        if count == 0 && left > 0 && items.is_empty() {
            // Larger than all the room: it has to go some time.
            count = 1;
        }
        if count > 0 {
            let lines = Lines::new(Arc::clone(&self.block), from..from + count);
            room.lines -= count;
            room.bytes = room.bytes.saturating_sub(lines.bytes().len());
            items.push(Item::Lines(lines));
            *place = self.block.place_behind(from + count);
        }
        if count < left {
            return false;
        }
        if let Some(record) = &self.record {
            items.push(Item::Record(record.clone()));
        }
        *place = self.after;
        true
    }
}
