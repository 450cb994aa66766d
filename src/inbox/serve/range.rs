//! The part of a file that a request asks for (RFC 9110, 14.2).

/// What a Range header comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of it: there is no range, or none that we serve. Several ranges at
    /// once aren't: overlapping ones have been used to make servers sweat.
    Whole,
    /// From one byte to another, both included.
    Part { first: u64, last: u64 },
    /// Nothing that the file has.
    Nothing,
}

/// Reads a Range header for a file of so many bytes.
pub(super) fn asked(header: Option<&str>, size: u64) -> Asked {
    header.and_then(|header| part(header, size)).unwrap_or(Asked::Whole)
}

fn part(header: &str, size: u64) -> Option<Asked> {
    let (unit, range) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    if first.is_empty() {
        let length = number(last)?.min(size);
        return Some(match length {
            0 => Asked::Nothing,
            _ => Asked::Part { first: size - length, last: size - 1 },
        });
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some(if first < size { Asked::Part { first, last: last.min(size - 1) } } else { Asked::Nothing })
}

/// Digits only; what is larger than any file is as good as the largest number.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_a_part() {
        let part = |first, last| Asked::Part { first, last };
        for (header, want) in [
            ("bytes=0-4", part(0, 4)),
            ("bytes=5-", part(5, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-30", part(0, 9)),
            ("Bytes=9-9", part(9, 9)),
            ("bytes=0-99999999999999999999999", part(0, 9)),
            ("bytes=10-", Asked::Nothing),
            ("bytes=99999999999999999999999-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
        ] {
            assert_eq!(asked(Some(header), 10), want, "{header}");
        }
        assert_eq!(asked(Some("bytes=0-"), 0), Asked::Nothing);
        assert_eq!(asked(Some("bytes=-1"), 0), Asked::Nothing);
    }

    #[test]
    fn anything_else_is_the_whole() {
        for header in [
            "bytes=0-1,3-4",
            "bytes=4-0",
            "bytes=",
            "bytes=-",
            "bytes",
            "lines=0-1",
            "bytes=+0-1",
            "bytes=a-b",
            "bytes=0 - 1",
        ] {
            assert_eq!(asked(Some(header), 10), Asked::Whole, "{header}");
        }
        assert_eq!(asked(None, 10), Asked::Whole);
    }
}
