//! What ties a running command to a lease that lapses: the deadline that the
//! keeper holds for it, and the word that it was moved or lost.
//!
//! Promises: the deadline lies so far before the lease's end that the command,
//! asked to end and then killed, is gone by then. Ends at telling when: the
//! keeper does the killing.

use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::clock::Moment;
use crate::lock::{Lease, Lost};
use crate::process::Limit;

/// The grace where none is asked for: this, or a quarter of the ttl if that is less.
const DEFAULT_GRACE: Duration = Duration::from_secs(5);

/// From KILL to the lease's end: a twentieth of the ttl within these. A keeper
/// on a busy machine comes late, and a kill takes a while for a large tree.
const MARGIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// What is added to it for a container: a tenth of the ttl, this at most. A sweeper has to
/// be started, and a daemon to be asked.
const ELSEWHERE: Duration = Duration::from_secs(2);

/// One command's tie to its lease.
#[derive(Debug)]
pub(super) struct Tether {
    pub(super) lost: Receiver<Lost>,
    pub(super) renewed: Receiver<Moment>,
    margin: Duration,
    grace: Duration,
    limit: Limit,
}

impl Tether {
    /// `None` if the lease doesn't lapse. `elsewhere`: others have to end the command for
    /// us, which takes longer.
    pub(super) fn to(lease: &Lease, ttl: Duration, grace: Duration, elsewhere: bool) -> Option<Tether> {
        let valid_until = lease.valid_until();
        if valid_until == Moment::NEVER {
            return None;
        }
        let margin = (ttl / 20).clamp(MARGIN.0, MARGIN.1);
        let margin = if elsewhere { margin + ELSEWHERE.min(ttl / 10) } else { margin };
        let limit = limit(valid_until, margin, grace);
        Some(Tether { lost: lease.lost().clone(), renewed: lease.renewed().clone(), margin, grace, limit })
    }

    /// When the command is to be asked to end, and when killed, unless the lease is renewed.
    pub(super) fn limit(&self) -> Limit {
        self.limit
    }

    /// The lease was renewed: the new limit.
    pub(super) fn moved(&mut self, valid_until: Moment) -> Limit {
        self.limit = limit(valid_until, self.margin, self.grace);
        self.limit
    }
}

/// The grace of a command under a lease that lapses after `ttl`.
pub(super) fn default_grace(ttl: Option<Duration>) -> Duration {
    ttl.map_or(DEFAULT_GRACE, |ttl| DEFAULT_GRACE.min(ttl / 4))
}

fn limit(valid_until: Moment, margin: Duration, grace: Duration) -> Limit {
    let kill_at = valid_until - margin;
    Limit { term_at: kill_at - grace, kill_at }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_grace_that_nobody_asked_for_is_five_seconds_or_a_quarter_of_the_ttl() {
        assert_eq!(default_grace(None), 5 * SECOND);
        assert_eq!(default_grace(Some(30 * SECOND)), 5 * SECOND);
        assert_eq!(default_grace(Some(10 * SECOND)), SECOND * 5 / 2);
        assert_eq!(default_grace(Some(SECOND)), SECOND / 4);
    }

    #[test]
    fn grace_and_margin_come_out_of_the_lease() {
        let end = Moment::from_since_boot_ns(100 * 1_000_000_000);
        let limit = limit(end, SECOND / 2, 5 * SECOND);
        assert_eq!((end - limit.kill_at, limit.kill_at - limit.term_at), (SECOND / 2, 5 * SECOND));
    }
}
