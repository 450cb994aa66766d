//! What every store offers to `lock`, and the values that go between them.
//!
//! Made so that stores differ in one place only: whether a hold lapses by
//! itself ([`Hold::valid_until`]) or lasts as long as a descriptor
//! ([`Hold::descriptor`]), and on how many nodes it is kept ([`NodeView`]).

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::{Error, Key, Record};
use crate::clock::{Moment, rfc3339};
use crate::thread::Stop;

/// A place where locks are kept. Each decides by itself, atomically, who holds
/// a key.
pub trait LockStore: Send + Sync + fmt::Debug {
    /// Lines up for `key`. Takes nothing yet; what is kept between one try and
    /// the next (a descriptor, a subscription) lives in the contender.
    ///
    /// # Errors
    /// [`Error::is_unreachable`].
    fn contender(&self, key: &Key) -> Result<Box<dyn Contender>, Error>;

    /// Who holds `key`, as each node of the store tells it. Never gets in the
    /// way of those who try to take it.
    ///
    /// # Errors
    /// [`Error::is_unreachable`] if no node could be asked; one of several is
    /// reported in its own view.
    fn inspect(&self, key: &Key) -> Result<Vec<NodeView>, Error>;

    /// Takes `key` from its holder, as far as the store can. With `fence`, only
    /// if the holder is still the one with this fence.
    ///
    /// # Errors
    /// [`Error::is_held`] if the holder is another one than `fence` says, or
    /// can't be parted from the lock; the text says who it is and what to do.
    /// [`Error::is_unreachable`].
    fn break_lock(&self, key: &Key, fence: Option<u64>) -> Result<Broken, Error>;
}

/// One who wants a key.
pub trait Contender: Send + fmt::Debug {
    /// Tries once, without waiting for the holder. Of any number who try at
    /// once, one takes it.
    ///
    /// # Errors
    /// [`Error::is_unreachable`]; nothing is taken then.
    fn try_take(&mut self, claim: &Claim) -> Result<Attempt, Error>;

    /// Waits until another try may succeed. Returns when the lock may have been
    /// let go, at `until`, or when `stop` is set, whichever is first; it may
    /// return early. Not called after a try has taken the lock.
    fn wait_for_change(&mut self, until: Moment, stop: &Stop);
}

/// A lock that was taken. Dropping it lets go as a crash would: whatever keeps
/// the lock when its holder dies (another process with its [`Hold::descriptor`],
/// what is left of its time) goes on keeping it.
pub trait Hold: Send + Sync + fmt::Debug {
    /// The fencing token: larger than that of every holder before.
    fn fence(&self) -> u64;

    /// When the hold lapses unless renewed, counted from before it was asked
    /// for; [`Moment::NEVER`] if it doesn't.
    fn valid_until(&self) -> Moment;

    /// Asks the store for a later [`Hold::valid_until`]. Never takes again what
    /// has lapsed in between.
    ///
    /// # Errors
    /// [`Error::is_unreachable`]: the hold stays valid until it lapses; try again.
    fn renew(&self) -> Result<Renewal, Error>;

    /// Whether the hold still stands, as far as this host alone can tell. No
    /// network.
    ///
    /// # Errors
    /// The [`Loss`] if it doesn't.
    fn check(&self) -> Result<(), Loss>;

    /// A descriptor that keeps the lock as long as any copy of it is open, in
    /// any process; `None` if the store has no such thing. It is
    /// close-on-exec.
    ///
    /// # Errors
    /// Those of `fcntl(F_DUPFD_CLOEXEC)`: this process has too many open files.
    fn descriptor(&self) -> io::Result<Option<OwnedFd>>;

    /// Lets go at once, also of every copy of [`Hold::descriptor`], and wakes
    /// who waits. What the claim's minimum hold still keeps stays taken.
    ///
    /// # Errors
    /// [`Error::is_unreachable`]; the lock then ends as if its holder had crashed.
    /// [`Error::is_lost`] if it wasn't ours any more.
    fn give_back(&self) -> Result<(), Error>;
}

/// What one who wants a lock says of itself.
#[derive(Clone, Debug)]
pub struct Claim {
    /// How long a lock that lapses by itself outlives its last renewal. Defaults
    /// to 30 s. A file lock ends with its last descriptor and ignores it.
    pub ttl: Duration,
    /// How long the lock stays taken at least, counted from its taking, even if
    /// the holder gives it back, ends or is killed. Defaults to zero.
    pub hold_at_least: Duration,
    /// What will be run, for the record. Defaults to nothing.
    pub command: String,
    /// Where it can be watched, for the record. Defaults to none.
    pub url: Option<String>,
}

impl Default for Claim {
    fn default() -> Claim {
        Claim { ttl: Duration::from_secs(30), hold_at_least: Duration::ZERO, command: String::new(), url: None }
    }
}

/// How a try ended.
#[derive(Debug)]
pub enum Attempt {
    /// The lock is ours.
    Taken(Box<dyn Hold>),
    /// It is somebody else's.
    Held(Holder),
}

/// Who has a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// What the holder wrote of itself; `None` if it wrote nothing readable.
    /// In the first moments after a take it may still be the one before.
    pub record: Option<Record>,
    /// The holder has given the lock back or is gone, and only its minimum hold
    /// keeps it taken.
    pub ended: bool,
    /// When the lock comes free if nobody does anything more, where that is known.
    pub free_at: Option<Moment>,
}

/// What one node of a store tells of a lock.
#[derive(Debug)]
pub struct NodeView {
    /// The node: the directory of a file store, the address of a server.
    pub node: String,
    /// What it tells, or why it could not be asked.
    pub state: Result<NodeState, Error>,
}

/// What a node knows of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Nobody has it.
    Free,
    /// Somebody has it.
    Held(Holder),
}

/// How [`Hold::renew`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lock is still ours; [`Hold::valid_until`] says until when.
    Kept,
    /// It is not.
    Lost(Loss),
}

/// How a lock that was held ceased to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// It could not be renewed in time.
    #[error("it was not renewed in time")]
    Lapsed,
    /// The store no longer has it: its file was deleted or replaced, its key was
    /// deleted or evicted, or its server restarted without it.
    #[error("it was deleted from its store")]
    Deleted,
    /// Somebody else has it.
    #[error("somebody else has taken it")]
    Taken,
}

/// What breaking a lock came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Nobody had it.
    WasFree,
    /// It was taken from this holder.
    From(Holder),
}

impl fmt::Display for Holder {
    /// One line: `pid 12 on web1 since 2026-11-21T20:13:00.250Z (backup --all)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.record {
            None => f.write_str("a holder that left no record")?,
            Some(record) => {
                write!(f, "pid {} on {} since {}", record.pid, record.host, rfc3339(record.since))?;
                if !record.command.is_empty() {
                    // Escaped: a command may span lines, and this is one.
                    write!(f, " ({})", record.command.escape_debug())?;
                }
            }
        }
        match (self.ended, self.free_at) {
            (true, Some(at)) => write!(f, ", ended; kept by its minimum hold until {}", rfc3339(at.to_system_time())),
            (true, None) => f.write_str(", ended; kept by its minimum hold"),
            (false, _) => Ok(()),
        }
    }
}
