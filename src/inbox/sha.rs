//! A SHA-256 in its three forms: bytes, hexadecimal digits, and headers (RFC 9530).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sha([u8; 32]);

impl Sha {
    /// From hexadecimal digits, as in towpath's JSON.
    pub(super) fn from_hex(hex: &str) -> Option<Sha> {
        let mut bytes = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Sha(bytes))
    }

    /// From a `Repr-Digest` header's value, which may have others beside it:
    /// `sha-256=:BASE64:` (RFC 9530, section 3).
    pub(super) fn from_header(value: &str) -> Option<Sha> {
        let item = value.split(',').find_map(|item| {
            let (name, value) = item.split_once('=')?;
            name.trim().eq_ignore_ascii_case("sha-256").then_some(value.trim())
        })?;
        let base64 = item.split(';').next()?.trim().strip_prefix(':')?.strip_suffix(':')?;
        Some(Sha(STANDARD.decode(base64).ok()?.try_into().ok()?))
    }

    /// The value of a `Repr-Digest` header.
    pub(super) fn to_header(self) -> String {
        format!("sha-256=:{}:", STANDARD.encode(self.0))
    }
}

impl From<Sha256> for Sha {
    /// Of all that was hashed.
    fn from(hash: Sha256) -> Sha {
        Sha(hash.finalize().into())
    }
}

impl fmt::Display for Sha {
    /// In hexadecimal digits, as `sha256sum` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_digest_goes_both_ways() {
        let sha = Sha::from(Sha256::new_with_prefix("abc"));
        assert_eq!((sha.to_string().as_str(), Sha::from_hex(ABC)), (ABC, Some(sha)));
        assert_eq!(sha.to_header(), "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:");
        assert_eq!(Sha::from_header(&sha.to_header()), Some(sha));
    }

    #[test]
    fn a_digest_is_read_from_json_and_from_headers() {
        let sha = Sha::from_hex(ABC).unwrap();
        assert_eq!(sha.to_string(), ABC);
        let value = "unixsum=30637, sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:;x=1, sha-512=:YWJj:";
        assert_eq!(Sha::from_header(value), Some(sha));
        for bad in ["", "sha-256=ungW", "sha-256=:abc:", "sha-512=:YWJj:", "sha-256=:!!:"] {
            assert_eq!(Sha::from_header(bad), None, "{bad}");
        }
        assert_eq!(Sha::from_hex(&ABC[1..]), None);
        assert_eq!(Sha::from_hex(&ABC.replace('a', "g")), None);
    }
}
