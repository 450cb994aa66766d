//! SHA-256 beside a transfer: one thread, fed with what passes.

use std::io;

use crossbeam_channel::{Receiver, Sender, bounded};
use sha2::{Digest, Sha256};

use super::Sha;
use crate::thread::{Worker, spawn};

/// What asks a server for a digest of what is transferred.
pub(super) const WANT: (&str, &str) = ("Want-Repr-Digest", "sha-256=10");

/// Buffers on their way to the hash, and on their way back.
const QUEUE: usize = 4;

/// A thread that hashes what is fed to it, contents one after the other. Its
/// queue is bounded: who feeds faster than it hashes waits.
pub(super) struct Hashing {
    worker: Worker<Vec<Sha>>,
    lane: Lane,
}

/// A way to the hash. The last one dropped ends it.
#[derive(Clone)]
pub(super) struct Lane {
    queue: Sender<Order>,
    spare: Receiver<Vec<u8>>,
}

enum Order {
    Bytes(Vec<u8>),
    /// This content is at its end.
    End,
}

impl Hashing {
    pub(super) fn start() -> io::Result<Hashing> {
        let (queue, orders) = bounded(QUEUE);
        let (back, spare) = bounded(QUEUE);
        let worker = spawn("hash", move |_| {
            let mut done = Vec::new();
            let mut hash = Sha256::new();
            // It ends when nobody can feed it any more.
            for order in orders {
                match order {
                    Order::Bytes(bytes) => {
                        hash.update(&bytes);
                        // One too many is dropped.
                        let _: Result<(), crossbeam_channel::TrySendError<Vec<u8>>> = back.try_send(bytes);
                    }
                    Order::End => done.push(Sha::from(std::mem::take(&mut hash))),
                }
            }
            done
        })?;
        Ok(Hashing { worker, lane: Lane { queue, spare } })
    }

    pub(super) fn lane(&self) -> Lane {
        self.lane.clone()
    }

    /// The digests of the contents that were ended, in their order. Blocks until
    /// what was fed is hashed and all other lanes are dropped.
    ///
    /// # Errors
    /// The thread died.
    pub(super) fn finish(self) -> io::Result<Vec<Sha>> {
        drop(self.lane);
        match self.worker.join() {
            Ok(done) => Ok(done),
            Err(panic) => {
                panic.log();
                Err(io::Error::other("the thread that hashes died"))
            }
        }
    }
}

impl Lane {
    pub(super) fn feed(&self, bytes: &[u8]) {
        let mut buffer = self.spare.try_recv().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        self.send(Order::Bytes(buffer));
    }

    pub(super) fn end(&self) {
        self.send(Order::End);
    }

    fn send(&self, order: Order) {
        // If its thread died, `finish` tells.
        let _: Result<(), crossbeam_channel::SendError<Order>> = self.queue.send(order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn contents_are_hashed_one_after_the_other() {
        let hashing = Hashing::start().unwrap();
        let lane = hashing.lane();
        lane.feed(b"a");
        lane.feed(b"bc");
        lane.end();
        lane.end();
        drop(lane);
        let done = hashing.finish().unwrap();
        assert_eq!(done[0].to_string(), ABC);
        assert!(done[1].to_string().starts_with("e3b0c442"));
        assert_eq!(done.len(), 2);
    }
}
