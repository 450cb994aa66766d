//! When a reader's stream is parked, and what wakes it.

use std::time::{Duration, Instant};

use super::broadcast::Shared;
use crate::http::ChunkWriter;

/// A reader that couldn't take all it was given keeps its thread for at least so
/// long: it will not be the last time.
const THREADED: Duration = Duration::from_millis(50);

/// Whether a reader who has everything may give up its thread.
#[derive(Debug)]
pub(super) struct Parking {
    /// `None` while it never had to come back.
    resumed_at: Option<Instant>,
}

impl Parking {
    pub(super) fn new() -> Parking {
        Parking { resumed_at: None }
    }

    pub(super) fn resumed(&mut self) {
        self.resumed_at = Some(Instant::now());
    }

    /// Whether it may park now; if so, it will be woken.
    pub(super) fn may_park(&self, out: &ChunkWriter<'_>, of: &Shared) -> bool {
        if !self.time_left().is_zero() {
            return false;
        }
        let Some(bell) = out.bell() else { return false };
        of.rung_by(bell);
        true
    }

    /// How long it keeps its thread yet.
    pub(super) fn time_left(&self) -> Duration {
        self.resumed_at.map_or(Duration::ZERO, |at| THREADED.saturating_sub(at.elapsed()))
    }
}
