//! Threads of two classes, and the program that stands or falls with one of them.

use std::fmt;
use std::io;
use std::mem;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::worker::{DROP_GRACE, spawn_under};
use super::{Panic, Stop, Stopper, Worker, catch, lock};

/// The exit code of a program whose essential thread died: 70, `EX_SOFTWARE`
/// of `sysexits.h`.
pub const ESSENTIAL_EXIT_CODE: u8 = 70;

/// Owns the threads of a program, in two classes.
///
/// * [`isolated`](Supervisor::isolated): its panic harms only what it was
///   serving. It is caught and logged; everything else goes on.
/// * [`essential`](Supervisor::essential): without it the service is wrong. Its
///   panic, or its end before a stop was asked for, stops all threads in order,
///   and [`wait`](Supervisor::wait) fails.
///
/// All share one [`Stop`]. Threads may be added while others run, from any
/// thread; those that ended are joined when the next one is added, so that a
/// thread a request costs nothing after its end.
///
/// Dropped without `wait`, it asks all to stop, waits up to 100 ms for them
/// together, and leaves the rest behind with a warning in the log.
///
/// `tests/examples/two_classes.rs` in the repository is a whole program on it.
#[derive(Debug)]
pub struct Supervisor {
    stopper: Stopper,
    stop: Stop,
    members: Mutex<Vec<Worker<()>>>,
    first_end: Arc<Mutex<Option<EssentialEnded>>>,
    left_behind: Mutex<Vec<String>>,
}

/// An essential thread panicked, or ended before a stop was asked for.
/// `source()` is its panic, if that was it.
#[derive(Clone, Debug)]
pub struct EssentialEnded {
    thread: String,
    panic: Option<Panic>,
}

impl Supervisor {
    /// A supervisor without threads.
    #[expect(clippy::new_without_default, reason = "a default would hide that it owns a stop")]
    pub fn new() -> Supervisor {
        let (stopper, stop) = Stop::new();
        Supervisor {
            stopper,
            stop,
            members: Mutex::default(),
            first_end: Arc::default(),
            left_behind: Mutex::default(),
        }
    }

    /// What asks all the threads, and [`wait`](Supervisor::wait), to stop.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// The stop that all the threads share.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Starts a thread whose panic is caught, logged once with its evidence
    /// ([`Panic::log`]), and otherwise ignored. So is its return.
    ///
    /// # Errors
    /// As [`spawn`](super::spawn); and once a stop was asked for, when no
    /// thread is taken any more.
    pub fn isolated<F>(&self, name: &str, body: F) -> io::Result<()>
    where
        F: FnOnce(&Stop) + Send + 'static,
    {
        self.add(name, |stop| {
            if let Err(panic) = catch(|| body(stop)) {
                panic.log();
            }
        })
    }

    /// Starts a thread that the program can't do without. Its panic, at any
    /// time, and its return before a stop was asked for, stop everything.
    /// Either is logged once.
    ///
    /// # Errors
    /// As [`isolated`](Supervisor::isolated).
    pub fn essential<F>(&self, name: &str, body: F) -> io::Result<()>
    where
        F: FnOnce(&Stop) + Send + 'static,
    {
        let first_end = Arc::clone(&self.first_end);
        let stopper = self.stopper();
        let thread = name.to_owned();
        self.add(name, move |stop| {
            let panic = match catch(|| body(stop)) {
                Ok(()) if stop.is_set() => return,
                Ok(()) => None,
                Err(panic) => Some(panic),
            };
            // Stop first, log later: a logger that panics must not hide this end.
            lock(&first_end).get_or_insert_with(|| EssentialEnded { thread: thread.clone(), panic: panic.clone() });
            stopper.stop();
            match panic {
                Some(panic) => panic.log(),
                None => {
                    log::error!(thread = thread.as_str(); "essential thread {thread:?} ended before it was asked to");
                }
            }
        })
    }

    /// Blocks until a stop is asked for, by a [`Stopper`] or by the end of an
    /// essential thread; then waits for all threads, up to `grace` together.
    ///
    /// Those that haven't come by then are left behind, with a warning each in
    /// the log, and named by [`left_behind`](Supervisor::left_behind): return
    /// from `main`, and they end with the process. Not to be called from a
    /// thread of its own, which would wait for itself.
    ///
    /// # Errors
    /// [`EssentialEnded`]: leave with [`EssentialEnded::exit_code`].
    pub fn wait(&self, grace: Duration) -> Result<(), EssentialEnded> {
        self.stop.wait();
        self.join_all(grace);
        lock(&self.first_end).clone().map_or(Ok(()), Err)
    }

    /// The names of the threads that [`wait`](Supervisor::wait) left running;
    /// empty before it.
    pub fn left_behind(&self) -> Vec<String> {
        lock(&self.left_behind).clone()
    }

    fn add<F>(&self, name: &str, body: F) -> io::Result<()>
    where
        F: FnOnce(&Stop) + Send + 'static,
    {
        // Held until it is in the list: `join_all` misses nobody.
        let mut members = lock(&self.members);
        if self.stop.is_set() {
            return Err(io::Error::other(format!("thread {name:?} came after the stop")));
        }
        for ended in members.extract_if(.., |member| member.is_finished()) {
            settle(ended.join());
        }
        members.push(spawn_under(name, self.stopper(), self.stop.clone(), body)?);
        Ok(())
    }

    fn join_all(&self, grace: Duration) {
        let members = mem::take(&mut *lock(&self.members));
        let deadline = Instant::now().checked_add(grace);
        for member in members {
            let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            match member.join_within(left) {
                Ok(outcome) => settle(outcome),
                Err(late) => {
                    lock(&self.left_behind).push(late.name().to_owned());
                    late.abandon();
                }
            }
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stopper.stop();
        self.join_all(DROP_GRACE);
    }
}

impl EssentialEnded {
    /// The name of the thread; of several, the first that ended.
    pub fn thread(&self) -> &str {
        &self.thread
    }

    /// Its panic; none if it just returned.
    pub fn panic(&self) -> Option<&Panic> {
        self.panic.as_ref()
    }

    /// [`ESSENTIAL_EXIT_CODE`], for `main` to return.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(ESSENTIAL_EXIT_CODE)
    }
}

impl fmt::Display for EssentialEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.panic {
            Some(_) => write!(f, "essential thread {:?} died", self.thread),
            None => write!(f, "essential thread {:?} ended before it was asked to", self.thread),
        }
    }
}

impl std::error::Error for EssentialEnded {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.panic.as_ref().map(|panic| panic as _)
    }
}

/// Both classes catch their panics themselves; one that comes out here was
/// thrown by the logger they told it to, so it isn't told to that logger.
fn settle(outcome: Result<(), Panic>) {
    if let Err(panic) = outcome {
        panic.print();
    }
}
