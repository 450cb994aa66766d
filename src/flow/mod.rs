//! Lines: bytes split into them, chosen by patterns, gathered from many sources
//! ([`merge`]), handed to many readers ([`tail`]), and counted where some went missing.
//!
//! Promises: not a byte is changed or lost; memory doesn't grow with the
//! length of a line or of the stream ([`MAX_LINE_BYTES`]); a whole line inside
//! the chunk that is given is lent, not copied; what can't be passed on is
//! counted in a [`Gap`], or told as a [`Missed`] where nobody can count it.
//!
//! It ends where the bytes go: onto a terminal, into a file, over HTTP.

mod filter;
mod follow;
mod gap;
pub mod merge;
mod missed;
mod patterns;
mod split;
pub mod tail;

pub use filter::{Filter, Sieve};
pub use gap::Gap;
pub use missed::{Missed, Why};
pub use patterns::InvalidPattern;
pub use split::{MAX_LINE_BYTES, Piece, Splitter};
