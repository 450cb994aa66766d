//! The parameters of a header's value: `; name=value; other="quoted value"`.
//!
//! A tokenizer, not a search: what stands inside a quoted value is never taken
//! for a parameter.

use std::borrow::Cow;

/// A value's first word, without the blanks around it, and its parameters.
pub(super) fn head(value: &str) -> (&str, &str) {
    let end = value.find(';').unwrap_or(value.len());
    (value[..end].trim_matches(BLANKS), &value[end..])
}

/// A parameter as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameter<'a> {
    name: &'a str,
    /// What is between the quotes, or the bare word.
    raw: &'a str,
    quoted: bool,
}

impl<'a> Parameter<'a> {
    /// Whether it has this name, in capitals or not.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The value of an ordinary parameter: `\x` is `x` (RFC 9110, section 5.6.4).
    pub(super) fn unescaped(&self) -> String {
        let mut value = String::with_capacity(self.raw.len());
        let mut rest = self.raw.chars();
        while let Some(c) = rest.next() {
            let escape = self.quoted && c == '\\';
            value.push(if escape { rest.next().unwrap_or(c) } else { c });
        }
        value
    }

    /// The value of a form's `name` or `filename`, which have been escaped in
    /// two ways: old curl wrote `\"` and `\\`; browsers, and curl since 7.81,
    /// write `%22`, `%0D` and `%0A` and leave a backslash as it is. So
    /// backslashes escape only where a `\"` shows that they do.
    pub(super) fn form_value(&self) -> Cow<'a, str> {
        let raw = self.raw;
        if !self.quoted {
            Cow::Borrowed(raw)
        } else if raw.contains('"') {
            Cow::Owned(without_backslashes(raw))
        } else if raw.contains('%') {
            Cow::Owned(raw.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n"))
        } else {
            Cow::Borrowed(raw)
        }
    }
}

/// The parameters, one after the other; `None` inside, and then no more, where
/// they can't be read.
pub(super) struct Parameters<'a> {
    rest: &'a str,
}

impl<'a> Parameters<'a> {
    /// `rest` starts at the first `;`, or is empty.
    pub(super) fn new(rest: &'a str) -> Parameters<'a> {
        Parameters { rest }
    }

    fn parameter(&mut self) -> Option<Parameter<'a>> {
        let (name, rest) = token(self.rest)?;
        let rest = rest.strip_prefix('=')?;
        let (raw, rest, quoted) = match rest.strip_prefix('"') {
            Some(inside) => {
                let end = quote_end(inside)?;
                (&inside[..end], &inside[end + 1..], true)
            }
            None => token(rest).map(|(raw, rest)| (raw, rest, false))?,
        };
        self.rest = rest.trim_start_matches(BLANKS);
        let over = self.rest.is_empty() || self.rest.starts_with(';');
        over.then_some(Parameter { name, raw, quoted })
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Option<Parameter<'a>>;

    fn next(&mut self) -> Option<Option<Parameter<'a>>> {
        // An empty one between two semicolons is allowed (RFC 9110, section 5.6.6).
        while let Some(rest) = self.rest.strip_prefix(';') {
            self.rest = rest.trim_start_matches(BLANKS);
        }
        if self.rest.is_empty() {
            return None;
        }
        let parameter = self.parameter();
        if parameter.is_none() {
            self.rest = "";
        }
        Some(parameter)
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

/// Whether a byte may stand in a token (RFC 9110, section 5.6.2).
pub(super) fn in_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn token(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !in_token(byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Where the quote is that ends a value: one behind a backslash doesn't,
/// unless that is itself the second of two.
fn quote_end(inside: &str) -> Option<usize> {
    let bytes = inside.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return Some(at),
            b'\\' if matches!(bytes.get(at + 1), Some(b'"' | b'\\')) => at += 2,
            b'\t' => at += 1,
            _ if byte.is_ascii_control() => return None,
            _ => at += 1,
        }
    }
    None
}

fn without_backslashes(raw: &str) -> String {
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw.chars().peekable();
    while let Some(c) = rest.next() {
        let escaped = if c == '\\' { rest.next_if(|next| matches!(next, '"' | '\\')) } else { None };
        value.push(escaped.unwrap_or(c));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and form values; `None` at the end if they can't all be read.
    fn read(text: &str) -> Vec<Option<(String, String)>> {
        let owned = |parameter: Parameter<'_>| (parameter.name.to_owned(), parameter.form_value().into_owned());
        Parameters::new(text).map(|parameter| parameter.map(owned)).collect()
    }

    fn value(quoted: &str) -> Option<String> {
        let all = read(&format!("; v=\"{quoted}\""));
        assert_eq!(all.len(), 1, "{quoted}");
        all[0].clone().map(|parameter| parameter.1)
    }

    #[test]
    fn parameters_come_in_any_order_and_spacing() {
        let some = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        assert_eq!(read("; name=\"a\"; filename=\"b\""), [some("name", "a"), some("filename", "b")]);
        assert_eq!(read(";filename=b\t;;  name=\"a; name=c\";"), [some("filename", "b"), some("name", "a; name=c")]);
        assert_eq!(read(""), []);
        assert_eq!(read("; filename*=UTF-8''%e2%82%ac"), [some("filename*", "UTF-8''%e2%82%ac")]);
    }

    #[test]
    fn what_is_no_parameter_ends_them() {
        for bad in ["; a", "; a=", "; =b", "; a =b", "; a= b", "; a=\"b", "; a=\"b\"c", "; a=b c", "; a=b\"c\"", "x"] {
            assert_eq!(read(bad), [None], "{bad}");
        }
        assert_eq!(read("; a=b; c"), [Some(("a".to_owned(), "b".to_owned())), None]);
    }

    #[test]
    fn both_ways_of_escaping_are_undone_and_never_mixed() {
        for (quoted, want) in [
            ("x%22y", "x\"y"),
            ("x%0D%0Ay", "x\r\ny"),
            ("100%25", "100%25"),
            (r"C:\dir\file", r"C:\dir\file"),
            (r"\\server\x", r"\\server\x"),
            (r#"x\"y"#, "x\"y"),
            (r#"a\\b\"c\d"#, "a\\b\"c\\d"),
            (r#"%22\""#, "%22\""),
            (r"end\\", r"end\\"),
        ] {
            assert_eq!(value(quoted).as_deref(), Some(want), "{quoted}");
        }
        assert_eq!(value("a\\"), None, "a backslash hides the last quote");
        assert_eq!(value("a\0b"), None);
    }
}
