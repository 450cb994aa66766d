//! Monitoring pings: URL/start when the run starts, URL when it succeeds,
//! URL/fail when it doesn't. They never change the outcome, nor delay the start.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use super::causes::with_causes;
use crate::client::{Agent, Target, Trust};
use crate::thread::{Stop, Worker, spawn};

/// How long one ping may take, its retries included.
const LIMIT: Duration = Duration::from_secs(10);

/// Between two tries of one ping.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long [`Pings::finish`] waits: for a start that hangs, and for the end.
const FINISH_WITHIN: Duration = Duration::from_secs(21);

/// Where pings go.
#[derive(Clone, Debug)]
pub struct PingTo {
    /// The URL of success; `/start` and `/fail` are added to its path.
    pub target: Target,
    /// Which servers are trusted.
    pub trust: Trust,
}

/// What became of the pings of a run, for its report.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PingTally {
    /// `None` while it wasn't tried; else whether it arrived, or why not.
    pub start: Option<Result<(), String>>,
    /// The same of the ping at the end.
    pub end: Option<Result<(), String>>,
}

enum Kind {
    Start,
    Success,
    Fail,
}

/// The thread that pings, one after the other, so that the start can't arrive
/// after the end.
pub(super) struct Pings {
    queue: Sender<Kind>,
    worker: Worker<PingTally>,
}

impl Pings {
    pub(super) fn new(to: PingTo) -> io::Result<Pings> {
        let (queue, kinds) = bounded(2);
        let worker = spawn("ping", move |stop| {
            let mut tally = PingTally::default();
            for kind in kinds {
                match kind {
                    Kind::Start => tally.start = Some(ping(&to, &to.target.join("start"), stop)),
                    Kind::Success => tally.end = Some(ping(&to, &to.target, stop)),
                    Kind::Fail => tally.end = Some(ping(&to, &to.target.join("fail"), stop)),
                }
            }
            tally
        })?;
        Ok(Pings { queue, worker })
    }

    /// Pings the start. Doesn't wait for it.
    pub(super) fn start(&self) {
        self.send(Kind::Start);
    }

    /// Pings the end, and waits until that is done, at most 21 s.
    pub(super) fn finish(self, success: bool) -> PingTally {
        self.send(if success { Kind::Success } else { Kind::Fail });
        drop(self.queue);
        let not_done = |why: String| PingTally { start: None, end: Some(Err(why)) };
        match self.worker.join_within(FINISH_WITHIN) {
            Ok(Ok(tally)) => tally,
            Ok(Err(panic)) => {
                panic.log();
                not_done(panic.to_string())
            }
            Err(_) => not_done("no answer in time".to_owned()),
        }
    }

    fn send(&self, kind: Kind) {
        // There is room for both kinds; it fails only if the thread panicked, which `finish` tells.
        let _: Result<(), crossbeam_channel::TrySendError<Kind>> = self.queue.try_send(kind);
    }
}

fn ping(to: &PingTo, target: &Target, stop: &Stop) -> Result<(), String> {
    let until = crate::clock::Moment::now() + LIMIT;
    loop {
        let left = until.remaining();
        let error = match Agent::new(left.max(Duration::from_millis(1)), &to.trust).get(target) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if until.remaining() <= RETRY_AFTER || stop.sleep(RETRY_AFTER) == ControlFlow::Break(()) {
            return Err(with_causes(&error));
        }
    }
}
