//! The SHA-256 of a file while it is written, on a thread of its own.
//!
//! The thread reads what was written back from the file, so that it needs no
//! copy of it and never holds up who writes; and what it hashes is what is
//! there. The bytes are still in the system's cache, unless the disk is faster
//! than the hash.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Sender, bounded};
use sha2::{Digest, Sha256};

use crate::inbox::Sha;
use crate::thread::{Stop, Worker, spawn};

const BUFFER_BYTES: usize = 64 * 1024;

/// A hash in the making. Dropped, it is given up.
#[derive(Debug)]
pub(super) struct Hasher {
    written: Arc<AtomicU64>,
    /// One nudge is enough: it means "look again". Disconnected: that was all.
    nudge: Sender<()>,
    worker: Worker<io::Result<Sha>>,
}

impl Hasher {
    /// Hashes the file from its beginning, as far as it is said to be written.
    pub(super) fn start(file: File, written: u64) -> io::Result<Hasher> {
        let (nudge, nudged) = bounded::<()>(1);
        let written = Arc::new(AtomicU64::new(written));
        let there = Arc::clone(&written);
        let worker = spawn("sha256", move |stop| {
            let mut hash = Sha256::new();
            let mut buffer = vec![0; BUFFER_BYTES];
            let mut at = 0;
            loop {
                let is_all = nudged.recv().is_err();
                at = catch_up(&file, &mut hash, &mut buffer, at, &there, stop)?;
                if is_all {
                    return Ok(Sha::from(hash));
                }
            }
        })?;
        let hasher = Hasher { written, nudge, worker };
        hasher.look();
        Ok(hasher)
    }

    /// So much of the file is written.
    pub(super) fn written(&self, bytes: u64) {
        self.written.store(bytes, Ordering::Release);
        self.look();
    }

    /// Waits until all of it is hashed: as long as that takes, for what the
    /// thread is behind.
    pub(super) fn finish(self) -> io::Result<Sha> {
        let Hasher { nudge, worker, .. } = self;
        drop(nudge);
        worker.join().map_err(io::Error::other)?
    }

    fn look(&self) {
        // Full: it will look anyway. Disconnected: `finish` tells why.
        let _ = self.nudge.try_send(());
    }
}

fn catch_up(
    file: &File,
    hash: &mut Sha256,
    buffer: &mut [u8],
    mut at: u64,
    written: &AtomicU64,
    stop: &Stop,
) -> io::Result<u64> {
    loop {
        let left = written.load(Ordering::Acquire) - at;
        if left == 0 {
            return Ok(at);
        }
        if stop.is_set() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the file was given up"));
        }
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match file.read_at(&mut buffer[..room], at) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file was cut by somebody else")),
            Ok(read) => {
                hash.update(&buffer[..read]);
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
