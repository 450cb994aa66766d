//! How a run ended, as a value, an exit code, and words.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::output::Tally;
#[cfg(feature = "http")]
use super::ping::PingTally;
#[cfg(all(feature = "form", feature = "http"))]
use super::ship::Shipping;
#[cfg(all(feature = "http", feature = "redis"))]
use crate::live::relay::RelayTally;
use crate::lock;
use crate::process::Status;
use crate::store::{Holder, Loss};
use crate::thread::{ESSENTIAL_EXIT_CODE, Panic};

/// How a run ended. Exactly one of these is true of it. A new one is a change
/// that callers must see: not looking at an end shall not compile.
#[derive(Debug)]
pub enum Verdict {
    /// The command ended by itself, or by a signal that wasn't our time limit's.
    Ended(Status),
    /// The time limit passed, and the command was ended. `None`: it couldn't be.
    TimedOut(Option<Status>),
    /// The lock was lost while the command ran, or couldn't be renewed in time;
    /// the command was ended.
    LeaseLost {
        /// How and when.
        lost: lock::Lost,
        /// How the command ended. `None`: it couldn't be ended, or the lease was
        /// over before it could be started, see [`Outcome::started`].
        status: Option<Status>,
    },
    /// Somebody else holds the lock; nothing was started.
    Held(Holder),
    /// A signal came while we waited for the lock; nothing was started.
    Interrupted(i32),
    /// The lock's store can't be used, or has something else under the lock's
    /// key ([`lock::Error::is_held`]); nothing was started.
    Store(lock::Error),
    /// The same, and it was asked that this be no failure: [`IfUnreachable::Skip`](super::IfUnreachable::Skip).
    Skipped(lock::Error),
    /// The command doesn't exist, or can't be executed (`execve(2)`).
    NotStarted(io::Error),
    /// A local file of ours can't be used; nothing was started.
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The command couldn't be started for a reason of our own.
    Start(io::Error),
    /// A process of the tree outlived SIGKILL. Its keeper stays, and holds the lock, until it is gone.
    Stuck(i32),
    /// The keeper was killed; the command was ended. `whole_tree`: so was everything below it.
    KeeperDied {
        /// Whether nothing of the tree is left, as far as this process could see.
        whole_tree: bool,
    },
    /// A thread of ours died without which the run can't be trusted; the command was ended.
    Essential {
        /// The thread.
        thread: &'static str,
        /// Its panic; `None` if it just ended.
        panic: Option<Panic>,
    },
}

/// The exit codes of `towpath run` that aren't the command's own.
pub mod exit_code {
    /// Somebody else holds the lock (`EX_TEMPFAIL`).
    pub const HELD: u8 = 75;
    /// The store can't be used (`EX_UNAVAILABLE`).
    pub const UNREACHABLE: u8 = 69;
    /// A local file can't be read or written (`EX_IOERR`).
    pub const FILE: u8 = 74;
    /// The other side cut or refused (`EX_PROTOCOL`).
    pub const CUT: u8 = 76;
    /// The lock was lost while the command ran.
    pub const LEASE_LOST: u8 = 79;
    /// The time limit passed, as with `timeout(1)`.
    pub const TIMED_OUT: u8 = 124;
    /// An error of towpath's own.
    pub const INTERNAL: u8 = 125;
    /// The command can't be executed, as in a shell.
    pub const CANNOT_EXECUTE: u8 = 126;
    /// The command isn't found, as in a shell.
    pub const NOT_FOUND: u8 = 127;
    /// Wrong usage.
    pub const USAGE: u8 = 2;
}

/// A run's whole story.
#[derive(Debug)]
#[must_use = "it says whether the run succeeded"]
pub struct Outcome {
    /// How it ended.
    pub verdict: Verdict,
    /// A name for this run, unlike any other's.
    pub run: String,
    /// The command and its arguments.
    pub argv: Vec<std::ffi::OsString>,
    /// The lock's key, if it was to run under one.
    pub key: Option<String>,
    /// The fencing token it ran with.
    pub fence: Option<u64>,
    /// The ttl of its lease; `None` if it had none, or one that doesn't lapse.
    pub ttl: Option<Duration>,
    /// The lease was found lost, at whatever time before it was to be released.
    pub lost: Option<lock::Lost>,
    /// Why it ran without the lock, where that was asked for: [`IfUnreachable::Run`](super::IfUnreachable::Run).
    pub unlocked: Option<lock::Error>,
    /// When it was asked for.
    pub began: SystemTime,
    /// How long it waited for its lock.
    pub waited: Duration,
    /// When the command was started, if it was.
    pub started: Option<SystemTime>,
    /// How long the command ran, what it left behind included.
    pub ran: Duration,
    /// The command's process id.
    pub pid: Option<i32>,
    /// The command's own end, also where the verdict is another.
    pub status: Option<Status>,
    /// The signal by which somebody asked us to end it.
    pub asked_by: Option<i32>,
    /// SIGINT ended it: who runs us in a shell's loop expects us to die by it too.
    pub interrupted: bool,
    /// That SIGINT came from a terminal whose foreground was the command's, so
    /// that our own group hasn't seen it.
    pub interrupted_alone: bool,
    /// A process that outlived SIGKILL; its keeper stays with the lock until it is gone.
    pub stuck: Option<i32>,
    /// How many processes it left behind, which were then ended.
    pub left_behind: u32,
    /// What became of its output; `None` if it wrote to our own streams itself.
    pub output: Option<Tally>,
    /// Nobody took the last of the output, and who asked for the end didn't wait for that.
    pub undelivered: bool,
    /// The lock couldn't be given back, and ends as if we had crashed
    /// (`is_unreachable`); or it was no longer ours.
    pub release_error: Option<lock::Error>,
    /// The pings, if there were to be any.
    #[cfg(feature = "http")]
    pub pings: Option<PingTally>,
    /// What became of the relay, if there was one.
    #[cfg(all(feature = "http", feature = "redis"))]
    pub relay: Option<RelayTally>,
    /// What became of the files that were to be sent away; empty if the command
    /// didn't succeed.
    #[cfg(all(feature = "form", feature = "http"))]
    pub shipped: Vec<Shipping>,
    /// The report couldn't be written.
    pub report_error: Option<io::Error>,
}

impl Outcome {
    /// Whether the command ran, ended by itself with code 0, nothing of its log
    /// or of what it printed was lost, and its lock wasn't gone when it was to be
    /// given back.
    pub fn success(&self) -> bool {
        self.exit_code(exit_code::HELD) == 0 && !matches!(self.verdict, Verdict::Skipped(_))
    }

    /// The exit code of `towpath run`; `busy` is the one for a lock that somebody else holds.
    ///
    /// A command's success with an incomplete log, with output that couldn't be
    /// printed, without its report, or with a file that couldn't be sent away, is [`exit_code::FILE`]; one whose lock was
    /// found in other hands at the end is [`exit_code::LEASE_LOST`].
    pub fn exit_code(&self, busy: u8) -> u8 {
        let code = match &self.verdict {
            Verdict::Ended(status) => status.code(),
            Verdict::TimedOut(_) => exit_code::TIMED_OUT,
            Verdict::LeaseLost { .. } => exit_code::LEASE_LOST,
            Verdict::Held(_) => return busy,
            Verdict::Skipped(_) => 0,
            Verdict::Interrupted(signal) => Status::Signaled(*signal).code(),
            Verdict::Store(error) if error.is_held() => return busy,
            Verdict::Store(_) => exit_code::UNREACHABLE,
            Verdict::NotStarted(error) => code_of_not_started(error),
            Verdict::File { .. } => exit_code::FILE,
            Verdict::Start(_) | Verdict::Stuck(_) | Verdict::KeeperDied { .. } => exit_code::INTERNAL,
            Verdict::Essential { .. } => ESSENTIAL_EXIT_CODE,
        };
        match code {
            0 if self.was_perhaps_not_alone() => exit_code::LEASE_LOST,
            0 if self.lost_something() => exit_code::FILE,
            code => code,
        }
    }

    /// Whether nothing was run because it wasn't its turn.
    pub fn is_held(&self) -> bool {
        match &self.verdict {
            Verdict::Held(_) => true,
            Verdict::Store(error) => error.is_held(),
            _ => false,
        }
    }

    /// A word for the verdict, as in the report.
    pub fn word(&self) -> &'static str {
        match &self.verdict {
            Verdict::Ended(Status::Exited(_)) => "exited",
            Verdict::Ended(Status::Signaled(_)) => "signaled",
            Verdict::TimedOut(_) => "timed-out",
            Verdict::LeaseLost { .. } => "lease-lost",
            Verdict::Held(_) => "held",
            Verdict::Interrupted(_) => "interrupted",
            Verdict::Store(error) if error.is_held() => "held",
            Verdict::Store(_) => "store-unreachable",
            Verdict::Skipped(_) => "skipped",
            Verdict::NotStarted(error) if error.kind() == io::ErrorKind::NotFound => "not-found",
            Verdict::NotStarted(_) => "cannot-execute",
            Verdict::File { .. } => "file-error",
            Verdict::Start(_) | Verdict::Stuck(_) => "error",
            Verdict::KeeperDied { .. } => "keeper-died",
            Verdict::Essential { .. } => "thread-died",
        }
    }

    /// Whether the lock was found deleted or taken while the command may have run.
    /// One that lapsed did so after the command's end, or it had been ended before.
    pub fn was_perhaps_not_alone(&self) -> bool {
        self.lost.as_ref().is_some_and(|lost| lost.loss != Loss::Lapsed)
            || self.release_error.as_ref().is_some_and(|error| !error.is_unreachable())
    }

    fn lost_something(&self) -> bool {
        let of_output = self.output.as_ref().is_some_and(|tally| {
            let log_lost = tally.log.as_ref().is_some_and(|log| !log.lost.is_empty());
            // A reader who had enough, as in `| head`, lost nothing.
            let unprinted = tally.printed.error.as_ref().is_some_and(|error| error.kind() != io::ErrorKind::BrokenPipe);
            log_lost || unprinted
        });
        of_output || self.undelivered || self.report_error.is_some() || self.has_unshipped()
    }

    #[cfg(all(feature = "form", feature = "http"))]
    fn has_unshipped(&self) -> bool {
        self.shipped.iter().any(|shipping| shipping.result.is_err())
    }

    #[cfg(not(all(feature = "form", feature = "http")))]
    fn has_unshipped(&self) -> bool {
        false
    }
}

/// What a shell exits with where `execve(2)` said this.
pub(super) fn code_of_not_started(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound => exit_code::NOT_FOUND,
        _ => exit_code::CANNOT_EXECUTE,
    }
}
