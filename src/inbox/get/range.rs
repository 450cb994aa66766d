//! What a partial answer says of itself.

use crate::client::Reply;

/// `Content-Range: bytes FIRST-LAST/TOTAL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u64,
    pub(super) last: u64,
    /// None: `*`.
    pub(super) total: Option<u64>,
}

impl Range {
    /// The range of an answer, if it fits what was asked: from `from` on, of a
    /// file of `total` bytes if that is known. Else what is wrong.
    pub(super) fn of(reply: &Reply, from: u64, total: Option<u64>) -> Result<Range, String> {
        let value = reply.header("content-range").ok_or("206 without a Content-Range")?;
        let range = Range::parse(value).ok_or_else(|| format!("206 with the Content-Range {value:?}"))?;
        if range.first != from {
            return Err(format!("206 from byte {}, where {from} was asked for", range.first));
        }
        if let (Some(now), Some(before)) = (range.total, total)
            && now != before
        {
            return Err(format!("206 of {now} bytes, where {before} were said before"));
        }
        let len = range.last - range.first + 1;
        if let Some(length) = reply.length().filter(|length| *length != len) {
            return Err(format!("206 of {len} bytes in a body of {length}"));
        }
        Ok(range)
    }

    fn parse(value: &str) -> Option<Range> {
        let (range, total) = value.trim().strip_prefix("bytes ")?.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let total = if total == "*" { None } else { Some(number(total)?) };
        let fits = first <= last && total.is_none_or(|total| last < total);
        fits.then_some(Range { first, last, total })
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_strictly() {
        assert_eq!(Range::parse("bytes 1-3/10"), Some(Range { first: 1, last: 3, total: Some(10) }));
        assert_eq!(Range::parse("bytes 0-0/*"), Some(Range { first: 0, last: 0, total: None }));
        for bad in [
            "",
            "bytes */10",
            "bytes 3-1/10",
            "bytes 1-10/10",
            "lines 1-3/10",
            "bytes +1-3/10",
            "bytes 1-3",
            "bytes -3/5",
        ] {
            assert_eq!(Range::parse(bad), None, "{bad}");
        }
    }
}
