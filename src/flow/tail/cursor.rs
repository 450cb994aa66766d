//! A reader's place in a shared tail.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, Select};

use super::block::Place;
use super::wake::Sleeper;
use super::{Batch, Shared, Start};
use crate::flow::{Missed, Why};

/// A reader: takes what is there, then waits for its wake token.
///
/// ```
/// use std::time::Duration;
/// # use towpath::{flow::tail::{Start, tail}, thread::Stop};
/// # let (feed, tail) = tail::<()>(4096);
/// # let (_stopper, stop) = Stop::new();
/// # feed.finish(());
/// let mut cursor = tail.reader(Start::Beginning);
/// loop {
///     let batch = cursor.next_batch(1_000, 16 * 1024);
///     if batch.is_empty() {
///         // Whoever stops it calls `tail.ring()` after.
///         if stop.is_set() {
///             break;
///         }
///         if !cursor.wait(Duration::from_secs(15)) {
///             // ... write a heartbeat ...
///         }
///         continue;
///     }
///     // ... write the batch ...
///     if batch.end.is_some() {
///         break;
///     }
/// }
/// ```
pub struct Cursor<R: Clone> {
    shared: Arc<Shared<R>>,
    place: Place,
    /// What it lacked when it came, until it is told.
    untold: Option<Missed>,
    has_read: bool,
    sleeper: Arc<Sleeper>,
    wake: Receiver<()>,
}

impl<R: Clone> Cursor<R> {
    pub(super) fn new(shared: Arc<Shared<R>>, start: Start) -> Cursor<R> {
        let (place, untold) = shared.lock().shelf.start(start);
        shared.readers.fetch_add(1, Ordering::Relaxed);
        let (sleeper, wake) = Sleeper::new();
        Cursor { shared, place, untold, has_read: false, sleeper, wake }
    }

    /// What is there by now, at most `max_lines` pieces and `max_bytes`, but a
    /// whole piece at least. Never waits; an empty batch means that it is time to
    /// wait for [`wake`](Cursor::wake). After the end, each batch has the end.
    ///
    /// The lines are shared, not copied: a batch that is held keeps its blocks in
    /// memory, also when the tail has dropped them. Write it out, and let it go.
    pub fn next_batch(&mut self, max_lines: usize, max_bytes: usize) -> Batch<R> {
        self.batch(max_lines, max_bytes, true)
    }

    /// As [`next_batch`](Cursor::next_batch), but an empty one asks for no wake
    /// token: for those who are told by [`Tail::on_news`](super::Tail::on_news).
    pub fn try_batch(&mut self, max_lines: usize, max_bytes: usize) -> Batch<R> {
        self.batch(max_lines, max_bytes, false)
    }

    fn batch(&mut self, max_lines: usize, max_bytes: usize, sleeps: bool) -> Batch<R> {
        let mut state = self.shared.lock();
        let mid_line = self.place.mid_line;
        let why = if self.has_read { Why::SlowReader } else { Why::NotKept };
        let skipped = state.shelf.skip(&mut self.place, why);
        let mut batch = state.shelf.read(&mut self.place, max_lines, max_bytes);
        batch.missed = match (self.untold.take(), skipped) {
            (Some(untold), Some(skipped)) => Some(join(untold, skipped, mid_line)),
            (untold, skipped) => untold.or(skipped),
        };
        self.has_read = true;
        if sleeps && batch.is_empty() {
            state.sleepers.add(&self.sleeper);
        }
        batch
    }

    /// Has a message when there is something new since a batch was empty. It may
    /// have one too many; it never has one too few.
    pub fn wake(&self) -> &Receiver<()> {
        &self.wake
    }

    /// Waits for [`wake`](Cursor::wake), for at most `limit`; [`Tail::ring`](super::Tail::ring) unblocks
    /// it too. Whether there was a message.
    ///
    /// Of the ways to wait this is the cheapest: `recv` spins before it sleeps, and
    /// a `select!` with a channel that a thousand readers share makes them queue for it.
    pub fn wait(&self, limit: Duration) -> bool {
        let mut select = Select::new();
        let index = select.recv(&self.wake);
        match select.select_timeout(limit) {
            Ok(operation) => operation.index() == index && operation.recv(&self.wake).is_ok(),
            Err(_) => false,
        }
    }

    /// The number of the last piece that it got or skipped: [`Start::Since`] goes on from there.
    pub fn last_seq(&self) -> u64 {
        self.place.pieces
    }
}

/// Two gaps next to each other; a line that lies in both counts once.
fn join(first: Missed, then: Missed, shared_line: bool) -> Missed {
    let sum = |a: Option<u64>, b: Option<u64>| Some(a? + b?);
    let lines = sum(first.lines, then.lines).map(|lines| lines - u64::from(shared_line));
    Missed { lines, bytes: sum(first.bytes, then.bytes), why: then.why }
}

impl<R: Clone> Drop for Cursor<R> {
    fn drop(&mut self) {
        self.shared.readers.fetch_sub(1, Ordering::Relaxed);
        self.shared.lock().sleepers.remove(&self.sleeper);
    }
}

impl<R: Clone> fmt::Debug for Cursor<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("last_seq", &self.last_seq()).finish_non_exhaustive()
    }
}
