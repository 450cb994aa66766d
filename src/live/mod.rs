//! A run, or merged logs, seen live over HTTP, to the proven end.
//!
//! [`Broadcast`] answers requests for one stream of lines: `/` is a page,
//! `/log` plain text, `/events` server-sent events, `/status` JSON, `/healthz`
//! a word. Readers come late, leave and resume as they like; none of them can
//! slow the source. Who falls behind skips, and is told. Each stream ends with
//! an `end` record, which late readers get too, or it was cut.
//!
//! [`Watch`] is the reader: it reconnects, resumes, and ends with the run's own
//! end, and never goes on into another run.
//!
//! With the feature `redis`, [`relay`] is the same by way of the lock's store: any
//! host that reaches it can follow a run, by the lock's key alone.

mod broadcast;
mod events;
mod parked;
mod plain;
mod query;
mod record;
#[cfg(feature = "redis")]
pub mod relay;
mod sse;
mod watch;

pub use broadcast::{Broadcast, PATHS};
pub use record::{End, Id, Record, Run};
pub use watch::{Seen, Watch, WatchError};
