//! What a relay's writer asks of Redis: scripts that heed the fence.
//!
//! Each may be asked twice, because an answer may be lost: the second time it
//! finds what the first has done.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{Connection, RedisResult, Script};

use super::keys::Keys;
use super::{KEPT, LEFT_TO_READERS, alive_for};
use crate::store::{Error, Servers};

/// How long one question may take in all.
const WITHIN: Duration = Duration::from_secs(2);

// KEYS: the last run's hash, what lives as long as its writer, its stream. `pcall`
// gives a table for an error, which is the answer then.

/// ARGV: fence, the run as JSON, how long a writer counts as alive, how long the
/// run is kept. Answers 0 if a later run is there, or the stream of the run before.
const BEGIN: &str = "
local last = redis.pcall('HGET', KEYS[1], 'fence')
if type(last) == 'table' then return last end
local before = ''
if last then
  if tonumber(last) > tonumber(ARGV[1]) then return 0 end
  before = redis.call('HGET', KEYS[1], last == ARGV[1] and 'before' or 'stream') or ''
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'run', ARGV[2], 'stream', KEYS[3], 'before', before)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
return before
";

/// ARGV: fence, how long a writer counts as alive, how long the run is kept, the
/// entry's id, the oldest to be kept, its fields; nothing after the third for a
/// sign of life. A full Redis refuses the entry, and not the sign of life; after a
/// script's first write it would refuse nothing, so the entry comes first.
const APPEND: &str = "
local fence = redis.pcall('HGET', KEYS[1], 'fence')
if type(fence) == 'table' then return fence end
if fence ~= ARGV[1] then
  if fence and tonumber(fence) > tonumber(ARGV[1]) then return 2 end
  return 0
end
local done = 1
if #ARGV > 3 then
  done = redis.pcall('XADD', KEYS[3], 'MINID', '~', ARGV[5], ARGV[4], unpack(ARGV, 6))
  if type(done) ~= 'table' or string.find(done['err'], 'equal or smaller', 1, true) then done = 1 end
end
if redis.call('PEXPIRE', KEYS[2], ARGV[2]) == 0 then redis.pcall('SET', KEYS[2], ARGV[1], 'PX', ARGV[2]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[3])
return done
";

static SCRIPTS: LazyLock<[Script; 2]> = LazyLock::new(|| [Script::new(BEGIN), Script::new(APPEND)]);

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    /// The server doesn't know of this run (any more): it begins again.
    Unknown,
    /// A run with a larger fence has begun.
    Superseded,
    /// Redis has no room (`maxmemory`).
    Full,
}

/// An entry on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbered<'a> {
    /// Its number; the first has 1.
    pub(super) number: u64,
    /// That of the oldest which is kept.
    pub(super) oldest: u64,
    pub(super) fields: &'a [(&'static str, Vec<u8>)],
}

/// One run's way to its stream.
#[derive(Debug)]
pub(super) struct Pen {
    servers: Servers,
    keys: Keys,
    stream: String,
    fence: u64,
    alive_ms: u64,
    /// The run, as readers get it.
    run: String,
}

impl Pen {
    pub(super) fn new(servers: Servers, keys: Keys, fence: u64, ttl: Duration, run: String) -> Pen {
        let stream = keys.stream(fence);
        Pen { servers, keys, stream, fence, alive_ms: ms(alive_for(ttl)), run }
    }

    /// Makes this run the last one, and leaves the one before to its readers.
    pub(super) fn begin(&mut self) -> Result<Answer, Error> {
        let Pen { keys, stream, fence, alive_ms, run, .. } = self;
        let begun = self.servers.ask(keys.last.as_bytes(), WITHIN, |connection| {
            let mut ask = SCRIPTS[0].prepare_invoke();
            ask.key(&keys.last).key(&keys.alive).key(&*stream);
            ask.arg(*fence).arg(&*run).arg(*alive_ms).arg(ms(KEPT));
            let answer = ask.invoke::<redis::Value>(connection);
            Ok(match full(answer)? {
                None => Err(Answer::Full),
                Some(redis::Value::Int(_)) => Err(Answer::Superseded),
                Some(before) => Ok(redis::from_redis_value::<String>(before)?),
            })
        })?;
        match begun {
            Err(answer) => return Ok(answer),
            Ok(before) if !before.is_empty() && before != self.stream => {
                let expire = |connection: &mut Connection| -> RedisResult<()> {
                    redis::cmd("PEXPIRE").arg(&before).arg(ms(LEFT_TO_READERS)).exec(connection)
                };
                // What fails goes a day after its end.
                let _: Result<(), Error> = self.servers.ask(self.keys.last.as_bytes(), WITHIN, expire);
            }
            Ok(_) => {}
        }
        Ok(Answer::Done)
    }

    /// Writes an entry, or without one gives a sign of life.
    pub(super) fn append(&mut self, entry: Option<Numbered<'_>>) -> Result<Answer, Error> {
        let Pen { keys, stream, fence, alive_ms, .. } = self;
        self.servers.ask(keys.last.as_bytes(), WITHIN, |connection| {
            let mut ask = SCRIPTS[1].prepare_invoke();
            ask.key(&keys.last).key(&keys.alive).key(&*stream).arg(*fence).arg(*alive_ms).arg(ms(KEPT));
            if let Some(entry) = entry {
                ask.arg(format!("{}-0", entry.number)).arg(format!("{}-0", entry.oldest));
                for (name, value) in entry.fields {
                    ask.arg(*name).arg(value);
                }
            }
            Ok(match full(ask.invoke::<i64>(connection))? {
                None => Answer::Full,
                Some(1) => Answer::Done,
                Some(2) => Answer::Superseded,
                Some(_) => Answer::Unknown,
            })
        })
    }

    /// Drops all entries before this one: also a full Redis does that.
    pub(super) fn drop_before(&mut self, oldest: u64) -> Result<(), Error> {
        let stream = &self.stream;
        self.servers.ask(self.keys.last.as_bytes(), WITHIN, |connection| {
            redis::cmd("XTRIM").arg(stream).arg("MINID").arg(format!("{oldest}-0")).exec(connection)
        })
    }
}

/// `None` for a Redis that has no room.
fn full<T>(answer: RedisResult<T>) -> RedisResult<Option<T>> {
    match answer {
        // Inside a script the code may be the script's own.
        Err(error)
            if error.code() == Some("OOM") || error.detail().is_some_and(|detail| detail.contains("OOM command")) =>
        {
            Ok(None)
        }
        answer => answer.map(Some),
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
