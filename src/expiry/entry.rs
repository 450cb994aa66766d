//! What is kept of a deadline in Redis, and how it is written there.
//!
//! A member of the shard's sorted set: `d` and the key for a deadline of one's
//! own, `x`, the due time, `:` and the key for a key that lapsed. Under it in the
//! hash, a line `ID DUE ATTEMPTS KIND NODE`, then the payload.

/// What fell due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A deadline that somebody set.
    Deadline,
    /// A key of Redis that expired, as Redis told.
    Expired,
    /// A key of Redis that was known, was due, and is gone: nobody was there to
    /// be told, or the server is another one since.
    Reconciled,
}

impl Kind {
    /// `deadline`, `expired` or `reconciled`.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Deadline => "deadline",
            Kind::Expired => "expired",
            Kind::Reconciled => "reconciled",
        }
    }

    fn of(word: &str) -> Option<Kind> {
        [Kind::Deadline, Kind::Expired, Kind::Reconciled].into_iter().find(|kind| kind.word() == word)
    }
}

/// One thing that falls due, or fell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The same whenever it is handled again, and no other's: by it a handler
    /// drops duplicates.
    pub id: String,
    /// The key: any bytes.
    pub key: Vec<u8>,
    /// When it falls due, in Unix milliseconds by Redis' clock.
    pub due_ms: u64,
    /// How often it was handled without success.
    pub attempts: u32,
    /// What it is.
    pub kind: Kind,
    /// The server that told of it; empty for a deadline.
    pub node: String,
    /// What was kept with it; empty for a key that lapsed.
    pub payload: Vec<u8>,
    /// Its name in the sorted set.
    pub(super) member: Vec<u8>,
}

impl Entry {
    /// The member of a deadline of one's own.
    pub(super) fn member_of_deadline(key: &[u8]) -> Vec<u8> {
        [b"d", key].concat()
    }

    /// The member of a key that lapsed.
    pub(super) fn member_of_expiry(key: &[u8], due_ms: u64) -> Vec<u8> {
        [format!("x{due_ms}:").as_bytes(), key].concat()
    }

    /// What is kept under the member.
    pub(super) fn record(id: &str, due_ms: u64, kind: Kind, node: &str) -> Vec<u8> {
        format!("{id} {due_ms} 0 {} {}\n", kind.word(), node.replace([' ', '\n'], "")).into_bytes()
    }

    /// Reads what is kept; `None` if somebody else wrote it.
    pub(super) fn read(member: Vec<u8>, value: &[u8]) -> Option<Entry> {
        let key = match member.first()? {
            b'd' => member.get(1..)?.to_vec(),
            b'x' => member.get(memchr::memchr(b':', &member)? + 1..)?.to_vec(),
            _ => return None,
        };
        let end = memchr::memchr(b'\n', value)?;
        let mut words = std::str::from_utf8(&value[..end]).ok()?.split(' ');
        let (id, due, attempts) = (words.next()?, words.next()?, words.next()?);
        let (kind, node) = (Kind::of(words.next()?)?, words.next().unwrap_or_default());
        Some(Entry {
            id: id.to_owned(),
            key,
            due_ms: due.parse().ok()?,
            attempts: attempts.parse().ok()?,
            kind,
            node: node.to_owned(),
            payload: value[end + 1..].to_vec(),
            member,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_whatever_the_keys_bytes() {
        let key = b"a:\n \xff{b}";
        let mut value = Entry::record("i-1", 17, Kind::Reconciled, "[::1]:6379");
        value.extend(b"pay\nload");
        let entry = Entry::read(Entry::member_of_expiry(key, 17), &value).unwrap();
        assert_eq!((entry.key.as_slice(), entry.id.as_str(), entry.due_ms), (&key[..], "i-1", 17));
        assert_eq!((entry.kind, entry.node.as_str(), entry.attempts), (Kind::Reconciled, "[::1]:6379", 0));
        assert_eq!(entry.payload, b"pay\nload");
        let own = Entry::read(Entry::member_of_deadline(key), b"i 2 3 deadline \n").unwrap();
        assert_eq!((own.key.as_slice(), own.attempts, own.node.as_str()), (&key[..], 3, ""));
        for (member, value) in [("", ""), ("dk", ""), ("dk", "i x 0 deadline \n"), ("xk", "i 1 0 expired n\n")] {
            assert_eq!(Entry::read(member.into(), value.as_bytes()), None, "{member} {value}");
        }
    }
}
