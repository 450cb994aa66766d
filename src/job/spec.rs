//! What to run, and how.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "http")]
use super::listen::Listen;
#[cfg(feature = "http")]
use super::ping::PingTo;
#[cfg(all(feature = "form", feature = "http"))]
use super::ship::Ship;
use super::unfit::Unfit;
use crate::flow::Filter;
#[cfg(all(feature = "http", feature = "redis"))]
use crate::live::relay::Relay;
use crate::lock::{Locks, Request};
use crate::store::StoreUrl;

/// At most one run at a time of all that ask for the same key of the same store.
#[derive(Clone, Debug)]
pub struct Once {
    /// Where the lock is kept.
    pub store: StoreUrl,
    /// The key, and how long it is held at least.
    pub request: Request,
    /// How long to wait for the lock; zero gives up at once.
    pub wait: Duration,
}

/// What becomes of a run whose lock's store can't be used, for whatever reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfUnreachable {
    /// It isn't run, and fails: [`Verdict::Store`](super::Verdict::Store). The default.
    #[default]
    Fail,
    /// It isn't run, and that is no failure: [`Verdict::Skipped`](super::Verdict::Skipped).
    Skip,
    /// It runs without the lock, perhaps beside others: [`Outcome::unlocked`](super::Outcome::unlocked).
    Run,
}

/// A command to run. Defaults: no lock, no time limit, standard input passed
/// on, output straight to our own streams.
#[derive(Debug)]
#[must_use = "it does nothing until it is run"]
pub struct Job {
    pub(super) argv: Vec<OsString>,
    pub(super) once: Option<Once>,
    pub(super) locks: Option<Arc<Locks>>,
    pub(super) if_unreachable: IfUnreachable,
    pub(super) timeout: Option<Duration>,
    /// `None`: what fits the lease, see [`Job::kill_after`].
    pub(super) kill_after: Option<Duration>,
    pub(super) stdin: bool,
    pub(super) pty: bool,
    #[cfg(feature = "docker")]
    pub(super) container: Option<super::InContainer>,
    pub(super) log: Option<PathBuf>,
    pub(super) quiet_success: bool,
    pub(super) filter: Option<Filter>,
    #[cfg(feature = "http")]
    pub(super) ping: Option<PingTo>,
    #[cfg(feature = "http")]
    pub(super) listen: Option<Listen>,
    #[cfg(all(feature = "http", feature = "redis"))]
    pub(super) relay: Option<Relay>,
    #[cfg(all(feature = "form", feature = "http"))]
    pub(super) ships: Vec<Ship>,
    pub(super) report: Option<PathBuf>,
    pub(super) busy_exit: u8,
}

impl Job {
    /// A program, looked for in `PATH` unless it has a slash, and its arguments.
    pub fn new(argv: impl IntoIterator<Item = impl Into<OsString>>) -> Job {
        Job {
            argv: argv.into_iter().map(Into::into).collect(),
            once: None,
            locks: None,
            if_unreachable: IfUnreachable::default(),
            timeout: None,
            kill_after: None,
            stdin: true,
            pty: false,
            #[cfg(feature = "docker")]
            container: None,
            log: None,
            quiet_success: false,
            filter: None,
            #[cfg(feature = "http")]
            ping: None,
            #[cfg(feature = "http")]
            listen: None,
            #[cfg(all(feature = "http", feature = "redis"))]
            relay: None,
            #[cfg(all(feature = "form", feature = "http"))]
            ships: Vec::new(),
            report: None,
            busy_exit: super::exit_code::HELD,
        }
    }

    /// Runs only while it holds a lock.
    pub fn once(mut self, once: Once) -> Job {
        self.once = Some(once);
        self
    }

    /// Takes the lock from these, which are open already, and not from the store
    /// that [`Once::store`] names. They count as ones that lapse.
    pub fn locks(mut self, locks: Arc<Locks>) -> Job {
        self.locks = Some(locks);
        self
    }

    /// What to do when the lock's store can't be used. Defaults to
    /// [`IfUnreachable::Fail`].
    pub fn if_unreachable(mut self, choice: IfUnreachable) -> Job {
        self.if_unreachable = choice;
        self
    }

    /// Ends the command's tree so long after its start. The keeper counts it, so
    /// it holds though we are stopped, and suspend counts.
    pub fn timeout(mut self, timeout: Duration) -> Job {
        self.timeout = Some(timeout);
        self
    }

    /// From the signal that asks the tree to end to the one that kills it.
    /// Defaults to 5 s; under a lease that lapses, to a quarter of its ttl if that
    /// is less, and it may be half of it at most.
    pub fn kill_after(mut self, kill_after: Duration) -> Job {
        self.kill_after = Some(kill_after);
        self
    }

    /// Whether the settings fit each other. [`Job::run`] asks too, and runs
    /// nothing if they don't.
    ///
    /// # Errors
    /// [`Unfit`], which says what to change.
    pub fn check(&self) -> Result<(), Unfit> {
        #[cfg(feature = "docker")]
        if self.pty && self.container.is_some() {
            return Err(Unfit::PtyInContainer);
        }
        let Some(once) = &self.once else { return Ok(()) };
        let lapses = self.locks.is_some() || once.store.lapses();
        Unfit::check(once.request.ttl_wanted(), self.kill_after.filter(|_| lapses))
    }

    /// Runs the command in a container, which has no standard input. The command may be
    /// empty: it is the image's then. A program that uses this calls
    /// [`entry`](super::entry) first thing in `main`.
    ///
    /// A container ends with its run like a command does: the lock is let go after it was
    /// removed, and under a lease that lapses it is asked to end 2 s earlier (or a tenth
    /// of the ttl), as the daemon may take its time.
    #[cfg(feature = "docker")]
    pub fn container(mut self, container: super::InContainer) -> Job {
        self.container = Some(container);
        self.stdin = false;
        self
    }

    /// Gives the command an empty standard input instead of ours.
    pub fn no_stdin(mut self) -> Job {
        self.stdin = false;
        self
    }

    /// Gives the command a terminal of its own, whatever our streams are: for
    /// programs that buffer or plain their output without one. Its stdout and
    /// stderr are then one.
    pub fn pty(mut self) -> Job {
        self.pty = true;
        self
    }

    /// Appends every line of output to this file.
    pub fn log(mut self, path: PathBuf) -> Job {
        self.log = Some(path);
        self
    }

    /// Prints the output only if the run fails.
    pub fn quiet_success(mut self) -> Job {
        self.quiet_success = true;
        self
    }

    /// Prints only the lines that pass; the log has all.
    pub fn filter(mut self, filter: Filter) -> Job {
        self.filter = Some(filter);
        self
    }

    /// Tells a monitor of the start and the end.
    #[cfg(feature = "http")]
    pub fn ping(mut self, to: PingTo) -> Job {
        self.ping = Some(to);
        self
    }

    /// Lets others watch the run. A reader never slows it.
    #[cfg(feature = "http")]
    pub fn listen(mut self, listen: Listen) -> Job {
        self.listen = Some(listen);
        self
    }

    /// Sends a file away after the command has succeeded, before the lock is given
    /// back. One that doesn't arrive makes the run a failure.
    #[cfg(all(feature = "form", feature = "http"))]
    pub fn ship(mut self, ship: Ship) -> Job {
        self.ships.push(ship);
        self
    }

    /// Writes the run's lines beside its lock, for who follows it from other
    /// hosts: see [`live::relay`](crate::live::relay). Nothing of it slows the run or
    /// changes its outcome. Without a lock nothing is relayed.
    #[cfg(all(feature = "http", feature = "redis"))]
    pub fn relay(mut self, relay: Relay) -> Job {
        self.relay = Some(relay);
        self
    }

    /// Writes the outcome to this file as JSON, whatever it is.
    pub fn report(mut self, path: PathBuf) -> Job {
        self.report = Some(path);
        self
    }

    /// The exit code that the report names when somebody else holds the lock. Defaults to 75.
    pub fn busy_exit(mut self, code: u8) -> Job {
        self.busy_exit = code;
        self
    }

    /// The command as one line, for people.
    pub fn command_line(argv: &[OsString]) -> String {
        let words: Vec<_> = argv.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }
}
