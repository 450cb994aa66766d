//! A source's way into the channel.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Sender, select};

use super::{Event, Halt, Item, Lines};
use crate::flow::filter::Verdict;
use crate::flow::{Filter, Missed, Piece};
use crate::thread::Never;

/// Collects what one read gave, and sends it. It waits for whoever takes the
/// items, also after a stop: what was read is theirs.
pub(in crate::flow) struct Outlet {
    source: usize,
    sender: Sender<Item>,
    halt: Arc<Halt>,
    long_lines: Arc<AtomicU64>,
    pending: Pending,
    filter: Filter,
    /// On the long line that is under way.
    verdict: Verdict,
    /// Dropped when the source knows where it starts.
    beginning: Option<Sender<Never>>,
}

impl Outlet {
    pub(in crate::flow) fn new(
        source: usize,
        sender: Sender<Item>,
        halt: Arc<Halt>,
        beginning: Sender<Never>,
    ) -> Outlet {
        Outlet {
            source,
            sender,
            halt,
            long_lines: Arc::default(),
            pending: Pending::default(),
            filter: Filter::default(),
            verdict: Verdict::default(),
            beginning: Some(beginning),
        }
    }

    /// Lets only lines through that pass, and counts long ones.
    pub(super) fn filtered(mut self, filter: Filter, long_lines: Arc<AtomicU64>) -> Outlet {
        (self.filter, self.long_lines) = (filter, long_lines);
        self
    }

    /// The source knows where it starts: nothing that is written from now on is passed over.
    pub(in crate::flow) fn begun(&mut self) {
        self.beginning = None;
    }

    /// Whether only some lines pass.
    pub(super) fn chooses(&self) -> bool {
        !self.filter.passes_all()
    }

    /// Adds lines, or a piece of one, as far as they pass. Whole lines next to
    /// each other go as one item.
    pub(in crate::flow) fn piece(&mut self, piece: Piece<'_>) {
        let Outlet { filter, verdict, pending, .. } = self;
        if filter.passes_all() {
            pending.add(piece);
        } else {
            if piece.start && !piece.end {
                self.long_lines.fetch_add(1, Ordering::Relaxed);
            }
            verdict.sift(filter, piece, |passing| pending.add(passing));
        }
    }

    pub(in crate::flow) fn missed(&mut self, missed: Missed) {
        self.pending.0.push(Event::Missed(missed));
    }

    pub(in crate::flow) fn trouble(&mut self, error: io::Error) {
        self.pending.0.push(Event::Trouble(error));
    }

    /// Sends what there is. Blocks until it is taken; the end of the one who
    /// takes, or of the [`Merge`](super::Merge), unblocks it.
    pub(in crate::flow) fn flush(&mut self) {
        for event in self.pending.0.drain(..) {
            let item = Item { source: self.source, event };
            if !send(&self.sender, &self.halt, item) {
                break;
            }
        }
    }

    pub(super) fn end(mut self, result: io::Result<()>) {
        self.begun();
        self.pending.0.push(Event::End(result));
        self.flush();
    }
}

#[derive(Default)]
struct Pending(Vec<Event>);

impl Pending {
    fn add(&mut self, piece: Piece<'_>) {
        match self.0.last_mut() {
            Some(Event::Lines(before)) if piece.start && piece.end && before.is_whole() => {
                before.bytes.extend(piece.bytes);
            }
            _ => self.0.push(Event::Lines(Lines::copied(piece))),
        }
    }
}

impl Lines {
    fn copied(Piece { bytes, start, end }: Piece<'_>) -> Lines {
        Lines { bytes: bytes.to_vec(), start, end }
    }

    /// Whether another line can come right behind.
    fn is_whole(&self) -> bool {
        self.start && self.end && self.bytes.last() == Some(&b'\n')
    }
}

/// Whether it was taken.
fn send(sender: &Sender<Item>, halt: &Halt, item: Item) -> bool {
    select! {
        send(sender, item) -> sent => sent.is_ok(),
        recv(halt.given_up()) -> _ => false,
    }
}
