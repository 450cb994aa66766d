//! Digests in headers (RFC 9530), and those of files that were asked for.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use crate::http::Request;
use crate::inbox::Sha;
use crate::thread::Stop;

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
    if !header.split(',').any(|member| member.trim().starts_with("sha-256=")) {
        return Ok(None);
    }
    Sha::from_header(header).map(Some).ok_or("the Repr-Digest is no SHA-256")
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
        let sha = Sha::from(hash);
        self.learn(etag, sha);
        Ok(sha)
    }

    /// A map is whole whatever panics.
    fn known(&self) -> MutexGuard<'_, HashMap<String, Sha>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
