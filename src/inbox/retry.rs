//! Trying again: what may pass, and how long to wait for it.

use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use crate::client;
use crate::clock::Moment;
use crate::thread::Stop;

/// Between two tries, growing from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How often something is tried again, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How many tries may fail in a row before it is given up; one that moved
    /// something forward counts as none. Defaults to 5.
    pub times: u32,
    /// How long it may take from the first failure without anything moving
    /// forward. Defaults to 10 min.
    pub within: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { times: 5, within: Duration::from_secs(600) }
    }
}

/// The failures so far.
#[derive(Debug)]
pub(super) struct Failures {
    retry: Retry,
    /// In a row.
    count: u32,
    since: Option<Moment>,
    /// All of them.
    pub(super) total: u32,
}

/// What comes after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another try; the pause is over.
    Again,
    /// There were enough.
    GiveUp,
    /// A stop was asked for.
    Stopped,
}

impl Failures {
    pub(super) fn new(retry: Retry) -> Failures {
        Failures { retry, count: 0, since: None, total: 0 }
    }

    /// Something moved forward: the next failure is a first one.
    pub(super) fn forget(&mut self) {
        (self.count, self.since) = (0, None);
    }

    /// Counts a failure, and waits until it is time for another try: as long as
    /// the server asks, else twice as long as the time before, less up to half by
    /// chance, so that those who failed together don't come back together.
    pub(super) fn next(&mut self, what: &str, server_asks: Option<Duration>, stop: &Stop) -> Next {
        self.total += 1;
        let since = *self.since.get_or_insert_with(Moment::now);
        self.count += 1;
        let pause =
            server_asks.unwrap_or_else(|| jittered(PAUSE.0.saturating_mul(1 << self.count.min(16).saturating_sub(1))));
        if self.count > self.retry.times || since.elapsed().saturating_add(pause) > self.retry.within {
            return Next::GiveUp;
        }
        log::warn!("{what}; trying again in {:.1} s", pause.as_secs_f64());
        match stop.sleep(pause) {
            ControlFlow::Continue(()) => Next::Again,
            ControlFlow::Break(()) => Next::Stopped,
        }
    }
}

/// Whether what failed without an answer may do better next time: not where the
/// server can't be trusted, or nothing was asked.
pub(super) fn may_pass(error: &client::Error) -> bool {
    let client::Error::Failed { source, .. } = error else { return false };
    match source.as_ref() {
        ureq::Error::Io(error) => error.kind() != std::io::ErrorKind::InvalidData,
        ureq::Error::Timeout(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_)
        | ureq::Error::BodyStalled => true,
        _ => false,
    }
}

/// Whether a status says that the same request may be answered otherwise later.
/// 501, 505 and 507 won't change soon. `idempotent`: whether asking twice is
/// asking once; else only those that say that nothing was done.
pub(super) fn is_passing(status: u16, idempotent: bool) -> bool {
    match status {
        408 | 425 | 429 | 503 => true,
        501 | 505 | 507 => false,
        500..=599 => idempotent,
        _ => false,
    }
}

/// What `Retry-After` asks: seconds, or a date (RFC 9110, section 10.2.3).
pub(super) fn asked_pause(value: Option<&str>) -> Option<Duration> {
    let value = value?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let at = httpdate::parse_http_date(value).ok()?;
            Some(at.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO))
        }
    }
}

fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without a source of chance the pause is the whole one.
    let _: rustix::io::Result<usize> = rustix::rand::getrandom(&mut byte, rustix::rand::GetRandomFlags::NONBLOCK);
    let pause = pause.min(PAUSE.1);
    pause - pause.mul_f64(f64::from(byte[0]) / 512.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_ones() {
        assert_eq!(Retry::default(), Retry { times: 5, within: Duration::from_secs(600) });
    }

    #[test]
    fn a_status_is_tried_again_only_if_it_may_change() {
        for status in [408, 425, 429, 503] {
            assert!(is_passing(status, false) && is_passing(status, true), "{status}");
        }
        for status in [500, 502, 504, 599] {
            assert!(!is_passing(status, false) && is_passing(status, true), "{status}");
        }
        for status in [200, 301, 400, 401, 404, 409, 413, 501, 505, 507] {
            assert!(!is_passing(status, true), "{status}");
        }
    }

    #[test]
    fn a_server_may_ask_for_a_pause_in_seconds_or_until_a_date() {
        assert_eq!(asked_pause(Some(" 7 ")), Some(Duration::from_secs(7)));
        assert_eq!(asked_pause(Some("Sun, 06 Nov 1994 08:49:37 GMT")), Some(Duration::ZERO));
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        assert!(asked_pause(Some(&later)).unwrap() > Duration::from_secs(90));
        assert_eq!(asked_pause(Some("soon")), None);
        assert_eq!(asked_pause(None), None);
    }

    #[test]
    fn failures_in_a_row_are_counted_and_a_pause_is_never_too_long() {
        let stop = Stop::never();
        let mut failures = Failures::new(Retry { times: 2, within: Duration::from_secs(60) });
        assert_eq!(failures.next("no", Some(Duration::ZERO), &stop), Next::Again);
        assert_eq!(failures.next("no", Some(Duration::ZERO), &stop), Next::Again);
        assert_eq!(failures.next("no", Some(Duration::ZERO), &stop), Next::GiveUp);
        failures.forget();
        assert_eq!(failures.next("no", Some(Duration::ZERO), &stop), Next::Again);
        assert_eq!(failures.next("no", Some(Duration::from_secs(61)), &stop), Next::GiveUp);
        // No number that a server sends is too large to be told.
        assert_eq!(failures.next("no", asked_pause(Some(&u64::MAX.to_string())), &stop), Next::GiveUp);
        assert_eq!(failures.total, 6);
        let (stopper, stop) = Stop::new();
        stopper.stop();
        assert_eq!(Failures::new(Retry::default()).next("no", None, &stop), Next::Stopped);
        for _ in 0..100 {
            let pause = jittered(Duration::from_secs(1));
            assert!(pause > Duration::from_millis(499) && pause <= Duration::from_secs(1), "{pause:?}");
        }
    }
}
