//! The boundary between parts, as a Content-Type names it.

use super::parameters::{self, Parameters};

/// The longest boundary (RFC 2046, section 5.1.1).
pub(super) const MAX_CHARACTERS: usize = 70;

/// What stands between the parts of a body: 1 to 70 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary(String);

impl Boundary {
    /// The boundary in the value of a Content-Type header:
    /// `multipart/form-data; boundary=...`, with other parameters before and
    /// after it or none, quoted or not.
    ///
    /// # Errors
    /// Whatever isn't exactly that, since a body read with a wrong boundary is
    /// another body. The request is answered with 400, or 415 where it
    /// [isn't a form](InvalidBoundary::NotFormData).
    pub fn from_content_type(value: &str) -> Result<Boundary, InvalidBoundary> {
        let (kind, rest) = parameters::head(value);
        if !kind.eq_ignore_ascii_case("multipart/form-data") {
            return Err(InvalidBoundary::NotFormData);
        }
        let mut boundary = None;
        for parameter in Parameters::new(rest) {
            let parameter = parameter.ok_or(InvalidBoundary::Syntax)?;
            if parameter.is("boundary") && boundary.replace(parameter.unescaped()).is_some() {
                return Err(InvalidBoundary::Twice);
            }
        }
        let boundary = boundary.ok_or(InvalidBoundary::Missing)?;
        if boundary.is_empty() || boundary.len() > MAX_CHARACTERS {
            return Err(InvalidBoundary::Length);
        }
        if !boundary.bytes().all(may_be_in) || boundary.ends_with(' ') {
            return Err(InvalidBoundary::Character);
        }
        Ok(Boundary(boundary))
    }

    /// The boundary itself, without the two hyphens before it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a Content-Type doesn't name a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBoundary {
    /// The type is another one than `multipart/form-data`.
    #[error("the Content-Type isn't multipart/form-data")]
    NotFormData,
    /// The parameters aren't `; name=value`, or a quoted value doesn't end.
    #[error("the Content-Type's parameters can't be read")]
    Syntax,
    /// There is no `boundary`.
    #[error("the Content-Type has no boundary")]
    Missing,
    /// There are two, of which others may take the other one.
    #[error("the Content-Type has two boundaries")]
    Twice,
    /// It is empty, or longer than 70 characters.
    #[error("the boundary doesn't have 1 to 70 characters")]
    Length,
    /// It has a character outside those of RFC 2046, or a blank at its end.
    #[error("the boundary has a character that it can't have")]
    Character,
}

/// `bchars` of RFC 2046.
fn may_be_in(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<String, InvalidBoundary> {
        Boundary::from_content_type(value).map(|boundary| boundary.0)
    }

    #[test]
    fn a_boundary_is_found_in_any_order_quoted_or_not() {
        assert_eq!(read("multipart/form-data; boundary=abc").unwrap(), "abc");
        assert_eq!(read("Multipart/Form-Data;BOUNDARY=\"a b:c\" ; charset=utf-8;").unwrap(), "a b:c");
        assert_eq!(read("multipart/form-data; x=\"; boundary=no\"; boundary=yes").unwrap(), "yes");
        assert_eq!(
            read("multipart/form-data; boundary=----WebKitFormBoundaryAb0").unwrap(),
            "----WebKitFormBoundaryAb0"
        );
    }

    #[test]
    fn what_is_no_boundary_says_why() {
        let of = |boundary: &str| read(&format!("multipart/form-data; boundary={boundary}"));
        assert_eq!(read("text/plain; boundary=a"), Err(InvalidBoundary::NotFormData));
        assert_eq!(read("multipart/form-data-x; boundary=a"), Err(InvalidBoundary::NotFormData));
        assert_eq!(read(""), Err(InvalidBoundary::NotFormData));
        assert_eq!(read("multipart/form-data"), Err(InvalidBoundary::Missing));
        assert_eq!(read("multipart/form-data; xboundary=a"), Err(InvalidBoundary::Missing));
        assert_eq!(of("a; Boundary=b"), Err(InvalidBoundary::Twice));
        assert_eq!(of("\"a"), Err(InvalidBoundary::Syntax));
        assert_eq!(of("a b"), Err(InvalidBoundary::Syntax));
        assert_eq!(of("a:b"), Err(InvalidBoundary::Syntax));
        assert_eq!(of("\"\""), Err(InvalidBoundary::Length));
        assert_eq!(of(&"x".repeat(70)), Ok("x".repeat(70)));
        assert_eq!(of(&"x".repeat(71)), Err(InvalidBoundary::Length));
        assert_eq!(of("\"a \""), Err(InvalidBoundary::Character));
        assert_eq!(of("\"a*b\""), Err(InvalidBoundary::Character));
        assert_eq!(of("\"a\r\nb\""), Err(InvalidBoundary::Syntax));
    }
}
