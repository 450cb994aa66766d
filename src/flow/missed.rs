//! What a stream lacks, as far as it is known, and why.

use std::fmt;

use super::Gap;

/// Lines and bytes that are missing at one place of a stream. `None`: nobody
/// can tell how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// How many lines; one of which only a part is missing counts.
    pub lines: Option<u64>,
    /// How many bytes, line ends included.
    pub bytes: Option<u64>,
    /// What became of them.
    pub why: Why,
}

/// Why lines are missing. It displays as the words inside the gap's brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// The reader was slower than the stream, and skipped.
    SlowReader,
    /// They were dropped, for want of room, before the reader came.
    NotKept,
    /// A file was truncated: what was written since the last look, and cut off again, was not seen.
    Truncated,
    /// A file was put under the followed name, and was gone before it could be opened.
    CameAndWent,
    /// What carries them to other hosts was slower than the stream, or away.
    SlowRelay,
    /// Somebody else said so, and not why.
    Unknown,
    /// The run ended before all that was written was read: nobody took its output.
    NotRead,
}

impl Missed {
    /// As many as `gap` counts.
    pub fn counted(gap: Gap, why: Why) -> Missed {
        Missed { lines: Some(gap.lines), bytes: Some(gap.bytes), why }
    }

    /// Nobody can tell how many.
    pub fn unknown(why: Why) -> Missed {
        Missed { lines: None, bytes: None, why }
    }

    /// The line that stands for them, with its end.
    ///
    /// ```
    /// # use towpath::flow::{Gap, Missed, Why};
    /// let missed = Missed::counted(Gap { lines: 120, bytes: 9600 }, Why::SlowReader);
    /// assert_eq!(missed.to_line(), "[towpath] gap: 120 lines, 9600 bytes lost (slow reader)\n");
    /// let missed = Missed::unknown(Why::Truncated);
    /// assert_eq!(missed.to_line(), "[towpath] gap: unknown lines, unknown bytes lost (file truncated)\n");
    /// ```
    pub fn to_line(&self) -> String {
        format!("[towpath] gap: {}\n", Missed::words(self.lines, self.bytes, &self.why))
    }

    /// The words for what is missing: `120 lines, 9600 bytes lost (slow reader)`.
    pub fn words(lines: Option<u64>, bytes: Option<u64>, why: &dyn fmt::Display) -> String {
        let count = |count: Option<u64>| count.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
        format!("{} lines, {} bytes lost ({why})", count(lines), count(bytes))
    }
}

impl Why {
    /// The reason that displays as these words.
    #[cfg(all(feature = "http", feature = "redis"))]
    pub(crate) fn of_words(words: &str) -> Why {
        let all = [Why::SlowReader, Why::NotKept, Why::Truncated, Why::CameAndWent, Why::SlowRelay, Why::NotRead];
        all.into_iter().find(|why| why.to_string() == words).unwrap_or(Why::Unknown)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::SlowReader => "slow reader",
            Why::NotKept => "no longer kept",
            Why::Truncated => "file truncated",
            Why::CameAndWent => "a file came and went",
            Why::SlowRelay => "the relay's store was too slow or away",
            Why::Unknown => "unknown",
            Why::NotRead => "not read to the end",
        })
    }
}
