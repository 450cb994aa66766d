//! Digests in headers (RFC 9530), and those of files that were asked for.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::http::Request;
use crate::thread::Stop;

pub(super) type Sha = [u8; 32];

/// So many are remembered.
const REMEMBERED: usize = 4_096;

/// Whether the client wants the SHA-256 of the file told.
pub(super) fn is_wanted(request: &Request<'_>) -> bool {
    let wanted = request.header("Want-Repr-Digest").unwrap_or("");
    wanted.split(',').any(|member| {
        let (name, weight) = member.split_once('=').unwrap_or((member, "1"));
        name.trim() == "sha-256" && weight.trim() != "0"
    })
}

/// The SHA-256 that the client says its file has.
///
/// # Errors
/// One that is none; digests of other kinds are left alone.
pub(super) fn announced(request: &Request<'_>) -> Result<Option<Sha>, &'static str> {
    let header = request.header("Repr-Digest").unwrap_or("");
    let member = header.split(',').find_map(|member| member.trim().strip_prefix("sha-256="));
    let Some(member) = member else { return Ok(None) };
    let decoded = member.strip_prefix(':').and_then(|rest| rest.strip_suffix(':')).and_then(|text| {
        let bytes = STANDARD.decode(text).ok()?;
        Sha::try_from(bytes.as_slice()).ok()
    });
    decoded.map(Some).ok_or("the Repr-Digest is no SHA-256")
}

/// The value of a `Repr-Digest` header.
pub(super) fn header(sha: &Sha) -> String {
    format!("sha-256=:{}:", STANDARD.encode(sha))
}

/// As people write it.
pub(super) fn hex(sha: &Sha) -> String {
    sha.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// From what [`hex`] wrote.
pub(super) fn from_hex(text: &str) -> Option<Sha> {
    let mut sha = Sha::default();
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in sha.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(sha)
}

/// The digests of files by their ETags, so that one that is fetched often is
/// read for it once.
#[derive(Debug, Default)]
pub(super) struct Digests {
    known: Mutex<HashMap<String, Sha>>,
}

impl Digests {
    /// Remembers one.
    pub(super) fn learn(&self, etag: &str, sha: Sha) {
        let mut known = self.known();
        if known.len() >= REMEMBERED {
            // Which ones go makes no difference to what is answered.
            known.clear();
        }
        known.insert(etag.to_owned(), sha);
    }

    /// The digest of a file: reads all of it, if it isn't known.
    pub(super) fn of(&self, file: &File, etag: &str, stop: &Stop) -> io::Result<Sha> {
        if let Some(sha) = self.known().get(etag) {
            return Ok(*sha);
        }
        let (mut hash, mut at) = (Sha256::new(), 0);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if stop.is_set() {
                return Err(io::Error::new(ErrorKind::Interrupted, "the server stops"));
            }
            match file.read_at(&mut buffer, at) {
                Ok(0) => break,
                Ok(read) => {
                    hash.update(&buffer[..read]);
                    at += read as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let sha = hash.finalize().into();
        self.learn(etag, sha);
        Ok(sha)
    }

    /// A map is whole whatever panics.
    fn known(&self) -> MutexGuard<'_, HashMap<String, Sha>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_goes_both_ways() {
        let sha = Sha::from(Sha256::digest(b"abc"));
        assert_eq!(from_hex(&hex(&sha)), Some(sha));
        assert_eq!(hex(&sha), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(header(&sha), "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:");
        assert_eq!(from_hex("ba"), None);
        assert_eq!(from_hex(&"é".repeat(32)), None);
    }
}
