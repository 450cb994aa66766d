//! Asking for a lock.

use std::time::Duration;

use crate::store::{Claim, Key};

/// Which lock is wanted, and what its record shall say.
#[derive(Clone, Debug)]
pub struct Request {
    key: Key,
    claim: Claim,
}

impl Request {
    /// Asks for `key`, with all else at its default.
    pub fn new(key: Key) -> Request {
        Request { key, claim: Claim::default() }
    }

    /// How long a lock that lapses by itself outlives its last renewal. Defaults
    /// to 30 s. A file lock ends with its last descriptor and ignores it.
    pub fn ttl(mut self, ttl: Duration) -> Request {
        self.claim.ttl = ttl;
        self
    }

    /// How long the lock stays taken at least, counted from when it was
    /// acquired, even if the holder releases it, ends or is killed. Defaults to
    /// zero.
    pub fn hold_at_least(mut self, duration: Duration) -> Request {
        self.claim.hold_at_least = duration;
        self
    }

    /// What will be run, for the holder's record; cut after 4,096 bytes. Anyone
    /// who may read the store can read it. Defaults to nothing.
    pub fn command(mut self, command: impl Into<String>) -> Request {
        self.claim.command = command.into();
        self
    }

    /// Where it can be watched, for the holder's record. Defaults to none.
    pub fn url(mut self, url: impl Into<String>) -> Request {
        self.claim.url = Some(url.into());
        self
    }

    /// The key asked for.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// How long it outlives its last renewal, if it lapses: see [`Request::ttl`].
    pub fn ttl_wanted(&self) -> Duration {
        self.claim.ttl
    }

    pub(super) fn claim(&self) -> &Claim {
        &self.claim
    }
}
