//! The names of what a relay keeps in Redis, all in the slot of the lock.

use crate::store::{Key, key_beside};

/// The keys of one lock's relay.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// A hash: the last run that was relayed, and its stream.
    pub(super) last: String,
    /// Lives as long as that run's writer does; its value is the writer's fence.
    pub(super) alive: String,
    /// What the streams' names begin with.
    lines: String,
}

impl Keys {
    pub(super) fn of(key: &Key) -> Keys {
        Keys { last: key_beside(key, "relay"), alive: key_beside(key, "relaying"), lines: key_beside(key, "lines") }
    }

    /// The stream of the run with this fence. No two keys share one: the fence has no braces.
    pub(super) fn stream(&self, fence: u64) -> String {
        format!("{}:{fence}", self.lines)
    }
}
