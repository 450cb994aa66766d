//! Keys that are gone from a server, until it is known why.
//!
//! One that was due may have its event on its way. One that was deleted when it
//! was due, or is another server's now, has nothing to be told of, unless the
//! server turns out to be no master any more: a replica deletes what expires at
//! its master. Until then it is left here, for the next master to look at.

use std::collections::HashMap;
use std::time::Duration;

use super::table::Known;
use crate::clock::Moment;

/// A key that is gone, and was due, has so long for its event to arrive: longer
/// than it takes to notice that the subscription is dead.
const WORD_WITHIN: Duration = Duration::from_secs(5);
/// How long a key is left here: longer than it takes to be sure that a server is
/// no master any more.
const LEFT_FOR: Duration = Duration::from_secs(15);
/// How often it is looked whether a time is over.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Keys that are gone.
#[derive(Debug)]
pub(super) struct Gone {
    keys: HashMap<Vec<u8>, Missing>,
    look_at: Moment,
}

#[derive(Debug)]
struct Missing {
    known: Known,
    until: Moment,
    is_left: bool,
}

impl Gone {
    pub(super) fn new() -> Gone {
        Gone { keys: HashMap::new(), look_at: Moment::BOOT }
    }

    /// One whose event may be on its way.
    pub(super) fn await_word(&mut self, key: Vec<u8>, known: Known) {
        self.keys.insert(key, Missing { known, until: Moment::now() + WORD_WITHIN, is_left: false });
    }

    /// One that nothing is to be told of, unless this server is no master.
    pub(super) fn leave(&mut self, key: Vec<u8>, known: Known) {
        self.keys.insert(key, Missing { known, until: Moment::now() + LEFT_FOR, is_left: true });
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Known> {
        self.keys.remove(key).map(|missing| missing.known)
    }

    /// Takes out those that no word came of in time, and forgets those that were left for long.
    pub(super) fn take_over(&mut self) -> Vec<(Vec<u8>, Known)> {
        if !self.look_at.has_passed() {
            return Vec::new();
        }
        self.look_at = Moment::now() + LOOK_EVERY;
        let over = self.keys.extract_if(|_, missing| missing.until.has_passed());
        over.filter(|(_, missing)| !missing.is_left).map(|(key, missing)| (key, missing.known)).collect()
    }

    /// All of them, and when they were due.
    pub(super) fn into_keys(self) -> impl Iterator<Item = (Vec<u8>, u64)> {
        self.keys.into_iter().map(|(key, missing)| (key, missing.known.due_ms))
    }
}
