//! The keys and the channel that belong to one lock.
//!
//! The lock's key is the user's, verbatim, so that towpath excludes and is
//! excluded by every other client of the same convention (redsync, redis-py,
//! node-redlock, rslock). The fence's counter and the holder's record are keys
//! of our own beside it, in the same slot of a Cluster.

use std::ops::Range;

use memchr::memchr;

use super::super::Key;

/// How many slots a Redis Cluster has (Redis Cluster specification).
const SLOTS: u16 = 16_384;

/// The names of one lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// The lock itself.
    pub(super) lock: String,
    /// The fence's counter.
    pub(super) fence: String,
    /// What the holder wrote of itself.
    pub(super) record: String,
    /// Where it is told that the lock was let go.
    pub(super) channel: String,
    /// The slot of all of them.
    pub(super) slot: u16,
}

impl Names {
    pub(super) fn of(key: &Key) -> Names {
        let lock = key.as_str();
        let slot = slot_of(lock);
        let tagged = tagged(lock, slot);
        Names {
            lock: lock.to_owned(),
            fence: format!("towpath:fence:{tagged}"),
            record: format!("towpath:holder:{tagged}"),
            channel: format!("towpath:free:{tagged}"),
            slot,
        }
    }
}

/// The name of something else of ours that is kept in the slot of a lock; no two
/// locks share one.
#[cfg(feature = "http")]
pub(crate) fn key_beside(key: &Key, what: &str) -> String {
    format!("towpath:{what}:{}", tagged(key.as_str(), slot_of(key.as_str())))
}

/// The slot of a key: CRC16 of its hash tag, or of all of it (Redis Cluster
/// specification, "Hash tags").
pub(super) fn slot_of(key: impl AsRef<[u8]>) -> u16 {
    let key = key.as_ref();
    crc16(&key[hashed_range(key)]) % SLOTS
}

/// A text that holds the whole key and is hashed to its slot.
fn tagged(key: &str, slot: u16) -> String {
    let hashed = hashed_part(key);
    if hashed.contains('}') {
        // It can't be a tag itself; a number can that falls on the same slot.
        let number = (0_u32..).find(|number| slot_of(number.to_string()) == slot);
        return format!("{{{}}}:{key}", number.unwrap_or_default());
    }
    if hashed.len() == key.len() { format!("{{{key}}}") } else { format!("{{{hashed}}}:{key}") }
}

fn hashed_part(key: &str) -> &str {
    // Both ends are beside an ASCII character, or are the text's.
    key.get(hashed_range(key.as_bytes())).unwrap_or(key)
}

/// Where a key's hash tag is, or all of it.
fn hashed_range(key: &[u8]) -> Range<usize> {
    let tag = memchr(b'{', key).and_then(|open| Some(open + 1..open + 1 + memchr(b'}', &key[open + 1..])?));
    tag.filter(|tag| !tag.is_empty()).unwrap_or(0..key.len())
}

/// CRC-16/XMODEM, as the specification demands.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |mut crc, byte| {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(key: &str) -> Names {
        Names::of(&Key::new(key).unwrap())
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot_of("foo"), 12_182);
        assert_eq!(slot_of("{user1000}.following"), slot_of("user1000"));
        assert_eq!(slot_of("foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot_of("foo{{bar}}zap"), slot_of("{bar"));
    }

    #[test]
    fn the_lock_is_the_key_itself_and_the_others_are_beside_it() {
        let plain = names("backup");
        assert_eq!((plain.lock.as_str(), plain.fence.as_str()), ("backup", "towpath:fence:{backup}"));
        assert_eq!(names("{a}b").record, "towpath:holder:{a}:{a}b");
    }

    proptest! {
        #[test]
        fn all_names_share_a_slot_and_no_two_keys_share_a_name(a in "[a-c{}]{1,8}", b in "[a-c{}]{1,8}") {
            let (a, b) = (names(&a), names(&b));
            for name in [&a.fence, &a.record, &a.channel] {
                prop_assert_eq!(slot_of(name), a.slot);
            }
            prop_assert_eq!(a.lock == b.lock, a.fence == b.fence);
        }
    }
}
