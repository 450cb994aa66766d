//! Lines: bytes split into them, chosen by patterns, and counted where some went missing.
//!
//! Promises: not a byte is changed or lost; memory doesn't grow with the
//! length of a line or of the stream ([`MAX_LINE_BYTES`]); a whole line inside
//! the chunk that is given is lent, not copied; what can't be passed on is
//! counted in a [`Gap`], which is a line of its own in the stream.
//!
//! It ends where the bytes go: this room opens nothing, and starts no thread.

mod filter;
mod gap;
mod missed;
mod patterns;
mod split;
pub mod tail;

pub use filter::{Filter, Sieve};
pub use gap::Gap;
pub use missed::{Missed, Why};
pub use patterns::InvalidPattern;
pub use split::{MAX_LINE_BYTES, Piece, Splitter};
