//! The one thread that serves all parked streams of a server.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::config::OnPanic;
use super::park::{Parked, Turn};
use crate::thread::{Flag, Worker, catch, spawn};

/// So many streams are served by who rings: that costs it less than 0.1 ms.
const BY_RINGER: usize = 8;
/// What epoll tells of the courier's own flag; streams are numbered from 1.
const FLAG: u64 = 0;
/// Taken from epoll at a time.
const EVENTS: usize = 64;

/// Holds the parked streams of one server.
pub(super) struct Courier {
    streams: Mutex<Streams>,
    /// How many there are, for those who ring.
    count: AtomicUsize,
    /// The flag was raised and is still to be looked at.
    rung: AtomicBool,
    flag: Flag,
    /// The flag, and every stream's socket, for a client that goes.
    epoll: OwnedFd,
    /// Those that want a thread; never more than there are connections.
    resumed: Sender<Box<Parked>>,
    /// Raised when there is one.
    door: Arc<Flag>,
    on_panic: Option<OnPanic>,
}

#[derive(Default)]
struct Streams {
    parked: HashMap<u64, Box<Parked>>,
    last: u64,
    thread: Option<Worker<()>>,
    /// When the thread wakes by itself; `None`: it doesn't.
    wakes_at: Option<Instant>,
    /// Nothing is taken any more.
    closed: bool,
}

impl Courier {
    /// A courier, and where the streams come out that want a thread; `door` is
    /// raised when one does.
    pub(super) fn new(door: Arc<Flag>, on_panic: Option<OnPanic>) -> io::Result<(Arc<Courier>, Receiver<Box<Parked>>)> {
        let (resumed, threads_wanted) = unbounded();
        let (flag, epoll) = (Flag::new()?, epoll::create(epoll::CreateFlags::CLOEXEC)?);
        epoll::add(&epoll, &flag, epoll::EventData::new_u64(FLAG), epoll::EventFlags::IN)?;
        let courier = Courier {
            streams: Mutex::default(),
            count: AtomicUsize::new(0),
            rung: AtomicBool::new(false),
            flag,
            epoll,
            resumed,
            door,
            on_panic,
        };
        Ok((Arc::new(courier), threads_wanted))
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        // Courses' panics are caught within; the map is whole whatever they do.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has all streams look for news. Never waits: neither for a client nor for
    /// the thread that is at it already, which then looks once more.
    pub(super) fn ring(self: &Arc<Courier>) {
        match self.count.load(Ordering::SeqCst) {
            0 => {}
            1..=BY_RINGER => match self.streams.try_lock() {
                Ok(mut streams) => {
                    let due = self.serve(&mut streams);
                    if due.is_some_and(|due| streams.wakes_at.is_none_or(|at| due < at)) {
                        self.wake();
                    }
                }
                Err(_) => self.wake(),
            },
            _ => self.wake(),
        }
    }

    fn wake(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            self.flag.raise();
        }
    }

    /// Takes a stream over. The error is the stream itself, when it can't be
    /// taken: the server stops, or the system gives no more of something.
    pub(super) fn take(self: &Arc<Courier>, mut parked: Box<Parked>) -> Result<(), Box<Parked>> {
        let mut streams = self.lock();
        if streams.closed || !self.has_thread(&mut streams) {
            return Err(parked);
        }
        // What came while it was on its way here.
        match self.turn(&mut parked) {
            Turn::Stays => {}
            Turn::WantsThread => return Err(parked),
            Turn::Gone(error) => {
                leave(*parked, &error);
                return Ok(());
            }
        }
        let key = streams.last + 1;
        let wanted = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        if let Err(error) =
            epoll::add(&self.epoll, parked.connection.wire.socket(), epoll::EventData::new_u64(key), wanted)
        {
            log::debug!("a stream keeps its thread: {error}");
            return Err(parked);
        }
        streams.last = key;
        streams.parked.insert(key, parked);
        self.count.store(streams.parked.len(), Ordering::SeqCst);
        drop(streams);
        // Who has news from here on finds it counted; the thread looks for what
        // came just before, and at its time.
        self.wake();
        Ok(())
    }

    fn has_thread(self: &Arc<Courier>, streams: &mut Streams) -> bool {
        if streams.thread.is_none() {
            let theirs = Arc::clone(self);
            match spawn("http-courier", move |_| theirs.keep()) {
                Ok(worker) => streams.thread = Some(worker),
                Err(error) => log::debug!("streams keep their threads: {error}"),
            }
        }
        streams.thread.is_some()
    }

    /// Serves until [`close`](Courier::close).
    fn keep(self: &Arc<Courier>) {
        let mut events = Vec::with_capacity(EVENTS);
        let mut due = None;
        loop {
            // Without a time it waits until something comes: closing raises the flag.
            let nap = due.map(|due: Instant| {
                let left = due.saturating_duration_since(Instant::now());
                Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() }
            });
            match epoll::wait(&self.epoll, spare_capacity(&mut events), nap.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    // No limit or lack brings that about; streams then go on by threads.
                    log::error!("epoll_wait(2) fails: {error}");
                    self.lock().closed = true;
                }
            }
            // In this order: who rings from here on raises it again.
            self.flag.lower();
            self.rung.store(false, Ordering::SeqCst);
            let mut streams = self.lock();
            for event in events.drain(..) {
                let data = event.data;
                if let Some(parked) = self.remove(&mut streams, data.u64()) {
                    leave(*parked, &io::ErrorKind::BrokenPipe.into());
                }
            }
            if streams.closed {
                return self.release(&mut streams);
            }
            due = self.serve(&mut streams);
            streams.wakes_at = due;
        }
    }

    /// Lets all of them write what is new; the next moment that one wants to be asked.
    fn serve(&self, streams: &mut Streams) -> Option<Instant> {
        let (mut next, mut leaving) = (None, Vec::new());
        for (key, parked) in &mut streams.parked {
            match self.turn(parked) {
                Turn::Stays => next = earlier(next, parked.due),
                Turn::WantsThread => leaving.push((*key, None)),
                Turn::Gone(error) => leaving.push((*key, Some(error))),
            }
        }
        let wants_threads = leaving.iter().any(|(_, error)| error.is_none());
        for (key, error) in leaving {
            match (self.remove(streams, key), error) {
                (Some(parked), Some(error)) => leave(*parked, &error),
                (Some(parked), None) => self.send(parked),
                (None, _) => {}
            }
        }
        if wants_threads {
            self.door.raise();
        }
        next
    }

    fn turn(&self, parked: &mut Parked) -> Turn {
        catch(|| parked.advance()).unwrap_or_else(|panic| {
            match &self.on_panic {
                Some(record) => record(&panic),
                None => panic.log(),
            }
            Turn::Gone(io::Error::other("its handler panicked"))
        })
    }

    fn remove(&self, streams: &mut Streams, key: u64) -> Option<Box<Parked>> {
        let parked = streams.parked.remove(&key)?;
        self.count.store(streams.parked.len(), Ordering::SeqCst);
        // It fails only for one that isn't there.
        let _ = epoll::delete(&self.epoll, parked.connection.wire.socket());
        Some(parked)
    }

    fn send(&self, parked: Box<Parked>) {
        if let Err(unsent) = self.resumed.send(parked) {
            // The server is gone, and with it who would give it a thread.
            unsent.into_inner().cut();
        }
    }

    /// Takes nothing more, and gives all back that it holds. Waits for the
    /// thread, which waits for nobody.
    pub(super) fn close(&self) {
        let thread = {
            let mut streams = self.lock();
            streams.closed = true;
            self.release(&mut streams);
            streams.thread.take()
        };
        self.flag.raise();
        if let Some(Err(panic)) = thread.map(Worker::join) {
            panic.log();
        }
    }

    fn release(&self, streams: &mut Streams) {
        let keys: Vec<u64> = streams.parked.keys().copied().collect();
        for key in keys {
            if let Some(parked) = self.remove(streams, key) {
                self.send(parked);
            }
        }
        self.door.raise();
    }
}

fn leave(parked: Parked, why: &io::Error) {
    log::debug!(peer:% = parked.connection.peer; "the reply was cut: {}: {why}", parked.stream.line);
    parked.cut();
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
