//! What is known of one server's keys, kept true: their times learned, each
//! touched when it is due, and what is gone told apart from what expired.
//!
//! Redis publishes an expiry when it deletes the key, which may be long after
//! it was due; to touch it has it deleted, and told, at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, select};
use redis::{Connection, RedisResult, Value};

use super::Context;
use super::ear::{Heard, with_cause};
use super::gone::Gone;
use super::pulse::Pulse;
use super::record::Seen;
use super::step::Step;
use super::table::{Known, Sight, Table};
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
/// How often the server is looked at: its clock, and whether it was flushed.
const PULSE_EVERY: Duration = Duration::from_secs(1);
/// How many keys wait to be asked about while that fails; then what is heard waits.
const UNASKED: usize = 65_536;
/// How many round trips for what is due, before what was heard is taken in.
const IN_A_ROW: usize = 8;
/// By how much our reading of a busy server's clock may be off.
const SLACK_MS: u64 = 1000;
/// Before a server that failed is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// One server's keys.
pub(super) struct Hand<'c> {
    servers: Servers,
    address: Address,
    node: String,
    context: &'c Context,
    seen: Sender<Seen>,
    /// Tells the ear that there is nothing to hear.
    is_mute: Arc<AtomicBool>,
    table: Table,
    gone: Gone,
    connection: Option<Connection>,
    pulse: Pulse,
    /// How often a subscription has stood; 0: none yet.
    stands: u32,
    /// The subscription stands at the moment.
    is_heard: bool,
    /// Keys that we have heard of, whose times are still to be asked for.
    unasked: Vec<Vec<u8>>,
    /// Keys that are to be looked at again, after a gap.
    doubtful: Vec<Vec<u8>>,
    /// Where the scan for keys goes on.
    cursor: Option<u64>,
    is_full: bool,
}

impl<'c> Hand<'c> {
    /// For the server at `address`.
    pub(super) fn new(
        servers: Servers,
        address: Address,
        context: &'c Context,
        (seen, is_mute): (Sender<Seen>, Arc<AtomicBool>),
    ) -> Hand<'c> {
        let table = Table::new(context.max_keys);
        let (node, pulse) = (address.to_string(), Pulse::new(context.group.mark_key()));
        Hand {
            servers,
            address,
            node,
            context,
            seen,
            is_mute,
            table,
            gone: Gone::new(),
            connection: None,
            pulse,
            stands: 0,
            is_heard: false,
            unasked: Vec::new(),
            doubtful: Vec::new(),
            cursor: None,
            is_full: false,
        }
    }

    /// Works until it is told to stop, or its ear has ended. What it knew then.
    pub(super) fn work(mut self, heard: &Receiver<Heard>, stop: &Stop) -> Vec<(Vec<u8>, u64)> {
        let mut trouble = false;
        while !stop.is_set() {
            // No event means anything without Redis' clock.
            let looked = match self.pulse.read_at().map_or_else(|| self.read_pulse(), |_| Ok(())) {
                Ok(()) => {
                    let mut events = Vec::new();
                    if self.unasked.len() < UNASKED {
                        match heard.recv_timeout(self.idle_for()) {
                            Ok(event) => events.push(event),
                            Err(RecvTimeoutError::Timeout) => {}
                            Err(RecvTimeoutError::Disconnected) => break,
                        }
                        events.extend(heard.try_iter().take(BATCH));
                    }
                    self.take_in(events, stop).and_then(|()| self.look(stop))
                }
                Err(error) => Err(error),
            };
            if let Err(error) = looked {
                self.connection = None;
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
        // What was still heard is told, also if the server can't be asked any more.
        if self.pulse.read_at().is_some() {
            heard.try_iter().for_each(|event| self.hear(event, stop));
        }
        let known = |key: Vec<u8>| self.table.get(&key).map(|known| (key, known.due_ms));
        self.table.keys().into_iter().filter_map(known).chain(self.gone.into_keys()).collect()
    }

    fn idle_for(&self) -> Duration {
        if self.stands > 0 && (self.cursor.is_some() || !self.doubtful.is_empty() || !self.unasked.is_empty()) {
            return Duration::ZERO;
        }
        let until_due =
            self.table.next_ms().map(|at| Duration::from_millis(at.saturating_sub(self.pulse.now_ms()) + 1));
        until_due.unwrap_or(PULSE_EVERY).min(PULSE_EVERY)
    }

    /// Takes in what was heard, in its order; times are asked for at the end.
    fn take_in(&mut self, events: Vec<Heard>, stop: &Stop) -> RedisResult<()> {
        for event in events {
            self.hear(event, stop);
        }
        while !self.unasked.is_empty() {
            let rest = self.unasked.len().saturating_sub(BATCH);
            let some = self.unasked.split_off(rest);
            if let Err(error) = self.ask_times(&some) {
                self.unasked.extend(some);
                return Err(error);
            }
        }
        Ok(())
    }

    fn hear(&mut self, event: Heard, stop: &Stop) {
        let now_ms = self.pulse.now_ms();
        match event {
            Heard::Stands => {
                self.stands += 1;
                self.is_heard = true;
                self.doubtful = self.table.keys();
                self.cursor = Some(0);
            }
            Heard::Broken => self.is_heard = false,
            Heard::Known(keys) => {
                let seen = Sight { under: 0, ..self.sight() };
                for (key, due_ms) in keys.iter() {
                    if self.table.get(key).is_none() && self.table.learn(key, *due_ms, seen) {
                        self.doubtful.push(key.clone());
                    }
                }
            }
            Heard::Learn(key) => self.unasked.push(key),
            Heard::Forget(key) => {
                let known = self.table.forget(&key).or_else(|| self.gone.remove(&key));
                // What is due expires at a master, before anybody can delete it: this may be a replica.
                if let Some(known) = known.filter(|known| known.due_ms <= now_ms + SLACK_MS) {
                    self.gone.leave(key, known);
                }
            }
            Heard::Expired(key) => {
                let is_over = |known: &Known| known.due_ms <= now_ms + SLACK_MS;
                // One that isn't due yet is of a later life than this.
                let known = match self.table.get(&key).filter(is_over) {
                    Some(_) => self.table.forget(&key),
                    None => self.gone.remove(&key).filter(is_over),
                };
                let due_ms = known.map_or(now_ms, |known| known.due_ms);
                self.tell(key, due_ms, known.is_some(), Kind::Expired, stop);
            }
        }
    }

    /// What is to be looked at now: the server itself, what is due, what is in
    /// doubt, and a piece of the scan.
    fn look(&mut self, stop: &Stop) -> RedisResult<()> {
        let read_at = self.pulse.read_at().filter(|_| self.connection.is_some());
        if read_at.is_none_or(|at| at.elapsed() >= PULSE_EVERY) {
            self.read_pulse()?;
        }
        for _ in 0..IN_A_ROW {
            // A key expires when its time is past, not when it is reached.
            let due = self.table.take_due(self.pulse.now_ms().saturating_sub(1), BATCH);
            if due.is_empty() {
                break;
            }
            self.touch(due)?;
        }
        if self.stands > 0 {
            if !self.doubtful.is_empty() {
                let rest = self.doubtful.len().saturating_sub(PIECE);
                let some = self.doubtful.split_off(rest);
                let known = some.iter().filter_map(|key| self.table.forget(key).map(|known| (key.clone(), known)));
                let known = known.collect();
                if let Err(error) = self.touch(known) {
                    self.doubtful.extend(some);
                    return Err(error);
                }
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
                    self.table.learn(&key, known.due_ms, known.seen);
                }
                return Err(error);
            }
        };
        let (now_ms, seen) = (self.pulse.now_ms(), self.sight());
        for ((key, known), answer) in keys.into_iter().zip(answers) {
            match answer {
                Value::Int(-2) if known.due_ms <= now_ms + SLACK_MS => self.gone.await_word(key, known),
                // A moment early, by our reading of its clock.
                Value::Int(due) if due > 0 => {
                    let due = u64::try_from(due).unwrap_or_default();
                    self.table.look_at(&key, due, seen, due.max(now_ms + 1));
                }
                // Another server has it: its `restore` is heard there, unless this one is no master any more.
                Value::ServerError(_) => self.gone.leave(key, known),
                // It doesn't expire any more, or was deleted before it was due.
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

    fn sight(&self) -> Sight {
        Sight { under: self.stands, flushes: self.pulse.flush().number }
    }

    fn learn(&mut self, key: &[u8], due_ms: u64) {
        if !self.table.learn(key, due_ms, self.sight()) && !std::mem::replace(&mut self.is_full, true) {
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
        let (flush, mut flushed) = (self.pulse.flush(), 0);
        let mut quiet = Vec::new();
        for (key, known) in self.gone.take_over() {
            let is_unheard = known.seen.under < self.stands || !self.is_heard;
            // It was there before the flush, and not yet due.
            let is_flushed = known.seen.flushes < flush.number && known.due_ms > flush.after_ms;
            match (is_unheard, is_flushed) {
                (true, false) => self.tell(key, known.due_ms, true, Kind::Reconciled, stop),
                (true, true) => flushed += 1,
                (false, false) => quiet.push((key, known)),
                (false, true) => {}
            }
        }
        for some in quiet.chunks(BATCH) {
            // Redis hides what is due, and deletes nothing, while it takes no writes: touched
            // once more it tells. What fails is told when Redis gets round to it.
            let names: Vec<&[u8]> = some.iter().map(|(key, _)| key.as_slice()).collect();
            let _: RedisResult<Vec<Value>> = self.times(&names);
        }
        // Or this is a replica, of whose master nothing was heard yet.
        quiet.into_iter().for_each(|(key, known)| self.gone.leave(key, known));
        if flushed > 0 {
            self.context.tell(&Step::Trouble(&format!(
                "the Redis at {} was flushed while it wasn't listened to; {flushed} keys that were due by now don't \
                 count as expired",
                self.node
            )));
        }
    }

    /// What is heard is told, also while we stop, as far as there is room.
    fn tell(&self, key: Vec<u8>, due_ms: u64, is_exact: bool, kind: Kind, stop: &Stop) {
        let seen = Seen { key, due_ms, is_exact, kind, node: self.node.clone(), at: Moment::now() };
        let Err(TrySendError::Full(seen)) = self.seen.try_send(seen) else { return };
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

    /// Looks at the server itself. After a flush each key is in doubt.
    fn read_pulse(&mut self) -> RedisResult<()> {
        self.connection()?;
        let Some(connection) = &mut self.connection else { return Ok(()) };
        if self.pulse.read(connection)? {
            self.doubtful = self.table.keys();
        }
        if self.is_heard && !self.pulse.tells() {
            self.is_mute.store(true, Ordering::Relaxed);
        }
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
