//! The line splitter: bytes in, whole lines or bounded pieces of them out.

use memchr::{memchr, memchr_iter, memrchr};

/// The longest line that comes in one piece, its end included: 64 KiB.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// A line, or a part of one that is too long to be held.
///
/// A line of up to the limit is one piece with `start` and `end`, however the
/// bytes came in. A longer one starts with a piece of exactly the limit; the
/// pieces after it are as they came in, and the last of them has `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The bytes, with their `\n` if there is one. Empty only where a long line turned out to be over.
    pub bytes: &'a [u8],
    /// Whether a line starts here.
    pub start: bool,
    /// Whether a line ends here: by `\n`, or with the stream.
    pub end: bool,
}

impl<'a> Piece<'a> {
    fn whole(bytes: &'a [u8]) -> Piece<'a> {
        Piece { bytes, start: true, end: true }
    }
}

/// Splits a stream into lines. Holds at most one line up to its limit, and
/// only if that line came in several chunks.
///
/// ```
/// # use towpath::flow::Splitter;
/// let mut lines = Vec::new();
/// let mut splitter = Splitter::new();
/// splitter.push(b"one\ntw", |piece| lines.push(piece.bytes.to_vec()));
/// splitter.push(b"o\nthree", |piece| lines.push(piece.bytes.to_vec()));
/// splitter.finish(|piece| lines.push(piece.bytes.to_vec()));
/// assert_eq!(lines, [&b"one\n"[..], b"two\n", b"three"]);
/// ```
#[derive(Debug)]
pub struct Splitter {
    limit_bytes: usize,
    held: Vec<u8>,
    /// In a line whose first piece has been given away.
    in_long_line: bool,
    long_lines: u64,
}

impl Splitter {
    /// A splitter with a limit of [`MAX_LINE_BYTES`].
    pub fn new() -> Splitter {
        Splitter::with_limit(MAX_LINE_BYTES)
    }

    /// A splitter in the middle of a long line: what comes first is its rest.
    #[cfg(feature = "http")]
    pub(super) fn within_line() -> Splitter {
        Splitter { in_long_line: true, ..Splitter::new() }
    }

    /// A splitter that gives a line of more than `limit_bytes` (at least 1) in pieces.
    pub fn with_limit(limit_bytes: usize) -> Splitter {
        Splitter { limit_bytes: limit_bytes.max(1), held: Vec::new(), in_long_line: false, long_lines: 0 }
    }

    /// How many lines so far were longer than the limit.
    pub fn long_lines(&self) -> u64 {
        self.long_lines
    }

    /// Takes the stream's next bytes; `each` gets line after line.
    pub fn push(&mut self, chunk: &[u8], mut each: impl FnMut(Piece<'_>)) {
        self.push_blocks(
            chunk,
            |block| {
                if block.start && block.end { each_line(block.bytes, &mut each) } else { each(block) }
            },
        );
    }

    /// Like [`Splitter::push`], but neighbouring whole lines come together: a
    /// piece with `start` and `end` holds one or more of them, up to the limit
    /// in all. For those who handle many lines at once.
    pub fn push_blocks(&mut self, chunk: &[u8], mut each: impl FnMut(Piece<'_>)) {
        let mut rest = chunk;
        while !rest.is_empty() {
            rest = if self.in_long_line {
                self.pass_on(rest, &mut each)
            } else if self.held.is_empty() {
                self.lend(rest, &mut each)
            } else {
                self.complete(rest, &mut each)
            };
        }
    }

    /// The stream has ended: `each` gets the last line if it has no `\n`. The splitter is as new then.
    pub fn finish(&mut self, mut each: impl FnMut(Piece<'_>)) {
        if self.in_long_line {
            self.in_long_line = false;
            each(Piece { bytes: b"", start: false, end: true });
        } else if !self.held.is_empty() {
            each(Piece::whole(&self.held));
            self.held.clear();
        }
    }

    /// Inside a long line: everything up to its end, held by nobody.
    fn pass_on<'c>(&mut self, rest: &'c [u8], each: &mut impl FnMut(Piece<'_>)) -> &'c [u8] {
        let (bytes, after, end) = match memchr(b'\n', rest) {
            Some(at) => (&rest[..=at], &rest[at + 1..], true),
            None => (rest, &rest[rest.len()..], false),
        };
        self.in_long_line = !end;
        each(Piece { bytes, start: false, end });
        after
    }

    /// At the start of a line: the whole lines of the chunk, lent.
    fn lend<'c>(&mut self, rest: &'c [u8], each: &mut impl FnMut(Piece<'_>)) -> &'c [u8] {
        let window = &rest[..rest.len().min(self.limit_bytes)];
        if let Some(at) = memrchr(b'\n', window) {
            each(Piece::whole(&rest[..=at]));
            return &rest[at + 1..];
        }
        if rest.len() > window.len() {
            self.start_long_line();
            each(Piece { bytes: window, start: true, end: false });
            return &rest[window.len()..];
        }
        self.held.extend_from_slice(rest);
        &rest[rest.len()..]
    }

    /// With a line's beginning held: its end, as far as the limit lets it grow.
    fn complete<'c>(&mut self, rest: &'c [u8], each: &mut impl FnMut(Piece<'_>)) -> &'c [u8] {
        let room = self.limit_bytes - self.held.len();
        let window = &rest[..rest.len().min(room)];
        if let Some(at) = memchr(b'\n', window) {
            self.held.extend_from_slice(&rest[..=at]);
            each(Piece::whole(&self.held));
            self.held.clear();
            return &rest[at + 1..];
        }
        self.held.extend_from_slice(window);
        if rest.len() > room {
            self.start_long_line();
            each(Piece { bytes: &self.held, start: true, end: false });
            self.held.clear();
        }
        &rest[window.len()..]
    }

    fn start_long_line(&mut self) {
        self.in_long_line = true;
        self.long_lines += 1;
    }
}

impl Default for Splitter {
    fn default() -> Splitter {
        Splitter::new()
    }
}

fn each_line(lines: &[u8], each: &mut impl FnMut(Piece<'_>)) {
    let mut start = 0;
    for at in memchr_iter(b'\n', lines) {
        each(Piece::whole(&lines[start..=at]));
        start = at + 1;
    }
    if start < lines.len() {
        each(Piece::whole(&lines[start..]));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Owned = (Vec<u8>, bool, bool);

    fn split(limit: usize, chunks: &[&[u8]]) -> Vec<Owned> {
        let mut splitter = Splitter::with_limit(limit);
        let mut pieces = Vec::new();
        let mut keep = |piece: Piece<'_>| pieces.push((piece.bytes.to_vec(), piece.start, piece.end));
        for chunk in chunks {
            splitter.push(chunk, &mut keep);
        }
        splitter.finish(&mut keep);
        pieces
    }

    /// Pieces after a long line's first are as they came in: joined, they compare.
    fn joined(pieces: Vec<Owned>) -> Vec<Owned> {
        let mut all: Vec<Owned> = Vec::new();
        for (bytes, start, end) in pieces {
            match all.last_mut() {
                Some(last) if !start && !last.1 => {
                    last.0.extend(bytes);
                    last.2 = end;
                }
                _ => all.push((bytes, start, end)),
            }
        }
        all
    }

    #[test]
    fn lines_come_whole_however_the_bytes_came_in() {
        let whole = |bytes: &[u8]| (bytes.to_vec(), true, true);
        let want = [whole(b"a\n"), whole(b"\n"), whole(b"bc\r\n"), whole(b"d")];
        assert_eq!(split(64, &[b"a\n\nbc\r\nd"]), want);
        assert_eq!(split(64, &[b"a", b"\n", b"\nb", b"c\r", b"\n", b"d"]), want);
        assert_eq!(split(64, &[]), []);
    }

    #[test]
    fn a_line_of_just_the_limit_is_whole_and_one_byte_more_is_not() {
        assert_eq!(split(4, &[b"abc\n"]), [(b"abc\n".to_vec(), true, true)]);
        assert_eq!(split(4, &[b"ab", b"cd"]), [(b"abcd".to_vec(), true, true)]);
        let long = [(b"abcd".to_vec(), true, false), (b"\n".to_vec(), false, true)];
        assert_eq!(split(4, &[b"abcd\n"]), long);
        assert_eq!(split(4, &[b"abcd", b"\n"]), long);
        assert_eq!(
            split(4, &[b"abcde"]).last(),
            Some(&(Vec::new(), false, true)),
            "the end is told, with nothing left"
        );
    }

    #[test]
    fn a_line_without_an_end_is_not_held() {
        let mut splitter = Splitter::new();
        let mut passed = 0;
        for _ in 0..1_000 {
            splitter.push(&[b'x'; 10_000], |piece| passed += piece.bytes.len());
        }
        assert!(splitter.held.capacity() <= 2 * MAX_LINE_BYTES, "{}", splitter.held.capacity());
        assert_eq!(passed, 10_000_000);
        assert_eq!(splitter.long_lines(), 1);
    }

    #[test]
    fn lines_at_the_64_kib_boundary_are_alike_at_every_split() {
        for length in MAX_LINE_BYTES - 2..MAX_LINE_BYTES + 3 {
            let mut stream = vec![b'x'; length];
            stream.extend_from_slice(b"\nnext\n");
            let want = joined(split(MAX_LINE_BYTES, &[&stream]));
            for at in [1, length - 1, length, length + 1, length + 2, MAX_LINE_BYTES] {
                let (first, second) = stream.split_at(at);
                assert_eq!(joined(split(MAX_LINE_BYTES, &[first, second])), want, "{length} bytes, split at {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_split_of_the_input_changes_a_line(
            stream in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'x'), any::<u8>()], 0..60),
            limit in 1usize..12,
        ) {
            let want = joined(split(limit, &[&stream]));
            prop_assert_eq!(want.iter().flat_map(|piece| piece.0.clone()).collect::<Vec<_>>(), stream.clone());
            for piece in &want {
                prop_assert!(!piece.1 || piece.0.len() <= limit, "a line's first piece is bounded");
            }
            for at in 0..=stream.len() {
                for then in at..=stream.len() {
                    let chunks = [&stream[..at], &stream[at..then], &stream[then..]];
                    prop_assert_eq!(&joined(split(limit, &chunks)), &want);
                }
            }
        }
    }
}
