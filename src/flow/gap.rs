//! What went missing from a stream, and the line that says so.

use memchr::memchr_iter;

/// Lines and bytes that a reader of the stream doesn't get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// How many line ends are missing; the rest of a line that was cut counts as a line.
    pub lines: u64,
    /// How many bytes are missing, line ends included.
    pub bytes: u64,
}

impl Gap {
    /// Counts `bytes` as missing.
    pub fn miss(&mut self, bytes: &[u8]) {
        self.lines += memchr_iter(b'\n', bytes).count() as u64;
        self.bytes += bytes.len() as u64;
    }

    /// Counts what another gap misses too.
    pub fn join(&mut self, other: Gap) {
        self.lines += other.lines;
        self.bytes += other.bytes;
    }

    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        *self == Gap::default()
    }

    /// The line that stands for the gap, with its end; `fate` is what became of the bytes, and why.
    ///
    /// ```
    /// # use towpath::flow::Gap;
    /// let gap = Gap { lines: 120, bytes: 9600 };
    /// assert_eq!(gap.to_line("lost (slow reader)"), "[towpath] gap: 120 lines, 9600 bytes lost (slow reader)\n");
    /// ```
    pub fn to_line(&self, fate: &str) -> String {
        format!("[towpath] gap: {} lines, {} bytes {fate}\n", self.lines, self.bytes)
    }
}
