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

/// How large a pattern, or several as one, may be when compiled: the regex crate's default.
pub(super) const LIMIT_BYTES: usize = 10 << 20;

impl Patterns {
    /// Compiles them; none of them, nor all together, may take more than `limit_bytes`.
    pub(super) fn new(patterns: &[String], limit_bytes: usize) -> Result<Patterns, InvalidPattern> {
        // One by one first: an error then belongs to its pattern, and `a)|(b` is none.
        for pattern in patterns {
            one(pattern, limit_bytes).map_err(|error| InvalidPattern::new(pattern, &error))?;
        }
        let within: Option<Vec<_>> = patterns.iter().map(|pattern| within_lines(pattern)).collect();
        if let Some(within) = within {
            let joined = format!("(?:{})", within.join(")|(?:"));
            // Can fail by size or by a group's name used twice; together they may still do.
            if let Ok(regex) = one(&joined, limit_bytes) {
                return Ok(Patterns::InBulk(regex));
            }
        }
        Patterns::by_line(patterns, limit_bytes)
    }

    pub(super) fn by_line(patterns: &[String], limit_bytes: usize) -> Result<Patterns, InvalidPattern> {
        let set = RegexSetBuilder::new(patterns)
            .multi_line(true)
            .size_limit(limit_bytes)
            .dfa_size_limit(cache_bytes(limit_bytes))
            .build();
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
fn one(pattern: &str, limit_bytes: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).multi_line(true).size_limit(limit_bytes).dfa_size_limit(cache_bytes(limit_bytes)).build()
}

/// What a search may keep to be fast. Too little for its pattern, and it would
/// be many times slower; the regex crate's default is 2 MiB.
fn cache_bytes(limit_bytes: usize) -> usize {
    (2 * limit_bytes).min(2 << 20)
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

/// The pattern as it can be searched in many lines at once (multi-line mode),
/// to find just the lines that it matches by themselves, but for a `\r` at their end.
///
/// A line has no `\n` within, so what matches "anything but" can leave `\n` out
/// and still mean the same. Beyond that it knows what is harmless, and doubts
/// all else: `(?s).` and `\x0a` match a `\n`; `\A`, `\z`, `(?-m)^` tell a text's
/// ends from a line's; `$` doesn't match before `\r\n`.
fn within_lines(pattern: &str) -> Option<String> {
    let mut within = String::with_capacity(pattern.len());
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next()? {
                's' => within.push_str(r"[^\S\n]"),
                'D' => within.push_str(r"[^\d\n]"),
                'W' => within.push_str(r"[^\w\n]"),
                'b' if rest.peek() == Some(&'{') => return None,
                escaped if "bBdwSt".contains(escaped) || escaped.is_ascii_punctuation() => {
                    within.extend(['\\', escaped]);
                }
                _ => return None,
            },
            '[' => class_within_lines(&mut rest, &mut within)?,
            '(' => {
                let group: String = rest.clone().take(3).collect();
                let plain = ["?:", "?i)", "?i:", "?P<", "?<"].iter().any(|known| group.starts_with(known));
                if group.starts_with('?') && !plain {
                    return None;
                }
                within.push(c);
            }
            '$' => return None,
            _ if c < ' ' => return None,
            _ => within.push(c),
        }
    }
    Some(within)
}

/// A class of printable characters and ranges between them, or of anything
/// else; neither comes to hold a `\n` by a set operation.
fn class_within_lines(rest: &mut impl Iterator<Item = char>, within: &mut String) -> Option<()> {
    within.push('[');
    let mut first = true;
    let mut empty = true;
    for c in rest {
        match c {
            '^' if first => within.push_str(r"^\n"),
            ']' if empty => return None,
            ']' => {
                within.push(']');
                return Some(());
            }
            // It would make a range of the `\n` before it.
            '-' if empty => return None,
            // `[^a&&b]` would have `\n` again, being in one of the two sets only.
            '[' | '\\' | '&' | '~' => return None,
            _ if c < ' ' => return None,
            _ => {
                within.push(c);
                empty = false;
            }
        }
        first = false;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_regex_is_told_in_one_line() {
        let error = Patterns::new(&["fine".to_owned(), "foo(\n".to_owned()], LIMIT_BYTES).unwrap_err();
        assert_eq!(error.to_string(), r"invalid regex `foo(\n`: unclosed group");
        let error = Patterns::new(&["a)|(b".to_owned()], LIMIT_BYTES).unwrap_err();
        assert_eq!(error.to_string(), "invalid regex `a)|(b`: unopened group");
        let error = Patterns::new(&[r"(\w{1000}){1000}".to_owned()], LIMIT_BYTES).unwrap_err().to_string();
        assert!(error.contains("exceeds size limit") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn only_patterns_that_stay_in_their_line_are_searched_in_bulk() {
        let safe =
            ["error", "a.*b", r"\d+ ms", "[a-z_]+", "^GET", "(?i)fail", "(a|b)?", r"\[x\]", r"\bok\b", "(?<n>x)"];
        for pattern in safe {
            assert_eq!(within_lines(pattern).as_deref(), Some(pattern));
        }
        let changed = [("[^a]+", r"[^\na]+"), (r"a\s", r"a[^\S\n]"), (r"\W\D", r"[^\w\n][^\d\n]")];
        for (pattern, want) in changed {
            assert_eq!(within_lines(pattern).as_deref(), Some(want));
        }
        let doubtful = [
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
            "[^a&&b]",
            "[^-a]",
            "(?x) a # b",
            r"\b{start}",
            "[]\n]",
            "[^]a]",
            "(?R)a",
            "(?si)a.b",
        ];
        for pattern in doubtful {
            assert_eq!(within_lines(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn one_group_name_in_two_patterns_is_no_error() {
        let patterns = Patterns::new(&["(?<n>a)".to_owned(), "(?<n>b)".to_owned()], LIMIT_BYTES).unwrap();
        assert!(patterns.is_match(b"xb"));
    }
}
