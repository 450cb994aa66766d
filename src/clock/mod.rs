//! Moments that count suspend, and durations as people write them.
//!
//! `std::time::Instant` stands still while a Linux host sleeps, so a lease
//! measured by it is still "valid" when a laptop wakes (rust-lang/rust#87906).
//! [`Moment`] reads `CLOCK_BOOTTIME`, which goes on counting. It never jumps,
//! and means nothing on another host or after a reboot; for those, there is
//! the wall clock: [`unix_now`] and [`rfc3339`].

mod duration;
mod moment;

pub use duration::{InvalidDuration, format_duration, parse_duration};
pub use moment::{Moment, parse_rfc3339, rfc3339, unix_now};
