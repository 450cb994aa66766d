//! A source's way into the channel.

use std::io;
use std::sync::Arc;

use crossbeam_channel::{Sender, select};

use super::{Event, Halt, Item, Lines};
use crate::flow::{Missed, Piece};
use crate::thread::Never;

/// Collects what one read gave, and sends it. It waits for whoever takes the
/// items, also after a stop: what was read is theirs.
pub(in crate::flow) struct Outlet {
    source: usize,
    sender: Sender<Item>,
    halt: Arc<Halt>,
    pending: Vec<Event>,
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
        Outlet { source, sender, halt, pending: Vec::new(), beginning: Some(beginning) }
    }

    /// The source knows where it starts: nothing that is written from now on is passed over.
    pub(in crate::flow) fn begun(&mut self) {
        self.beginning = None;
    }

    /// Adds lines, or a piece of one. Whole lines next to each other go as one item.
    pub(in crate::flow) fn piece(&mut self, piece: Piece<'_>) {
        match self.pending.last_mut() {
            Some(Event::Lines(before)) if piece.start && piece.end && before.is_whole() => {
                before.bytes.extend(piece.bytes);
            }
            _ => self.pending.push(Event::Lines(Lines::copied(piece))),
        }
    }

    pub(in crate::flow) fn missed(&mut self, missed: Missed) {
        self.pending.push(Event::Missed(missed));
    }

    pub(in crate::flow) fn trouble(&mut self, error: io::Error) {
        self.pending.push(Event::Trouble(error));
    }

    /// Sends what there is. Blocks until it is taken; the end of the one who
    /// takes, or of the [`Merge`](super::Merge), unblocks it.
    pub(in crate::flow) fn flush(&mut self) {
        for event in self.pending.drain(..) {
            let item = Item { source: self.source, event };
            if !send(&self.sender, &self.halt, item) {
                break;
            }
        }
    }

    pub(super) fn end(mut self, result: io::Result<()>) {
        self.begun();
        self.pending.push(Event::End(result));
        self.flush();
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
