//! What became of the output, in numbers: nothing is lost without being counted here.

use std::io;

use crate::flow::Gap;

/// The account of one run's output.
#[derive(Debug, Default)]
#[must_use = "it says what was lost"]
pub struct Tally {
    /// Bytes read from the child's stdout (or its terminal).
    pub stdout_bytes: u64,
    /// Bytes read from the child's stderr.
    pub stderr_bytes: u64,
    /// Lines of more than 64 KiB that a filter judged by their beginning, or
    /// that the log could not hold back until they were whole.
    pub long_lines: u64,
    /// The streams had not ended when the child's process tree had: a stranger holds them.
    pub held_open: bool,
    /// What our own stdout and stderr didn't take.
    pub printed: PrintTally,
    /// The log's account, if there is a log.
    pub log: Option<LogTally>,
    /// The spool's account, if the run was quiet.
    pub spool: Option<SpoolTally>,
    /// A child's stream could not be read; it counted as ended. Never seen with a pipe or a terminal.
    pub read_error: Option<io::Error>,
}

/// What our own stdout and stderr didn't take.
#[derive(Debug, Default)]
pub struct PrintTally {
    /// Bytes that should have been printed and were not.
    pub lost_bytes: u64,
    /// The first error. `BrokenPipe`: the reader had enough, as in `| head`.
    pub error: Option<io::Error>,
}

/// The log's account.
#[derive(Debug, Default)]
pub struct LogTally {
    /// Bytes appended, gap lines included.
    pub bytes: u64,
    /// What is not in the log. Each gap has its line there, but one that lasted to the end.
    pub lost: Gap,
    /// The first error.
    pub error: Option<io::Error>,
}

/// The spool's account.
#[derive(Debug, Default)]
pub struct SpoolTally {
    /// What was left out between the beginning and the end, because the spool is bounded.
    pub left_out: Gap,
    /// The spool could not be written, so that the output was printed after all, though the
    /// run was to be quiet; or it could not be read back, and what was in it is lost.
    pub error: Option<io::Error>,
}
