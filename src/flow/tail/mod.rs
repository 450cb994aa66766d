//! Fan-out: one shared tail of a stream, and a cursor for each reader.
//!
//! The newest lines are kept once, in shared blocks of memory, within a budget
//! of bytes that covers late readers' replay too. Promises:
//!
//! * [`Feed::push`] waits for no reader. It takes one short lock, and wakes
//!   those who sleep: a few itself, the others by a thread of the tail's own.
//!   Who looks after many readers on one thread is told by [`Tail::on_news`].
//! * A reader gets each line once and in order, or a [`Missed`] in its place
//!   that counts what it lacks. Who falls behind by more than the budget skips;
//!   the stream and the other readers don't notice.
//! * The end is proven: a reader gets [`Ending::Finished`] with what
//!   [`Feed::finish`] was given, also if it comes later; a feed that was dropped
//!   is [`Ending::Cut`].
//! * Memory: the budget, at most one block (16 KiB, or a longer line) over it,
//!   and under 1 KiB a reader, beside the blocks of the [`Batch`] it holds.
//!
//! It ends where filters, encodings and sockets begin: those are the reader's.
//!
//! ```
//! use towpath::flow::tail::{DEFAULT_KEEP_BYTES, Ending, Item, Start, tail};
//! use towpath::flow::Splitter;
//!
//! let (feed, tail) = tail::<&str>(DEFAULT_KEEP_BYTES);
//! Splitter::new().push(b"one\ntwo\n", |piece| feed.push(piece));
//! feed.finish("done");
//!
//! let mut late = tail.reader(Start::Tail(1));
//! let batch = late.next_batch(100, 16 * 1024);
//! let [Item::Lines(lines)] = &batch.items[..] else { panic!("{batch:?}") };
//! assert_eq!((lines.bytes(), lines.last_seq()), (&b"two\n"[..], 2));
//! assert_eq!(batch.end, Some(Ending::Finished("done")));
//! ```

mod block;
mod cursor;
mod shelf;
mod wake;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

pub use block::{Line, Lines};
pub use cursor::Cursor;
use shelf::Shelf;
use wake::{Sleepers, Waker};

use super::{Missed, Piece};

/// How much of a stream is kept for late and slow readers, unless said
/// otherwise: 4 MiB.
pub const DEFAULT_KEEP_BYTES: usize = 4 * 1024 * 1024;

/// A tail that keeps up to `keep_bytes` of memory, what it needs for its own
/// books included (4 bytes a line, about 200 a block). Below 64 KiB its blocks
/// get small, and readers slow.
///
/// `R` is what goes through the stream beside lines: records, and the end.
pub fn tail<R: Clone>(keep_bytes: usize) -> (Feed<R>, Tail<R>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State { shelf: Shelf::new(keep_bytes), sleepers: Sleepers::default() }),
        waker: Waker::default(),
        listeners: RwLock::default(),
        readers: AtomicUsize::new(0),
    });
    (Feed { shared: Arc::clone(&shared) }, Tail { shared })
}

/// The producers' side. Threads share it by reference or in an `Arc`.
///
/// End it with [`finish`](Feed::finish): dropped without, it is
/// [`Ending::Cut`] for every reader.
#[must_use = "a dropped feed cuts its readers off"]
pub struct Feed<R: Clone> {
    shared: Arc<Shared<R>>,
}

impl<R: Clone> Feed<R> {
    /// Adds a line, or a block of whole lines, or a piece of a long line, as
    /// [`Splitter::push_blocks`](super::Splitter::push_blocks) and
    /// [`Splitter::push`](super::Splitter::push) give them. Never waits for a reader.
    ///
    /// The pieces of one long line come one after another; who merges sources
    /// sees to that.
    pub fn push(&self, piece: Piece<'_>) {
        self.push_tagged(0, piece);
    }

    /// As [`push`](Feed::push), with a tag that tells which source it came from.
    pub fn push_tagged(&self, tag: u8, piece: Piece<'_>) {
        self.shared.change(|shelf| shelf.push(tag, piece));
    }

    /// Adds a record between the lines: it has no number, so it changes nothing
    /// about where a reader resumes. It is cloned under the lock: keep that cheap.
    pub fn record(&self, record: R) {
        self.shared.change(|shelf| shelf.record(record));
    }

    /// The end, as it should be. Readers get `record` after the last line,
    /// those who come later too.
    pub fn finish(self, record: R) {
        self.shared.end(Ending::Finished(record));
    }
}

impl<R: Clone> Drop for Feed<R> {
    fn drop(&mut self) {
        // Counts only if `finish` didn't come before.
        self.shared.end(Ending::Cut);
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending<R> {
    /// As its producer said.
    Finished(R),
    /// Its producer was dropped without a word.
    Cut,
}

/// The readers' side. Clones share the one tail.
pub struct Tail<R: Clone> {
    shared: Arc<Shared<R>>,
}

/// Where a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the first line. If it is no longer kept, the reader is told what it lacks.
    Beginning,
    /// With the last so many lines; told if less of them are kept.
    Tail(u64),
    /// Behind the piece of this number: to resume. 0 is the beginning, and a
    /// number that wasn't given out yet is `Now`. If some behind it are no longer
    /// kept, it is told how many; of bytes, nobody knows.
    Since(u64),
    /// With what comes next.
    Now,
}

/// What a tail holds, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status<R> {
    /// Lines so far, one that isn't over included.
    pub lines: u64,
    /// Bytes so far, line ends included.
    pub bytes: u64,
    /// The number of the last piece; 0 before the first.
    pub last_seq: u64,
    /// The number of the oldest piece that is kept; one more than `last_seq` if none is.
    pub first_seq: u64,
    /// Memory taken by what is kept, in bytes.
    pub kept_bytes: usize,
    /// Cursors that live.
    pub readers: usize,
    /// How it ended, if it did.
    pub end: Option<Ending<R>>,
}

impl<R: Clone> Tail<R> {
    /// A new reader. Dropping it is all it takes to leave.
    pub fn reader(&self, start: Start) -> Cursor<R> {
        Cursor::new(Arc::clone(&self.shared), start)
    }

    /// Wakes every reader that waits, though there is nothing new: for a stop.
    /// Set it first. A reader that looks for it between an empty batch and its
    /// wait can't miss it.
    pub fn ring(&self) {
        self.shared.change(|_| {});
    }

    /// Has `tell` called after each change, for as long as the tail lives: by who
    /// made the change, which then waits for it. It must not block, nor come back
    /// here but through cursors.
    ///
    /// For who looks after many readers at once: they take their lines with
    /// [`Cursor::try_batch`], and none of them is woken by itself.
    pub fn on_news(&self, tell: impl Fn() + Send + Sync + 'static) {
        self.shared.listeners.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(tell));
    }

    /// How many readers found nothing new and wait, or are about to.
    pub fn sleeping(&self) -> usize {
        self.shared.lock().sleepers.len()
    }

    /// Counts, and the end if there is one.
    pub fn status(&self) -> Status<R> {
        let state = self.shared.lock();
        let (first, next) = (state.shelf.first(), state.shelf.next());
        Status {
            lines: next.lines + u64::from(next.mid_line),
            bytes: next.bytes,
            last_seq: next.pieces,
            first_seq: first.pieces + 1,
            kept_bytes: state.shelf.kept_bytes(),
            readers: self.shared.readers.load(Ordering::Relaxed),
            end: state.shelf.end.clone(),
        }
    }
}

/// What a reader gets at once.
#[derive(Clone, Debug)]
#[must_use = "what isn't looked at is lost"]
pub struct Batch<R> {
    /// What it lacks before the first of the items.
    pub missed: Option<Missed>,
    /// Lines and records, in their order.
    pub items: Vec<Item<R>>,
    /// The end, once everything before it was given.
    pub end: Option<Ending<R>>,
}

/// A part of a batch.
#[derive(Clone, Debug)]
pub enum Item<R> {
    /// Neighbouring lines.
    Lines(Lines),
    /// What [`Feed::record`] put there.
    Record(R),
}

impl<R> Batch<R> {
    /// Whether there was nothing to get: the time to wait.
    pub fn is_empty(&self) -> bool {
        self.missed.is_none() && self.items.is_empty() && self.end.is_none()
    }
}

/// What feed, tail and cursors share.
struct Shared<R> {
    state: Mutex<State<R>>,
    waker: Waker,
    listeners: RwLock<Vec<Listener>>,
    readers: AtomicUsize,
}

type Listener = Box<dyn Fn() + Send + Sync>;

struct State<R> {
    shelf: Shelf<R>,
    sleepers: Sleepers,
}

impl<R: Clone> Shared<R> {
    /// A panic of `R::clone` leaves the shelf as it was, so the lock is good after it.
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Shelf<R>)) {
        let mut state = self.lock();
        change(&mut state.shelf);
        let sleepers = state.sleepers.take();
        drop(state);
        self.waker.wake(sleepers);
        for tell in &*self.listeners.read().unwrap_or_else(PoisonError::into_inner) {
            tell();
        }
    }

    fn end(&self, ending: Ending<R>) {
        self.change(|shelf| {
            shelf.end.get_or_insert(ending);
        });
    }
}

impl<R: Clone> Clone for Tail<R> {
    fn clone(&self) -> Tail<R> {
        Tail { shared: Arc::clone(&self.shared) }
    }
}

impl<R: Clone> fmt::Debug for Tail<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("next", &self.shared.lock().shelf.next()).finish_non_exhaustive()
    }
}

impl<R: Clone> fmt::Debug for Feed<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("next", &self.shared.lock().shelf.next()).finish_non_exhaustive()
    }
}
