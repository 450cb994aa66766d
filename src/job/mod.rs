//! One run: a command under a lease, with its output, time limits and outcome.
//!
//! [`Job`] says what to run; [`Job::run`] runs it, and gives back an
//! [`Outcome`] in which everything that happened has its place: how the command
//! ended, who held the lock instead, what of the output was lost. It prints
//! nothing but the command's output.

mod audience;
mod causes;
#[cfg(feature = "docker")]
mod container;
mod environment;
#[cfg(feature = "http")]
mod feeding;
#[cfg(feature = "http")]
mod interleave;
mod lead;
mod lease;
#[cfg(feature = "http")]
mod listen;
#[cfg(feature = "http")]
pub mod logs;
mod outcome;
pub mod output;
#[cfg(feature = "http")]
mod ping;
mod report;
mod run;
mod session;
#[cfg(all(feature = "form", feature = "http"))]
mod ship;
mod signals;
mod spec;
mod streams;
mod tether;
mod unfit;

pub use causes::with_causes;
#[cfg(feature = "docker")]
pub use container::InContainer;
pub use lead::{LEAD_TTL, Lead, OnExit, Step, Tell};
#[cfg(feature = "http")]
pub use listen::{Listen, Told};
pub use outcome::{Outcome, Verdict, exit_code};
#[cfg(feature = "http")]
pub use ping::{PingTally, PingTo};
#[cfg(all(feature = "form", feature = "http"))]
pub use ship::{Ship, Shipping};
pub use spec::{IfUnreachable, Job, Once};
pub use unfit::Unfit;

/// Turns this process into one of those that serve a run (its keeper, a container's
/// attendant) if it was started as one, and doesn't come back then. Call it first thing
/// in `main`, before any thread or output.
pub fn entry() {
    crate::process::keeper_entry();
    #[cfg(feature = "docker")]
    container::entry();
}
