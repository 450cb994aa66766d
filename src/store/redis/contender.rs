//! One who wants a lock in Redis.

use std::sync::Arc;
use std::time::Duration;

use super::super::contract::{Attempt, Claim, Contender, Holder};
use super::super::now::Now;
use super::super::record::Record;
use super::super::{Error, Key};
use super::ear::Ear;
use super::hold::{RedisHold, Won, whole_ms};
use super::lane::Answers;
use super::names::Names;
use super::nodes::{Nodes, count, drift, holder, is_done, patience, random_value, sightings};
use super::script::{Answer, Ask, Seen};
use crate::clock::Moment;
use crate::thread::Stop;

/// How often it is looked where nobody tells that a lock was let go: another
/// client's, or a server that permits us no channel.
const POLL: Duration = Duration::from_millis(200);

/// At most so long a contender of a quorum steps back when nobody won.
const STEP_BACK_MS: u64 = 40;

/// Tries, and waits.
#[derive(Debug)]
pub(super) struct RedisContender {
    nodes: Arc<Nodes>,
    key: Key,
    names: Arc<Names>,
    ear: Option<Ear>,
    /// When it may come free without anybody telling us.
    try_again_at: Moment,
}

impl RedisContender {
    pub(super) fn new(nodes: Arc<Nodes>, key: Key) -> RedisContender {
        let names = Arc::new(Names::of(&key));
        RedisContender { nodes, key, names, ear: None, try_again_at: Moment::NEVER }
    }

    /// What a majority of answers wins; `asked` is before the first was asked.
    fn win(&self, claim: &Claim, try_of: Try, answers: &Answers) -> Result<Attempt, Error> {
        let fence = answers.iter().flatten().flatten().filter_map(|answer| match answer {
            Answer::Done { fence } => *fence,
            _ => None,
        });
        let fence = fence.max().unwrap_or_default();
        if self.nodes.count() > 1
            && let Err(error) = self.raise(&try_of, fence, claim)
        {
            self.let_go(&try_of.value, claim.ttl);
            return Err(error);
        }
        let Try { value, words, asked, keep_until } = try_of;
        if asked.elapsed() + drift(claim.ttl) > claim.ttl / 2 {
            self.let_go(&value, claim.ttl);
            return Err(Error::unreachable(format!(
                "taking the lock {} took {} ms, too much of its ttl; ask for a longer one",
                self.key,
                asked.elapsed().as_millis()
            )));
        }
        let won = Won { value, words, fence, ttl: claim.ttl, keep_until, asked };
        let hold = RedisHold::new(Arc::clone(&self.nodes), self.key.clone(), Arc::clone(&self.names), won);
        Ok(Attempt::Taken(Box::new(hold)))
    }

    /// Writes the largest fence back before it is used: any later majority has
    /// one of the nodes that have it, and so gets a larger one. A node whose
    /// answer is still to come is told too, after it was asked.
    fn raise(&self, try_of: &Try, fence: u64, claim: &Claim) -> Result<(), Error> {
        let ask = Ask::Raise { value: try_of.value.clone(), ttl_ms: ttl_ms(claim), words: try_of.words.clone(), fence };
        let decided = |answers: &Answers| self.nodes.decided(answers, is_done);
        let answers = self.nodes.calls.ask(&ask, &self.names, patience(claim.ttl), decided);
        if count(&answers, is_done) >= self.nodes.majority() {
            return Ok(());
        }
        Err(self.nodes.unreachable(answers))
    }

    /// What no majority comes to: somebody else's lock, or nothing to say.
    fn lose(&mut self, answers: Answers, claim: &Claim, value: &str) -> Result<Attempt, Error> {
        let won = count(&answers, is_done);
        let failed = answers.iter().any(|answer| !matches!(answer, Some(Ok(_))));
        if won > 0 || failed {
            // Also where an answer may have been lost on its way. Only what is ours goes.
            self.let_go(value, claim.ttl);
        }
        let seen: Vec<_> = sightings(&answers).collect();
        let heard = count(&answers, |_| true);
        if heard < self.nodes.majority() {
            return Err(self.nodes.unreachable(answers));
        }
        let holders = seen.iter().map(|seen| holder(&self.key, seen)).collect::<Result<Vec<_>, _>>()?;
        // Of several, the one that most nodes have; of it, the last that was written.
        let often = |seen: &Seen| seen_as_often(&answers, &seen.value);
        let fence = |holder: &Holder| holder.record.as_ref().map(|record| record.fence);
        let most = seen.iter().zip(holders).max_by_key(|(seen, holder)| (often(seen), fence(holder)));
        let Some((sighting, holder)) = most else { return Err(self.nodes.unreachable(answers)) };
        let settled = often(sighting) >= self.nodes.majority();
        self.try_again_at = match (settled, holder.record.is_some(), holder.free_at) {
            (true, true, Some(free_at)) => free_at,
            (true, true, None) => Moment::NEVER,
            (true, false, free_at) => (Moment::now() + POLL).min(free_at.unwrap_or(Moment::NEVER)),
            // Nobody won: all step back for a while, each for another.
            (false, ..) => Moment::now() + Duration::from_millis(step_back()),
        };
        Ok(Attempt::Held(holder))
    }

    fn let_go(&self, value: &str, ttl: Duration) {
        let ask = Ask::GiveBack { value: value.to_owned(), keep_ms: 0 };
        // What can't be told lapses by itself.
        let decided = |answers: &Answers| answers.iter().all(Option::is_some);
        let _: Answers = self.nodes.calls.ask(&ask, &self.names, patience(ttl) / 4, decided);
    }
}

/// One try.
struct Try {
    value: String,
    words: String,
    asked: Moment,
    keep_until: Moment,
}

impl Contender for RedisContender {
    fn try_take(&mut self, claim: &Claim) -> Result<Attempt, Error> {
        let value = random_value()?;
        let words = Record::new(&self.key, claim, None, &Now::of_clocks()).to_json().to_string();
        let asked = Moment::now();
        let try_of = Try { value: value.clone(), words, asked, keep_until: asked + claim.hold_at_least };
        let ask = Ask::Take { value: value.clone(), ttl_ms: ttl_ms(claim), words: try_of.words.clone() };
        let decided = |answers: &Answers| self.nodes.decided(answers, is_done);
        let answers = self.nodes.calls.ask(&ask, &self.names, patience(claim.ttl), decided);
        if count(&answers, is_done) >= self.nodes.majority() {
            return self.win(claim, try_of, &answers);
        }
        self.lose(answers, claim, &value)
    }

    fn wait_for_change(&mut self, until: Moment, stop: &Stop) {
        let until = self.try_again_at.min(until);
        if self.ear.is_none() {
            // It rings when it hears, so that the next try misses nothing.
            self.ear = random_value()
                .ok()
                .and_then(|random| Ear::new(&self.nodes, &self.names, format!("towpath:ear:{random}")).ok());
        }
        match &self.ear {
            Some(ear) => ear.wait(until.min(ear_may_be_deaf()), stop),
            None => {
                let left = until.remaining().min(POLL);
                // Broken off or not, the caller looks why.
                let _ = stop.sleep(left);
            }
        }
    }
}

/// A server may permit no channel to us, or lose a message in a failover: even
/// then nobody waits much longer than for what is told.
fn ear_may_be_deaf() -> Moment {
    Moment::now() + Duration::from_secs(5)
}

fn seen_as_often(answers: &Answers, value: &[u8]) -> usize {
    sightings(answers).filter(|seen| seen.value == value).count()
}

fn ttl_ms(claim: &Claim) -> u64 {
    whole_ms(claim.ttl.max(claim.hold_at_least))
}

fn step_back() -> u64 {
    // Without randomness there was no value to try with either.
    random_value().ok().and_then(|random| u64::from_str_radix(&random[..4], 16).ok()).unwrap_or(0) % STEP_BACK_MS
}
