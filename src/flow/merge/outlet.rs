//! A source's way into the channel.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, select};

use super::{Event, Halt, Item, Lines};
use crate::flow::{Missed, Piece};

/// How long the last items of a stopped source wait to be taken.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Collects what one read gave, and sends it. It waits for whoever takes the
/// items, and after a stop only a little.
pub(in crate::flow) struct Outlet {
    source: usize,
    sender: Sender<Item>,
    halt: Arc<Halt>,
    pending: Vec<Event>,
}

impl Outlet {
    pub(super) fn new(source: usize, sender: Sender<Item>, halt: Arc<Halt>) -> Outlet {
        Outlet { source, sender, halt, pending: Vec::new() }
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

    /// Sends what there is. Blocks until it is taken; a stop, or the end of the
    /// one who takes, unblocks it.
    pub(in crate::flow) fn flush(&mut self) {
        for event in self.pending.drain(..) {
            let item = Item { source: self.source, event };
            if !send(&self.sender, &self.halt, item) {
                break;
            }
        }
    }

    pub(super) fn end(mut self, result: io::Result<()>) {
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
    if halt.is_set() {
        return sender.send_timeout(item, LAST_WORDS).is_ok();
    }
    select! {
        send(sender, item) -> sent => sent.is_ok(),
        recv(halt.receiver()) -> _ => sender.send_timeout(item, LAST_WORDS).is_ok(),
    }
}
