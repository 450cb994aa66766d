//! Deadlines of one's own, in Redis: set, taken back, listed; claimed when they
//! are due, acknowledged when they are handled.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{Connection, RedisResult, Script, ScriptInvocation};

use super::Error;
use super::entry::Entry;
use super::group::{Group, Shard};
use super::script::SCRIPTS;
use crate::store::{Servers, StoreUrl, random_id};

/// How long one ask of Redis may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The latest due time, in Unix milliseconds: the end of the year 9999.
const LATEST_MS: u64 = 253_402_300_799_999;

/// When a deadline falls due. Redis' clock decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// So long after Redis takes it, in whole milliseconds.
    In(Duration),
    /// At this time; at once if it is past.
    At(SystemTime),
}

/// A deadline to be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadline {
    key: Vec<u8>,
    due: Due,
    payload: Vec<u8>,
}

/// A deadline that can't be set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDeadline {
    /// The key is empty or too long.
    #[error("a deadline's key has 1 to {max} bytes, and this one {0}", max = Deadline::MAX_KEY_BYTES)]
    Key(usize),
    /// The payload is too large.
    #[error("a payload of {0} bytes is too large; keep at most {max} and put the rest elsewhere", max = Deadline::MAX_PAYLOAD_BYTES)]
    Payload(usize),
    /// The time can't be told.
    #[error("the time is before 1970 or after 9999")]
    Due,
}

impl Deadline {
    /// The longest key, in bytes.
    pub const MAX_KEY_BYTES: usize = 4096;
    /// The largest payload, in bytes.
    pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

    /// A deadline for `key`, with `payload` for its handler.
    ///
    /// # Errors
    /// A part of it is beyond its limit: [`InvalidDeadline`].
    pub fn new(key: impl Into<Vec<u8>>, due: Due, payload: impl Into<Vec<u8>>) -> Result<Deadline, InvalidDeadline> {
        let (key, payload) = (key.into(), payload.into());
        if key.is_empty() || key.len() > Deadline::MAX_KEY_BYTES {
            return Err(InvalidDeadline::Key(key.len()));
        }
        if payload.len() > Deadline::MAX_PAYLOAD_BYTES {
            return Err(InvalidDeadline::Payload(payload.len()));
        }
        let ms = match due {
            Due::In(after) => u64::try_from(after.as_millis()).ok(),
            Due::At(time) => time.duration_since(UNIX_EPOCH).ok().and_then(|t| u64::try_from(t.as_millis()).ok()),
        };
        if ms.is_none_or(|ms| ms > LATEST_MS / 2 && matches!(due, Due::In(_)) || ms > LATEST_MS) {
            return Err(InvalidDeadline::Due);
        }
        Ok(Deadline { key, due, payload })
    }
}

/// What taking a deadline back came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// There was none for this key.
    None,
    /// It won't be handled.
    Yes,
    /// Its handler was running already; it won't be tried again.
    WhileHandled,
}

/// What was claimed of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// What is due, to be handled and acknowledged.
    pub entries: Vec<Entry>,
    /// Redis' clock then, in Unix milliseconds.
    pub now_ms: u64,
    /// How long until the next falls due; `None` if nothing is pending.
    pub next_in: Option<Duration>,
}

/// The deadlines of one group, for one thread: clone it for others.
///
/// At least once: what [`Deadlines::set`] has returned `Ok` for is claimed, again
/// and again, until it is acknowledged, cancelled, or failed for good; as long as
/// Redis keeps its data. Each call blocks for at most 5 s for each of the
/// group's 8 shards.
#[derive(Clone, Debug)]
pub struct Deadlines {
    servers: Servers,
    group: Group,
}

impl Deadlines {
    /// The deadlines of `group` in the store that `url` names. Connects nowhere yet.
    ///
    /// # Errors
    /// [`Error::is_unfit`] if that is a directory or a quorum;
    /// [`Error::is_unreachable`] if a file that it is opened with can't be read.
    pub fn open(url: &StoreUrl, group: Group) -> Result<Deadlines, Error> {
        Ok(Deadlines { servers: Servers::open(url, "deadlines")?, group })
    }

    pub(super) fn over(servers: Servers, group: Group) -> Deadlines {
        Deadlines { servers, group }
    }

    /// Sets a deadline, in place of one that the key has in this group. The due
    /// time that Redis made of it, in Unix milliseconds.
    ///
    /// # Errors
    /// [`Error::is_unreachable`]: it may have been set, unless Redis refused it.
    pub fn set(&mut self, deadline: &Deadline) -> Result<u64, Error> {
        let due = self.set_all(std::slice::from_ref(deadline))?;
        Ok(due.first().copied().unwrap_or_default())
    }

    /// Sets many, with few round trips. Their due times, in their order.
    ///
    /// # Errors
    /// As [`Deadlines::set`]; some may have been set.
    pub fn set_all(&mut self, deadlines: &[Deadline]) -> Result<Vec<u64>, Error> {
        let mut dues = vec![0; deadlines.len()];
        let shard_of: Vec<Shard> = deadlines.iter().map(|deadline| self.group.shard_of(&deadline.key)).collect();
        for shard in self.group.shards() {
            let of_shard: Vec<usize> = (0..deadlines.len()).filter(|at| shard_of[*at] == shard).collect();
            // A script of bounded length, and a server that others get to in between.
            for some in of_shard.chunks(64) {
                let ids = some.iter().map(|_| random_id()).collect::<Result<Vec<_>, _>>()?;
                let channel = self.group.channel();
                let told: Vec<u64> = self.ask(&shard, &SCRIPTS.set, |ask| {
                    ask.arg(&channel);
                    for (at, id) in some.iter().zip(&ids) {
                        let deadline = &deadlines[*at];
                        let (mode, ms) = match deadline.due {
                            Due::In(after) => ("in", after.as_millis()),
                            Due::At(time) => ("at", time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()),
                        };
                        let ms = u64::try_from(ms).unwrap_or(LATEST_MS);
                        ask.arg(Entry::member_of_deadline(&deadline.key)).arg(id);
                        ask.arg(mode).arg(ms).arg(deadline.payload.as_slice());
                    }
                })?;
                some.iter().zip(told).for_each(|(at, due)| dues[*at] = due);
            }
        }
        Ok(dues)
    }

    /// Takes a key's deadline back, and drops what has failed for good of the key,
    /// its expiries too.
    ///
    /// # Errors
    /// [`Error::is_unreachable`].
    pub fn cancel(&mut self, key: &[u8]) -> Result<Cancelled, Error> {
        let shard = self.group.shard_of(key);
        let member = Entry::member_of_deadline(key);
        let answer: i64 = self.ask(&shard, &SCRIPTS.cancel, |ask| {
            ask.arg(member.as_slice()).arg(key);
        })?;
        Ok(match answer {
            0 => Cancelled::None,
            1 => Cancelled::Yes,
            _ => Cancelled::WhileHandled,
        })
    }

    /// What is to be handled, at most `limit` entries, the soonest first: deadlines
    /// to come, and all that is due or being handled.
    ///
    /// # Errors
    /// [`Error::is_unreachable`].
    pub fn pending(&mut self, limit: usize) -> Result<Vec<Entry>, Error> {
        self.list(limit, "")
    }

    /// What has failed for good, about `limit` entries at most; it stays until it
    /// is cancelled or set anew.
    ///
    /// # Errors
    /// [`Error::is_unreachable`].
    pub fn failed(&mut self, limit: usize) -> Result<Vec<Entry>, Error> {
        self.list(limit, "failed")
    }

    fn list(&mut self, limit: usize, which: &str) -> Result<Vec<Entry>, Error> {
        let mut all = Vec::new();
        for shard in self.group.shards() {
            let answer: Vec<Vec<u8>> = self.ask(&shard, &SCRIPTS.pending, |ask| {
                ask.arg(limit.max(1)).arg(which);
            })?;
            all.extend(entries(answer.into_iter().skip(1)));
        }
        all.sort_by(|a: &Entry, b: &Entry| (a.due_ms, &a.key).cmp(&(b.due_ms, &b.key)));
        all.truncate(limit);
        Ok(all)
    }

    /// Claims what is due in the whole group, at most `many` entries of each shard,
    /// for the holder of `fence`. A claim lasts for `visibility`: what isn't acknowledged by
    /// then is due again. A larger fence takes over at once what smaller ones have
    /// claimed. `None`: a larger one has claimed; we don't lead any more.
    ///
    /// # Errors
    /// [`Error::is_unreachable`]; what was claimed all the same is due again after `visibility`.
    pub fn claim(&mut self, fence: u64, visibility: Duration, many: usize) -> Result<Option<Claims>, Error> {
        let mut claims = Claims { entries: Vec::new(), now_ms: 0, next_in: None };
        for shard in self.group.shards() {
            let Some(of_shard) = self.claim_of(&shard, fence, visibility, many)? else { return Ok(None) };
            claims.entries.extend(of_shard.entries);
            claims.now_ms = claims.now_ms.max(of_shard.now_ms);
            claims.next_in = claims.next_in.into_iter().chain(of_shard.next_in).min();
        }
        Ok(Some(claims))
    }

    pub(super) fn claim_of(
        &mut self,
        shard: &Shard,
        fence: u64,
        visibility: Duration,
        many: usize,
    ) -> Result<Option<Claims>, Error> {
        let visibility_ms = u64::try_from(visibility.as_millis()).unwrap_or(LATEST_MS);
        let answer: Vec<Vec<u8>> = self.ask(shard, &SCRIPTS.claim, |ask| {
            ask.arg(fence).arg(visibility_ms).arg(many);
        })?;
        let mut answer = answer.into_iter();
        let (Some(now), Some(next)) = (answer.next(), answer.next()) else { return Ok(None) };
        let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<u64>().ok();
        let now = number(&now).unwrap_or_default();
        let next_in = number(&next).map(|next| Duration::from_millis(next.saturating_sub(now)));
        Ok(Some(Claims { entries: entries(answer).collect(), now_ms: now, next_in }))
    }

    /// Says that these were handled: they are over. One that was set anew or
    /// cancelled meanwhile is left as it is.
    ///
    /// # Errors
    /// [`Error::is_unreachable`]; they may be handled again, with the same ids.
    pub fn acknowledge<'e>(&mut self, handled: impl IntoIterator<Item = &'e Entry>) -> Result<(), Error> {
        let mut of_shard: Vec<Vec<&Entry>> = self.group.shards().iter().map(|_| Vec::new()).collect();
        for entry in handled {
            of_shard[usize::from(self.group.shard_of(&entry.key).number)].push(entry);
        }
        for (shard, entries) in self.group.shards().into_iter().zip(of_shard) {
            for some in entries.chunks(128) {
                let _: i64 = self.ask(&shard, &SCRIPTS.acknowledge, |ask| {
                    for entry in some {
                        ask.arg(entry.member.as_slice()).arg(&entry.id);
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Says that handling it failed: it is due again after `pause`, or never if
    /// that is `None`, and is listed by [`Deadlines::failed`].
    ///
    /// # Errors
    /// [`Error::is_unreachable`]; it is due again when its claim is over.
    pub fn fail(&mut self, entry: &Entry, pause: Option<Duration>) -> Result<(), Error> {
        let shard = self.group.shard_of(&entry.key);
        let pause = pause.map_or("final".to_owned(), |pause| pause.as_millis().to_string());
        let _: i64 = self.ask(&shard, &SCRIPTS.fail, |ask| {
            ask.arg(entry.member.as_slice()).arg(&entry.id).arg(entry.attempts + 1).arg(&pause);
        })?;
        Ok(())
    }

    /// Asks a shard's server by a script with these arguments.
    pub(super) fn ask<T: redis::FromRedisValue>(
        &mut self,
        shard: &Shard,
        script: &Script,
        arguments: impl Fn(&mut ScriptInvocation<'_>),
    ) -> Result<T, Error> {
        let keys = shard.keys();
        let question = |connection: &mut Connection| -> RedisResult<T> {
            let mut ask = script.prepare_invoke();
            keys.iter().for_each(|key| {
                ask.key(key);
            });
            arguments(&mut ask);
            ask.invoke(connection)
        };
        self.servers.ask(shard.tag(), PATIENCE, question)
    }

    pub(super) fn group(&self) -> &Group {
        &self.group
    }
}

/// Members and their values, one after the other.
fn entries(mut pairs: impl Iterator<Item = Vec<u8>>) -> impl Iterator<Item = Entry> {
    std::iter::from_fn(move || Some((pairs.next()?, pairs.next()?)))
        .filter_map(|(member, value)| Entry::read(member, &value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_its_limit_is_refused() {
        let due = Due::In(Duration::from_secs(1));
        let made = |key: usize, payload: usize| Deadline::new(vec![b'k'; key], due, vec![0; payload]).map(drop);
        assert_eq!(made(4096, 64 * 1024), Ok(()));
        assert_eq!(made(0, 0), Err(InvalidDeadline::Key(0)));
        assert_eq!(made(4097, 0), Err(InvalidDeadline::Key(4097)));
        assert_eq!(made(1, 65_537), Err(InvalidDeadline::Payload(65_537)));
        for due in [Due::In(Duration::MAX), Due::At(UNIX_EPOCH - Duration::from_secs(1))] {
            assert_eq!(Deadline::new("k", due, ""), Err(InvalidDeadline::Due));
        }
        assert!(Deadline::new("k", Due::At(UNIX_EPOCH), "").is_ok());
    }
}
