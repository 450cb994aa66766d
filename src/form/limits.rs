//! The limits of a reader: each has a default, and none is off by default.

/// What a sender may ask of a [`Reader`](super::Reader). A body that asks more
/// fails with the [`Limit`](super::Limit) of the same name.
///
/// ```
/// let mut limits = towpath::form::Limits::default();
/// limits.parts = 10;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How many bytes may come before the first delimiter. Nobody needs any;
    /// some send a line. Defaults to 8 KiB (8,192 bytes).
    pub preamble_bytes: u64,
    /// How many parts there may be, files that weren't chosen included.
    /// Defaults to 1,000.
    pub parts: u64,
    /// How many header lines a part may have. Defaults to 16.
    pub headers: usize,
    /// How many bytes they may have together, ends of lines included. Defaults
    /// to 8 KiB (8,192 bytes).
    pub header_bytes: usize,
    /// How long the content of a part without a file name may be, since such
    /// content is read into memory. That of files has no limit here: who
    /// stores them counts. Defaults to 1 MiB (1,048,576 bytes).
    pub text_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { preamble_bytes: 8 * 1024, parts: 1_000, headers: 16, header_bytes: 8 * 1024, text_bytes: 1024 * 1024 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let limits = Limits::default();
        assert_eq!((limits.preamble_bytes, limits.parts, limits.headers), (8_192, 1_000, 16));
        assert_eq!((limits.header_bytes, limits.text_bytes), (8_192, 1_048_576));
    }
}
