//! Lists as the docker CLI prints them: the same columns, units and words.
//!
//! What is shown is text that others have chosen. What could steer a terminal is
//! quoted where the CLI quotes it, and the daemon lets no such thing into names.

mod containers;
mod images;
mod ports;
mod quote;
mod table;
mod units;

pub use containers::{container_ids, containers};
pub use images::{ImageColumns, image_ids, images};
pub use units::{human_duration, human_size};

/// What the CLI cuts an id to.
const ID_LENGTH: usize = 12;

/// An id without the name of its hash, cut as lists have it unless it is to be whole.
fn shown_id(id: &str, whole: bool) -> &str {
    if whole {
        return id;
    }
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..ID_LENGTH).unwrap_or(digits)
}

/// How long ago, from a moment in seconds since 1970.
fn ago(unix: i64, now: std::time::SystemTime) -> String {
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let then = std::time::Duration::from_secs(u64::try_from(unix).unwrap_or(0));
    format!("{} ago", human_duration(now.saturating_sub(then)))
}
