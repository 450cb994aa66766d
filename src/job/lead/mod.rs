//! A command that runs while this host is the leader for a key: stands by,
//! takes over, steps down, and stands by again.
//!
//! Promises: the command runs only under a valid lease, and is dead before
//! anybody else can lead (see [`Job`](super::Job)); a graceful end hands over
//! at once; an election that fails is tried again, with pauses, for as long as
//! it takes. Ends at the command: what leading means is its business.

mod course;
mod pause;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "http")]
use super::listen::Listen;
use super::outcome::Outcome;
use super::unfit::Unfit;
use crate::lock::{Error, Request};
use crate::store::StoreUrl;

/// The ttl of a leader's lease unless [`Request::ttl`] says otherwise: a leader
/// that crashes is replaced within it.
pub const LEAD_TTL: Duration = Duration::from_secs(10);

/// What the command's own end means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExit {
    /// Lets go of the leadership, so that another host may take over, and stands
    /// by again after a pause. The default.
    #[default]
    Release,
    /// Stays the leader, and starts it again after a pause.
    Restart,
    /// Lets go, and is done, with the command's end.
    End,
}

/// What is told while a [`Lead`] goes on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Step<'a> {
    /// Stands by until nobody else leads.
    StandsBy,
    /// Is the leader, with this fencing token; the command starts.
    Leads {
        /// Larger than that of every leader before.
        fence: u64,
    },
    /// The command ended, or its lease was lost, or it couldn't be started.
    Ended(&'a Outcome),
    /// The store can't be used at the moment.
    Trouble(&'a Error),
    /// Waits so long before the next try.
    Pauses(Duration),
}

/// Told of each step, on the thread that runs the lead.
pub type Tell = Box<dyn FnMut(&Step<'_>) + Send>;

/// A command to run while leading.
#[must_use = "it does nothing until it is run"]
pub struct Lead {
    store: StoreUrl,
    request: Request,
    argv: Vec<OsString>,
    on_exit: OnExit,
    kill_after: Option<Duration>,
    log: Option<PathBuf>,
    #[cfg(feature = "http")]
    listen: Option<Listen>,
    tell: Tell,
}

impl Lead {
    /// Runs `argv` while this process holds the lock of `request` in `store`.
    /// `tell` hears of each step.
    pub fn new(
        store: StoreUrl,
        request: Request,
        argv: impl IntoIterator<Item = impl Into<OsString>>,
        tell: Tell,
    ) -> Lead {
        Lead {
            store,
            request,
            argv: argv.into_iter().map(Into::into).collect(),
            on_exit: OnExit::default(),
            kill_after: None,
            log: None,
            #[cfg(feature = "http")]
            listen: None,
            tell,
        }
    }

    /// What the command's own end means. Defaults to [`OnExit::Release`].
    pub fn on_exit(mut self, on_exit: OnExit) -> Lead {
        self.on_exit = on_exit;
        self
    }

    /// From the signal that asks the command's tree to end to the one that kills
    /// it. Defaults to 5 s, or a quarter of the ttl if that is less.
    pub fn kill_after(mut self, kill_after: Duration) -> Lead {
        self.kill_after = Some(kill_after);
        self
    }

    /// Appends every line of output to this file.
    pub fn log(mut self, path: PathBuf) -> Lead {
        self.log = Some(path);
        self
    }

    /// Lets others watch, also while this host stands by: its `/status` says
    /// whether it leads, since when, and with which fence.
    #[cfg(feature = "http")]
    pub fn listen(mut self, listen: Listen) -> Lead {
        self.listen = Some(listen);
        self
    }

    /// Whether the settings fit each other.
    ///
    /// # Errors
    /// The ttl or the grace doesn't fit: see [`Unfit`].
    pub fn check(&self) -> Result<(), Unfit> {
        if self.store.lapses() { Unfit::check(self.request.ttl_wanted(), self.kill_after) } else { Ok(()) }
    }
}

impl fmt::Debug for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead").field("store", &self.store).field("request", &self.request).finish_non_exhaustive()
    }
}
