//! What one server tells of itself: its clock, whether it tells of keys, and whether
//! somebody has thrown all of them away (FLUSHALL, FLUSHDB), which is no expiry.
//!
//! A flush has been when the server has counted one more since the last look,
//! by the same process; and where it may have been of another database, when a
//! mark of ours that lay among the keys isn't the same any more. In doubt there
//! was none: an expiry too many can be told apart by who handles it, one too few can't.

use redis::{Connection, RedisResult, Value};

use super::ear::missing_flags;
use crate::clock::Moment;
use crate::store::random_id;

/// A server's clock and counts, as they were when it was last looked at.
pub(super) struct Pulse {
    read_at: Moment,
    ms: u64,
    counts: Option<Counts>,
    /// Where the mark lies, and what it was.
    mark_key: String,
    mark: Option<Vec<u8>>,
    flush: Flush,
    /// `notify-keyspace-events`, where we may look.
    flags: Option<String>,
}

/// The last flush that was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flush {
    /// How many there have been, since we look.
    pub(super) number: u32,
    /// When the keys were last seen before it, by Redis' clock.
    pub(super) after_ms: u64,
}

/// What `INFO` counts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    process: String,
    is_cluster: bool,
    flushes_of_all: u64,
    flushes_of_one: u64,
}

impl Pulse {
    pub(super) fn new(mark_key: String) -> Pulse {
        let flush = Flush::default();
        Pulse { read_at: Moment::BOOT, ms: 0, counts: None, mark_key, mark: None, flush, flags: None }
    }

    /// Redis' clock, by ours, in Unix milliseconds; of no meaning before it was read.
    pub(super) fn now_ms(&self) -> u64 {
        self.ms + u64::try_from(self.read_at.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }

    /// When it was last read; `None`: never.
    pub(super) fn read_at(&self) -> Option<Moment> {
        (self.ms > 0).then_some(self.read_at)
    }

    pub(super) fn flush(&self) -> Flush {
        self.flush
    }

    /// Whether it was told to tell of what expires and is deleted, as far as is known.
    pub(super) fn tells(&self) -> bool {
        self.flags.as_ref().is_none_or(|flags| missing_flags(flags, false).is_empty())
    }

    /// Looks at the server. Whether there was a flush since the last look.
    pub(super) fn read(&mut self, connection: &mut Connection) -> RedisResult<bool> {
        let marks = self.counts.as_ref().is_some_and(|counts| !counts.is_cluster);
        let mut pipe = redis::pipe();
        // Without the right to INFO no flush is seen.
        pipe.ignore_errors().cmd("TIME").cmd("INFO").arg(&["server", "cluster", "commandstats"]);
        pipe.cmd("CONFIG").arg("GET").arg("notify-keyspace-events");
        if marks {
            pipe.cmd("GET").arg(&self.mark_key);
        }
        let asked = Moment::now();
        let answers: Vec<Value> = pipe.query(connection)?;
        let took = asked.elapsed();
        let mut answers = answers.into_iter();
        let time = answers.next().unwrap_or(Value::Nil).extract_error()?;
        let (seconds, micros): (u64, u64) = redis::from_redis_value(time)?;
        let before_ms = std::mem::replace(&mut self.ms, seconds * 1000 + micros / 1000);
        self.read_at = asked + took / 2;
        let counts = answers.next().and_then(|info| redis::from_redis_value::<String>(info).ok()).map(|it| read(&it));
        let flags = answers.next().and_then(|pair| redis::from_redis_value::<Vec<String>>(pair).ok());
        self.flags = flags.and_then(|pair| pair.into_iter().nth(1));
        let mark = match answers.next() {
            Some(Value::BulkString(mark)) => Some(mark),
            Some(Value::Nil) => self.lay_mark(connection)?,
            _ => None,
        };
        Ok(self.take_in(before_ms, counts, mark))
    }

    /// Written where there is none alone: a server that takes no writes for a while
    /// (CLIENT PAUSE) shall keep nobody waiting.
    fn lay_mark(&self, connection: &mut Connection) -> RedisResult<Option<Vec<u8>>> {
        let Ok(ours) = random_id() else { return Ok(None) };
        let mut set = redis::cmd("SET");
        match set.arg(&self.mark_key).arg(&ours).arg("NX").arg("GET").query(connection) {
            Ok(Value::BulkString(theirs)) => Ok(Some(theirs)),
            Ok(_) => Ok(Some(ours.into_bytes())),
            Err(error) if error.is_io_error() => Err(error),
            // No room, or no right.
            Err(_) => Ok(None),
        }
    }

    fn take_in(&mut self, before_ms: u64, counts: Option<Counts>, mark: Option<Vec<u8>>) -> bool {
        let is_marked_anew = matches!((&self.mark, &mark), (Some(before), Some(now)) if before != now);
        let was_flushed = match (&self.counts, &counts) {
            (Some(before), Some(now)) if before.process == now.process => {
                // Fewer: somebody had them counted from nought.
                let rose = |before: u64, now: u64| now != before && now > 0;
                let of_ours = now.is_cluster || is_marked_anew;
                rose(before.flushes_of_all, now.flushes_of_all)
                    || (of_ours && rose(before.flushes_of_one, now.flushes_of_one))
            }
            _ => false,
        };
        self.counts = counts.or(self.counts.take());
        self.mark = mark.or(self.mark.take());
        if was_flushed {
            self.flush = Flush { number: self.flush.number + 1, after_ms: before_ms };
        }
        was_flushed
    }
}

fn read(info: &str) -> Counts {
    let value = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let calls = |command: &str| {
        let of_it = value(&format!("cmdstat_{command}"))?.strip_prefix("calls=")?;
        of_it.split(',').next()?.parse().ok()
    };
    Counts {
        process: value("run_id").unwrap_or_default().to_owned(),
        is_cluster: value("cluster_enabled") == Some("1"),
        flushes_of_all: calls("flushall").unwrap_or(0),
        flushes_of_one: calls("flushdb").unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(process: &str, flushes: [u64; 2]) -> Option<Counts> {
        let [flushes_of_all, flushes_of_one] = flushes;
        Some(Counts { process: process.to_owned(), is_cluster: false, flushes_of_all, flushes_of_one })
    }

    #[test]
    fn what_a_server_counts_is_found_in_its_info() {
        let info = "# Server\r\nrun_id:abc\r\ncluster_enabled:1\r\n\
                    cmdstat_flushall:calls=2,usec=9\r\ncmdstat_flushdb:calls=0,usec=0\r\n";
        let found = Counts { process: "abc".to_owned(), is_cluster: true, flushes_of_all: 2, flushes_of_one: 0 };
        assert_eq!((read(info), read("")), (found, Counts::default()));
    }

    #[test]
    fn a_flush_is_one_more_by_the_same_process_and_of_our_database() {
        let mark = |text: &str| Some(text.as_bytes().to_vec());
        let mut pulse = Pulse::new("mark".to_owned());
        for (at, counts, mark, is_one, why) in [
            (0, counts("a", [3, 0]), None, false, "the first look"),
            (1, counts("a", [3, 0]), mark("m"), false, "nothing happened"),
            (2, counts("a", [4, 0]), mark("n"), true, "all were flushed"),
            (3, counts("a", [4, 1]), mark("n"), false, "another database"),
            (4, counts("a", [4, 2]), mark("o"), true, "ours"),
            (5, counts("a", [4, 2]), mark("p"), false, "the mark was evicted"),
            (6, None, None, false, "nothing is known"),
            (7, counts("a", [5, 2]), None, true, "no room for a mark"),
            (8, counts("a", [0, 0]), mark("p"), false, "counted anew"),
            (9, counts("b", [1, 1]), mark("q"), false, "another process"),
        ] {
            assert_eq!(pulse.take_in(at, counts, mark), is_one, "{why}");
        }
        assert_eq!(pulse.flush(), Flush { number: 3, after_ms: 7 });
    }
}
