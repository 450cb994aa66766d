//! Fan-in: lines of any number of sources, over one bounded channel.
//!
//! Promises: every source has a thread of its own, and exactly one
//! [`Event::End`] with how it ended, a panic included; the channel disconnects
//! when all have ended. Who doesn't take makes the sources wait: before a stop,
//! nothing is dropped, and at most [`QUEUED_ITEMS`] items of up to 128 KiB wait
//! (320 KiB, where lines are looked for in a file). What was
//! lost before it could be read is told ([`Event::Missed`]). One source's
//! failure is an item with its name; the others go on.
//!
//! It ends where order between sources begins: each one's lines come in order,
//! those of two as they happen. The pieces of a line of more than 64 KiB may have
//! another source's lines between them.
//!
//! ```
//! use towpath::flow::merge::{Event, LogFile, Merge, Source};
//!
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("a.log");
//! # std::fs::write(&path, "one\n")?;
//! let merge = Merge::start([Source::from(LogFile::new(&path)), Source::reader("bytes", &b"two\n"[..])])?;
//! let mut lines = Vec::new();
//! for item in merge.items() {
//!     match item.event {
//!         Event::Lines(lines_of_one) => lines.extend(lines_of_one.bytes),
//!         Event::Missed(missed) => eprint!("{}", missed.to_line()),
//!         Event::Trouble(error) => eprintln!("{}: {error}", merge.name(item.source)),
//!         Event::End(result) => result?,
//!     }
//! }
//! assert!(lines == b"one\ntwo\n" || lines == b"two\none\n");
//! # Ok::<(), std::io::Error>(())
//! ```

mod halt;
mod outlet;
mod source;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::follow::Watcher;
use super::{Filter, Missed, Piece};
use crate::thread::{Never, Worker, catch, spawn};
pub(super) use halt::Halt;
pub(super) use outlet::Outlet;
pub use source::{LogFile, Source, StartAt};

/// How many items wait for the one who takes them, before the sources do.
pub const QUEUED_ITEMS: usize = 16;

/// Sources at work. Dropping it stops them.
#[must_use = "dropping it stops the sources"]
pub struct Merge {
    /// Dropped before the workers, as its order here says: nobody waits to send then.
    items: Receiver<Item>,
    names: Vec<String>,
    halt: Arc<Halt>,
    long_lines: Arc<AtomicU64>,
    /// Disconnected when every source knows where it starts.
    begun: Receiver<Never>,
    _workers: Vec<Worker<()>>,
}

/// What a source has to say.
#[derive(Debug)]
pub struct Item {
    /// Which one, counted from 0 in the order given to [`Merge::start`].
    pub source: usize,
    /// What it says.
    pub event: Event,
}

/// What happens in a source.
#[derive(Debug)]
pub enum Event {
    /// Lines, or a piece of a long one.
    Lines(Lines),
    /// Lines that are missing here.
    Missed(Missed),
    /// It can't be read now, but goes on trying: a followed file that isn't there
    /// (`NotFound`, once), or that it may not open. Without the source's name.
    Trouble(io::Error),
    /// It has ended: read to its end, stopped, or failed. The last of its items.
    End(io::Result<()>),
}

/// Neighbouring whole lines, or a piece of a line of more than 64 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// The bytes, line ends included. Only the last line may lack one.
    pub bytes: Vec<u8>,
    /// Whether a line starts with them.
    pub start: bool,
    /// Whether a line ends with them.
    pub end: bool,
}

impl Lines {
    /// As [`Feed::push`](super::tail::Feed::push) takes them.
    pub fn piece(&self) -> Piece<'_> {
        Piece { bytes: &self.bytes, start: self.start, end: self.end }
    }
}

impl Merge {
    /// Starts a thread for each source, and one for inotify if a file is followed.
    ///
    /// # Errors
    /// No descriptor or no thread left (`EMFILE`, `EAGAIN`): those that were
    /// started are stopped. A source that can't be read is no error here, but its item.
    pub fn start(sources: impl IntoIterator<Item = Source>) -> io::Result<Merge> {
        Merge::start_filtered(sources, &Filter::default())
    }

    /// As [`start`](Merge::start), but only lines that pass the filter become
    /// items. Each source's thread looks for them itself, in what it has just
    /// read: of a line of more than 64 KiB, the first so much speaks for all of it.
    ///
    /// # Errors
    /// As [`start`](Merge::start).
    pub fn start_filtered(sources: impl IntoIterator<Item = Source>, filter: &Filter) -> io::Result<Merge> {
        let sources: Vec<Source> = sources.into_iter().collect();
        let (sender, items) = bounded(QUEUED_ITEMS);
        let (halt, long_lines) = (Arc::new(Halt::new()?), Arc::default());
        let names = sources.iter().map(|source| source.name().to_owned()).collect();
        let (beginning, begun) = bounded(0);
        let mut merge = Merge { items, names, halt: Arc::clone(&halt), long_lines, begun, _workers: Vec::new() };
        let watcher = merge.start_watcher(&sources)?;
        for (index, source) in sources.into_iter().enumerate() {
            let (watcher, halt) = (Arc::clone(&watcher), Arc::clone(&halt));
            let outlet = Outlet::new(index, sender.clone(), Arc::clone(&halt), beginning.clone());
            let mut outlet = outlet.filtered(filter.clone(), Arc::clone(&merge.long_lines));
            let thread = format!("from {}", source.name()).replace('\0', "?");
            merge._workers.push(spawn(&thread, move |_| {
                let result = catch(|| source.read(&watcher, &halt, &mut outlet));
                outlet.end(result.unwrap_or_else(|panic| Err(io::Error::other(panic))));
            })?);
        }
        Ok(merge)
    }

    fn start_watcher(&mut self, sources: &[Source]) -> io::Result<Arc<Watcher>> {
        let wanted = sources.iter().any(Source::wants_events);
        let watcher = Arc::new(if wanted { Watcher::new() } else { Watcher::blind() });
        if wanted {
            let (watcher, halt) = (Arc::clone(&watcher), Arc::clone(&self.halt));
            self._workers.push(spawn("flow-watch", move |_| watcher.run(&halt))?);
        }
        Ok(watcher)
    }

    /// The items, for `select!` or to iterate over. Disconnected when all sources have ended.
    pub fn items(&self) -> &Receiver<Item> {
        &self.items
    }

    /// A source's name: its path, or what it was given.
    ///
    /// # Panics
    /// If there is no source of that number.
    pub fn name(&self, source: usize) -> &str {
        &self.names[source]
    }

    /// How many lines of more than 64 KiB the filter has judged by their beginning.
    pub fn long_lines(&self) -> u64 {
        self.long_lines.load(Ordering::Relaxed)
    }

    /// Waits until every source knows where it starts, as a file of which the
    /// last lines are wanted must be looked at first: what is written to it from
    /// then on is read. Gives up after `limit`; whether they all do.
    pub fn wait_begun(&self, limit: Duration) -> bool {
        self.begun.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected)
    }

    /// Asks all sources to end, and returns at once. Their last items still come:
    /// what a followed file held at the stop, lines that wait for an end, and the
    /// `End` of each. They wait until they are taken, or the merge is dropped. A
    /// [`Source::reader`] ends after its read.
    pub fn stop(&self) {
        self.halt.stop();
    }
}

impl Drop for Merge {
    fn drop(&mut self) {
        self.halt.give_up();
    }
}

impl fmt::Debug for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merge").field("names", &self.names).finish_non_exhaustive()
    }
}
