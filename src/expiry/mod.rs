//! Deadlines in Redis, each handled at least once when it is due.
//!
//! [`Deadlines`] keeps them, with their payload, in Redis itself: what was set
//! survives everything that Redis' own persistence survives. A [`Group`] handles
//! them together: whoever holds the lock [`Group::leader_key`] claims what is due
//! with its fence, and acknowledges what it has handled; what one that died has
//! claimed, the next takes over. Redis' TIME decides, on no host's clock.
//!
//! On one server, a Cluster, or a Sentinel's master. Ends where Redis' promises
//! end: a server that restarts without its data, or fails over before it
//! replicated, has lost what was set there since.

mod bytes;
mod deadlines;
mod entry;
mod group;
mod script;
mod watch;

pub use crate::store::Error;
pub use bytes::add_bytes;
pub use deadlines::{Cancelled, Claims, Deadline, Deadlines, Due, InvalidDeadline};
pub use entry::{Entry, Kind};
pub use group::{Group, InvalidGroup};
pub use watch::{Handler, Step, Tell, Watch, WatchError};
