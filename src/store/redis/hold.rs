//! A lock in Redis that was taken.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::contract::{Hold, Loss, Renewal};
use super::super::{Error, Key};
use super::lane::Answers;
use super::names::Names;
use super::nodes::{Nodes, count, drift, is_done, patience, value};
use super::script::{Answer, Ask};
use crate::clock::Moment;

/// Ours until `valid_until`, and longer with each renewal.
#[derive(Debug)]
pub(super) struct RedisHold {
    pub(super) nodes: Arc<Nodes>,
    pub(super) key: Key,
    pub(super) names: Arc<Names>,
    /// What only we know: who has it has the lock.
    pub(super) value: String,
    /// What the record says of us.
    pub(super) words: String,
    pub(super) fence: u64,
    pub(super) ttl: Duration,
    /// Until when it stays taken at least.
    pub(super) keep_until: Moment,
    valid_until_ns: AtomicU64,
    lost: Mutex<Option<Loss>>,
}

/// What a try has won.
pub(super) struct Won {
    pub(super) value: String,
    pub(super) words: String,
    pub(super) fence: u64,
    pub(super) ttl: Duration,
    pub(super) keep_until: Moment,
    /// Before the first node was asked.
    pub(super) asked: Moment,
}

impl RedisHold {
    pub(super) fn new(nodes: Arc<Nodes>, key: Key, names: Arc<Names>, won: Won) -> RedisHold {
        let Won { value, words, fence, ttl, keep_until, asked } = won;
        let valid_until_ns = AtomicU64::new(valid_until(asked, ttl).since_boot_ns());
        RedisHold { nodes, key, names, value, words, fence, ttl, keep_until, valid_until_ns, lost: Mutex::new(None) }
    }

    /// How long the keys shall live from now on.
    fn ttl_ms(&self) -> u64 {
        whole_ms(self.ttl.max(self.keep_until.remaining()))
    }

    fn lose(&self, loss: Loss) -> Renewal {
        Renewal::Lost(value(&self.lost).get_or_insert(loss).clone())
    }

    /// Takes the lock again on nodes where it is gone, as a node that restarted
    /// empty: only while a majority has it provably.
    fn restore(&self, answers: &Answers) {
        let gone = |at: usize| matches!(answers.get(at), Some(Some(Ok(Answer::Gone))));
        if !(0..self.nodes.count()).any(gone) || self.valid_until().has_passed() {
            return;
        }
        let ask = |at| {
            gone(at).then(|| Ask::Restore {
                value: self.value.clone(),
                ttl_ms: self.ttl_ms(),
                words: self.words.clone(),
                fence: self.fence,
            })
        };
        // Whether it works out is seen at the next renewal; nobody waits for it.
        self.nodes.renewals.tell(ask, &self.names, patience(self.ttl));
    }
}

impl Hold for RedisHold {
    fn fence(&self) -> u64 {
        self.fence
    }

    fn valid_until(&self) -> Moment {
        Moment::from_since_boot_ns(self.valid_until_ns.load(Ordering::Acquire))
    }

    fn renew(&self) -> Result<Renewal, Error> {
        if let Err(loss) = self.check() {
            return Ok(Renewal::Lost(loss));
        }
        let asked = Moment::now();
        if self.valid_until() <= asked {
            return Ok(self.lose(Loss::Lapsed));
        }
        let ask = Ask::Renew { value: self.value.clone(), ttl_ms: self.ttl_ms() };
        let decided = |answers: &Answers| self.nodes.decided(answers, is_done);
        let answers = self.nodes.renewals.ask_and_linger(&ask, &self.names, patience(self.ttl), decided);
        if count(&answers, is_done) >= self.nodes.majority() {
            self.valid_until_ns.store(valid_until(asked, self.ttl).since_boot_ns(), Ordering::Release);
            self.restore(&answers);
            return Ok(Renewal::Kept);
        }
        let no = count(&answers, |answer| !is_done(answer));
        if no > self.nodes.count() - self.nodes.majority() {
            let others = count(&answers, |answer| *answer == Answer::Others) > 0;
            return Ok(self.lose(if others { Loss::Taken } else { Loss::Deleted }));
        }
        Err(self.nodes.unreachable(answers))
    }

    fn check(&self) -> Result<(), Loss> {
        value(&self.lost).clone().map_or(Ok(()), Err)
    }

    fn descriptor(&self) -> io::Result<Option<OwnedFd>> {
        Ok(None)
    }

    fn give_back(&self) -> Result<(), Error> {
        let in_time = !self.valid_until().has_passed();
        let ask = Ask::GiveBack { value: self.value.clone(), keep_ms: whole_ms(self.keep_until.remaining()) };
        let decided = |answers: &Answers| self.nodes.decided(answers, is_done);
        let answers = self.nodes.calls.ask(&ask, &self.names, patience(self.ttl), decided);
        if count(&answers, is_done) >= self.nodes.majority() {
            return Ok(());
        }
        if count(&answers, |answer| !is_done(answer)) >= self.nodes.majority() {
            let how = if in_time { "it was deleted or taken from us" } else { "it had lapsed" };
            return Err(Error::lost(format!(
                "the lock {} was no longer ours when it was given back: {how}; another may have run at the same time",
                self.key
            )));
        }
        Err(self.nodes.unreachable(answers))
    }
}

fn valid_until(asked: Moment, ttl: Duration) -> Moment {
    asked + ttl.saturating_sub(drift(ttl))
}

/// Rounded up, so that nothing is kept for less than was asked for.
pub(super) fn whole_ms(duration: Duration) -> u64 {
    // More than Redis takes for an expiry would be refused.
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).min(LONGEST_MS)
}

/// Three hundred years: Redis counts expiry in milliseconds since 1970, in 63 bits.
const LONGEST_MS: u64 = 300 * 365 * 24 * 3600 * 1000;
