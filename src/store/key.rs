//! The name of a lock.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// A file name's length in bytes beyond which a key's readable form is cut:
/// it leaves room for our suffixes within the 255 that Linux allows.
const FILE_NAME_LIMIT: usize = 200;
/// How much of a long key stays readable in its file name.
const READABLE_PREFIX: usize = 100;

/// The name of a lock: UTF-8, 1 to [`Key::MAX_BYTES`] bytes, no NUL. Used verbatim
/// by every store; those who use the same key exclude each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(String);

/// A text that can't be a lock's key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// It has no characters.
    #[error("a lock's key can't be empty; name what must not run twice")]
    Empty,
    /// It is longer than [`Key::MAX_BYTES`].
    #[error("a lock's key of {0} bytes is too long; use at most {max}", max = Key::MAX_BYTES)]
    TooLong(usize),
    /// It contains a NUL character.
    #[error("a lock's key can't contain a NUL character; leave it out")]
    Nul,
}

impl Key {
    /// The longest key, in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// Takes `text` as a key.
    ///
    /// # Errors
    /// [`InvalidKey`] if it is empty, too long, or contains NUL.
    pub fn new(text: impl Into<String>) -> Result<Key, InvalidKey> {
        let text = text.into();
        if text.is_empty() {
            Err(InvalidKey::Empty)
        } else if text.len() > Key::MAX_BYTES {
            Err(InvalidKey::TooLong(text.len()))
        } else if text.contains('\0') {
            Err(InvalidKey::Nul)
        } else {
            Ok(Key(text))
        }
    }

    /// The key as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A file name for this key alone: percent-encoded, or if that is too long
    /// a readable prefix, `~` (which the encoding never writes) and the SHA-256.
    pub(super) fn file_name(&self) -> String {
        let encoded = percent_encode(&self.0, FILE_NAME_LIMIT);
        if let Some(whole) = encoded {
            return whole;
        }
        let mut name = String::with_capacity(READABLE_PREFIX + 65);
        for byte in self.0.bytes() {
            let piece = encode_byte(byte, name.is_empty());
            if name.len() + piece.len() > READABLE_PREFIX {
                break;
            }
            name.push_str(&piece);
        }
        name.push('~');
        for byte in Sha256::digest(self.0.as_bytes()) {
            name.push_str(&format!("{byte:02x}"));
        }
        name
    }
}

impl fmt::Display for Key {
    /// Quoted, with control characters escaped: it goes into one-line messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Key, InvalidKey> {
        Key::new(text)
    }
}

/// The whole text encoded, or `None` if it would be longer than `limit` bytes.
fn percent_encode(text: &str, limit: usize) -> Option<String> {
    let mut encoded = String::new();
    for byte in text.bytes() {
        encoded.push_str(&encode_byte(byte, encoded.is_empty()));
        if encoded.len() > limit {
            return None;
        }
    }
    Some(encoded)
}

/// A leading dot is encoded too: it would hide the file, or mean a directory.
fn encode_byte(byte: u8, first: bool) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        b'.' if !first => ".".to_owned(),
        _ => format!("%{byte:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn name(key: &str) -> String {
        Key::new(key).unwrap().file_name()
    }

    #[test]
    fn a_plain_key_is_its_own_file_name() {
        assert_eq!(name("nightly-backup_2.db"), "nightly-backup_2.db");
    }

    #[test]
    fn a_key_never_leaves_the_directory_or_hides_in_it() {
        for (key, expected) in
            [("a/b", "a%2Fb"), ("..", "%2E."), (".x", "%2Ex"), ("%", "%25"), ("~", "%7E"), ("🦆", "%F0%9F%A6%86")]
        {
            assert_eq!(name(key), expected);
        }
    }

    #[test]
    fn long_keys_that_share_a_beginning_have_names_of_their_own() {
        let long = "é".repeat(500);
        let keys = [long.clone(), format!("{long}a"), format!("{long}b"), "x".repeat(201), "x".repeat(1000)];
        let names: HashSet<String> = keys.iter().map(|key| name(key)).collect();
        assert_eq!(names.len(), keys.len());
        assert!(names.iter().all(|name| name.len() <= FILE_NAME_LIMIT), "{names:?}");
        assert_eq!(name(&"x".repeat(200)).len(), 200);
    }

    #[test]
    fn refuses_what_no_store_could_name() {
        assert_eq!(Key::new("").unwrap_err(), InvalidKey::Empty);
        assert_eq!(Key::new("a\0b").unwrap_err(), InvalidKey::Nul);
        assert_eq!(Key::new("x".repeat(1025)).unwrap_err(), InvalidKey::TooLong(1025));
        assert!(Key::new("x".repeat(1024)).is_ok());
    }

    proptest! {
        #[test]
        fn different_keys_have_different_names(a in ".{1,300}", b in ".{1,300}") {
            if let (Ok(a), Ok(b)) = (Key::new(a), Key::new(b)) {
                prop_assert_eq!(a == b, a.file_name() == b.file_name());
                prop_assert!(a.file_name().len() <= FILE_NAME_LIMIT && !a.file_name().contains('/'));
            }
        }
    }
}
