//! Who is told of a run: a monitor by pings, and watchers by a live view or a relay.
//! Without the feature `http` there is nobody.

#[cfg(feature = "http")]
use std::time::Duration;

use crossbeam_channel::Receiver;
use serde_json::Value;

#[cfg(feature = "http")]
use super::feeding::Feeding;
#[cfg(feature = "http")]
use super::listen::{ADDRESS_WITHIN, Bound, Listen, Served, end_of, run_of};
use super::outcome::Outcome;
#[cfg(feature = "http")]
use super::outcome::Verdict;
use super::output::Plan;
#[cfg(feature = "http")]
use super::output::{Live, STREAMS};
#[cfg(feature = "http")]
use super::ping::Pings;
#[cfg(feature = "http")]
use super::signals::Leaving;
use super::spec::Job;
#[cfg(feature = "http")]
use crate::flow::tail::DEFAULT_KEEP_BYTES;
#[cfg(all(feature = "http", feature = "redis"))]
use crate::live::relay::{Relay, Relaying};
#[cfg(feature = "http")]
use crate::live::{Broadcast, Record};

/// How long the end of a run waits until the relay's store has it.
#[cfg(all(feature = "http", feature = "redis"))]
const RELAYED_WITHIN: Duration = Duration::from_secs(5);

/// The audience of one run.
#[derive(Default)]
pub(super) struct Audience {
    #[cfg(feature = "http")]
    pings: Option<Pings>,
    #[cfg(feature = "http")]
    bound: Option<Bound>,
    /// How long to try again for an address that is another run's still.
    #[cfg(feature = "http")]
    patience: Duration,
    #[cfg(feature = "http")]
    served: Option<Served>,
    #[cfg(all(feature = "http", feature = "redis"))]
    relay: Option<Relay>,
    #[cfg(all(feature = "http", feature = "redis"))]
    relaying: Option<Relaying>,
    /// The lines on their way to watchers; the pump has it too.
    #[cfg(feature = "http")]
    feeding: Option<Feeding>,
    #[cfg(feature = "http")]
    cut_short: bool,
}

#[cfg(feature = "http")]
impl Audience {
    /// A monitor, if there is one; it isn't told anything yet.
    pub(super) fn monitored(job: &mut Job) -> Audience {
        Audience { pings: job.ping.take().and_then(|to| Pings::new(to).ok()), ..Audience::default() }
    }

    /// The audience of a lead, which may watch while it stands by, too.
    pub(super) fn of_lead(listen: Listen, described: &Outcome) -> Audience {
        let mut audience = Audience { bound: Some(listen.bind()), ..Audience::default() };
        audience.gather(described);
        audience
    }

    /// Shows watchers what a lead is at the moment.
    pub(super) fn tell_role(&self, role: &Value) {
        if let Some(served) = &self.served {
            served.broadcast.tell("lead", role.clone());
        }
    }

    /// Takes the address for watchers, before the lock: its record shall name
    /// a place that is ours.
    pub(super) fn prepare(&mut self, job: &mut Job) {
        self.bound = job.listen.take().map(Listen::bind);
        #[cfg(feature = "redis")]
        {
            self.relay = job.relay.take();
        }
        if job.once.as_ref().is_some_and(|once| !once.wait.is_zero()) {
            self.patience = ADDRESS_WITHIN;
        }
    }

    /// Lets watchers in, and tells the monitor of the start.
    pub(super) fn gather(&mut self, outcome: &Outcome) {
        if let Some(pings) = &self.pings {
            pings.start();
        }
        let sources = STREAMS.map(str::to_owned).to_vec();
        let begun = self.bound.take().and_then(|bound| bound.begin(run_of(outcome), sources.clone(), self.patience));
        let mut broadcast = begun.as_ref().map(|(served, _)| served.broadcast.clone());
        let mut feed = None;
        if let Some((served, of_served)) = begun {
            (self.served, feed) = (Some(served), Some(of_served));
        }
        if broadcast.is_none() && self.wants_relay(outcome) {
            let (of_relay, to_relay) = Broadcast::new(run_of(outcome), sources, DEFAULT_KEEP_BYTES);
            (broadcast, feed) = (Some(of_relay), Some(to_relay));
        }
        self.begin_relay(broadcast.as_ref(), outcome);
        self.feeding = feed.map(Feeding::new);
    }

    /// Whether its lines go to a relay. Without its lock a run has no fence, and no stream.
    #[cfg(feature = "redis")]
    fn wants_relay(&self, outcome: &Outcome) -> bool {
        self.relay.is_some() && outcome.fence.is_some()
    }

    #[cfg(not(feature = "redis"))]
    fn wants_relay(&self, _outcome: &Outcome) -> bool {
        false
    }

    #[cfg(feature = "redis")]
    fn begin_relay(&mut self, broadcast: Option<&Broadcast>, outcome: &Outcome) {
        let Some((relay, broadcast)) = self.relay.take().zip(broadcast) else { return };
        let (Some(fence), ttl) = (outcome.fence, outcome.ttl.unwrap_or(Duration::from_secs(30))) else { return };
        match relay.begin(fence, ttl, broadcast) {
            Ok(relaying) => self.relaying = Some(relaying),
            Err(error) => log::warn!("the run isn't relayed: no thread: {error}"),
        }
    }

    #[cfg(not(feature = "redis"))]
    fn begin_relay(&mut self, _broadcast: Option<&Broadcast>, _outcome: &Outcome) {}

    /// Where the run can be watched, or will be.
    pub(super) fn url(&self) -> Option<String> {
        let served = self.served.as_ref().map(|served| served.url.clone());
        served.or_else(|| self.bound.as_ref().and_then(Bound::url))
    }

    /// Whether somebody may want to see every line.
    pub(super) fn wants_lines(&self) -> bool {
        self.feeding.is_some()
    }

    /// Has the lines go to the watchers too.
    pub(super) fn join(&self, plan: &mut Plan) {
        plan.live = self.feeding.clone().map(Live::new);
    }

    /// The pump didn't get to the end of the output.
    pub(super) fn cut_short(&mut self) {
        self.cut_short = true;
    }

    /// Tells the end, which is final: to the watchers at once, then to the monitor.
    pub(super) fn tell(&mut self, outcome: &mut Outcome, busy: u8) {
        // It wasn't this run's turn: who waits at its address needn't any longer.
        self.bound = None;
        if let Some(feeding) = self.feeding.take() {
            feeding.finish(Record::End(end_of(outcome, busy)), !self.cut_short);
        }
        // Who didn't get its turn, or was told to go before, has nothing to tell a monitor.
        let is_silent = matches!(outcome.verdict, Verdict::Held(_) | Verdict::Skipped(_) | Verdict::Interrupted(_));
        if let Some(pings) = self.pings.take().filter(|_| !is_silent) {
            outcome.pings = Some(pings.finish(outcome.success()));
        }
        #[cfg(feature = "redis")]
        if let Some(relaying) = self.relaying.take() {
            outcome.relay = Some(relaying.finish(RELAYED_WITHIN));
        }
    }

    /// Stays for late watchers, and sends everybody home. Who ended the run by
    /// a signal wants our own end too, and doesn't send another.
    pub(super) fn dismiss(self, signals: &Receiver<i32>, outcome: &Outcome) {
        if let Some(served) = self.served {
            let mut leaving = Leaving::new(signals, Duration::ZERO);
            leaving.count(outcome.asked_by, outcome.interrupted_alone, false);
            served.finish(&mut leaving);
        }
    }
}

#[cfg(not(feature = "http"))]
impl Audience {
    pub(super) fn monitored(_job: &mut Job) -> Audience {
        Audience {}
    }

    pub(super) fn tell_role(&self, _role: &Value) {}

    pub(super) fn prepare(&mut self, _job: &mut Job) {}

    pub(super) fn gather(&mut self, _outcome: &Outcome) {}

    pub(super) fn url(&self) -> Option<String> {
        None
    }

    pub(super) fn wants_lines(&self) -> bool {
        false
    }

    pub(super) fn join(&self, _plan: &mut Plan) {}

    pub(super) fn cut_short(&mut self) {}

    pub(super) fn tell(&mut self, _outcome: &mut Outcome, _busy: u8) {}

    pub(super) fn dismiss(self, _signals: &Receiver<i32>, _outcome: &Outcome) {}
}
