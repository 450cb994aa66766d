//! The leader at work: claims what is due, has it handled, acknowledges it.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::{Builder, scope};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded, select};

use super::ear::with_cause;
#[cfg(feature = "http")]
use super::handler::transfer;
use super::handler::{Done, Handler, Task, Terms, Worker as HandlerWorker};
use super::outlet::Outlet;
use super::step::Step;
use super::{Context, TTL, Watch};
use crate::clock::Moment;
use crate::expiry::group::Shard;
use crate::expiry::{Deadlines, Entry};
use crate::lock::Lease;
use crate::thread::{Stop, Worker, catch};

/// How many lines may wait to be written.
const LINES: usize = 1024;
/// How many are claimed in one go.
const BATCH: usize = 128;
/// How much longer a claim lasts than its handler may take.
const LEEWAY: Duration = Duration::from_secs(30);
/// How often a shard is looked at of which nothing was told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Before a store that failed is asked again.
const PAUSE: Duration = Duration::from_millis(200);
/// How long handlers have to end by themselves when the watch stops.
const GRACE: Duration = Duration::from_secs(5);
/// The first pause after a failure, and the longest.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(300)];

/// How a leadership ended.
pub(super) enum Ended {
    Stopped,
    Lost(String),
    Output(String),
    Essential(String),
}

/// What the leader keeps in mind.
struct Course<'w> {
    deadlines: Deadlines,
    context: &'w Context,
    fence: u64,
    visibility: Duration,
    attempts: u32,
    room: usize,
    /// Shards, and when each is to be looked at.
    shards: Vec<(Shard, Moment)>,
    in_hand: HashSet<String>,
    handled: Vec<Entry>,
    failed: Vec<(Entry, Option<Duration>)>,
    try_again_at: Moment,
    is_failing: bool,
    writes_lines: bool,
}

impl Watch {
    /// Leads until it is told to stop, or the lease is lost.
    pub(super) fn lead(
        &mut self,
        lease: &Lease,
        deadlines: Deadlines,
        context: &Context,
        nudged: &Receiver<()>,
        threads: [&Worker<()>; 2],
        stop: &Stop,
    ) -> Ended {
        let writes_lines = matches!(self.handler, Handler::Lines(_) | Handler::LinesTo(_));
        let room = if writes_lines { LINES } else { self.concurrency };
        let (tasks, to_do) = bounded(room);
        let (done, ends) = bounded(room);
        let (handlers_stop, its_stop) = Stop::new();
        let terms = Terms { group: &self.group, lease, ttl: TTL, timeout: self.handler_timeout, stop: &its_stop };
        let mut course = Course {
            shards: self.group.shards().into_iter().map(|shard| (shard, Moment::BOOT)).collect(),
            deadlines,
            context,
            fence: lease.fence(),
            visibility: self.handler_timeout + LEEWAY,
            attempts: self.attempts,
            room,
            in_hand: HashSet::new(),
            handled: Vec::new(),
            failed: Vec::new(),
            try_again_at: Moment::BOOT,
            is_failing: false,
            writes_lines,
        };
        let count = self.concurrency;
        let timeout = self.handler_timeout;
        let mut outlet = None;
        // What ends requests that are on their way.
        #[cfg(feature = "http")]
        let mut cutters = Vec::new();
        let workers: Vec<HandlerWorker<'_>> = match &mut self.handler {
            Handler::Exec(argv) => (0..count).map(|_| HandlerWorker::Exec(argv)).collect(),
            #[cfg(feature = "http")]
            Handler::Post { target, trust, token } => {
                let transfers = || Box::new(transfer(timeout, trust, token.clone()));
                let transfers: Vec<_> = std::iter::repeat_with(transfers).take(count).collect();
                cutters.extend(transfers.iter().map(|transfer| transfer.cutter()));
                transfers.into_iter().map(|transfer| HandlerWorker::Post(transfer, target)).collect()
            }
            Handler::Lines(out) => vec![HandlerWorker::Lines(&mut **out)],
            Handler::LinesTo(out) => {
                let out: &OwnedFd = out;
                vec![HandlerWorker::Lines(outlet.insert(Outlet::new(out.as_fd(), timeout, &its_stop)))]
            }
        };
        scope(|scope| {
            let mut started = Ok(());
            for mut worker in workers {
                let (to_do, done, terms) = (to_do.clone(), done.clone(), &terms);
                let thread = Builder::new().name("expiry-handler".to_owned());
                let thread = thread.spawn_scoped(scope, move || {
                    if let Err(panic) = catch(|| worker.work(&to_do, &done, terms)) {
                        panic.log();
                    }
                });
                started = started.and(thread.map(drop));
            }
            drop((to_do, done));
            let ended = match started {
                Ok(()) => course.run(&tasks, &ends, lease, nudged, threads, stop),
                Err(error) => Ended::Essential(format!("expiry-handler ({error})")),
            };
            // Nothing new; what is at work gets its time, unless somebody else may lead.
            drop(tasks);
            let grace = Moment::now() + if matches!(ended, Ended::Stopped) { GRACE } else { Duration::ZERO };
            while let Ok(end) = ends.recv_timeout(grace.remaining()) {
                course.take_in(end);
            }
            handlers_stop.stop();
            #[cfg(feature = "http")]
            cutters.into_iter().for_each(|cut| cut());
            // Bounded by the handlers' own end: TERM, KILL after 2 s; a request is cut, a
            // line given up; but for a library user's own writer.
            while let Ok(end) = ends.recv() {
                course.take_in(end);
            }
            course.settle();
            ended
        })
    }
}

impl Course<'_> {
    fn run(
        &mut self,
        tasks: &Sender<Task>,
        ends: &Receiver<Done>,
        lease: &Lease,
        nudged: &Receiver<()>,
        [nodes, recorder]: [&Worker<()>; 2],
        stop: &Stop,
    ) -> Ended {
        loop {
            if let Err(lost) = lease.check() {
                return Ended::Lost(with_cause(&lost));
            }
            if let Err(ended) = self.claim(tasks) {
                return ended;
            }
            select! {
                recv(ends) -> end => match end {
                    Ok(end) => {
                        let failure = end.result.as_ref().err().filter(|_| self.writes_lines).cloned();
                        self.take_in(end);
                        if let Some(why) = failure {
                            return Ended::Output(why);
                        }
                        ends.try_iter().take(LINES).for_each(|end| self.take_in(end));
                    }
                    Err(_) => return Ended::Essential("expiry-handler".to_owned()),
                },
                recv(nudged) -> _ => self.shards.iter_mut().for_each(|(_, at)| *at = Moment::BOOT),
                // Also if the thread that renews died.
                recv(lease.lost()) -> lost => {
                    return Ended::Lost(lost.map_or_else(|_| "its renewal died".to_owned(), |lost| with_cause(&lost)));
                }
                recv(stop.receiver()) -> _ => return Ended::Stopped,
                recv(nodes.ended()) -> _ => return Ended::Essential(nodes.name().to_owned()),
                recv(recorder.ended()) -> _ => return Ended::Essential(recorder.name().to_owned()),
                recv(after(self.idle_for())) -> _ => {}
            }
            self.settle();
        }
    }

    fn idle_for(&self) -> Duration {
        let has_room = self.in_hand.len() < self.room;
        let next = self.shards.iter().map(|(_, at)| *at).min().filter(|_| has_room);
        let again = (!self.handled.is_empty() || !self.failed.is_empty()).then_some(self.try_again_at);
        let at = next.into_iter().chain(again).min();
        at.map_or(LOOK_EVERY, Moment::remaining).min(LOOK_EVERY)
    }

    /// Claims what is due, as far as there is room for it.
    fn claim(&mut self, tasks: &Sender<Task>) -> Result<(), Ended> {
        for at in 0..self.shards.len() {
            let many = self.room.saturating_sub(self.in_hand.len()).min(BATCH);
            let (shard, look_at) = self.shards[at].clone();
            if many == 0 || !look_at.has_passed() {
                continue;
            }
            let now = Moment::now();
            match self.deadlines.claim_of(&shard, self.fence, self.visibility, many) {
                Ok(None) => return Err(Ended::Lost("another one leads".to_owned())),
                Ok(Some(claims)) => {
                    self.is_failing = false;
                    let is_all = claims.entries.len() < many;
                    let next_in = claims.next_in.map_or(LOOK_EVERY, |next| next + Duration::from_millis(1));
                    self.shards[at].1 = if is_all { now + next_in.min(LOOK_EVERY) } else { now };
                    for entry in claims.entries {
                        if self.in_hand.insert(entry.id.clone()) {
                            // There is room: no more are in hand than it holds.
                            let _: Result<(), _> = tasks.send(Task { entry, seen_ms: claims.now_ms });
                        }
                    }
                }
                Err(error) => {
                    self.shards[at].1 = Moment::now() + PAUSE;
                    self.trouble(&with_cause(&error));
                    // It may have taken seconds: the others come after a look at lease and stop.
                    break;
                }
            }
        }
        // The next time another one comes first.
        self.shards.rotate_left(1);
        Ok(())
    }

    /// Takes a handler's end in.
    fn take_in(&mut self, end: Done) {
        let Done { entry, result, cut } = end;
        match result {
            Ok(()) => self.handled.push(entry),
            Err(_) if cut => drop(self.in_hand.remove(&entry.id)),
            Err(why) => {
                let kept = entry.attempts + 1 >= self.attempts;
                self.context.tell(&Step::Failed { entry: &entry, why: &why, kept });
                let pause = RETRY[0].saturating_mul(1 << entry.attempts.min(16)).min(RETRY[1]);
                self.failed.push((entry, (!kept).then_some(pause)));
            }
        }
    }

    /// Tells Redis what was handled and what failed; what couldn't be told is
    /// told later.
    fn settle(&mut self) {
        if (self.handled.is_empty() && self.failed.is_empty()) || !self.try_again_at.has_passed() {
            return;
        }
        let told = self.deadlines.acknowledge(&self.handled).map(|()| {
            for entry in self.handled.drain(..) {
                self.in_hand.remove(&entry.id);
            }
        });
        let told = told.and_then(|()| {
            while let Some((entry, pause)) = self.failed.last() {
                self.deadlines.fail(entry, *pause)?;
                self.in_hand.remove(&entry.id);
                self.failed.pop();
            }
            Ok(())
        });
        if let Err(error) = told {
            self.try_again_at = Moment::now() + PAUSE;
            self.trouble(&with_cause(&error));
        }
    }

    fn trouble(&mut self, what: &str) {
        if !std::mem::replace(&mut self.is_failing, true) {
            self.context.tell(&Step::Trouble(what));
        }
    }
}
