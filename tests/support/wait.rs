//! Waiting for conditions, never for time.

use std::time::{Duration, Instant};

/// How long a condition may take on a machine with better things to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What `look` gives as soon as it gives something; panics after [`PATIENCE`].
#[track_caller]
pub(crate) fn eventually<T>(what: impl AsRef<str>, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited for {} s in vain: {}", PATIENCE.as_secs(), what.as_ref());
        // What is waited for happens in other processes, which don't tell us.
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until `look` holds.
#[track_caller]
pub(crate) fn until(what: impl AsRef<str>, mut look: impl FnMut() -> bool) {
    eventually(what, || look().then_some(()));
}
