//! How far a transfer has come, for those who show it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Numbers that one thread writes and another shows. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    moved: AtomicU64,
    /// One more than the total; 0: unknown.
    total: AtomicU64,
    name: Mutex<String>,
}

impl Meter {
    /// Bytes that are through.
    pub fn moved(&self) -> u64 {
        self.0.moved.load(Ordering::Relaxed)
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
        self.0.total.store(total.map_or(0, |total| total.saturating_add(1)), Ordering::Relaxed);
    }

    pub(super) fn set_name(&self, name: &str) {
        name.clone_into(&mut self.0.name.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
