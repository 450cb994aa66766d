//! A part's headers, line by line.

use super::disposition::{Disposition, FileName};
use super::error::Rule;
use super::parameters::in_token;

/// The headers that came, as far as they mean something (RFC 7578, section 4.8).
#[derive(Debug, Default)]
pub(super) struct Head {
    disposition: Option<Disposition>,
    content_type: Option<String>,
    transfer_encoding: bool,
}

impl Head {
    /// Takes one line, without its end; other headers than the three are only
    /// checked.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), Rule> {
        let (name, value) = split(line)?;
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let twice = if is("content-disposition") {
            self.disposition.replace(Disposition::parse(text(value)?)?).is_some()
        } else if is("content-type") {
            self.content_type.replace(text(value)?.to_owned()).is_some()
        } else if is("content-transfer-encoding") {
            let plain = [&b"binary"[..], b"8bit", b"7bit"];
            if !plain.iter().any(|plain| value.eq_ignore_ascii_case(plain)) {
                return Err(Rule::TransferEncoding);
            }
            std::mem::replace(&mut self.transfer_encoding, true)
        } else {
            false
        };
        if twice { Err(Rule::HeaderTwice) } else { Ok(()) }
    }

    /// All lines have come.
    pub(super) fn finish(self) -> Result<Heading, Rule> {
        let Disposition { name, file } = self.disposition.ok_or(Rule::Disposition)?;
        Ok(Heading { name, file, content_type: self.content_type })
    }
}

/// What a part is.
#[derive(Debug)]
pub(super) struct Heading {
    pub(super) name: String,
    pub(super) file: FileName,
    pub(super) content_type: Option<String>,
}

/// A line as name and value, without the blanks around the latter.
fn split(line: &[u8]) -> Result<(&[u8], &[u8]), Rule> {
    let colon = memchr::memchr(b':', line).ok_or(Rule::Header)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    // A line that goes on with the one before it starts with a blank, which is in no name.
    let well_formed = !name.is_empty() && name.iter().all(|&byte| in_token(byte));
    let control = value.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t');
    if !well_formed || control {
        return Err(Rule::Header);
    }
    Ok((name, value.trim_ascii()))
}

fn text(value: &[u8]) -> Result<&str, Rule> {
    str::from_utf8(value).map_err(|_| Rule::Utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Heading, Rule> {
        let mut head = Head::default();
        for line in lines {
            head.line(line.as_bytes())?;
        }
        head.finish()
    }

    const NAME: &str = "content-disposition:form-data;name=a";

    #[test]
    fn three_headers_mean_something_and_others_are_let_pass() {
        let head =
            read(&["X-Other: \t", "CONTENT-TYPE:  text/plain ", NAME, "Content-Transfer-Encoding: Binary"]).unwrap();
        assert_eq!((head.name.as_str(), head.content_type.as_deref()), ("a", Some("text/plain")));
        assert_eq!(head.file, FileName::None);
    }

    #[test]
    fn a_head_that_can_be_read_in_two_ways_is_refused() {
        for (lines, rule) in [
            (&["X-Other: x"][..], Rule::Disposition),
            (&[][..], Rule::Disposition),
            (&[NAME, NAME], Rule::HeaderTwice),
            (&[NAME, "Content-Type: a/b", "content-type: a/c"], Rule::HeaderTwice),
            (&[NAME, " continued: x"], Rule::Header),
            (&[NAME, "X-Other : x"], Rule::Header),
            (&[NAME, ": x"], Rule::Header),
            (&[NAME, "no colon"], Rule::Header),
            (&[NAME, "X-Other: a\rb"], Rule::Header),
            (&[NAME, "X-Other: a\0b"], Rule::Header),
            (&[NAME, "Content-Transfer-Encoding: base64"], Rule::TransferEncoding),
            (&[NAME, "Content-Transfer-Encoding: quoted-printable"], Rule::TransferEncoding),
        ] {
            assert_eq!(read(lines).unwrap_err(), rule, "{lines:?}");
        }
        let latin1 = b"Content-Disposition: form-data; name=\"\xfc\"";
        assert_eq!(Head::default().line(latin1).unwrap_err(), Rule::Utf8);
    }
}
