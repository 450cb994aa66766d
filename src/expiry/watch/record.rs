//! What was seen, written down in Redis, so that it is handled whoever dies.
//!
//! The leader writes at once. The others keep what they saw for a while and
//! write then what isn't there: nothing hangs on any one of them having heard. What
//! was written is written again where a master gave way, who may have taken it along.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use redis::ScriptInvocation;
use sha2::{Digest, Sha256};

use super::Context;
use super::ear::with_cause;
use super::step::Step;
use crate::clock::Moment;
use crate::expiry::bytes::hex;
use crate::expiry::entry::Entry;
use crate::expiry::group::Shard;
use crate::expiry::script::SCRIPTS;
use crate::expiry::{Deadlines, Error, Kind};
use crate::thread::Stop;

/// How long a follower leaves it to the leader.
const LEAVE_FOR: Duration = Duration::from_secs(3);
/// How many a follower keeps; then the oldest are written sooner.
const KEEP: usize = 100_000;
/// How many are written in one go.
const BATCH: usize = 128;
/// How long it is remembered in Redis what has lapsed.
const REMEMBER: Duration = Duration::from_secs(15 * 60);
/// Who wasn't told the exact time takes what lapsed so shortly before for the same.
const ROUGHLY: Duration = Duration::from_secs(5);
/// How long what was written is kept, in case that a master gives way; at most [`KEEP`] too.
const KEEP_WRITTEN: Duration = Duration::from_secs(60);
/// When it is written again after the masters have changed: the old one may take
/// writes for some seconds that the new one never gets.
const AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(30)];
/// Before a store that failed is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// A key that has expired, as one of us saw it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) key: Vec<u8>,
    pub(super) due_ms: u64,
    /// The time is its own, and not that of its event.
    pub(super) is_exact: bool,
    pub(super) kind: Kind,
    pub(super) node: String,
    pub(super) at: Moment,
}

/// Writes down what comes, until all who send have ended or it is told to stop.
pub(super) fn record(mut deadlines: Deadlines, context: &Context, inbox: &Receiver<Seen>, stop: &Stop) {
    let mut kept: VecDeque<Seen> = VecDeque::new();
    let mut written = Written::default();
    let mut is_failing = false;
    loop {
        if written.is_due_again(context) {
            // What fails is written the next time, and by the others.
            let _: Result<(), Error> = written.write_again(&mut deadlines);
        }
        let leads = context.leads.load(Ordering::Relaxed);
        let ripe = |seen: &Seen| leads || seen.at.elapsed() >= LEAVE_FOR;
        let wait = match kept.front() {
            Some(first) if !ripe(first) => LEAVE_FOR.saturating_sub(first.at.elapsed()).min(PAUSE),
            Some(_) => Duration::ZERO,
            None => PAUSE,
        };
        // While it fails and there is no room, those who send wait; Redis keeps their events a while.
        if kept.len() < KEEP {
            match inbox.recv_timeout(wait) {
                Ok(seen) => {
                    kept.push_back(seen);
                    kept.extend(inbox.try_iter().take(BATCH));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) if kept.is_empty() => return,
                Err(RecvTimeoutError::Disconnected) => {}
            }
        }
        let (leads, is_closing) = (context.leads.load(Ordering::Relaxed), stop.is_set());
        if is_closing && (is_failing || kept.is_empty()) {
            return;
        }
        // Who goes doesn't wait for the leader any more.
        let is_urgent = leads || is_closing || kept.len() >= KEEP;
        let ripe = kept.iter().take(BATCH).take_while(|seen| is_urgent || seen.at.elapsed() >= LEAVE_FOR).count();
        if ripe == 0 {
            continue;
        }
        match write(&mut deadlines, kept.iter().take(ripe), leads) {
            Ok(new) => {
                written.add(kept.drain(..ripe));
                is_failing = false;
                if new > 0 {
                    // Full: it is awake already.
                    let _: Result<(), _> = context.nudge.try_send(());
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    let error = format!("expired keys are kept here for now: {}", with_cause(&error));
                    context.tell(&Step::Trouble(&error));
                }
                // Stopped or not, the loop looks.
                let _ = stop.sleep(PAUSE);
            }
        }
    }
}

/// What was written lately.
#[derive(Default)]
struct Written {
    seens: VecDeque<(Seen, Moment)>,
    changes: usize,
    again_at: VecDeque<Moment>,
}

impl Written {
    fn add(&mut self, seens: impl Iterator<Item = Seen>) {
        self.seens.extend(seens.map(|seen| (seen, Moment::now())));
        while self.seens.len() > KEEP || self.seens.front().is_some_and(|(_, at)| at.elapsed() > KEEP_WRITTEN) {
            self.seens.pop_front();
        }
    }

    /// Whether all of it is to be written again: the masters have changed a while ago.
    fn is_due_again(&mut self, context: &Context) -> bool {
        let changes = context.changes.load(Ordering::Relaxed);
        if changes != std::mem::replace(&mut self.changes, changes) {
            self.again_at = AGAIN.into_iter().map(|after| Moment::now() + after).collect();
        }
        let is_due = self.again_at.front().is_some_and(|at| at.has_passed());
        if is_due {
            self.again_at.pop_front();
        }
        is_due
    }

    /// What is there already stays as it is.
    fn write_again(&mut self, deadlines: &mut Deadlines) -> Result<(), Error> {
        for some in self.seens.make_contiguous().chunks(BATCH) {
            // As a follower: of a time that isn't exact there may be a better one.
            write(deadlines, some.iter().map(|(seen, _)| seen), false)?;
        }
        Ok(())
    }
}

/// How many of them are new.
fn write<'s>(deadlines: &mut Deadlines, some: impl Iterator<Item = &'s Seen>, leads: bool) -> Result<u64, Error> {
    let group = deadlines.group().clone();
    let channel = group.channel();
    let mut by_shard: Vec<(Shard, bool, Vec<&Seen>)> = Vec::new();
    for seen in some {
        let (shard, rough) = (group.shard_of(&seen.key), !leads && !seen.is_exact);
        match by_shard.iter_mut().find(|(its, its_rough, _)| *its == shard && *its_rough == rough) {
            Some((_, _, seens)) => seens.push(seen),
            None => by_shard.push((shard, rough, vec![seen])),
        }
    }
    let mut new = 0;
    for (shard, rough, seens) in by_shard {
        let tolerance = if rough { ROUGHLY } else { Duration::ZERO };
        new += deadlines.ask::<u64>(&shard, &SCRIPTS.record, |ask| {
            ask.arg(ms(REMEMBER)).arg(ms(tolerance)).arg(&channel);
            seens.iter().for_each(|seen| add(ask, seen));
        })?;
    }
    Ok(new)
}

fn add(ask: &mut ScriptInvocation<'_>, seen: &Seen) {
    let id = format!("{}-{}", &hex(&Sha256::digest(&seen.key))[..16], seen.due_ms);
    ask.arg(seen.key.as_slice()).arg(Entry::member_of_expiry(&seen.key, seen.due_ms));
    ask.arg(Entry::record(&id, seen.due_ms, seen.kind, &seen.node)).arg(seen.due_ms);
    ask.arg(u8::from(seen.is_exact));
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
