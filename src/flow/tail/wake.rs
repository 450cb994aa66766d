//! Who sleeps, and who wakes them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::thread::{Worker, spawn};

/// A producer wakes so many readers itself: that costs it less than 0.1 ms.
/// A thousand would cost it ten, so a thread does it then.
const BY_PRODUCER: usize = 8;

/// A reader's bell.
#[derive(Debug)]
pub(super) struct Sleeper {
    token: Sender<()>,
    /// On the list, or on its way from there to its token.
    listed: AtomicBool,
}

impl Sleeper {
    pub(super) fn new() -> (Arc<Sleeper>, Receiver<()>) {
        let (token, wake) = bounded(1);
        (Arc::new(Sleeper { token, listed: AtomicBool::new(false) }), wake)
    }

    fn ring(&self) {
        // In this order: one that finds itself listed still gets its token.
        self.listed.store(false, Ordering::SeqCst);
        // Full: there is one already.
        let _ = self.token.try_send(());
    }
}

/// Those who found nothing new, in the order in which they will be woken.
#[derive(Debug, Default)]
pub(super) struct Sleepers {
    list: Vec<Arc<Sleeper>>,
}

impl Sleepers {
    pub(super) fn add(&mut self, sleeper: &Arc<Sleeper>) {
        if !sleeper.listed.swap(true, Ordering::SeqCst) {
            self.list.push(Arc::clone(sleeper));
        }
    }

    pub(super) fn remove(&mut self, sleeper: &Arc<Sleeper>) {
        if sleeper.listed.load(Ordering::SeqCst) {
            self.list.retain(|other| !Arc::ptr_eq(other, sleeper));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn take(&mut self) -> Vec<Arc<Sleeper>> {
        std::mem::take(&mut self.list)
    }
}

/// Wakes, without making the producer wait for it.
#[derive(Debug, Default)]
pub(super) struct Waker {
    /// `None` where no thread could be had.
    thread: OnceLock<Option<WakerThread>>,
}

#[derive(Debug)]
struct WakerThread {
    /// Each reader is here at most once.
    pending: Arc<Mutex<Vec<Arc<Sleeper>>>>,
    /// Dropped before the worker, as its order here says: that ends the thread.
    work: Sender<()>,
    _worker: Worker<()>,
}

impl Waker {
    pub(super) fn wake(&self, sleepers: Vec<Arc<Sleeper>>) {
        if sleepers.is_empty() {
            return;
        }
        if (sleepers.len() > BY_PRODUCER || self.thread.get().is_some())
            && let Some(thread) = self.thread.get_or_init(WakerThread::start)
        {
            thread.pending.lock().unwrap_or_else(PoisonError::into_inner).extend(sleepers);
            // Full: it has yet to look.
            let _ = thread.work.try_send(());
            return;
        }
        sleepers.iter().for_each(|sleeper| sleeper.ring());
    }
}

impl WakerThread {
    fn start() -> Option<WakerThread> {
        let pending = Arc::new(Mutex::new(Vec::<Arc<Sleeper>>::new()));
        let theirs = Arc::clone(&pending);
        let (work, next) = bounded(1);
        // Waits without a deadline: its owner's end is what ends it.
        let body = move |_: &_| {
            for () in next {
                let sleepers = std::mem::take(&mut *theirs.lock().unwrap_or_else(PoisonError::into_inner));
                sleepers.iter().for_each(|sleeper| sleeper.ring());
            }
        };
        match spawn("tail-waker", body) {
            Ok(_worker) => Some(WakerThread { pending, work, _worker }),
            Err(error) => {
                log::warn!("no thread to wake readers, so their producer does: {error}");
                None
            }
        }
    }
}
