//! For how long, and how often, a log that broke off is asked for again.
//!
//! What counts as going well is news, or a connection that held: a silent container's is
//! given up now and then and asked for again, without an end. A daemon that answers and
//! breaks off each time is given up, as one that doesn't answer is.

use std::time::Duration;

use crate::clock::Moment;

/// How long it is tried when nothing goes well.
const AGAIN_FOR: Duration = Duration::from_secs(60);
/// A connection that lasted so long has held.
const STEADY: Duration = Duration::from_secs(60);
/// Between two tries, growing from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The tries of one log.
#[derive(Debug)]
pub(super) struct Again {
    pause: Duration,
    /// When the tries that are going on are over.
    until: Option<Moment>,
    /// When the connection that there is has held.
    steady_at: Moment,
}

impl Again {
    /// A connection was opened now.
    pub(super) fn opened(now: Moment) -> Again {
        Again { pause: PAUSE.0, until: None, steady_at: now + STEADY }
    }

    /// It was opened again; whether that goes well isn't known yet.
    pub(super) fn opened_again(&mut self, now: Moment) {
        self.steady_at = now + STEADY;
    }

    /// Something came that wasn't known.
    pub(super) fn has_news(&mut self) {
        (self.until, self.pause) = (None, PAUSE.0);
    }

    /// The connection broke, or there was none: whether to give up.
    pub(super) fn broke(&mut self, now: Moment) -> bool {
        if self.steady_at <= now {
            self.has_news();
        }
        // There is none that could hold.
        self.steady_at = Moment::NEVER;
        *self.until.get_or_insert(now + AGAIN_FOR) <= now
    }

    /// How long to wait before the next try.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE.1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::BOOT + Duration::from_secs(seconds)
    }

    #[test]
    fn a_silent_log_is_asked_for_again_for_ever() {
        let mut again = Again::opened(at(0));
        for round in 1..100 {
            assert!(!again.broke(at(600 * round)), "{round}");
            again.opened_again(at(600 * round));
        }
    }

    #[test]
    fn a_daemon_that_always_breaks_off_is_given_up() {
        let mut again = Again::opened(at(0));
        for second in 1..=60 {
            assert!(!again.broke(at(second)), "{second}");
            again.opened_again(at(second));
        }
        assert!(again.broke(at(61)));
        // Unless there is something new each time.
        again.has_news();
        assert!(!again.broke(at(62)));
    }

    #[test]
    fn a_daemon_that_went_away_is_tried_less_and_less_often() {
        let mut again = Again::opened(at(0));
        assert!(!again.broke(at(1000)), "it had held");
        assert!(!again.broke(at(1059)));
        assert!(again.broke(at(1060)));
        assert!(again.broke(at(2000)), "there was nothing that could hold");
        let pauses: Vec<_> = (0..8).map(|_| again.pause().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }
}
