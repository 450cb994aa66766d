//! Watching a store: what falls due is handled by the group's leader, deadlines
//! of one's own and keys that expire.
//!
//! Every watcher listens on every master, learns the keys' times, and touches
//! each key when it is due, which has Redis tell at once ([`ear`], [`hand`]). What
//! was seen is written down in Redis beside the deadlines ([`record`]), by the
//! leader at once, by the others where it is missing; the leader claims, has it
//! handled, and acknowledges ([`lead`]).

mod ear;
mod exec;
mod glob;
mod gone;
mod hand;
mod handler;
mod lead;
mod nodes;
mod outlet;
mod pulse;
mod record;
mod step;
mod table;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

pub use handler::Handler;
pub use step::{Step, Tell};

use super::{Deadlines, Error, Group};
use crate::lock::{Acquired, Locks, Request};
use crate::store::{Servers, StoreUrl};
use crate::thread::{Panic, Stop, Worker, spawn};
use lead::Ended;

/// A leader that crashes is replaced within so long.
const TTL: Duration = Duration::from_secs(10);
/// How long the store may take to be found at the start.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one wait for the leadership lasts, before it is looked whether all threads live.
const STAND_BY: Duration = Duration::from_secs(5);
/// Before a store that failed is asked again for the leadership.
const PAUSE: Duration = Duration::from_secs(1);
/// Keys that were seen to expire and wait to be written down.
const WAITING: usize = 4096;

/// What is watched, and what is done.
#[derive(Debug)]
#[must_use = "it does nothing until it is run"]
pub struct Watch {
    url: StoreUrl,
    group: Group,
    handler: Handler,
    pattern: Option<Vec<u8>>,
    concurrency: usize,
    handler_timeout: Duration,
    attempts: u32,
    configure: bool,
    max_keys: usize,
}

/// Why a watch ended that nobody asked to end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The store is of another kind, can't be found at the start, or refuses us.
    #[error(transparent)]
    Store(#[from] Error),
    /// One of our threads died, or couldn't be started: without it the watch would be wrong.
    #[error("towpath's thread {0} died")]
    Essential(String, #[source] Option<Panic>),
    /// The lines can't be written any more.
    #[error("what falls due can't be written: {0}")]
    Output(String),
}

/// What the threads of a watch share.
pub(super) struct Context {
    group: Group,
    pattern: Option<Vec<u8>>,
    configure: bool,
    max_keys: usize,
    /// Whether we lead at the moment.
    leads: AtomicBool,
    /// How often the masters have changed.
    changes: AtomicUsize,
    /// Whether it was said that there is a key too long to be handled.
    told_of_long_key: AtomicBool,
    /// Wakes the leader: something may be due.
    nudge: Sender<()>,
    /// A server isn't heard any more: another may be in its place soon.
    is_deaf: AtomicBool,
    tell: Mutex<Tell>,
}

impl Context {
    fn tell(&self, step: &Step<'_>) {
        // Who panicked while telling has told.
        (self.tell.lock().unwrap_or_else(PoisonError::into_inner))(step);
    }

    /// Whether a key is one to be handled; ours never are.
    fn wants(&self, key: &[u8]) -> bool {
        let ours = key.starts_with(b"towpath:") || key.starts_with(b"{towpath:");
        if ours || !self.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, key)) {
            return false;
        }
        let fits = key.len() <= Watch::MAX_KEY_BYTES;
        if !fits && !self.told_of_long_key.swap(true, Ordering::Relaxed) {
            self.tell(&Step::Trouble(&format!(
                "a key of {} bytes is not handled, nor is any other of more than {}; use shorter ones",
                key.len(),
                Watch::MAX_KEY_BYTES
            )));
        }
        fits
    }
}

impl Watch {
    /// The longest key that is handled, in bytes: in hexadecimal it is to fit into a
    /// command's environment. That there is a longer one is told once.
    pub const MAX_KEY_BYTES: usize = 32 * 1024;

    /// Watches the store that `url` names, as one of `group`.
    pub fn new(url: StoreUrl, group: Group, handler: Handler) -> Watch {
        Watch {
            url,
            group,
            handler,
            pattern: None,
            concurrency: 4,
            handler_timeout: Duration::from_secs(60),
            attempts: 5,
            configure: false,
            max_keys: 1_000_000,
        }
    }

    /// Handles only keys that match, in Redis' notation (`session:*`). Defaults to
    /// all but towpath's own. Deadlines are all handled.
    pub fn matching(mut self, pattern: impl Into<Vec<u8>>) -> Watch {
        self.pattern = Some(pattern.into());
        self
    }

    /// How many handlers run at once. Defaults to 4; lines are written one by one.
    pub fn concurrency(mut self, concurrency: usize) -> Watch {
        self.concurrency = concurrency.max(1);
        self
    }

    /// How long a handler may take; then it has failed. Defaults to 60 s.
    pub fn handler_timeout(mut self, timeout: Duration) -> Watch {
        self.handler_timeout = timeout;
        self
    }

    /// How often something is tried before it has failed for good. Defaults to 5.
    /// The pause after the first is 1 s, and doubles up to 5 min.
    pub fn attempts(mut self, attempts: u32) -> Watch {
        self.attempts = attempts.max(1);
        self
    }

    /// Adds what is missing to each server's `notify-keyspace-events`. Defaults to
    /// saying that it is missing.
    pub fn configure(mut self, configure: bool) -> Watch {
        self.configure = configure;
        self
    }

    /// How many keys of one server are known by their time, each for about 200
    /// bytes and its own length. Defaults to 1,000,000. Those beyond are handled
    /// when Redis gets round to them.
    pub fn max_keys(mut self, max_keys: usize) -> Watch {
        self.max_keys = max_keys;
        self
    }

    /// Watches, and leads when nobody else does, until `stop` is set; handlers
    /// then have 5 s to end by themselves. `tell` hears of each step.
    ///
    /// # Errors
    /// See [`WatchError`]. What fails later and may pass is told, and tried again.
    pub fn run(mut self, stop: &Stop, tell: Tell) -> Result<(), WatchError> {
        let mut servers = Servers::open(&self.url, "keys that expire")?;
        servers.groups(PATIENCE)?;
        let locks = Locks::open(&self.url)?;
        let (nudge, nudged) = bounded(1);
        let context = Arc::new(Context {
            group: self.group.clone(),
            pattern: self.pattern.take(),
            configure: self.configure,
            max_keys: self.max_keys,
            leads: AtomicBool::new(false),
            changes: AtomicUsize::new(0),
            told_of_long_key: AtomicBool::new(false),
            nudge,
            is_deaf: AtomicBool::new(false),
            tell: Mutex::new(tell),
        });
        let no_thread = |name: &str, error: io::Error| WatchError::Essential(format!("{name} ({error})"), None);
        let (seen, inbox) = bounded(WAITING);
        let deadlines = Deadlines::over(servers.clone(), self.group.clone());
        let (of_recorder, ours) = (Arc::clone(&context), deadlines.clone());
        let recorder = spawn("expiry-record", move |stop| record::record(ours, &of_recorder, &inbox, stop))
            .map_err(|error| no_thread("expiry-record", error))?;
        let of_nodes = Arc::clone(&context);
        let nodes = spawn("expiry-nodes", move |stop| nodes::follow(servers, &of_nodes, &seen, stop))
            .map_err(|error| no_thread("expiry-nodes", error))?;
        let ended = self.elections(&locks, &deadlines, &context, &nudged, [&nodes, &recorder], stop);
        // In this order: what was seen to the last is written down.
        nodes.stop();
        let nodes = nodes.join().map_err(|panic| WatchError::Essential("expiry-nodes".to_owned(), Some(panic)));
        recorder.stop();
        let recorder = recorder.join().map_err(|panic| WatchError::Essential("expiry-record".to_owned(), Some(panic)));
        nodes.and(recorder).and(ended)
    }

    fn elections(
        &mut self,
        locks: &Locks,
        deadlines: &Deadlines,
        context: &Context,
        nudged: &Receiver<()>,
        threads: [&Worker<()>; 2],
        stop: &Stop,
    ) -> Result<(), WatchError> {
        let request = Request::new(self.group.leader_key()).ttl(TTL).command("expiry watch");
        let mut stands_by = false;
        loop {
            if let Some(ended) = threads.iter().find(|thread| thread.is_finished()) {
                return Err(WatchError::Essential(ended.name().to_owned(), None));
            }
            if !std::mem::replace(&mut stands_by, true) {
                context.tell(&Step::StandsBy);
            }
            match locks.acquire(&request, STAND_BY, stop) {
                Ok(Acquired::Lease(lease)) => {
                    stands_by = false;
                    context.tell(&Step::Leads { fence: lease.fence() });
                    context.leads.store(true, Ordering::Relaxed);
                    let ended = self.lead(&lease, deadlines.clone(), context, nudged, threads, stop);
                    context.leads.store(false, Ordering::Relaxed);
                    if let Ended::Lost(why) = &ended {
                        context.tell(&Step::LeadsNoMore(why));
                        lease.abandon();
                    } else if let Err(error) = lease.release() {
                        context.tell(&Step::Trouble(&ear::with_cause(&error)));
                    }
                    match ended {
                        Ended::Stopped => return Ok(()),
                        // As below.
                        Ended::Lost(_) => {
                            let _ = stop.sleep(PAUSE);
                        }
                        Ended::Output(why) => return Err(WatchError::Output(why)),
                        Ended::Essential(name) => return Err(WatchError::Essential(name, None)),
                    }
                }
                Ok(Acquired::Held(_)) => {}
                Ok(Acquired::Stopped) => return Ok(()),
                Err(error) if error.may_pass() => {
                    context.tell(&Step::Trouble(&ear::with_cause(&error)));
                    // Stopped or not, the loop looks.
                    let _ = stop.sleep(PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
