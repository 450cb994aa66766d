//! What a file that comes is called.

use crate::client::{Reply, Target};
use crate::inbox::decoded;
use crate::inbox::folder::Name;

/// What a file is called that has no name.
const NAMELESS: &str = "download";

/// The name that the server gives (RFC 6266: `filename*`, else `filename`),
/// else the URL's last component, else `download`.
pub(super) fn name_of(reply: &Reply, asked: &Target) -> Name {
    let given = reply.header("content-disposition").and_then(disposition);
    given.or_else(|| of_url(asked)).unwrap_or_else(nameless)
}

fn of_url(target: &Target) -> Option<Name> {
    Name::last_of(&decoded(target.path().rsplit('/').next()?)?).ok()
}

fn nameless() -> Name {
    Name::parse(NAMELESS).expect("a constant that is a name")
}

/// A name that a stranger chose: its last component, and never a hidden file,
/// by which a shell or a program might be told what to do.
pub(super) fn strangers(name: &str) -> Option<Name> {
    let last = name.rsplit(['/', '\\']).next()?;
    match last.strip_prefix('.') {
        // `.` and `..` are no names with or without it.
        Some(rest) if !matches!(rest, "" | ".") => Name::parse(&format!("_{rest}")).ok(),
        _ => Name::parse(last).ok(),
    }
}

fn disposition(value: &str) -> Option<Name> {
    let (mut plain, mut extended) = (None, None);
    for (name, value) in parameters(value) {
        if name.eq_ignore_ascii_case("filename*") {
            extended = extended.or_else(|| utf8(&value));
        } else if name.eq_ignore_ascii_case("filename") {
            plain = plain.or(Some(value));
        }
    }
    extended.and_then(|name| strangers(&name)).or_else(|| strangers(&plain?))
}

/// `UTF-8''%e2%82%ac` (RFC 8187).
fn utf8(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_, text) = rest.split_once('\'')?;
    charset.eq_ignore_ascii_case("utf-8").then(|| decoded(text))?
}

/// The parameters of a header's value, quotes taken off; what can't be read ends them.
fn parameters(value: &str) -> Vec<(&str, String)> {
    let mut parameters = Vec::new();
    let Some((_, mut rest)) = value.split_once(';') else { return parameters };
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => {
                let Some((value, after)) = unquoted(quoted) else { break };
                (value, after)
            }
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        parameters.push((name.trim(), value));
        let Some((_, after)) = after.split_once(';') else { break };
        rest = after;
    }
    parameters
}

fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(value: &str) -> Option<String> {
        disposition(value).map(|name| name.as_str().to_owned())
    }

    #[test]
    fn a_servers_name_is_one_component_and_not_hidden() {
        for (value, want) in [
            ("attachment; filename=\"a;b.txt\"", Some("a;b.txt")),
            ("attachment; filename=a.txt; size=3", Some("a.txt")),
            ("attachment; FileName = \"x\\\"y\"", Some("x\"y")),
            ("attachment; filename=\"../../etc/passwd\"", Some("passwd")),
            ("attachment; filename=\"C:\\\\dir\\\\x.txt\"", Some("x.txt")),
            ("attachment; filename=\".bashrc\"", Some("_bashrc")),
            ("attachment; filename=\".towpath-part-x\"", Some("_towpath-part-x")),
            ("attachment; filename=\"plain\"; filename*=UTF-8''%e2%82%ac.txt", Some("\u{20ac}.txt")),
            ("attachment; filename*=UTF-8''..%2fx; filename=plain", Some("x")),
            ("attachment; filename*=UTF-8''%2e%2e; filename=plain", Some("plain")),
            ("attachment; filename*=ISO-8859-1''%a3; filename=plain", Some("plain")),
            ("attachment; filename=\"x%2Fy\"", Some("x%2Fy")),
            ("attachment", None),
            ("attachment; filename=\"\"", None),
            ("attachment; filename=\"..\"", None),
            ("attachment; filename=\"a", None),
            ("inline; name=filename; x=\"filename=y\"", None),
        ] {
            assert_eq!(name(value).as_deref(), want, "{value}");
        }
    }

    #[test]
    fn a_url_names_what_has_no_other_name() {
        let of = |url: &str| of_url(&Target::parse(url).unwrap()).map(|name| name.as_str().to_owned());
        assert_eq!(of("http://h/a/b%20c.txt?x=/y").as_deref(), Some("b c.txt"));
        assert_eq!(of("http://h/a/..%2f..%2fx").as_deref(), Some("x"));
        for nameless in ["http://h", "http://h/", "http://h/a/", "http://h/%2e%2e", "http://h/%ff"] {
            assert_eq!(of(nameless), None, "{nameless}");
        }
        assert_eq!(nameless().as_str(), "download");
    }
}
