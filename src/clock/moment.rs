//! A point on the clock that counts suspend.

use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// `9999-12-31T23:59:59.999Z`, the last time that RFC 3339 can write.
const END_OF_9999: Duration = Duration::from_millis(253_402_300_799_999);

/// A point on `CLOCK_BOOTTIME`: nanoseconds since this host booted, suspend
/// included (`clock_gettime(2)`).
///
/// Comparable between processes of one host and boot; never sent to another.
/// Arithmetic saturates: a moment before boot is [`Moment::BOOT`], one beyond
/// 584 years is [`Moment::NEVER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    since_boot_ns: u64,
}

impl Moment {
    /// The moment this host booted.
    pub const BOOT: Moment = Moment { since_boot_ns: 0 };
    /// Later than any moment that will be reached.
    pub const NEVER: Moment = Moment { since_boot_ns: u64::MAX };

    /// The present moment.
    pub fn now() -> Moment {
        let now = clock_gettime(ClockId::Boottime);
        // The kernel counts up from 0 here, so neither part is negative.
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
        Moment { since_boot_ns: seconds.saturating_mul(1_000_000_000).saturating_add(nanos) }
    }

    /// Nanoseconds since boot; what [`Moment::from_since_boot_ns`] takes back.
    pub const fn since_boot_ns(self) -> u64 {
        self.since_boot_ns
    }

    /// The moment so many nanoseconds after boot.
    pub const fn from_since_boot_ns(since_boot_ns: u64) -> Moment {
        Moment { since_boot_ns }
    }

    /// How long until this moment; zero once it has passed.
    pub fn remaining(self) -> Duration {
        self - Moment::now()
    }

    /// How long since this moment; zero while it is still to come.
    pub fn elapsed(self) -> Duration {
        Moment::now() - self
    }

    /// Whether this moment has been reached.
    pub fn has_passed(self) -> bool {
        self <= Moment::now()
    }

    /// What the wall clock will show at this moment, if nobody sets it until then.
    pub fn to_system_time(self) -> SystemTime {
        let now = SystemTime::now();
        let moved = if self.has_passed() { now.checked_sub(self.elapsed()) } else { now.checked_add(self.remaining()) };
        moved.unwrap_or(now)
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, by: Duration) -> Moment {
        let by_ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Moment { since_boot_ns: self.since_boot_ns.saturating_add(by_ns) }
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;

    fn sub(self, by: Duration) -> Moment {
        let by_ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Moment { since_boot_ns: self.since_boot_ns.saturating_sub(by_ns) }
    }
}

impl Sub for Moment {
    type Output = Duration;

    /// The time from `earlier` to `self`; zero if `earlier` is the later one.
    fn sub(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.since_boot_ns.saturating_sub(earlier.since_boot_ns))
    }
}

/// The wall clock as the time since 1970-01-01T00:00:00Z; zero if it is set
/// earlier. It may jump: for records and reports, never for a deadline.
pub fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A wall-clock time as RFC 3339 in UTC with milliseconds: `2026-11-21T20:13:00.250Z`.
/// A time before 1970 or after 9999, as of a clock that is set wrong, shows as
/// the first or the last between.
pub fn rfc3339(time: SystemTime) -> String {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(END_OF_9999);
    humantime::format_rfc3339_millis(UNIX_EPOCH + since_1970).to_string()
}

/// Reads RFC 3339 with its zone: `2026-11-22T08:00:00Z`, `2026-11-22T09:00:00.5+01:00`.
/// `None` for anything else, and for a time before 1970.
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let (local, offset) = match text.strip_suffix('Z') {
        Some(local) => (local, 0),
        None => {
            let (local, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let seconds = i64::from(hours.parse::<u8>().ok()?) * 3600 + i64::from(minutes.parse::<u8>().ok()?) * 60;
            (local, if zone.starts_with('-') { -seconds } else { seconds })
        }
    };
    let since = humantime::parse_rfc3339(&format!("{local}Z")).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let nanos = i64::try_from(since.as_nanos()).ok()?.checked_sub(offset * 1_000_000_000)?;
    Some(UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanos).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Moment::BOOT - Duration::from_secs(1), Moment::BOOT);
        assert_eq!(Moment::NEVER + Duration::from_secs(1), Moment::NEVER);
        assert_eq!(Moment::now() + Duration::MAX, Moment::NEVER);
        assert_eq!(Moment::BOOT - Moment::now(), Duration::ZERO);
    }

    #[test]
    fn a_moment_to_come_has_time_remaining_and_none_elapsed() {
        let soon = Moment::now() + Duration::from_secs(60);
        assert!(!soon.has_passed());
        assert!(soon.remaining() > Duration::from_secs(50));
        assert_eq!(soon.elapsed(), Duration::ZERO);
        assert_eq!(Moment::BOOT.remaining(), Duration::ZERO);
    }

    #[test]
    fn it_counts_from_boot_and_not_from_1970() {
        assert!(Moment::now() > Moment::BOOT);
        assert!(Moment::now().since_boot_ns() < u64::try_from(unix_now().as_nanos()).unwrap());
    }

    #[test]
    fn wall_clock_times_print_as_rfc3339() {
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(1_250)), "1970-01-01T00:00:01.250Z");
    }

    #[test]
    fn a_clock_that_is_set_wrong_prints_too() {
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
        for seconds in [253_402_300_800, i64::MAX as u64] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), "9999-12-31T23:59:59.999Z");
        }
    }
}
