//! A command in quotes, as Go's `strconv.Quote` writes it, and cut to a width.

/// What a cut text ends in.
const CUT: char = '\u{2026}';

/// A text in double quotes, with what can't be printed escaped.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            c if c < ' ' || c == '\x7f' => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c == '\'' || is_printable(c) => quoted.push(c),
            c if u32::from(c) < 0x10000 => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

/// A text cut to so many columns of a terminal.
pub(super) fn cut(text: &str, columns: usize) -> String {
    let width = |c: char| if is_wide(c) { 2 } else { 1 };
    if text.chars().map(width).sum::<usize>() <= columns {
        return text.to_owned();
    }
    let mut used = 0;
    let fits = |c: &char| {
        used += width(*c);
        used < columns
    };
    text.chars().take_while(fits).chain([CUT]).collect()
}

/// Whether std leaves it as it is, which it decides by Unicode's own table; marks
/// that stand on the letter before them it leaves only after one.
fn is_printable(c: char) -> bool {
    String::from_iter(['a', c]).escape_debug().count() == 2
}

/// Those of East Asia that take two columns (UAX #11, wide and full width).
fn is_wide(c: char) -> bool {
    matches!(u32::from(c),
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0x33ff | 0x3400..=0x4dbf | 0x4e00..=0xa4cf | 0xa960..=0xa97c
        | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6b | 0xff01..=0xff60 | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f | 0x1f900..=0x1f9ff | 0x20000..=0x3fffd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_quoted_as_go_does_it() {
        assert_eq!(quoted("sh -c 'a \"b\" \\'"), r#""sh -c 'a \"b\" \\'""#);
        assert_eq!(quoted("\x1b[0m\n\t\x07\x7f\u{a0}\u{200b}"), r#""\x1b[0m\n\t\a\x7f\u00a0\u200b""#);
        assert_eq!(
            quoted("gr\u{fc}n \u{65e5}\u{1f600}\u{e000}\u{f0000}"),
            "\"gr\u{fc}n \u{65e5}\u{1f600}\\ue000\\U000f0000\""
        );
        assert_eq!(quoted("e\u{301}"), "\"e\u{301}\"");
    }

    #[test]
    fn a_text_is_cut_by_columns_not_by_characters() {
        assert_eq!(cut("12345678901234567890", 20), "12345678901234567890");
        assert_eq!(cut("123456789012345678901", 20), "1234567890123456789\u{2026}");
        assert_eq!(cut(&"\u{65e5}".repeat(11), 20), "\u{65e5}".repeat(9) + "\u{2026}");
        assert_eq!(cut(&"\u{65e5}".repeat(10), 20), "\u{65e5}".repeat(10));
    }
}
