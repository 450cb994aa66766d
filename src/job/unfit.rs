//! Settings of a job that don't fit each other.

use std::time::Duration;

use crate::clock::format_duration;

/// The shortest ttl: three renewals of it, a grace and a margin must be far
/// longer than a round trip to a store.
const SHORTEST_TTL: Duration = Duration::from_secs(1);

/// Settings that don't fit each other. Nothing is run with them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// The lease would lapse before it could be renewed.
    #[error("a ttl of {} is too short to renew a lock in time; 1s is the least", format_duration(*ttl))]
    TtlTooShort {
        /// The ttl asked for.
        ttl: Duration,
    },
    /// The command could be ended only by giving up a lease that may yet be renewed.
    #[error(
        "a grace of {} is over half of the ttl of {}; make it {} or less, or the ttl longer",
        format_duration(*grace), format_duration(*ttl), format_duration(*ttl / 2)
    )]
    GraceTooLong {
        /// The grace asked for.
        grace: Duration,
        /// The ttl.
        ttl: Duration,
    },
    /// A container has no terminal.
    #[error("a command in a container can't have a terminal of its own; leave one of the two out")]
    PtyInContainer,
}

impl Unfit {
    /// `grace`: the one that was asked for, if the lock is one that lapses.
    pub(super) fn check(ttl: Duration, grace: Option<Duration>) -> Result<(), Unfit> {
        if ttl < SHORTEST_TTL {
            return Err(Unfit::TtlTooShort { ttl });
        }
        match grace {
            Some(grace) if grace > ttl / 2 => Err(Unfit::GraceTooLong { grace, ttl }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_just_fits_is_taken_and_what_does_not_says_what_would() {
        assert_eq!(Unfit::check(SECOND, Some(SECOND / 2)), Ok(()));
        assert_eq!(Unfit::check(SECOND, None), Ok(()));
        let short = Unfit::check(SECOND / 2, None).unwrap_err();
        assert_eq!(short.to_string(), "a ttl of 500ms is too short to renew a lock in time; 1s is the least");
        let long = Unfit::check(30 * SECOND, Some(16 * SECOND)).unwrap_err();
        let text = "a grace of 16s is over half of the ttl of 30s; make it 15s or less, or the ttl longer";
        assert_eq!(long.to_string(), text);
    }
}
