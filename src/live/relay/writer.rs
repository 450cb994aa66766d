//! The run's side: a thread that reads its lines as any reader does, and writes
//! them to Redis.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::super::broadcast::Broadcast;
use super::super::record::Record;
use super::beat_every;
use super::entry::pack;
use super::keys::Keys;
use super::pen::{Answer, Numbered, Pen};
use crate::clock::Moment;
use crate::flow::tail::{Cursor, Start, Tail};
use crate::store::{Error, Key, Servers, StoreUrl};
use crate::thread::{Stop, Worker, spawn};

/// Between the beginnings of two entries: a line on a quiet stream goes at once,
/// those that follow it go together.
const PACE: Duration = Duration::from_millis(10);

/// What goes into one entry at most. One is on its way at a time, so that what
/// comes meanwhile goes together, however far Redis is.
const ENTRY_LINES: usize = 8_192;
const ENTRY_BYTES: usize = 256 * 1024;

/// What an entry costs Redis beside its bytes.
const OVERHEAD_BYTES: usize = 160;

/// Before a Redis is asked again that couldn't be reached or has no room.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Where a run's lines go.
#[derive(Debug)]
pub struct Relay {
    servers: Servers,
    keys: Keys,
    keep_bytes: usize,
}

impl Relay {
    /// Beside the lock `key` of this store, of which up to `keep_bytes` stay for
    /// late readers. Connects nowhere yet.
    ///
    /// # Errors
    /// [`Error::is_unfit`] for a store that other hosts can't follow, or that has no
    /// one server for a key. [`Error::is_unreachable`] if a file that it is opened
    /// with can't be read.
    pub fn to(store: &StoreUrl, key: &Key, keep_bytes: usize) -> Result<Relay, Error> {
        Ok(Relay { servers: Servers::open(store, "a relay")?, keys: Keys::of(key), keep_bytes })
    }

    /// Begins to write what `broadcast` has, for the holder with this fence of a
    /// lease with this ttl.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn begin(self, fence: u64, ttl: Duration, broadcast: &Broadcast) -> io::Result<Relaying> {
        let (run, sources, tail) = broadcast.parts();
        let mut told = run.to_json();
        told["sources"] = sources.into();
        told["ttl_ms"] = Value::from(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let tally = Arc::<Mutex<RelayTally>>::default();
        let writer = Writer {
            pen: Pen::new(self.servers, self.keys, fence, ttl, told.to_string()),
            cursor: tail.reader(Start::Beginning),
            number: 0,
            kept: Kept { entries: VecDeque::new(), bytes: 0, limit_bytes: self.keep_bytes },
            beat_every: beat_every(ttl),
            beat_at: Moment::now(),
            tally: Arc::clone(&tally),
        };
        let worker = spawn("relay", move |stop| writer.run(stop))?;
        Ok(Relaying { worker, tail: tail.clone(), tally })
    }
}

/// What became of a relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayTally {
    /// How many lines readers are told to lack, because Redis took them too slowly
    /// or not at all; at least so many.
    pub lost_lines: u64,
    /// Whether Redis has the end.
    pub is_end_told: bool,
    /// What went wrong last, if anything did.
    pub error: Option<String>,
}

/// A relay at work.
#[derive(Debug)]
pub(crate) struct Relaying {
    worker: Worker<()>,
    tail: Tail<Record>,
    tally: Arc<Mutex<RelayTally>>,
}

impl Relaying {
    /// Waits until Redis has the end, which the tail has by now, for `limit` at most.
    pub(crate) fn finish(self, limit: Duration) -> RelayTally {
        let Relaying { worker, tail, tally } = self;
        match worker.join_within(limit) {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => {
                panic.log();
                lock(&tally).error.get_or_insert_with(|| panic.to_string());
            }
            // Dropped, it is given a moment more, and left to the limit of what it asks.
            Err(worker) => {
                worker.stop();
                tail.ring();
            }
        }
        let tally = lock(&tally);
        tally.clone()
    }
}

struct Writer {
    pen: Pen,
    cursor: Cursor<Record>,
    /// The last entry's.
    number: u64,
    kept: Kept,
    beat_every: Duration,
    beat_at: Moment,
    tally: Arc<Mutex<RelayTally>>,
}

impl Writer {
    /// Until the end is written, a later run has begun, or it is stopped.
    fn run(mut self, stop: &Stop) {
        if !self.until_done(stop, |writer| writer.pen.begin()) {
            return;
        }
        self.beat_at = Moment::now() + self.beat_every;
        loop {
            let began = Moment::now();
            let before = self.cursor.last_seq();
            let batch = self.cursor.next_batch(ENTRY_LINES, ENTRY_BYTES);
            if batch.is_empty() {
                if stop.is_set() || !self.beat_if_due() {
                    return;
                }
                self.cursor.wait(self.beat_at.remaining());
                continue;
            }
            let fields = pack((before, self.cursor.last_seq()), &batch);
            let has_end = batch.end.is_some();
            let lost = batch.missed.map_or(0, |missed| missed.lines.unwrap_or(1));
            // While Redis is away it holds its own copy, and no block of the tail.
            drop(batch);
            lock(&self.tally).lost_lines += lost;
            if !self.write(&fields, stop) {
                return;
            }
            if has_end {
                lock(&self.tally).is_end_told = true;
                return;
            }
            if stop.sleep(PACE.saturating_sub(began.elapsed())).is_break() {
                return;
            }
        }
    }

    /// Writes one entry, however long that takes; whether there may be another.
    fn write(&mut self, fields: &[(&'static str, Vec<u8>)], stop: &Stop) -> bool {
        let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.number += 1;
        let number = self.number;
        self.kept.make_room(bytes + OVERHEAD_BYTES);
        let done = self.until_done(stop, |writer| {
            let oldest = writer.kept.oldest().unwrap_or(number);
            match writer.pen.append(Some(Numbered { number, oldest, fields }))? {
                Answer::Full => {
                    // Of what is there, the end and what is new is worth most.
                    writer.kept.halve();
                    writer.pen.drop_before(writer.kept.oldest().unwrap_or(number))?;
                    writer.pen.append(Some(Numbered { number, oldest, fields }))
                }
                answer => Ok(answer),
            }
        });
        self.kept.add(number, bytes + OVERHEAD_BYTES);
        self.beat_at = Moment::now() + self.beat_every;
        done
    }

    /// Whether there may be another entry.
    fn beat_if_due(&mut self) -> bool {
        if !self.beat_at.has_passed() {
            return true;
        }
        let answer = match self.pen.append(None) {
            Ok(Answer::Unknown) => self.pen.begin(),
            answer => answer,
        };
        self.beat_at = Moment::now() + self.beat_every;
        match answer {
            Ok(Answer::Done) => {}
            Ok(Answer::Superseded) => {
                self.trouble(SUPERSEDED);
                return false;
            }
            Ok(Answer::Full | Answer::Unknown) => self.trouble(FULL),
            Err(error) => {
                self.trouble(&error.to_string());
                self.beat_at = Moment::now() + ASK_AGAIN;
            }
        }
        true
    }

    /// Asks until it is done; `false` if it can't be.
    fn until_done(&mut self, stop: &Stop, ask: impl Fn(&mut Writer) -> Result<Answer, Error>) -> bool {
        let mut has_begun = false;
        loop {
            let answer = match ask(self) {
                // It restarted without its data, or lost it in a failover.
                Ok(Answer::Unknown) => {
                    self.pen.begin().map(|begun| if begun == Answer::Done { Answer::Unknown } else { begun })
                }
                answer => answer,
            };
            match answer {
                Ok(Answer::Done) => return true,
                Ok(Answer::Superseded) => {
                    self.trouble(SUPERSEDED);
                    return false;
                }
                // At once, unless the server loses it again and again.
                Ok(Answer::Unknown) if !stop.is_set() && !std::mem::replace(&mut has_begun, true) => continue,
                Ok(Answer::Unknown) => {}
                Ok(Answer::Full) => self.trouble(FULL),
                Err(error) => self.trouble(&error.to_string()),
            }
            // A server that is away or full tells nobody when it is not.
            if stop.sleep(ASK_AGAIN).is_break() {
                return false;
            }
        }
    }

    fn trouble(&self, what: &str) {
        let before = lock(&self.tally).error.replace(what.to_owned());
        if before.is_none() {
            log::warn!("the relay can't write at the moment: {what}");
        }
    }
}

const SUPERSEDED: &str = "another run with the same key has begun";
const FULL: &str = "the Redis is full (maxmemory); make room";

/// The entries that Redis has, as far as we gave them: what a budget of bytes is kept by.
struct Kept {
    entries: VecDeque<(u64, u32)>,
    bytes: usize,
    limit_bytes: usize,
}

impl Kept {
    fn make_room(&mut self, bytes: usize) {
        while self.bytes + bytes > self.limit_bytes && self.drop_oldest() {}
    }

    fn halve(&mut self) {
        let half = self.bytes / 2;
        while self.bytes > half && self.drop_oldest() {}
    }

    fn drop_oldest(&mut self) -> bool {
        let oldest = self.entries.pop_front();
        self.bytes -= oldest.map_or(0, |(_, bytes)| bytes as usize);
        oldest.is_some()
    }

    fn add(&mut self, number: u64, bytes: usize) {
        // An entry is far below 4 GiB.
        self.entries.push_back((number, u32::try_from(bytes).unwrap_or(u32::MAX)));
        self.bytes += bytes;
    }

    fn oldest(&self) -> Option<u64> {
        self.entries.front().map(|(number, _)| *number)
    }
}

/// Numbers and a text, each replaced in one step.
fn lock(tally: &Mutex<RelayTally>) -> MutexGuard<'_, RelayTally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_stays_within_its_budget_and_the_newest_stays() {
        let mut kept = Kept { entries: VecDeque::new(), bytes: 0, limit_bytes: 1_000 };
        for number in 1..=100 {
            kept.make_room(90);
            kept.add(number, 90);
            assert!(kept.bytes <= 1_000);
        }
        assert_eq!((kept.oldest(), kept.entries.len()), (Some(90), 11));
        kept.halve();
        assert!(kept.bytes <= 495 && kept.oldest() == Some(96));
        // Larger than all there is: alone.
        kept.make_room(5_000);
        kept.add(101, 5_000);
        assert_eq!(kept.oldest(), Some(101));
    }
}
