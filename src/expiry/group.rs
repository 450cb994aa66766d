//! Who handles together: the name of a group, and its keys in Redis.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::store::Key;

/// Over how many slots a group's deadlines are spread.
pub(super) const SHARDS: u8 = 8;

/// A group of watchers, of which one leads; and the deadlines that it handles.
/// 1 to 64 of the characters `a-z A-Z 0-9 . _ -`. Defaults to `default`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group(String);

/// A text that can't be a group's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a group has 1 to 64 letters, digits, dots, dashes and underscores")]
pub struct InvalidGroup;

impl Group {
    /// The key of the lock whose holder leads: `towpath:expiry:GROUP`.
    ///
    /// It is a lock as `towpath lock status` shows it.
    pub fn leader_key(&self) -> Key {
        // Checked when it was parsed: it is far from a key's limits.
        Key::new(format!("towpath:expiry:{}", self.0)).unwrap_or_else(|_| unreachable!("a group's name fits a key"))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where a deadline's sooner-than-all-others is told.
    pub(super) fn channel(&self) -> String {
        format!("towpath:deadlines:{}", self.0)
    }

    /// What lies among the keys, and is another after a flush.
    pub(super) fn mark_key(&self) -> String {
        format!("{}:mark", self.shard(0).tag)
    }

    pub(super) fn shards(&self) -> Vec<Shard> {
        (0..SHARDS).map(|number| self.shard(number)).collect()
    }

    /// The shard that a key's deadlines are in.
    pub(super) fn shard_of(&self, key: &[u8]) -> Shard {
        self.shard(Sha256::digest(key)[0] % SHARDS)
    }

    pub(super) fn shard(&self, number: u8) -> Shard {
        Shard { number, tag: format!("{{towpath:deadlines:{}:{number}}}", self.0) }
    }
}

impl Default for Group {
    fn default() -> Group {
        Group("default".to_owned())
    }
}

impl FromStr for Group {
    type Err = InvalidGroup;

    fn from_str(text: &str) -> Result<Group, InvalidGroup> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_one = (1..=64).contains(&text.len()) && text.bytes().all(fits);
        is_one.then(|| Group(text.to_owned())).ok_or(InvalidGroup)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A part of a group's deadlines, whose keys are in one slot of a Cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shard {
    pub(super) number: u8,
    tag: String,
}

impl Shard {
    /// What all its keys begin with, and are hashed by.
    pub(super) fn tag(&self) -> &[u8] {
        self.tag.as_bytes()
    }

    /// Its keys, in the order of the scripts' KEYS: when each falls due or is to
    /// be tried again, what each is, until when each is claimed, what failed for
    /// good, what has lapsed lately, and the largest fence that has claimed.
    pub(super) fn keys(&self) -> [String; 6] {
        ["due", "data", "claimed", "failed", "seen", "fence"].map(|what| format!("{}:{what}", self.tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_short_plain_name() {
        for name in ["a", "orders.v2_x-1", &"x".repeat(64)] {
            assert_eq!(name.parse::<Group>().unwrap().as_str(), name);
        }
        for name in ["", "a b", "a{b}", "a:b", "ü", &"x".repeat(65)] {
            assert_eq!(name.parse::<Group>(), Err(InvalidGroup), "{name}");
        }
        assert_eq!(Group::default().leader_key().as_str(), "towpath:expiry:default");
    }

    #[test]
    fn a_shards_keys_share_their_hash_tag() {
        let shard = Group::default().shard(3);
        assert!(shard.keys().iter().all(|key| key.starts_with("{towpath:deadlines:default:3}:")));
        assert_eq!(Group::default().shards().len(), usize::from(SHARDS));
    }
}
