//! A named thread and its owner.

use std::fmt;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError, bounded};

use super::panic::Scene;
use super::{Never, Panic, Stop, Stopper, catch, lock};

/// How long a dropped [`Worker`] waits for its thread. A thread that heeds its
/// stop is there in much less.
pub(super) const DROP_GRACE: Duration = Duration::from_millis(100);

/// Starts a thread with a name, a stop, and an owner: the [`Worker`].
///
/// `body` looks at its [`Stop`] (or waits for it) and ends soon after it is
/// set. A panic in it is caught with its evidence and comes out of
/// [`Worker::join`]; nothing is printed. The kernel shows the first 15 bytes
/// of the name (`prctl(2)`, PR_SET_NAME).
///
/// # Errors
/// `InvalidInput` for a name with a NUL in it; otherwise what the system says
/// when it gives no thread: `WouldBlock` (EAGAIN) at a limit on tasks, see
/// `pthread_create(3)`. `body` is dropped unrun.
pub fn spawn<T, F>(name: &str, body: F) -> io::Result<Worker<T>>
where
    F: FnOnce(&Stop) -> T + Send + 'static,
    T: Send + 'static,
{
    let (stopper, stop) = Stop::new();
    spawn_under(name, stopper, stop, body)
}

/// As [`spawn`], under a stop that others may share.
pub(super) fn spawn_under<T, F>(name: &str, stopper: Stopper, stop: Stop, body: F) -> io::Result<Worker<T>>
where
    F: FnOnce(&Stop) -> T + Send + 'static,
    T: Send + 'static,
{
    if name.contains('\0') {
        // std would panic.
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("a thread's name with a NUL in it: {name:?}")));
    }
    let (ending, ended) = bounded(1);
    let outcome = Arc::new(Mutex::new(Outcome::Running));
    let theirs = Arc::clone(&outcome);
    let handle = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let result = catch(|| body(&stop));
        hand_over(&theirs, result);
        drop::<crossbeam_channel::Sender<Never>>(ending);
    })?;
    Ok(Worker { name: name.to_owned(), stopper, ended, outcome, handle: Some(handle) })
}

/// The owner of a thread from [`spawn`].
///
/// Dropping it asks the thread to stop and waits up to 100 ms for it. Joined
/// then, a panic of it is logged. Still running, it is left behind, with a
/// warning in the log; its panic, should it come, is logged too. Join instead,
/// where the outcome matters.
#[must_use = "a dropped worker is asked to stop"]
pub struct Worker<T> {
    name: String,
    stopper: Stopper,
    ended: Receiver<Never>,
    outcome: Arc<Mutex<Outcome<T>>>,
    /// None once joined or left behind.
    handle: Option<JoinHandle<()>>,
}

enum Outcome<T> {
    Running,
    Ended(Result<T, Panic>),
    /// Nobody will fetch it.
    Abandoned,
}

impl<T> Worker<T> {
    /// The name given to [`spawn`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks the thread to stop and returns at once.
    pub fn stop(&self) {
        self.stopper.stop();
    }

    /// Whether the thread's body has ended: joining it doesn't block.
    pub fn is_finished(&self) -> bool {
        matches!(self.ended.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// A channel that disconnects when the thread's body has ended, for
    /// `select!`: `recv(worker.ended()) -> _ => worker.join()`.
    pub fn ended(&self) -> &Receiver<Never> {
        &self.ended
    }

    /// Waits for the thread and gives what it returned.
    ///
    /// Doesn't ask it to stop: call [`stop`](Worker::stop) first, unless it
    /// ends of itself. Only its end unblocks this; to wait for a bounded time,
    /// use [`join_within`](Worker::join_within).
    ///
    /// # Errors
    /// Its [`Panic`].
    ///
    /// # Panics
    /// If the thread joins itself.
    pub fn join(mut self) -> Result<T, Panic> {
        let joined = self.handle.take().map(JoinHandle::join);
        match mem::replace(&mut *lock(&self.outcome), Outcome::Abandoned) {
            Outcome::Ended(result) => result,
            Outcome::Running | Outcome::Abandoned => {
                // Only if handing over the outcome panicked, which nothing in it does.
                let message = format!("the thread ended without an outcome: {joined:?}");
                Err(Panic::new(Scene::bare(self.name.clone(), message)))
            }
        }
    }

    /// As [`join`](Worker::join), for at most `limit`.
    ///
    /// # Errors
    /// The worker itself, if its body is still running then.
    pub fn join_within(self, limit: Duration) -> Result<Result<T, Panic>, Self> {
        match self.ended.recv_timeout(limit) {
            Err(RecvTimeoutError::Disconnected) => Ok(self.join()),
            Err(RecvTimeoutError::Timeout) => Err(self),
            Ok(never) => match never {},
        }
    }

    /// Leaves the thread running without an owner, and says so in the log.
    pub(super) fn abandon(mut self) {
        self.leave_behind();
    }

    fn leave_behind(&mut self) {
        self.handle = None;
        let mut outcome = lock(&self.outcome);
        let before = mem::replace(&mut *outcome, Outcome::Abandoned);
        drop(outcome);
        match before {
            // It came in at the last moment.
            Outcome::Ended(result) => dispose(result),
            Outcome::Running => log::warn!(thread = self.name.as_str(); "thread {:?} was left running", self.name),
            Outcome::Abandoned => {}
        }
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        let Some(handle) = self.handle.take() else { return };
        self.stopper.stop();
        // A thread that drops its own worker would only wait for itself.
        let own = handle.thread().id() == thread::current().id();
        let limit = if own { Duration::ZERO } else { DROP_GRACE };
        if self.ended.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected) && !own {
            let _ = handle.join();
        }
        self.leave_behind();
    }
}

impl<T> fmt::Debug for Worker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("name", &self.name).field("is_finished", &self.is_finished()).finish()
    }
}

/// The thread's last act: its outcome to the owner, or to the log if there is none.
fn hand_over<T>(outcome: &Mutex<Outcome<T>>, result: Result<T, Panic>) {
    let mut outcome = lock(outcome);
    if matches!(*outcome, Outcome::Abandoned) {
        drop(outcome);
        dispose(result);
    } else {
        *outcome = Outcome::Ended(result);
    }
}

/// An outcome that nobody fetches: its panic still goes to the log.
fn dispose<T>(result: Result<T, Panic>) {
    if let Err(panic) = result {
        panic.log();
    }
}
