//! What happens to a shard of deadlines, atomically, in Redis.
//!
//! KEYS of all: due, data, claimed, failed, seen, fence (see `Shard::keys`).
//! Each may be put twice, because an answer may be lost: ids are the caller's,
//! and the second time finds what the first has done.
//!
//! Those that handle begin with a write that is allowed when the memory is full
//! (`maxmemory`), after which Redis allows the others too: a Redis that is full
//! refuses new deadlines, and goes on handling those it has.

use std::sync::LazyLock;

use redis::Script;

macro_rules! script {
    ($body:expr) => {
        concat!(
            "
local due, data, claimed, failed, seen, fence = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end
local function id_of(value) return value and string.match(value, '^(%S+) ') end
",
            $body
        )
    };
}

/// ARGV: channel, then for each: member, id, `in` or `at`, milliseconds, payload.
/// Answers the due times.
const SET: &str = script!(
    "
local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
local answers, sooner = {}, false
for at = 2, #ARGV, 5 do
  local member, id = ARGV[at], ARGV[at + 1]
  local when = tonumber(ARGV[at + 3])
  if ARGV[at + 2] == 'in' then when = now + when end
  local old = redis.call('HGET', data, member)
  if id_of(old) == id then
    when = tonumber(string.match(old, '^%S+ (%d+)'))
  else
    redis.call('HSET', data, member, id .. ' ' .. text(when) .. ' 0 deadline \\n' .. ARGV[at + 4])
    redis.call('ZADD', due, text(when), member)
    redis.call('ZREM', claimed, member)
    redis.call('HDEL', failed, member)
  end
  if not first or when < tonumber(first) then sooner = true end
  answers[#answers + 1] = text(when)
end
if sooner then redis.pcall('PUBLISH', ARGV[1], '') end
return answers
"
);

/// ARGV: member, key. Answers 0 there is none, 1 it is taken back, 2 it is gone
/// while it is handled. Also what has failed for good of this key's expiries.
const CANCEL: &str = script!(
    "
local was = redis.call('HDEL', data, ARGV[1]) + redis.call('HDEL', failed, ARGV[1])
for _, member in ipairs(redis.call('HKEYS', failed)) do
  local prefix = string.match(member, '^x%d+:')
  if prefix and string.sub(member, #prefix + 1) == ARGV[2] then was = was + redis.call('HDEL', failed, member) end
end
redis.call('ZREM', due, ARGV[1])
if redis.call('ZREM', claimed, ARGV[1]) == 1 then return 2 end
return math.min(was, 1)
"
);

/// ARGV: how many at most; `failed`, or nothing. Answers now, and members with their values.
const PENDING: &str = script!(
    "
local answer = {text(now)}
local function add(member, value)
  answer[#answer + 1] = member
  answer[#answer + 1] = value
end
local many = tonumber(ARGV[1])
if ARGV[2] == 'failed' then
  local all = redis.call('HSCAN', failed, '0', 'COUNT', ARGV[1])[2]
  for at = 1, #all, 2 do add(all[at], all[at + 1]) end
  return answer
end
for _, set in ipairs({claimed, due}) do
  for _, member in ipairs(redis.call('ZRANGE', set, 0, many - 1)) do
    local value = redis.call('HGET', data, member)
    if value then add(member, value) end
  end
end
return answer
"
);

/// ARGV: fence, how long a claim lasts (ms), how many at most. Answers now, when
/// the next falls due (or -1), and members with their values; or nothing, if a
/// larger fence has claimed. What smaller ones have claimed is free at once.
const CLAIM: &str = script!(
    "
local last = tonumber(redis.call('GET', fence) or '0')
if tonumber(ARGV[1]) < last then return {} end
redis.call('PERSIST', due)
if tonumber(ARGV[1]) > last then
  redis.call('SET', fence, ARGV[1])
  for _, member in ipairs(redis.call('ZRANGE', claimed, 0, -1)) do
    redis.call('ZADD', due, text(now), member)
  end
  redis.call('DEL', claimed)
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', claimed, '-inf', now, 'LIMIT', 0, ARGV[3])) do
  redis.call('ZREM', claimed, member)
  redis.call('ZADD', due, text(now), member)
end
local answer = {text(now), '-1'}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, ARGV[3])) do
  redis.call('ZREM', due, member)
  local value = redis.call('HGET', data, member)
  if value then
    redis.call('ZADD', claimed, text(now + tonumber(ARGV[2])), member)
    answer[#answer + 1] = member
    answer[#answer + 1] = value
  end
end
local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
if first then answer[2] = text(tonumber(first)) end
return answer
"
);

/// ARGV: for each: member, id. Answers how many were still there.
const ACKNOWLEDGE: &str = script!(
    "
local count = 0
for at = 1, #ARGV, 2 do
  local member = ARGV[at]
  if id_of(redis.call('HGET', data, member)) == ARGV[at + 1] then
    redis.call('ZREM', due, member)
    redis.call('ZREM', claimed, member)
    redis.call('HDEL', data, member)
    count = count + 1
  end
end
return count
"
);

/// ARGV: member, id, attempts so far, pause (ms) or `final`. Answers whether it was still there.
const FAIL: &str = script!(
    "
local member, value = ARGV[1], redis.call('HGET', data, ARGV[1])
if id_of(value) ~= ARGV[2] then return 0 end
redis.call('ZREM', claimed, member)
redis.call('ZREM', due, member)
value = string.gsub(value, '^(%S+ %d+) %d+', '%1 ' .. ARGV[3], 1)
if ARGV[4] == 'final' then
  redis.call('HDEL', data, member)
  redis.call('HSET', failed, member, value)
else
  redis.call('HSET', data, member, value)
  redis.call('ZADD', due, text(now + tonumber(ARGV[4])), member)
end
return 1
"
);

/// ARGV: how long it is remembered what has lapsed (ms), how much before its due
/// time what lapsed counts as the same (ms, or 0), channel; then for each: key,
/// member, value, due, whether that is exact. Answers how many are new.
///
/// What is remembered: each member; of each key when it was last due (`k`), and
/// when it was last due by somebody's clock who didn't know better (`r`).
const RECORD: &str = script!(
    "
redis.call('PERSIST', due)
local new, tolerance = 0, tonumber(ARGV[2])
local function score(member) return tonumber(redis.call('ZSCORE', seen, member) or '-1') end
for at = 4, #ARGV, 5 do
  local key, member, when, exact = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 3]), ARGV[at + 4] == '1'
  local known = score(member) >= 0
  if exact then
    local rough = score('r' .. key)
    known = known or (rough >= when and rough <= when + 5000)
  elseif tolerance > 0 then
    known = known or score('k' .. key) >= when - tolerance
  end
  if not known then
    -- From now on: one that is told late is told again no sooner.
    redis.call('ZADD', seen, text(math.max(when, now)), member)
    redis.call('ZADD', seen, text(when), 'k' .. key)
    if not exact then redis.call('ZADD', seen, text(when), 'r' .. key) end
    redis.call('HSET', data, member, ARGV[at + 2])
    redis.call('ZADD', due, text(now), member)
    new = new + 1
  end
end
redis.call('ZREMRANGEBYSCORE', seen, '-inf', text(now - tonumber(ARGV[1])))
if new > 0 then redis.pcall('PUBLISH', ARGV[3], '') end
return new
"
);

pub(super) struct Scripts {
    pub(super) set: Script,
    pub(super) cancel: Script,
    pub(super) pending: Script,
    pub(super) claim: Script,
    pub(super) acknowledge: Script,
    pub(super) fail: Script,
    pub(super) record: Script,
}

pub(super) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts {
    set: Script::new(SET),
    cancel: Script::new(CANCEL),
    pending: Script::new(PENDING),
    claim: Script::new(CLAIM),
    acknowledge: Script::new(ACKNOWLEDGE),
    fail: Script::new(FAIL),
    record: Script::new(RECORD),
});
