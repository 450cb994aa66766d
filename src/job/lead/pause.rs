//! How long to wait before the next try.

use std::time::Duration;

use crate::clock::Moment;

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Doubles from 1 s to 60 s, and begins anew after something has gone well for
/// as long as the longest.
#[derive(Debug)]
pub(super) struct Pause {
    next: Duration,
    began: Moment,
}

impl Pause {
    pub(super) fn new() -> Pause {
        Pause { next: SHORTEST, began: Moment::now() }
    }

    /// A try begins.
    pub(super) fn begins(&mut self) {
        self.began = Moment::now();
    }

    /// It came to nothing, or ended: how long to wait.
    pub(super) fn next(&mut self) -> Duration {
        self.after(self.began.elapsed())
    }

    fn after(&mut self, went_well_for: Duration) -> Duration {
        let pause = if went_well_for >= LONGEST { SHORTEST } else { self.next };
        self.next = (pause * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_minute_and_a_good_minute_forgets_them() {
        let mut pause = Pause::new();
        let waits: Vec<u64> = (0..8).map(|_| pause.after(Duration::ZERO).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause.after(LONGEST), SHORTEST);
        assert_eq!(pause.after(Duration::ZERO), 2 * SHORTEST);
    }
}
