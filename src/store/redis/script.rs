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

/// KEYS: lock, fence, record. A counter beyond 2^53 is garbage, not a fence.
const FENCE: &str = "
local function count(least)
  local last = tonumber(redis.pcall('GET', KEYS[2]) or 0)
  if not last or last >= 9007199254740991 then last = 0 end
  if least == nil then
    local now = redis.call('TIME')
    least = math.max(last + 1, now[1] * 1000000 + now[2])
  end
  return math.max(last, least)
end
local function text(number) return string.format('%.0f', number) end
local function value_of(name)
  local value = redis.pcall('GET', name)
  if type(value) == 'table' then return false end
  return value
end
";

/// ARGV: value, ttl, holder's words, counter's ttl.
const TAKE: &str = "
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  if value_of(KEYS[1]) ~= ARGV[1] then
    return {0, redis.call('TYPE', KEYS[1])['ok'], redis.call('PTTL', KEYS[1]), value_of(KEYS[1]), value_of(KEYS[3])}
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
local fence = text(count())
redis.call('SET', KEYS[2], fence, 'PX', ARGV[4])
redis.call('SET', KEYS[3], ARGV[1] .. ' ' .. fence .. ' held ' .. ARGV[3], 'PX', ARGV[2])
return {1, fence}
";

/// ARGV: value, ttl, holder's words, counter's ttl, the fence it shall be at least.
const RAISE: &str = "
if value_of(KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], text(count(tonumber(ARGV[5]))), 'PX', ARGV[4])
redis.call('SET', KEYS[3], ARGV[1] .. ' ' .. ARGV[5] .. ' held ' .. ARGV[3], 'PX', ARGV[2])
return 1
";

/// ARGV as for RAISE. Takes the key again, if nobody else has: only for one node
/// of several, while a majority of them is held.
const RESTORE: &str = "
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and value_of(KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], text(count(tonumber(ARGV[5]))), 'PX', ARGV[4])
redis.call('SET', KEYS[3], ARGV[1] .. ' ' .. ARGV[5] .. ' held ' .. ARGV[3], 'PX', ARGV[2])
return 1
";

/// ARGV: value, ttl, counter's ttl. Answers 1 kept, 0 gone, 2 somebody else's.
const RENEW: &str = "
if value_of(KEYS[1]) ~= ARGV[1] then return redis.call('EXISTS', KEYS[1]) * 2 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[2])
return 1
";

/// ARGV: value, how long it stays taken, channel. Answers as RENEW.
const GIVE_BACK: &str = "
if value_of(KEYS[1]) ~= ARGV[1] then return redis.call('EXISTS', KEYS[1]) * 2 end
if tonumber(ARGV[2]) > 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  local record = value_of(KEYS[3])
  if record then
    redis.call('SET', KEYS[3], (string.gsub(record, ' held ', ' ended ', 1)), 'PX', ARGV[2])
  end
else
  redis.call('DEL', KEYS[1], KEYS[3])
end
redis.pcall('PUBLISH', ARGV[3], '')
return 1
";

/// No arguments. Answers type, time to live, value, record.
const LOOK: &str = "
return {0, redis.call('TYPE', KEYS[1])['ok'], redis.call('PTTL', KEYS[1]), value_of(KEYS[1]), value_of(KEYS[3])}
";

/// ARGV: the fence that its holder must have or nothing, channel.
const BREAK: &str = "
local kind = redis.call('TYPE', KEYS[1])['ok']
local value, record = value_of(KEYS[1]), value_of(KEYS[3])
local seen = {0, kind, redis.call('PTTL', KEYS[1]), value, record}
if kind ~= 'string' then return seen end
if ARGV[1] ~= '' and (not record or string.find(record, value .. ' ' .. ARGV[1] .. ' ', 1, true) ~= 1) then return seen end
redis.call('DEL', KEYS[1], KEYS[3])
redis.pcall('PUBLISH', ARGV[2], '')
seen[1] = 1
return seen
";

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
    look: Script,
    breaking: Script,
}

static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| {
    let script = |body: &str| Script::new(&format!("{FENCE}{body}"));
    Scripts {
        take: script(TAKE),
        raise: script(RAISE),
        restore: script(RESTORE),
        renew: script(RENEW),
        give_back: script(GIVE_BACK),
        look: script(LOOK),
        breaking: script(BREAK),
    }
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
            Ask::Look => seen(keyed(&scripts.look).invoke(connection)?).map(|(_, seen)| Answer::Seen(seen)),
            Ask::Break { fence } => {
                let fence = fence.map(|fence| fence.to_string()).unwrap_or_default();
                let (done, seen) = seen(keyed(&scripts.breaking).arg(fence).arg(&names.channel).invoke(connection)?)?;
                Ok(if done { Answer::Broken(seen) } else { Answer::Seen(seen) })
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
    if let Value::Array(items) = &answer
        && let [Value::Int(1), fence] = items.as_slice()
    {
        return Ok(Answer::Done { fence: Some(redis::from_redis_value_ref(fence)?) });
    }
    seen(answer).map(|(_, seen)| Answer::Seen(seen))
}

fn seen(answer: Value) -> RedisResult<(bool, Seen)> {
    let (done, kind, ttl, value, record): (i64, String, i64, Option<Vec<u8>>, Option<Vec<u8>>) =
        redis::from_redis_value(answer)?;
    let (value, record) = (value.unwrap_or_default(), record.unwrap_or_default());
    Ok((done == 1, Seen { kind, ttl_ms: u64::try_from(ttl).ok(), value, record }))
}
