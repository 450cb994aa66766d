//! What becomes of a child's output: printed, logged, or spooled until the end is known.
//!
//! A [`Pump`] reads the child's stdout and stderr, on one thread that its
//! owner provides, and gives them on as a [`Plan`] says:
//!
//! - *printed*: to our own stdout and stderr. Without a filter each read is
//!   written at once, lines or not; with one, whole lines that pass.
//! - *logged*: every line of both streams, appended to one file, filtered or
//!   not. Whole lines only, so that no line has the other stream inside it.
//! - *spooled* (quiet): what would be printed is kept in a bounded temporary
//!   file, to be printed if the run fails.
//! - *live*: every line, into a tail that readers elsewhere look at; it never
//!   waits for them.
//!
//! Promises: the child's bytes are kept as they are; memory is bounded
//! whatever the child writes; the two streams are served in the order in which
//! the kernel says they became readable; the child waits for nothing of ours
//! but the terminal and the log it writes to; every loss is counted in the
//! [`Tally`], and in the log it has a line of its own.
//!
//! Order has a limit that no reader of two pipes can pass: what a child wrote
//! to one of them before the other, and we had not yet read, comes together.
//!
//! A stream of ours that its reader has closed (`| head`) is passed on: the
//! child's end is closed, so that its next write meets SIGPIPE, as it would
//! without us. Unless there is a log or somebody may look on elsewhere: they are
//! promised every line, so the child is read on. Any other trouble with our stdout (a full disk, a lost terminal)
//! doesn't stop a job: it is counted, and each later write tries again.
//!
//! It ends with its streams; ending the child is not its business.

#[cfg(feature = "http")]
mod live;
mod log;
mod printer;
mod pump;
mod show;
mod spool;
mod tally;
#[cfg(test)]
mod testing;

#[cfg(feature = "http")]
pub use live::{Live, STREAMS};
pub use log::Log;
#[cfg(feature = "http")]
pub(super) use printer::Printer;
pub use pump::{DRAIN_LIMIT, Drain, Plan, Pump};
pub use show::Output;
pub use tally::{LogTally, PrintTally, SpoolTally, Tally};

/// Which of the child's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    const BOTH: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

    /// Its place in an array of two.
    fn index(self) -> usize {
        match self {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
        }
    }
}
