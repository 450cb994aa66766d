//! What a holder wrote about itself, beside its lock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::contract::Claim;
use super::key::Key;
use super::now::Now;
use crate::clock::{Moment, rfc3339};

/// The longest text kept of a command or URL, in bytes.
const TEXT_LIMIT: usize = 4096;

/// What a holder wrote about itself when it took the lock. For people and
/// reports: it decides nothing but how long the minimum hold lasts, and the
/// next fence's lower bound.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The lock's key.
    pub key: String,
    /// The holder's host name.
    pub host: String,
    /// The holder's process id on that host.
    pub pid: u32,
    /// When it took the lock, by its wall clock, to the millisecond.
    pub since: SystemTime,
    /// Its fencing token: larger than that of every holder before it.
    pub fence: u64,
    /// What it runs; cut after 4,096 bytes.
    pub command: String,
    /// Where it can be watched.
    pub url: Option<String>,
    /// How long the lock stays taken at least, counted from `since`.
    pub hold_at_least: Duration,
    boot_id: Option<String>,
    boot: Moment,
}

impl Record {
    /// The record of one who takes `key` now, after the holder of `previous`.
    pub(super) fn new(key: &Key, claim: &Claim, previous: Option<&Record>, now: &Now) -> Record {
        Record {
            key: key.as_str().to_owned(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            since: to_millis(now.wall),
            fence: next_fence(previous.map(|record| record.fence), now.wall),
            command: shortened(&claim.command).to_owned(),
            url: claim.url.as_deref().map(|url| shortened(url).to_owned()),
            hold_at_least: claim.hold_at_least,
            boot_id: now.boot_id.clone(),
            boot: now.boot,
        }
    }

    /// Until when the minimum hold keeps the lock taken; `None` once it is over.
    pub(super) fn kept_until(&self, now: &Now) -> Option<Moment> {
        let remaining = self.hold_at_least.saturating_sub(self.elapsed(now));
        (!remaining.is_zero()).then(|| now.boot + remaining)
    }

    /// How long ago it was taken. Within one boot the boot clock knows. Across
    /// boots the wall clock says it, but may have been set back: then the time
    /// since this boot is a lower bound that grows, so that no hold lasts longer
    /// than its own length after a reboot, whatever the wall clock does.
    fn elapsed(&self, now: &Now) -> Duration {
        let by_wall = now.wall.duration_since(self.since).unwrap_or_default();
        let since_boot = now.boot - Moment::BOOT;
        let by_boot = now.boot - self.boot;
        let could_be_same_boot = now.boot >= self.boot;
        match (&self.boot_id, &now.boot_id) {
            (Some(then), Some(now)) if then == now => by_boot,
            (Some(_), Some(_)) => by_wall.max(since_boot),
            _ if could_be_same_boot => by_wall.max(by_boot),
            _ => by_wall.max(since_boot),
        }
    }

    /// The record as JSON, with `since` and `not_before` in RFC 3339.
    pub fn to_json(&self) -> Value {
        let mut json = json!({
            "key": self.key,
            "host": self.host,
            "pid": self.pid,
            "since": rfc3339(self.since),
            "fence": self.fence,
            "command": self.command,
        });
        if let Some(url) = &self.url {
            json["url"] = json!(url);
        }
        if !self.hold_at_least.is_zero() {
            json["hold_at_least_ms"] = json!(whole_millis(self.hold_at_least));
            // Absent if it lies beyond what RFC 3339 can write.
            if let Some(end) = self.since.checked_add(self.hold_at_least).filter(|end| *end < year_9999()) {
                json["not_before"] = json!(rfc3339(end));
            }
        }
        json["boot_id"] = json!(self.boot_id);
        json["boottime_ns"] = json!(self.boot.since_boot_ns());
        json
    }

    /// Reads what [`Record::to_json`] wrote; `None` for anything else.
    pub(super) fn from_json(bytes: &[u8]) -> Option<Record> {
        let json: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
        let text = |name: &str| Some(json.get(name)?.as_str()?.to_owned());
        let number = |name: &str| json.get(name)?.as_u64();
        Some(Record {
            key: text("key")?,
            host: text("host")?,
            pid: u32::try_from(number("pid")?).ok()?,
            since: humantime::parse_rfc3339(&text("since")?).ok()?,
            fence: number("fence")?,
            command: text("command")?,
            url: text("url"),
            hold_at_least: Duration::from_millis(number("hold_at_least_ms").unwrap_or(0)),
            boot_id: text("boot_id"),
            boot: Moment::from_since_boot_ns(number("boottime_ns")?),
        })
    }

    /// The same record with the fence that a store gave.
    #[cfg(feature = "redis")]
    pub(super) fn with_fence(mut self, fence: u64) -> Record {
        self.fence = fence;
        self
    }

    /// The same record without its minimum hold.
    pub(super) fn without_hold(mut self) -> Record {
        self.hold_at_least = Duration::ZERO;
        self
    }
}

/// Larger than `previous`, and than all before it even if their record was
/// lost, as long as the wall clock wasn't set back as well.
fn next_fence(previous: Option<u64>, wall: SystemTime) -> u64 {
    let micros = u64::try_from(since_1970(wall).as_micros()).unwrap_or(0);
    // Beyond i64 it is garbage, not a fence: it would leave no room to grow.
    let after = previous.filter(|fence| *fence < i64::MAX.unsigned_abs()).map_or(0, |fence| fence + 1);
    micros.max(after)
}

fn since_1970(wall: SystemTime) -> Duration {
    wall.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// To what the record's text keeps, so that writing and reading it changes nothing.
fn to_millis(wall: SystemTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(since_1970(wall).as_millis()).unwrap_or(0))
}

/// Rounded up: a hold is never shorter than asked for.
fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn year_9999() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(253_370_764_800)
}

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(TEXT_LIMIT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(60);

    fn now(wall_s: u64, boot_s: u64, boot_id: Option<&str>) -> Now {
        Now {
            wall: UNIX_EPOCH + Duration::from_secs(wall_s),
            boot: Moment::BOOT + Duration::from_secs(boot_s),
            boot_id: boot_id.map(str::to_owned),
        }
    }

    fn taken(now: &Now) -> Record {
        let claim = Claim { hold_at_least: HOLD, command: "make é".to_owned(), ..Claim::default() };
        Record::new(&Key::new("k").unwrap(), &claim, None, now)
    }

    fn remaining(record: &Record, at: &Now) -> u64 {
        record.kept_until(at).map_or(0, |until| (until - at.boot).as_secs())
    }

    #[test]
    fn within_one_boot_the_wall_clock_may_jump_anywhere() {
        let record = taken(&now(1_000_000, 500, Some("a")));
        for wall_s in [0, 999_000, 1_000_000, 9_000_000] {
            assert_eq!(remaining(&record, &now(wall_s, 520, Some("a"))), 40, "wall {wall_s}");
            assert_eq!(remaining(&record, &now(wall_s, 560, Some("a"))), 0, "wall {wall_s}");
        }
    }

    #[test]
    fn across_a_boot_the_wall_clock_counts() {
        let record = taken(&now(1_000_000, 500, Some("a")));
        assert_eq!(remaining(&record, &now(1_000_020, 5, Some("b"))), 40);
        assert_eq!(remaining(&record, &now(1_000_061, 5, Some("b"))), 0);
    }

    #[test]
    fn a_wall_clock_that_jumped_back_over_a_boot_blocks_no_longer_than_the_hold() {
        for boot_id in [Some("b"), None] {
            let record = taken(&now(1_000_000, 500, Some("a")));
            assert_eq!(remaining(&record, &now(0, 1, boot_id)), 59);
            assert_eq!(remaining(&record, &now(59, 60, boot_id)), 0);
        }
    }

    #[test]
    fn without_a_boot_id_the_boot_clock_still_bounds_the_hold() {
        let record = taken(&now(1_000_000, 500, None));
        assert_eq!(remaining(&record, &now(1_000_010, 510, None)), 50);
        assert_eq!(remaining(&record, &now(0, 560, None)), 0);
    }

    #[test]
    fn a_record_survives_its_json() {
        let mut record = taken(&Now::read());
        record.url = Some("http://h/".to_owned());
        let read = Record::from_json(record.to_json().to_string().as_bytes());
        assert_eq!(read.as_ref(), Some(&record));
        let mut endless = record.clone();
        endless.hold_at_least = Duration::MAX;
        let read = Record::from_json(endless.to_json().to_string().as_bytes()).unwrap();
        assert!(read.kept_until(&Now::read()).is_some());
    }

    #[test]
    fn a_torn_or_foreign_record_is_none() {
        let whole = taken(&Now::read()).to_json().to_string();
        for end in 0..whole.len() {
            assert_eq!(Record::from_json(&whole.as_bytes()[..end]), None, "cut at {end}");
        }
        for garbage in ["null", "[]", "{}", "7", "{\"fence\":-1}", "\u{0}\u{0}"] {
            assert_eq!(Record::from_json(garbage.as_bytes()), None, "{garbage:?}");
        }
    }

    #[test]
    fn the_fence_grows_by_time_or_by_one() {
        let at = UNIX_EPOCH + Duration::from_micros(1_000);
        assert_eq!(next_fence(None, at), 1_000);
        assert_eq!(next_fence(Some(10), at), 1_000);
        assert_eq!(next_fence(Some(1_000), at), 1_001);
        assert_eq!(next_fence(Some(5_000), at), 5_001);
        assert_eq!(next_fence(Some(u64::MAX), at), 1_000, "garbage doesn't count");
    }

    #[test]
    fn a_long_command_is_cut_between_characters() {
        let long = "é".repeat(TEXT_LIMIT);
        assert_eq!(shortened(&long).len(), TEXT_LIMIT);
        assert_eq!(shortened(&format!("a{long}")).len(), TEXT_LIMIT - 1);
    }
}
