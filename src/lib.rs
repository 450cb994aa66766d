//! Runs a job once across a fleet, and knows how it ended.
//!
//! A library of blocking streams and supervised processes, and the parts of
//! the `towpath` command. Its one idea: *the end of a stream is not the
//! success of the task*, so an end must be proven.

#![warn(rustdoc::broken_intra_doc_links)]

#[cfg(panic = "abort")]
compile_error!("towpath catches panics to keep their evidence: build it with panic = \"unwind\"");

#[cfg(feature = "http")]
pub mod client;
pub mod clock;
pub mod flow;
#[cfg(feature = "http")]
pub mod http;
pub mod job;
#[cfg(feature = "http")]
pub mod live;
pub mod lock;
pub mod pipe;
pub mod process;
pub mod store;
pub mod thread;
