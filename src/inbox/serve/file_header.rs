//! Names of files in headers, URLs and forms.

/// `attachment` with the file's name (RFC 6266): in ASCII for the old, and whole.
pub(super) fn attachment(name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '%') { c } else { '_' }).collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", percent_encode(name))
}

/// A component of a URL's path, or the value of a header's extended parameter
/// (RFC 8187): all but what both leave alone is encoded.
pub(super) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A name in quotes in a form's header, as browsers write it.
pub(super) fn form_quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_makes_a_safe_header() {
        assert_eq!(attachment("a;b.txt"), "attachment; filename=\"a;b.txt\"; filename*=UTF-8''a%3Bb.txt");
        let hard = attachment("x\"y\\ü%22\u{202e}.exe");
        assert_eq!(hard.split("; filename*").next(), Some("attachment; filename=\"x_y___22_.exe\""));
        assert!(hard.is_ascii() && hard.ends_with("%C3%BC%2522%E2%80%AE.exe"), "{hard}");
    }

    #[test]
    fn a_form_quotes_as_browsers_do() {
        assert_eq!(form_quoted("a\"b.txt"), "\"a%22b.txt\"");
    }
}
