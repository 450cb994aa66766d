//! A run's lines in Redis, beside its lock, and following them from any host.
//!
//! [`Relay`] is the run's side: one more reader of its lines, which writes what
//! comes in batches to a Redis Stream. [`Relayed`] is the reader's: from the
//! beginning or a tail, to the run's own end. Promises:
//!
//! * A run waits for no store. Its lines wait in its own tail of bounded memory;
//!   what the tail has dropped when Redis takes lines again is a gap, counted.
//! * Each run has a stream of its own, named by its fence, so that a writer whose
//!   lock went to another can't write into the other's, and no reader goes on
//!   into another run. Which stream is the last run's is kept beside the lock,
//!   and only a larger fence changes it.
//! * Each entry has a number. One that is sent twice, because an answer was lost,
//!   is written once; one that is missing, trimmed or lost in a failover, is seen
//!   to be missing.
//! * The end is proven: the last entry is the run's end. A writer that died is
//!   told from a quiet one by a key that it keeps alive: within the lease's ttl, and
//!   within half a minute.
//! * Nothing stays for ever: a stream has a budget of bytes, and goes a day after
//!   it was last written to, a minute after the next run has begun.
//!
//! It ends where Redis does: what a failover loses is lost, and told as a gap; a
//! Redis that is full takes no lines, and the relay gives up old ones for new.

mod entry;
mod follow;
mod keys;
mod pen;
mod questions;
mod writer;

use std::time::Duration;

pub(crate) use follow::Sight;
pub use follow::{RelayError, Relayed};
pub(crate) use writer::Relaying;
pub use writer::{Relay, RelayTally};

/// How much of a run's output a relay keeps in Redis, unless told otherwise: 16 MiB.
pub const DEFAULT_RELAY_BYTES: usize = 16 * 1024 * 1024;

/// How long a stream stays after it was last written to.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// How long it stays once the next run has begun: who reads it shall get its end.
const LEFT_TO_READERS: Duration = Duration::from_secs(60);

/// How long a writer that says nothing counts as alive.
fn alive_for(ttl: Duration) -> Duration {
    (ttl / 2).min(Duration::from_secs(15))
}

/// How often it says something.
fn beat_every(ttl: Duration) -> Duration {
    (ttl / 6).min(Duration::from_secs(5))
}

/// How long readers doubt before they believe that it died: it may be about to come
/// back to a store that was away, or to begin again in one that lost its data.
fn doubt_for(ttl: Duration) -> Duration {
    (ttl / 3).min(Duration::from_secs(10))
}
