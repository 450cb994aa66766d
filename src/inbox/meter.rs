//! How far a transfer has come, for those who show it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Numbers that one thread writes and another shows. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    moved: AtomicU64,
    /// What was there at the begin of the try that had least.
    had: Least,
    /// One more than the total; 0: unknown.
    total: AtomicU64,
    name: Mutex<String>,
}

/// The smallest number seen.
#[derive(Debug)]
struct Least(AtomicU64);

impl Default for Least {
    fn default() -> Least {
        Least(AtomicU64::new(u64::MAX))
    }
}

impl Meter {
    /// Bytes that are through.
    pub fn moved(&self) -> u64 {
        self.0.moved.load(Ordering::Relaxed)
    }

    /// How many of these were there before the first of them moved, as after an earlier command.
    pub fn had(&self) -> u64 {
        self.0.had.0.load(Ordering::Relaxed).min(self.moved())
    }

    /// Bytes in all, if that is known.
    pub fn total(&self) -> Option<u64> {
        self.0.total.load(Ordering::Relaxed).checked_sub(1)
    }

    /// What is being moved.
    pub fn name(&self) -> String {
        self.0.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn add(&self, bytes: u64) {
        self.0.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    /// At a try's begin, which may be in the middle.
    pub(super) fn begin(&self, moved: u64, total: Option<u64>) {
        self.0.moved.store(moved, Ordering::Relaxed);
        // A later try goes on with what moved meanwhile, or begins anew.
        self.0.had.0.fetch_min(moved, Ordering::Relaxed);
        self.0.total.store(total.map_or(0, |total| total.saturating_add(1)), Ordering::Relaxed);
    }

    pub(super) fn set_name(&self, name: &str) {
        name.clone_into(&mut self.0.name.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_has_not_moved() {
        let meter = Meter::default();
        assert_eq!((meter.moved(), meter.had(), meter.total()), (0, 0, None));
        meter.begin(100, Some(150));
        meter.add(20);
        assert_eq!((meter.moved(), meter.had(), meter.total()), (120, 100, Some(150)));
        meter.begin(120, Some(150));
        assert_eq!((meter.moved(), meter.had()), (120, 100));
        meter.begin(0, Some(150));
        meter.add(10);
        assert_eq!((meter.moved(), meter.had()), (10, 0));
    }
}
