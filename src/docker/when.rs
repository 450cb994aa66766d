//! A moment as people name it for a log: `10m` ago, a date, Unix seconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::moment;
use crate::clock::parse_duration;

/// A text that names no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no moment; write 10m (that long ago), 2026-11-22T08:00:00Z, or Unix seconds")]
pub struct InvalidMoment {
    text: String,
}

/// A moment: how long before `now` (`90s`, `1h30m`), RFC 3339 with its zone, or Unix
/// seconds, also with a fraction.
///
/// # Errors
/// [`InvalidMoment`] for anything else; also for a time without a zone, which would be
/// another moment on another host.
pub fn parse_moment(text: &str, now: SystemTime) -> Result<SystemTime, InvalidMoment> {
    let invalid = || InvalidMoment { text: text.to_owned() };
    if let Some(nanos) = moment::nanos(text) {
        return UNIX_EPOCH.checked_add(Duration::from_nanos(nanos)).ok_or_else(invalid);
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        let seconds: f64 = text.parse().map_err(|_| invalid())?;
        let since = Duration::try_from_secs_f64(seconds).map_err(|_| invalid())?;
        return UNIX_EPOCH.checked_add(since).ok_or_else(invalid);
    }
    let ago = parse_duration(text).map_err(|_| invalid())?;
    now.checked_sub(ago).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_named_in_three_ways() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let now = at(1_795_318_800);
        for (text, moment) in [
            ("1h", at(1_795_315_200)),
            ("1h30m", at(1_795_313_400)),
            ("1795318795", at(1_795_318_795)),
            ("1795318795.5", at(1_795_318_795) + Duration::from_millis(500)),
            ("2026-11-22T03:39:55Z", at(1_795_318_795)),
            ("2026-11-22T04:39:55+01:00", at(1_795_318_795)),
        ] {
            assert_eq!(parse_moment(text, now), Ok(moment), "{text}");
        }
        for text in ["", "yesterday", "2026-11-22", "2026-11-22T03:39:55", "-1", "1.2.3", "1e9", "9e99"] {
            assert!(parse_moment(text, now).is_err(), "{text}");
        }
    }
}
