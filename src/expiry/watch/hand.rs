//! What is known of one server's keys, kept true: their times learned, each
//! touched when it is due, and what is gone told apart from what expired.
//!
//! Redis publishes an expiry when it deletes the key, which may be long after
//! it was due; to touch it has it deleted, and told, at once.

use std::collections::HashMap;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, select};
use redis::{Connection, RedisResult, Value};

use super::Context;
use super::ear::{Heard, with_cause};
use super::record::Seen;
use super::step::Step;
use super::table::{Known, Table};
use crate::clock::Moment;
use crate::expiry::Kind;
use crate::store::{Address, Servers};
use crate::thread::Stop;

/// How many keys are asked about in one round trip.
const BATCH: usize = 512;
/// How many of those that nobody waits for: what is due comes in between.
const PIECE: usize = 128;
/// How long a round trip may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often Redis' clock is read anew.
const CLOCK_EVERY: Duration = Duration::from_secs(1);
/// A key that is gone, and was due, has so long for its event to arrive: longer
/// than it takes to notice that the subscription is dead.
const WORD_WITHIN: Duration = Duration::from_secs(5);
/// Before a server that failed is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// One server's keys.
pub(super) struct Hand<'c> {
    servers: Servers,
    address: Address,
    node: String,
    context: &'c Context,
    seen: Sender<Seen>,
    table: Table,
    /// Gone and due; their event may be on its way.
    gone: HashMap<Vec<u8>, (Known, Moment)>,
    connection: Option<Connection>,
    clock: Clock,
    /// How often a subscription has stood; 0: none yet.
    stands: u64,
    /// The subscription stands at the moment.
    is_heard: bool,
    /// Keys that are to be looked at again, after a gap.
    doubtful: Vec<Vec<u8>>,
    /// Where the scan for keys goes on.
    cursor: Option<u64>,
    is_full: bool,
}

/// Redis' clock, by ours.
struct Clock {
    read_at: Moment,
    ms: u64,
}

impl Clock {
    fn now_ms(&self) -> u64 {
        self.ms + u64::try_from(self.read_at.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }
}

impl<'c> Hand<'c> {
    /// For the server at `address`.
    pub(super) fn new(servers: Servers, address: Address, context: &'c Context, seen: Sender<Seen>) -> Hand<'c> {
        let table = Table::new(context.max_keys);
        let (node, clock) = (address.to_string(), Clock { read_at: Moment::BOOT, ms: 0 });
        Hand {
            servers,
            address,
            node,
            context,
            seen,
            table,
            gone: HashMap::new(),
            connection: None,
            clock,
            stands: 0,
            is_heard: false,
            doubtful: Vec::new(),
            cursor: None,
            is_full: false,
        }
    }

    /// Works until it is told to stop, or its ear has ended. What it knew then.
    pub(super) fn work(mut self, heard: &Receiver<Heard>, stop: &Stop) -> Vec<(Vec<u8>, u64)> {
        let mut trouble = false;
        while !stop.is_set() {
            let looked = match self.read_clock_first() {
                Ok(()) => {
                    let mut events = Vec::new();
                    match heard.recv_timeout(self.idle_for()) {
                        Ok(event) => events.push(event),
                        Err(RecvTimeoutError::Timeout) => {}
                        Err(RecvTimeoutError::Disconnected) => break,
                    }
                    events.extend(heard.try_iter().take(BATCH));
                    self.take_in(events, stop).and_then(|()| self.look(stop))
                }
                Err(error) => Err(error),
            };
            if let Err(error) = looked {
                self.connection = None;
                // What was to be learned when it failed.
                self.cursor = self.cursor.or((self.stands > 0).then_some(0));
                if !std::mem::replace(&mut trouble, true) {
                    let error = with_cause(&Servers::explain(&self.address, error));
                    self.context.tell(&Step::Trouble(&error));
                }
                if stop.sleep(PAUSE).is_break() {
                    break;
                }
            } else {
                trouble = false;
            }
        }
        let gone = self.gone.drain().map(|(key, (known, _))| (key, known.due_ms)).collect::<Vec<_>>();
        let known = |key: Vec<u8>| self.table.get(&key).map(|known| (key, known.due_ms));
        self.table.keys().into_iter().filter_map(known).chain(gone).collect()
    }

    fn idle_for(&self) -> Duration {
        if self.stands > 0 && (self.cursor.is_some() || !self.doubtful.is_empty()) {
            return Duration::ZERO;
        }
        let until_due =
            self.table.next_ms().map(|at| Duration::from_millis(at.saturating_sub(self.clock.now_ms()) + 1));
        until_due.unwrap_or(CLOCK_EVERY).min(CLOCK_EVERY)
    }

    /// Takes in what was heard, in its order; times are asked for at the end.
    fn take_in(&mut self, events: Vec<Heard>, stop: &Stop) -> RedisResult<()> {
        let mut learn = Vec::new();
        for event in events {
            match event {
                Heard::Stands => {
                    self.stands += 1;
                    self.is_heard = true;
                    self.doubtful = self.table.keys();
                    self.cursor = Some(0);
                }
                Heard::Broken => self.is_heard = false,
                Heard::Known(keys) => {
                    for (key, due_ms) in keys {
                        if self.table.get(&key).is_none() && self.table.learn(&key, due_ms, 0) {
                            self.doubtful.push(key);
                        }
                    }
                }
                Heard::Learn(key) => learn.push(key),
                Heard::Forget(key) => {
                    self.table.forget(&key);
                    self.gone.remove(&key);
                }
                Heard::Expired(key) => {
                    let now_ms = self.clock.now_ms();
                    let gone = self.gone.remove(&key).map(|(known, _)| known);
                    // One that isn't due yet is of a life that we haven't heard the end of.
                    let known = gone.or_else(|| self.table.forget(&key)).filter(|known| known.due_ms <= now_ms + 1000);
                    let due_ms = known.map_or(now_ms, |known| known.due_ms);
                    self.tell(key, due_ms, known.is_some(), Kind::Expired, stop);
                }
            }
        }
        for keys in learn.chunks(BATCH) {
            self.ask_times(keys)?;
        }
        Ok(())
    }

    /// What is to be looked at now: Redis' clock, what is due, what is in doubt,
    /// and a piece of the scan.
    fn look(&mut self, stop: &Stop) -> RedisResult<()> {
        if self.connection.is_none() || self.clock.read_at.elapsed() >= CLOCK_EVERY {
            self.read_clock()?;
        }
        loop {
            // A key expires when its time is past, not when it is reached.
            let due = self.table.take_due(self.clock.now_ms().saturating_sub(1), BATCH);
            if due.is_empty() {
                break;
            }
            self.touch(due)?;
        }
        if self.stands > 0 {
            if !self.doubtful.is_empty() {
                let rest = self.doubtful.len().saturating_sub(PIECE);
                let some = self.doubtful.split_off(rest);
                let known = some.into_iter().filter_map(|key| self.table.forget(&key).map(|known| (key, known)));
                let known = known.collect();
                self.touch(known)?;
            } else if let Some(cursor) = self.cursor {
                self.scan(cursor)?;
            }
        }
        self.settle_gone(stop);
        Ok(())
    }

    /// Asks for the times of keys that we knew, which deletes what is due.
    fn touch(&mut self, keys: Vec<(Vec<u8>, Known)>) -> RedisResult<()> {
        let names: Vec<&[u8]> = keys.iter().map(|(key, _)| key.as_slice()).collect();
        let answers = match self.times(&names) {
            Ok(answers) => answers,
            Err(error) => {
                for (key, known) in keys {
                    self.table.learn(&key, known.due_ms, known.under);
                }
                return Err(error);
            }
        };
        let now_ms = self.clock.now_ms();
        for ((key, known), answer) in keys.into_iter().zip(answers) {
            match answer {
                Value::Int(-2) if known.due_ms <= now_ms + 1 => {
                    self.gone.insert(key, (known, Moment::now() + WORD_WITHIN));
                }
                // A moment early, by our reading of its clock.
                Value::Int(due) if due > 0 => {
                    let due = u64::try_from(due).unwrap_or_default();
                    self.table.look_at(&key, due, self.stands, due.max(now_ms + 1));
                }
                // It doesn't expire any more, was deleted before it was due, or is another server's.
                _ => {}
            }
        }
        Ok(())
    }

    /// Asks for the times of keys of which we have heard.
    fn ask_times(&mut self, keys: &[Vec<u8>]) -> RedisResult<()> {
        let names: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let answers = self.times(&names)?;
        for (key, answer) in keys.iter().zip(answers) {
            match answer {
                Value::Int(due) if due > 0 => self.learn(key, u64::try_from(due).unwrap_or_default()),
                _ => drop(self.table.forget(key)),
            }
        }
        Ok(())
    }

    fn learn(&mut self, key: &[u8], due_ms: u64) {
        if !self.table.learn(key, due_ms, self.stands) && !std::mem::replace(&mut self.is_full, true) {
            self.context.tell(&Step::Trouble(&format!(
                "the Redis at {} has more than {} keys that expire; those beyond are handled when Redis gets round to \
                 them, late; watch fewer with --match, or raise --max-keys",
                self.node,
                self.table.len()
            )));
        }
    }

    fn scan(&mut self, cursor: u64) -> RedisResult<()> {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor);
        if let Some(pattern) = &self.context.pattern {
            scan.arg("MATCH").arg(pattern.as_slice());
        }
        let (next, keys): (u64, Vec<Vec<u8>>) = scan.arg("COUNT").arg(PIECE).query(self.connection()?)?;
        let wanted: Vec<Vec<u8>> =
            keys.into_iter().filter(|key| self.context.wants(key) && self.table.get(key).is_none()).collect();
        self.ask_times(&wanted)?;
        self.cursor = Some(next).filter(|next| *next != 0);
        Ok(())
    }

    /// What is gone without a word: lapsed unheard if there was a gap, else flushed.
    fn settle_gone(&mut self, stop: &Stop) {
        let over: Vec<Vec<u8>> =
            self.gone.iter().filter(|(_, (_, until))| until.has_passed()).map(|(key, _)| key.clone()).collect();
        for key in over {
            let Some((known, _)) = self.gone.remove(&key) else { continue };
            if known.under < self.stands || !self.is_heard {
                self.tell(key, known.due_ms, true, Kind::Reconciled, stop);
            }
        }
    }

    fn tell(&self, key: Vec<u8>, due_ms: u64, is_exact: bool, kind: Kind, stop: &Stop) {
        let seen = Seen { key, due_ms, is_exact, kind, node: self.node.clone(), at: Moment::now() };
        select! {
            send(self.seen, seen) -> _ => {}
            recv(stop.receiver()) -> _ => {}
        }
    }

    fn times(&mut self, keys: &[&[u8]]) -> RedisResult<Vec<Value>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        for key in keys {
            pipe.cmd("PEXPIRETIME").arg(*key);
        }
        let answers: Vec<Value> = pipe.query(self.connection()?)?;
        // A server that goes down, or isn't a master any more, answers nothing of use.
        if let Some(Value::ServerError(error)) = answers.iter().find(|answer| is_serious(answer)) {
            return Err(error.clone().into());
        }
        Ok(answers)
    }

    /// No event means anything without Redis' clock.
    fn read_clock_first(&mut self) -> RedisResult<()> {
        if self.clock.ms == 0 { self.read_clock() } else { Ok(()) }
    }

    fn read_clock(&mut self) -> RedisResult<()> {
        let asked = Moment::now();
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(self.connection()?)?;
        self.clock = Clock { read_at: asked + asked.elapsed() / 2, ms: seconds * 1000 + micros / 1000 };
        Ok(())
    }

    fn connection(&mut self) -> RedisResult<&mut Connection> {
        if self.connection.is_none() {
            let connection = self.servers.connect(&self.address, PATIENCE);
            self.connection = Some(
                connection
                    .map_err(|error| std::io::Error::new(std::io::ErrorKind::NotConnected, with_cause(&error)))?,
            );
        }
        // It was made above if there was none.
        self.connection.as_mut().ok_or_else(|| (redis::ErrorKind::Client, "a connection is missing").into())
    }
}

/// An error that isn't about one key.
fn is_serious(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if !matches!(error.code(), "MOVED" | "ASK" | "TRYAGAIN"))
}
