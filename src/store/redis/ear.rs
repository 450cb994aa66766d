//! Hearing that a lock was let go: a subscription on each node, by a thread each.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, after, bounded, never, select};

use super::link::Link;
use super::names::Names;
use super::nodes::{Nodes, PATIENCE};
use super::script::Ask;
use crate::clock::Moment;
use crate::thread::{Stop, Worker, spawn};

/// How long a subscription is read before its thread looks whether it is still
/// wanted. As a rule a message to its own channel tells it sooner.
const LOOK: Duration = Duration::from_millis(500);

/// Before a subscription that broke is made anew.
const PAUSE: Duration = Duration::from_millis(250);

/// Listens for one contender.
pub(super) struct Ear {
    rung: Receiver<()>,
    workers: Vec<Worker<()>>,
    nodes: Arc<Nodes>,
    names: Arc<Names>,
    /// A channel that only we listen to: by it our threads are woken for their end.
    own: String,
}

impl Ear {
    /// Begins to listen. It rings once a node when the subscription stands, so
    /// that what was told before it is not missed: try again then.
    ///
    /// # Errors
    /// The system gives no thread or no randomness.
    pub(super) fn new(nodes: &Arc<Nodes>, names: &Arc<Names>, own: String) -> std::io::Result<Ear> {
        let (ring, rung) = bounded(1);
        let mut workers = Vec::with_capacity(nodes.count());
        for link in nodes.links() {
            let (ring, names, own) = (ring.clone(), Arc::clone(names), own.clone());
            workers.push(spawn("lock-ear", move |stop| listen(link, &names, &own, &ring, stop))?);
        }
        Ok(Ear { rung, workers, nodes: Arc::clone(nodes), names: Arc::clone(names), own })
    }

    /// Waits until something was heard, until `until`, or until `stop` is set.
    pub(super) fn wait(&self, until: Moment, stop: &Stop) {
        let timer = if until == Moment::NEVER { never() } else { after(until.remaining()) };
        select! {
            recv(self.rung) -> _ => {}
            recv(timer) -> _ => {}
            recv(stop.receiver()) -> _ => {}
        }
    }
}

impl Drop for Ear {
    /// Threads of nodes that hang are left to their time-outs.
    fn drop(&mut self) {
        self.workers.iter().for_each(Worker::stop);
        let ask = Ask::Nudge { channel: std::mem::take(&mut self.own) };
        self.nodes.calls.tell(|_| Some(ask.clone()), &self.names, Duration::from_millis(100));
    }
}

impl std::fmt::Debug for Ear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ear").field("workers", &self.workers).finish_non_exhaustive()
    }
}

fn listen(mut link: Link, names: &Names, own: &str, ring: &Sender<()>, stop: &Stop) {
    loop {
        // An error is a subscription that broke or couldn't be made; the one who waits looks by itself then.
        let _: redis::RedisResult<()> = subscribe(&mut link, names, own, ring, stop);
        if stop.sleep(PAUSE).is_break() {
            return;
        }
    }
}

fn subscribe(link: &mut Link, names: &Names, own: &str, ring: &Sender<()>, stop: &Stop) -> redis::RedisResult<()> {
    let Ok(mut connection) = link.dial(names, PATIENCE) else { return Ok(()) };
    let mut subscription = connection.as_pubsub();
    subscription.subscribe(&[names.channel.as_str(), own])?;
    subscription.set_read_timeout(Some(LOOK))?;
    loop {
        // Also for the subscription itself, and for what made the last one break.
        if let Err(TrySendError::Disconnected(())) = ring.try_send(()) {
            return Ok(());
        }
        loop {
            if stop.is_set() {
                return Ok(());
            }
            match subscription.get_message() {
                Ok(_) => break,
                Err(error) if error.is_timeout() => {}
                Err(error) => {
                    // The server went away: who waits shall look for the new one.
                    let _: Result<(), TrySendError<()>> = ring.try_send(());
                    return Err(error);
                }
            }
        }
    }
}
