//! What happens on one server, atomically: Lua scripts over the three keys of
//! a lock, and what they answer.
//!
//! Each may be sent twice, because an answer may be lost: the second time it
//! finds what the first has done.

use std::sync::LazyLock;

use redis::{Connection, RedisResult, Script, ScriptInvocation, Value};

use super::names::Names;

/// How long a fence's counter outlives its last use, in milliseconds: a year.
/// Should it be gone, the server's time makes the next fence larger all the same.
const COUNTER_MS: u64 = 365 * 24 * 3600 * 1000;

// All: KEYS are lock, fence, record. Written for few calls and no closures: what
// a script does beyond its calls is what a lock costs beyond its round trips.
// `pcall` gives a table for a key of another type, which is no value of ours and
// no number, and also for a key that the server doesn't let us read: that is the
// answer then. A counter beyond 2^53 is garbage, not a fence.

/// A value that isn't ours: is it one at all?
macro_rules! not_ours {
    () => {
        "
  if type(value) == 'table' then
    if not string.find(value['err'], 'WRONGTYPE', 1, true) then return value end
    value = false
  end
"
    };
}

/// ARGV: value, ttl, holder's words, counter's ttl.
const TAKE: &str = concat!(
    "
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  local value = redis.pcall('GET', KEYS[1])
  if value ~= ARGV[1] then",
    not_ours!(),
    "
    local record = redis.pcall('GET', KEYS[3])
    if type(record) == 'table' then record = false end
    return {0, redis.call('TYPE', KEYS[1])['ok'], redis.call('PTTL', KEYS[1]), value, record}
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
local now = redis.call('TIME')
local fence = now[1] * 1000000 + now[2]
local last = redis.pcall('GET', KEYS[2])
last = type(last) == 'string' and tonumber(last) or 0
if last >= fence and last < 9007199254740991 then fence = last + 1 end
local text = string.format('%.0f', fence)
redis.call('SET', KEYS[2], text, 'PX', ARGV[4])
redis.call('SET', KEYS[3], ARGV[1] .. ' ' .. text .. ' held ' .. ARGV[3], 'PX', ARGV[2])
return fence
"
);

/// ARGV: value, ttl, holder's words, counter's ttl, the fence it shall be at
/// least. A node where the key is gone takes it again if `RESTORE` comes first.
const RAISE: &str = concat!(
    "
local value = redis.pcall('GET', KEYS[1])
if value ~= ARGV[1] then",
    not_ours!(),
    "
  return 0
end
local last = redis.pcall('GET', KEYS[2])
last = type(last) == 'string' and tonumber(last) or 0
if last < tonumber(ARGV[5]) or last >= 9007199254740991 then redis.call('SET', KEYS[2], ARGV[5], 'PX', ARGV[4]) end
redis.call('SET', KEYS[3], ARGV[1] .. ' ' .. ARGV[5] .. ' held ' .. ARGV[3], 'PX', ARGV[2])
return 1
"
);

/// Before `RAISE`, with its ARGV: takes the key again if nobody else has. Only
/// for one node of several, while a majority of them is held.
const RESTORE: &str = "redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])";

/// ARGV: value, ttl, counter's ttl. Answers 1 kept, 0 gone, 2 somebody else's.
const RENEW: &str = concat!(
    "
local value = redis.pcall('GET', KEYS[1])
if value ~= ARGV[1] then",
    not_ours!(),
    "
  return redis.call('EXISTS', KEYS[1]) * 2
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[2])
return 1
"
);

/// ARGV: value, how long it stays taken, channel. Answers as RENEW.
const GIVE_BACK: &str = concat!(
    "
local value = redis.pcall('GET', KEYS[1])
if value ~= ARGV[1] then",
    not_ours!(),
    "
  return redis.call('EXISTS', KEYS[1]) * 2
end
if ARGV[2] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  local record = redis.pcall('GET', KEYS[3])
  if type(record) == 'string' then
    redis.call('SET', KEYS[3], (string.gsub(record, ' held ', ' ended ', 1)), 'PX', ARGV[2])
  end
else
  redis.call('DEL', KEYS[1], KEYS[3])
end
redis.pcall('PUBLISH', ARGV[3], '')
return 1
"
);

/// ARGV: look, or the fence that its holder must have, or nothing; channel.
/// Answers whether it was taken, type, time to live, value, record.
const LOOK_OR_BREAK: &str = concat!(
    "
local kind = redis.call('TYPE', KEYS[1])['ok']
local value, record = redis.pcall('GET', KEYS[1]), redis.pcall('GET', KEYS[3])
",
    not_ours!(),
    "
if type(record) == 'table' then record = false end
local seen = {0, kind, redis.call('PTTL', KEYS[1]), value, record}
if kind ~= 'string' or ARGV[1] == 'look' then return seen end
if ARGV[1] ~= '' and (not record or string.find(record, value .. ' ' .. ARGV[1] .. ' ', 1, true) ~= 1) then return seen end
redis.call('DEL', KEYS[1], KEYS[3])
redis.pcall('PUBLISH', ARGV[2], '')
seen[1] = 1
return seen
"
);

/// What is asked of one server.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// Takes the lock for `value`, if nobody has it.
    Take { value: String, ttl_ms: u64, words: String },
    /// Makes the counter at least `fence`, where `value` has the lock.
    Raise { value: String, ttl_ms: u64, words: String, fence: u64 },
    /// As `Raise`, and takes the lock where it is gone.
    Restore { value: String, ttl_ms: u64, words: String, fence: u64 },
    /// Makes it last longer, if it is still `value`'s.
    Renew { value: String, ttl_ms: u64 },
    /// Lets go, if it is still `value`'s; it stays taken for `keep_ms`.
    GiveBack { value: String, keep_ms: u64 },
    /// Who has it?
    Look,
    /// Takes it from its holder; if given, only from the one with this fence.
    Break { fence: Option<u64> },
    /// What the server is: `INFO`.
    Info,
    /// Wakes who listens to a channel.
    Nudge { channel: String },
}

/// What one server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Done; a take says with which fence.
    Done { fence: Option<u64> },
    /// The key isn't there.
    Gone,
    /// The key is another's, and the ask doesn't look whose.
    Others,
    /// Not done, and this is what is there.
    Seen(Seen),
    /// Done to what was there.
    Broken(Seen),
    /// A text.
    Text(String),
}

/// What a server keeps under the lock's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Redis' name of the type: `string` is a lock, `none` is nothing.
    pub(super) kind: String,
    /// How long it lives; `None` without end.
    pub(super) ttl_ms: Option<u64>,
    pub(super) value: Vec<u8>,
    pub(super) record: Vec<u8>,
}

struct Scripts {
    take: Script,
    raise: Script,
    restore: Script,
    renew: Script,
    give_back: Script,
    look_or_break: Script,
}

static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts {
    take: Script::new(TAKE),
    raise: Script::new(RAISE),
    restore: Script::new(&format!("{RESTORE}{RAISE}")),
    renew: Script::new(RENEW),
    give_back: Script::new(GIVE_BACK),
    look_or_break: Script::new(LOOK_OR_BREAK),
});

impl Ask {
    /// Asks the server at the other end of `connection`. EVALSHA first; where
    /// the server doesn't know the script (a restart, a failover), it is loaded.
    pub(super) fn put(&self, names: &Names, connection: &mut Connection) -> RedisResult<Answer> {
        let scripts = &*SCRIPTS;
        let keyed = |script: &'static Script| {
            let mut invocation = script.prepare_invoke();
            invocation.key(&names.lock).key(&names.fence).key(&names.record);
            invocation
        };
        match self {
            Ask::Take { value, ttl_ms, words } => {
                let mut ask = keyed(&scripts.take);
                taken(ask.arg(value).arg(*ttl_ms).arg(words).arg(COUNTER_MS).invoke(connection)?)
            }
            Ask::Raise { value, ttl_ms, words, fence } => {
                let mut ask = keyed(&scripts.raise);
                standing(ask.arg(value).arg(*ttl_ms).arg(words).arg(COUNTER_MS).arg(*fence), connection)
            }
            Ask::Restore { value, ttl_ms, words, fence } => {
                let mut ask = keyed(&scripts.restore);
                standing(ask.arg(value).arg(*ttl_ms).arg(words).arg(COUNTER_MS).arg(*fence), connection)
            }
            Ask::Renew { value, ttl_ms } => {
                standing(keyed(&scripts.renew).arg(value).arg(*ttl_ms).arg(COUNTER_MS), connection)
            }
            Ask::GiveBack { value, keep_ms } => {
                standing(keyed(&scripts.give_back).arg(value).arg(*keep_ms).arg(&names.channel), connection)
            }
            Ask::Look => seen(keyed(&scripts.look_or_break).arg("look").arg("").invoke(connection)?),
            Ask::Break { fence } => {
                let fence = fence.map(|fence| fence.to_string()).unwrap_or_default();
                seen(keyed(&scripts.look_or_break).arg(fence).arg(&names.channel).invoke(connection)?)
            }
            Ask::Info => redis::cmd("INFO").query(connection).map(Answer::Text),
            Ask::Nudge { channel } => {
                redis::cmd("PUBLISH").arg(channel).arg("").exec(connection).map(|()| Answer::Done { fence: None })
            }
        }
    }
}

fn standing(ask: &ScriptInvocation<'_>, connection: &mut Connection) -> RedisResult<Answer> {
    Ok(match ask.invoke::<i64>(connection)? {
        1 => Answer::Done { fence: None },
        0 => Answer::Gone,
        _ => Answer::Others,
    })
}

fn taken(answer: Value) -> RedisResult<Answer> {
    match answer {
        Value::Int(fence) => Ok(Answer::Done { fence: u64::try_from(fence).ok() }),
        held => seen(held),
    }
}

fn seen(answer: Value) -> RedisResult<Answer> {
    let (broken, kind, ttl, value, record): (i64, String, i64, Option<Vec<u8>>, Option<Vec<u8>>) =
        redis::from_redis_value(answer)?;
    let (value, record) = (value.unwrap_or_default(), record.unwrap_or_default());
    let seen = Seen { kind, ttl_ms: u64::try_from(ttl).ok(), value, record };
    Ok(if broken == 1 { Answer::Broken(seen) } else { Answer::Seen(seen) })
}
