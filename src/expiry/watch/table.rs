//! The keys of one server that will expire, by key and by time.
//!
//! A key takes its own length and about 200 bytes: it is kept once, in a map and
//! in a tree. So many are kept at most; what is beyond that is heard of when
//! Redis gets round to it, and not on time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

type Key = Arc<[u8]>;

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// When it expires, in Unix milliseconds by Redis' clock.
    pub(super) due_ms: u64,
    pub(super) seen: Sight,
    look_at_ms: u64,
}

/// When a key was last known to be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sight {
    /// Under which subscription: a later one has a gap before it.
    pub(super) under: u32,
    /// After how many flushes.
    pub(super) flushes: u32,
}

/// Keys that will expire.
#[derive(Debug)]
pub(super) struct Table {
    known: HashMap<Key, Known>,
    by_time: BTreeSet<(u64, Key)>,
    limit: usize,
}

impl Table {
    pub(super) fn new(limit: usize) -> Table {
        Table { known: HashMap::new(), by_time: BTreeSet::new(), limit }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Takes note of a key; whether there was room.
    pub(super) fn learn(&mut self, key: &[u8], due_ms: u64, seen: Sight) -> bool {
        self.look_at(key, due_ms, seen, due_ms)
    }

    /// The same, to be looked at at another time than it is due.
    pub(super) fn look_at(&mut self, key: &[u8], due_ms: u64, seen: Sight, look_at_ms: u64) -> bool {
        self.forget(key);
        if self.known.len() >= self.limit {
            return false;
        }
        let key: Key = key.into();
        self.by_time.insert((look_at_ms, Arc::clone(&key)));
        self.known.insert(key, Known { due_ms, seen, look_at_ms });
        true
    }

    pub(super) fn forget(&mut self, key: &[u8]) -> Option<Known> {
        let (key, known) = self.known.remove_entry(key)?;
        self.by_time.remove(&(known.look_at_ms, key));
        Some(known)
    }

    /// When the next is to be looked at.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out what is to be looked at by now, at most so many.
    pub(super) fn take_due(&mut self, now_ms: u64, many: usize) -> Vec<(Vec<u8>, Known)> {
        let mut due = Vec::new();
        while due.len() < many
            && let Some((at, _)) = self.by_time.first()
            && *at <= now_ms
            && let Some((_, key)) = self.by_time.pop_first()
        {
            due.extend(self.known.remove(&key).map(|known| (key.to_vec(), known)));
        }
        due
    }

    /// All that is known.
    pub(super) fn keys(&self) -> Vec<Vec<u8>> {
        self.known.keys().map(|key| key.to_vec()).collect()
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Known> {
        self.known.get(key).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn under(under: u32) -> Sight {
        Sight { under, ..Sight::default() }
    }

    #[test]
    fn keys_come_out_when_they_are_due_and_a_later_word_counts() {
        let mut table = Table::new(3);
        assert!(table.learn(b"a", 10, under(1)) && table.learn(b"b", 20, under(1)) && table.learn(b"a", 30, under(2)));
        assert_eq!((table.len(), table.next_ms()), (2, Some(20)));
        let due = table.take_due(25, 10);
        assert_eq!(
            due.iter().map(|(key, known)| (key.as_slice(), known.due_ms)).collect::<Vec<_>>(),
            [(&b"b"[..], 20)]
        );
        assert_eq!(table.forget(b"a").map(|known| (known.due_ms, known.seen)), Some((30, under(2))));
        assert_eq!((table.forget(b"a"), table.next_ms()), (None, None));
    }

    #[test]
    fn what_is_beyond_the_limit_is_not_kept_and_leaves_the_rest_alone() {
        let mut table = Table::new(1);
        assert!(table.learn(b"a", 10, under(1)));
        assert!(!table.learn(b"b", 5, under(1)));
        assert!(table.learn(b"a", 12, under(1)), "one that is known has its place");
        assert_eq!(table.take_due(100, 10).len(), 1);
        assert!(table.keys().is_empty() && table.get(b"a").is_none());
    }
}
