//! Which lines pass: the filter, and its state in one stream.

use super::patterns::{LIMIT_BYTES, Patterns, without_end};
use super::{InvalidPattern, Piece, Splitter};

/// Include and exclude patterns on bytes. A line passes if an include pattern
/// matches it (or there is none) and no exclude pattern does.
///
/// A pattern sees the line without its `\n` or `\r\n`, and needn't match all
/// of it. Syntax: the `regex` crate's, on bytes: `.` is a character of UTF-8,
/// and `(?-u:.)` any byte. Cheap to clone: clones share the compiled patterns.
///
/// ```
/// # use towpath::flow::Filter;
/// let filter = Filter::new(["error", "warn"], ["ignored"])?;
/// assert!(filter.passes(b"an error\n"));
/// assert!(!filter.passes(b"an error, ignored\n"));
/// assert!(!filter.passes(b"all is well\n"));
/// # Ok::<(), towpath::flow::InvalidPattern>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Filter {
    include: Option<Patterns>,
    exclude: Option<Patterns>,
}

impl Filter {
    /// Compiles the patterns; without any, every line passes.
    ///
    /// # Errors
    /// A pattern that is no regex, or one of more than 10 MiB when compiled: it is named, with the reason.
    pub fn new<I, E>(include: I, exclude: E) -> Result<Filter, InvalidPattern>
    where
        I: IntoIterator<Item: Into<String>>,
        E: IntoIterator<Item: Into<String>>,
    {
        let owned = (include.into_iter().map(Into::into).collect(), exclude.into_iter().map(Into::into).collect());
        Filter::within(owned.0, owned.1, LIMIT_BYTES)
    }

    /// As [`new`](Filter::new), with another limit: for patterns that strangers
    /// send, and that are held by as many of them as there may be connections.
    pub(crate) fn within(
        include: Vec<String>,
        exclude: Vec<String>,
        limit_bytes: usize,
    ) -> Result<Filter, InvalidPattern> {
        let compile = |patterns: Vec<String>| match patterns.is_empty() {
            true => Ok(None),
            false => Patterns::new(&patterns, limit_bytes).map(Some),
        };
        Ok(Filter { include: compile(include)?, exclude: compile(exclude)? })
    }

    /// Whether there is no pattern, so that every line passes.
    pub fn passes_all(&self) -> bool {
        self.include.is_none() && self.exclude.is_none()
    }

    /// Whether one line passes, with its end or without.
    pub fn passes(&self, line: &[u8]) -> bool {
        let line = without_end(line);
        self.include.as_ref().is_none_or(|include| include.is_match(line)) && !self.is_excluded(line)
    }

    fn is_excluded(&self, line: &[u8]) -> bool {
        self.exclude.as_ref().is_some_and(|exclude| exclude.is_match(line))
    }

    /// Of many whole lines those that pass, neighbours together.
    fn select(&self, lines: &[u8], emit: &mut impl FnMut(&[u8])) {
        match (&self.include, &self.exclude) {
            (Some(include), _) => self.select_matching(include, lines, emit),
            (None, Some(exclude)) => select_others(exclude, lines, emit),
            (None, None) => emit(lines),
        }
    }

    fn select_matching(&self, include: &Patterns, lines: &[u8], emit: &mut impl FnMut(&[u8])) {
        let mut run = 0..0;
        let mut at = 0;
        while let Some(line) = include.next_line(lines, at) {
            at = line.end;
            if self.is_excluded(without_end(&lines[line.clone()])) {
                continue;
            }
            if run.end != line.start {
                emit_run(&lines[run], emit);
                run = line.start..line.start;
            }
            run.end = line.end;
        }
        emit_run(&lines[run], emit);
    }
}

fn select_others(exclude: &Patterns, lines: &[u8], emit: &mut impl FnMut(&[u8])) {
    let mut at = 0;
    while let Some(line) = exclude.next_line(lines, at) {
        emit_run(&lines[at..line.start], emit);
        at = line.end;
    }
    emit_run(&lines[at..], emit);
}

fn emit_run(run: &[u8], emit: &mut impl FnMut(&[u8])) {
    if !run.is_empty() {
        emit(run);
    }
}

/// A filter at work in one stream: chunks in, the passing lines out, byte for byte.
///
/// A line of more than [`MAX_LINE_BYTES`](super::MAX_LINE_BYTES) passes or not
/// by its first so many bytes, all of it; such lines are counted.
#[derive(Debug)]
pub struct Sieve {
    filter: Filter,
    splitter: Splitter,
    verdict: Verdict,
}

impl Sieve {
    /// A filter at the start of a stream.
    pub fn new(filter: Filter) -> Sieve {
        Sieve::with_splitter(filter, Splitter::new())
    }

    /// A filter in the middle of a line whose beginning has passed.
    #[cfg(feature = "http")]
    pub(crate) fn within_line(filter: Filter) -> Sieve {
        Sieve { filter, splitter: Splitter::within_line(), verdict: Verdict { passes: true } }
    }

    fn with_splitter(filter: Filter, splitter: Splitter) -> Sieve {
        Sieve { filter, splitter, verdict: Verdict::default() }
    }

    /// Takes the stream's next bytes; `emit` gets what passes, whole lines together where they are neighbours.
    pub fn push(&mut self, chunk: &[u8], mut emit: impl FnMut(&[u8])) {
        let Sieve { filter, splitter, verdict } = self;
        splitter.push_blocks(chunk, |block| verdict.sift(filter, block, |passing| emit_run(passing.bytes, &mut emit)));
    }

    /// The stream has ended: `emit` gets the last line if it has no end and passes.
    pub fn finish(&mut self, mut emit: impl FnMut(&[u8])) {
        let Sieve { filter, splitter, verdict } = self;
        splitter.finish(|block| verdict.sift(filter, block, |passing| emit_run(passing.bytes, &mut emit)));
    }

    /// How many lines were so long that their first [`MAX_LINE_BYTES`](super::MAX_LINE_BYTES) spoke for all of them.
    pub fn long_lines(&self) -> u64 {
        self.splitter.long_lines()
    }
}

/// The verdict on the long line that is under way.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    passes: bool,
}

impl Verdict {
    /// Takes whole lines, or a piece of a long one; `emit` gets what passes of it.
    pub(super) fn sift(&mut self, filter: &Filter, piece: Piece<'_>, mut emit: impl FnMut(Piece<'_>)) {
        if piece.start && piece.end {
            filter.select(piece.bytes, &mut |run: &[u8]| emit(Piece { bytes: run, ..piece }));
            return;
        }
        if piece.start {
            self.passes = filter.passes(piece.bytes);
        }
        if self.passes {
            emit(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::MAX_LINE_BYTES;

    fn sieved(mut sieve: Sieve, chunks: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for chunk in chunks {
            sieve.push(chunk, |run| out.extend_from_slice(run));
        }
        sieve.finish(|run| out.extend_from_slice(run));
        out
    }

    fn filtered(include: &[&str], exclude: &[&str], input: &[u8]) -> Vec<u8> {
        let filter = Filter::new(include.iter().copied(), exclude.iter().copied()).unwrap();
        sieved(Sieve::new(filter), &[input])
    }

    #[test]
    fn a_line_passes_if_included_and_not_excluded() {
        let input = b"red\nblue\nredblue\ngreen";
        assert_eq!(filtered(&[], &[], input), input);
        assert_eq!(filtered(&["red"], &[], input), b"red\nredblue\n");
        assert_eq!(filtered(&["red", "green"], &["blue"], input), b"red\ngreen");
        assert_eq!(filtered(&[], &["blue", "^g"], input), b"red\n");
        assert_eq!(filtered(&[""], &[], input), input, "an empty pattern matches every line, and none behind the last");
        assert_eq!(filtered(&["^"], &[], b"a\n\nb\n"), b"a\n\nb\n");
    }

    #[test]
    fn a_line_end_is_not_part_of_the_line() {
        assert_eq!(filtered(&["done$"], &[], b"done\r\ndone\nundone.\n"), b"done\r\ndone\n");
        assert_eq!(filtered(&[r"a\s"], &[], b"a\na b\n"), b"a b\n");
        assert_eq!(filtered(&["a[^x]"], &[], b"a\nab\n"), b"ab\n");
        assert_eq!(filtered(&["^$"], &[], b"a\n\n\r\nb\n"), b"\n\r\n");
        assert_eq!(filtered(&["a.b"], &[], b"a\nb\naxb\n"), b"axb\n");
        assert_eq!(
            filtered(&["a."], &[], b"a\r\nax\r\n"),
            b"ax\r\n",
            "the \\r of a line end is none of its characters"
        );
    }

    #[test]
    fn bytes_that_are_no_utf8_are_kept() {
        assert_eq!(filtered(&["x"], &[], b"\xff\x00x\xfe\n\xff\n"), b"\xff\x00x\xfe\n");
        assert_eq!(filtered(&[r"(?-u:\xff)"], &[], b"\xff\x00x\xfe\nx\n"), b"\xff\x00x\xfe\n");
    }

    #[test]
    fn a_long_line_follows_the_verdict_on_its_first_64_kib() {
        let line = |word_at: usize| {
            let mut line = vec![b'.'; 70 * 1024];
            line[word_at..word_at + 4].copy_from_slice(b"word");
            line.push(b'\n');
            line
        };
        let (early, late) = (line(MAX_LINE_BYTES - 4), line(MAX_LINE_BYTES - 3));
        let mut sieve = Sieve::new(Filter::new(["word"], [""; 0]).unwrap());
        let mut out = Vec::new();
        for chunk in [&early[..], &late, b"word\n"].concat().chunks(5_000) {
            sieve.push(chunk, |run| out.extend_from_slice(run));
        }
        assert_eq!(out, [&early[..], b"word\n"].concat());
        assert_eq!(sieve.long_lines(), 2);
    }

    const PATTERNS: [&str; 27] = [
        "a",
        "ab",
        "^a",
        "b$",
        "^$",
        "a.b",
        "a.*b",
        r"\s",
        "[^a]",
        r"\ba",
        r"a\B",
        "[ab]+",
        "a|b",
        "(?i)A",
        r"\S\S",
        "",
        "^",
        r"a\r",
        "(?s)a.b",
        r"\Ab",
        r"\bb\b",
        r"(?-u:\xff)",
        r"b\W",
        r"\D+b",
        "a[^b]",
        "[^-b]a",
        "[^ a-b]",
    ];

    proptest! {
        /// What each line says by itself is the reference for every search of many lines.
        #[test]
        fn many_lines_at_once_pass_as_each_would_by_itself(
            stream in proptest::collection::vec(prop_oneof![
                4 => Just(b'\n'), 4 => Just(b'a'), 4 => Just(b'b'), 2 => Just(b'\r'), 1 => Just(b' '), 1 => any::<u8>()
            ], 0..80),
            include in proptest::collection::vec(proptest::sample::select(&PATTERNS[..]), 0..3),
            exclude in proptest::collection::vec(proptest::sample::select(&PATTERNS[..]), 0..2),
            limit in 1usize..40,
            at in 0usize..80,
        ) {
            let owned = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<_>>();
            let by_line = |patterns: &[&str]| (!patterns.is_empty()).then(|| Patterns::by_line(&owned(patterns), LIMIT_BYTES).unwrap());
            let reference = Filter { include: by_line(&include), exclude: by_line(&exclude) };
            let mut want = Vec::new();
            let mut passing = false;
            let mut each = |piece: Piece<'_>| {
                passing = if piece.start { reference.passes(piece.bytes) } else { passing };
                want.extend_from_slice(if passing { piece.bytes } else { b"" });
            };
            let mut splitter = Splitter::with_limit(limit);
            splitter.push(&stream, &mut each);
            splitter.finish(&mut each);

            let filter = Filter::new(include, exclude).unwrap();
            let (first, second) = stream.split_at(at.min(stream.len()));
            prop_assert_eq!(sieved(Sieve::with_splitter(filter, Splitter::with_limit(limit)), &[first, second]), want);
        }
    }
}
