//! Several patterns as one question: which line is the next to match any of them?

use std::fmt;
use std::ops::Range;

use memchr::{memchr, memrchr};
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

/// A regex that can't be used; one line that shows it and says what is wrong.
///
/// No `source()`: the regex crate's error has the same text over several
/// lines, and [`InvalidPattern::reason`] is its last.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid regex `{}`: {reason}", OneLine(.pattern))]
pub struct InvalidPattern {
    pattern: String,
    reason: String,
}

impl InvalidPattern {
    fn new(pattern: &str, error: &regex::Error) -> InvalidPattern {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        let reason = last.strip_prefix("error: ").unwrap_or(last).trim_end_matches('.').to_owned();
        InvalidPattern { pattern: pattern.to_owned(), reason }
    }

    /// The pattern as it was given.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// What is wrong with it.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_default()) } else { write!(f, "{c}") })
    }
}

/// One or more patterns; a line matches if any of them does.
#[derive(Clone, Debug)]
pub(super) enum Patterns {
    /// None of them can match a `\n`: many lines are searched as one text.
    InBulk(Regex),
    /// Each line is looked at by itself.
    ByLine(RegexSet),
}

impl Patterns {
    pub(super) fn new(patterns: &[String]) -> Result<Patterns, InvalidPattern> {
        // One by one first: an error then belongs to its pattern, and `a)|(b` is none.
        for pattern in patterns {
            one(pattern).map_err(|error| InvalidPattern::new(pattern, &error))?;
        }
        if patterns.iter().all(|pattern| stays_in_line(pattern)) {
            let joined = patterns.iter().map(|pattern| format!("(?:{pattern})")).collect::<Vec<_>>().join("|");
            // Can fail by size or by a group's name used twice; together they may still do.
            if let Ok(regex) = one(&joined) {
                return Ok(Patterns::InBulk(regex));
            }
        }
        Patterns::by_line(patterns)
    }

    pub(super) fn by_line(patterns: &[String]) -> Result<Patterns, InvalidPattern> {
        let set = RegexSetBuilder::new(patterns).multi_line(true).build();
        set.map(Patterns::ByLine).map_err(|error| InvalidPattern::new(&patterns.join("`, `"), &error))
    }

    /// Whether a line, given without its end, matches.
    pub(super) fn is_match(&self, line: &[u8]) -> bool {
        match self {
            Patterns::InBulk(regex) => regex.is_match(line),
            Patterns::ByLine(set) => set.is_match(line),
        }
    }

    /// The first line of `lines`, at or after the line start `at`, that matches; with its end.
    pub(super) fn next_line(&self, lines: &[u8], at: usize) -> Option<Range<usize>> {
        match self {
            Patterns::InBulk(regex) => next_in_bulk(regex, lines, at),
            Patterns::ByLine(set) => next_by_line(set, lines, at),
        }
    }
}

/// The line without its `\n` or `\r\n`.
pub(super) fn without_end(line: &[u8]) -> &[u8] {
    match line {
        [body @ .., b'\r', b'\n'] | [body @ .., b'\n'] => body,
        _ => line,
    }
}

/// Multi-line, so that `^` and `$` mean a line's ends in a text of many; within one line it changes nothing.
fn one(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).multi_line(true).build()
}

fn next_in_bulk(regex: &Regex, lines: &[u8], mut at: usize) -> Option<Range<usize>> {
    while at < lines.len() {
        // No match holds a `\n`, so the line of its end is the line of all of it.
        let found = regex.shortest_match_at(lines, at)?;
        let start = memrchr(b'\n', &lines[..found]).map_or(0, |end| end + 1);
        if start == lines.len() {
            return None; // an empty match behind the last line's end
        }
        let end = memchr(b'\n', &lines[found..]).map_or(lines.len(), |length| found + length + 1);
        let line = &lines[start..end];
        // The pattern may have taken the `\r`, which by itself the line doesn't have.
        if !line.ends_with(b"\r\n") || regex.is_match(without_end(line)) {
            return Some(start..end);
        }
        at = end;
    }
    None
}

fn next_by_line(set: &RegexSet, lines: &[u8], mut at: usize) -> Option<Range<usize>> {
    while at < lines.len() {
        let end = memchr(b'\n', &lines[at..]).map_or(lines.len(), |length| at + length + 1);
        if set.is_match(without_end(&lines[at..end])) {
            return Some(at..end);
        }
        at = end;
    }
    None
}

/// Whether the pattern, searched in many lines at once (multi-line mode), finds
/// exactly the lines that it matches by themselves, but for a `\r` at their end.
///
/// It lists what is known to be harmless and doubts all else: `[^a]`, `\s`,
/// `\W`, `(?s).` match a `\n`; `\A`, `\z`, `(?-m)^` tell a text's ends from a
/// line's; `$` doesn't match before `\r\n`.
fn stays_in_line(pattern: &str) -> bool {
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        let harmless = match c {
            '\\' => match rest.next() {
                Some('b') => rest.peek() != Some(&'{'),
                Some('d' | 'w' | 'S' | 't' | 'B') => true,
                Some(escaped) => escaped.is_ascii_punctuation(),
                None => false,
            },
            '[' => plain_class(&mut rest),
            '(' if rest.peek() == Some(&'?') => {
                let group: String = rest.clone().take(4).collect();
                ["?:", "?i)", "?i:", "?P<", "?<"].iter().any(|known| group.starts_with(known))
            }
            '$' => false,
            _ => c >= ' ',
        };
        if !harmless {
            return false;
        }
    }
    true
}

/// A class of printable characters and ranges between them, which no set operation can bring to hold a `\n`.
fn plain_class(rest: &mut impl Iterator<Item = char>) -> bool {
    let mut first = true;
    for c in rest {
        match c {
            ']' => return !first,
            '^' if first => return false,
            '[' | '\\' => return false,
            _ if c < ' ' => return false,
            _ => first = false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_regex_is_told_in_one_line() {
        let error = Patterns::new(&["fine".to_owned(), "foo(\n".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), r"invalid regex `foo(\n`: unclosed group");
        let error = Patterns::new(&["a)|(b".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "invalid regex `a)|(b`: unopened group");
        let error = Patterns::new(&[r"(\w{1000}){1000}".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("exceeds size limit") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn only_patterns_that_stay_in_their_line_are_searched_in_bulk() {
        for safe in
            ["error", "a.*b", r"\d+ ms", "[a-z_]+", "^GET", "(?i)fail", "(a|b)?", r"\[x\]", r"\bok\b", "(?<n>x)"]
        {
            assert!(stays_in_line(safe), "{safe}");
        }
        let doubtful = [
            "[^a]",
            r"\s",
            r"\W",
            r"\D",
            "(?s).",
            "(?-m)^a",
            r"\Aa",
            r"a\z",
            "a$",
            "a\nb",
            r"a\nb",
            r"\x0a",
            r"\p{Cc}",
            "[[:space:]]",
            r"[\s]",
            "(?x) a # b",
            r"\b{start}",
            "[]\n]",
            "(?R)a",
        ];
        for pattern in doubtful {
            assert!(!stays_in_line(pattern), "{pattern}");
        }
    }

    #[test]
    fn one_group_name_in_two_patterns_is_no_error() {
        let patterns = Patterns::new(&["(?<n>a)".to_owned(), "(?<n>b)".to_owned()]).unwrap();
        assert!(patterns.is_match(b"xb"));
    }
}
