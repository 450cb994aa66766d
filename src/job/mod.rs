//! One run: a command under a lease, with its output, time limits and outcome.

pub mod output;
