//! What of a log has been given already, so that it isn't given twice when it is asked
//! for again.
//!
//! A log is asked for again from a moment on, and the daemon then gives what it has
//! from that moment in the order of its file, which is the same each time. So the
//! moments of the last messages are kept: those that come again in the same order are
//! the ones that were given. Several messages may have one moment, and moments may go
//! back a little, as two streams are stamped by two threads.

use std::collections::VecDeque;

/// How many moments are kept at most, and how many of them are let go of at once.
const KEPT: usize = 4096;

/// When a message was logged, in nanoseconds since 1970.
pub(super) type Stamp = u64;

/// How far moments may go back: what is logged next may be stamped so much earlier than
/// all that was given, and is asked for too.
const SLACK_NANOS: u64 = 2_000_000_000;

/// No moment and the blank behind it are longer.
const MOMENT_BYTE: usize = 40;

/// The last messages that were given.
#[derive(Debug, Default)]
pub(super) struct Recall {
    given: VecDeque<Stamp>,
    /// Nothing before it is asked for again: the latest that was let go of.
    floor: Option<Stamp>,
    /// Those of `given` that are still to come again.
    expected: VecDeque<Stamp>,
}

impl Recall {
    /// From when on the log is to be asked for again: `None` if nothing was given.
    pub(super) fn since(&self) -> Option<Stamp> {
        self.wanted().min().map(|first| first.saturating_sub(SLACK_NANOS))
    }

    /// The log was asked for again.
    pub(super) fn begin_again(&mut self) {
        self.expected = self.wanted().collect();
    }

    /// Whether a message is new; then it counts as given.
    pub(super) fn is_new(&mut self, stamp: Stamp) -> bool {
        if let Some(at) = self.expected.iter().position(|expected| *expected == stamp) {
            // What should have come before it was rotated away.
            self.expected.drain(..=at);
            return false;
        }
        // Up to the last that was given all are old; if that was rotated away, a later moment tells.
        let latest = self.expected.iter().max().map(|latest| self.floor.max(Some(*latest)));
        if latest.is_some_and(|latest| Some(stamp) <= latest) {
            return false;
        }
        self.expected.clear();
        self.given.push_back(stamp);
        if self.given.len() > KEPT {
            let gone = self.given.drain(..KEPT / 2).max();
            self.floor = self.floor.max(gone);
        }
        true
    }

    /// Those that will come again: none that has the same moment as one let go of. Where a
    /// clock was set back there may be none but such; then it is all of them.
    fn wanted(&self) -> impl Iterator<Item = Stamp> {
        let is_after = |stamp: &Stamp| Some(*stamp) > self.floor;
        let all = !self.given.iter().any(is_after);
        self.given.iter().copied().filter(move |stamp| all || is_after(stamp))
    }
}

/// The moment that a message begins with, and where its content does.
pub(super) fn stamp_of(message: &[u8]) -> Option<(Stamp, usize)> {
    // 30 bytes, or 35 if the daemon's clock isn't set to UTC.
    let end = memchr::memchr(b' ', message.get(..MOMENT_BYTE.min(message.len()))?)?;
    let text = std::str::from_utf8(&message[..end]).ok()?;
    Some((crate::docker::moment::nanos(text)?, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stamp(nanos: u32) -> Stamp {
        1_795_318_795_000_000_000 + u64::from(nanos)
    }

    /// What a reader gets of a log whose connection breaks after these many messages.
    fn read(log: &[u32], breaks: &[usize]) -> Vec<usize> {
        let (mut recall, mut got, mut breaks) = (Recall::default(), Vec::new(), breaks.iter().copied());
        loop {
            let since = recall.since();
            recall.begin_again();
            let rest = log.iter().enumerate().filter(|(_, at)| since.is_none_or(|since| stamp(**at) >= since));
            let limit = breaks.next();
            for (index, at) in rest.take(limit.unwrap_or(usize::MAX)) {
                if recall.is_new(stamp(*at)) {
                    got.push(index);
                }
            }
            if limit.is_none() {
                return got;
            }
        }
    }

    #[test]
    fn messages_of_one_moment_are_told_apart_by_their_number() {
        assert_eq!(read(&[1, 1, 1, 2, 2, 3], &[2, 4, 3]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(read(&[5, 4, 6, 5, 7], &[1, 2, 3, 1]), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_doubled_when_moments_are_let_go_of() {
        let log: Vec<u32> = (0..20_000).map(|n| n / 3).collect();
        let got = read(&log, &[9_000, 3_000, 10_000, 7_000]);
        assert_eq!(got, (0..log.len()).collect::<Vec<_>>());
    }

    #[test]
    fn a_clock_that_was_set_back_doubles_and_loses_nothing() {
        let log: Vec<u32> = (100_000..110_000).chain(0..10_000).collect();
        let got = read(&log, &[15_000, 9_000, 16_000]);
        assert_eq!(got, (0..log.len()).collect::<Vec<_>>());
    }

    #[test]
    fn a_moment_is_read_only_where_one_is() {
        assert_eq!(stamp_of(b"2026-11-22T03:39:55.000000001Z hello"), Some((stamp(1), 31)));
        assert_eq!(stamp_of(b"2026-11-22T04:39:55.000000001+01:00 "), Some((stamp(1), 36)));
        for none in [&b"2026-11-22T03:39:55.000000001Z"[..], b"hello, this is a line that is long enough", b"", b" "] {
            assert_eq!(stamp_of(none), None);
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_doubled_wherever_it_breaks(
            steps in prop::collection::vec(-1i64..3, 0..200),
            breaks in prop::collection::vec(0usize..80, 0..12),
        ) {
            let mut at = 1000i64;
            let log: Vec<u32> = steps.iter().map(|step| { at += step; u32::try_from(at).unwrap() }).collect();
            let got = read(&log, &breaks);
            prop_assert_eq!(got, (0..log.len()).collect::<Vec<_>>());
        }
    }
}
