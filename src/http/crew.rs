//! The threads of a server's connections: counted, and joined as they end.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::event::{PollFd, PollFlags};

use super::socket::wait;
use crate::thread::Flag;

/// Owns the threads; lives with the one that accepts.
#[derive(Debug)]
pub(super) struct Crew {
    members: HashMap<u64, JoinHandle<()>>,
    next: u64,
    stack_bytes: usize,
    /// Never holds more than there are members.
    ended: Receiver<u64>,
    ending: Sender<u64>,
    /// Raised when a member ends.
    bell: Arc<Flag>,
}

impl Crew {
    pub(super) fn new(stack_bytes: usize) -> io::Result<Crew> {
        let (ending, ended) = unbounded();
        Ok(Crew { members: HashMap::new(), next: 1, stack_bytes, ended, ending, bell: Arc::new(Flag::new()?) })
    }

    /// To poll beside other things; [`join_ended`](Crew::join_ended) lowers it.
    pub(super) fn bell(&self) -> &Arc<Flag> {
        &self.bell
    }

    pub(super) fn count(&self) -> usize {
        self.members.len()
    }

    /// Starts a thread. `body` is dropped unrun if the system gives none.
    pub(super) fn add(&mut self, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let id = self.next;
        let leaving = Leaving { id, ending: self.ending.clone(), bell: Arc::clone(&self.bell) };
        let run = move || {
            let _leaving = leaving;
            body();
        };
        let name = format!("http-{id}");
        let handle = Builder::new().name(name).stack_size(self.stack_bytes).spawn(run)?;
        self.next += 1;
        self.members.insert(id, handle);
        Ok(())
    }

    pub(super) fn join_ended(&mut self) {
        self.bell.lower();
        while let Ok(id) = self.ended.try_recv() {
            if let Some(handle) = self.members.remove(&id) {
                // Handlers' panics are caught closer by; this one would be our
                // own, and the panic hook has told the rest of it.
                if handle.join().is_err() {
                    log::error!("the thread http-{id} panicked outside a handler");
                }
            }
        }
    }

    /// Waits for all to end, at most until the moment: whether they did.
    pub(super) fn join_all(&mut self, until: Instant) -> io::Result<bool> {
        loop {
            self.join_ended();
            if self.members.is_empty() {
                return Ok(true);
            }
            if !wait(&mut [PollFd::new(&*self.bell, PollFlags::IN)], Some(until))? {
                return Ok(false);
            }
        }
    }
}

/// A member's last word, also when it panics.
struct Leaving {
    id: u64,
    ending: Sender<u64>,
    bell: Arc<Flag>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        // Nobody listens any more if the server gave up on its members.
        let _ = self.ending.send(self.id);
        self.bell.raise();
    }
}

/// A connection among those that a server has at a time, with a thread or without.
#[derive(Debug)]
pub(super) struct Seat(Arc<AtomicUsize>);

impl Seat {
    /// Takes one of `seats`, which says how many are taken.
    pub(super) fn take(seats: &Arc<AtomicUsize>) -> Seat {
        seats.fetch_add(1, Ordering::SeqCst);
        Seat(Arc::clone(seats))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
