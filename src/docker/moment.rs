//! Moments as the daemon writes and reads them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::parse_rfc3339;

/// Reads RFC 3339, in UTC or not: nanoseconds since 1970.
pub(super) fn nanos(text: &str) -> Option<u64> {
    let since = parse_rfc3339(text)?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

/// What a query takes: Unix seconds and nanoseconds.
pub(super) fn in_query(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

/// The same of the system's; before 1970 is 1970.
pub(super) fn of(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    in_query(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_any_zone() {
        for text in ["2026-11-22T03:39:55.5Z", "2026-11-22T04:39:55.5+01:00", "2026-11-21T22:09:55.5-05:30"] {
            assert_eq!(nanos(text), Some(1_795_318_795_500_000_000), "{text}");
        }
        for text in ["", "Z", "2026-11-22", "2026-11-22T03:39:55+xx:00", "0001-01-01T00:00:00Z", "\u{e9}+01:00"] {
            assert_eq!(nanos(text), None, "{text}");
        }
        assert_eq!(in_query(1_795_318_795_000_000_001), "1795318795.000000001");
    }
}
