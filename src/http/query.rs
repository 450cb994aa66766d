//! Taking queries and percent-encoded paths apart.

/// A query that can't be decoded. Answer it with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a query that is no percent-encoded UTF-8")]
pub struct InvalidQuery(());

/// The bytes that a percent-encoded text (RFC 3986, 2.1) stands for; none if a
/// `%` has no two hex digits behind it. A `+` stays one.
pub fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let mut digit = || char::from(*rest.next()?).to_digit(16);
        bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
    }
    Some(bytes)
}

/// `a=b&c=d` as browsers write it: `+` is a blank, a name alone has an empty value.
pub(super) fn pairs(query: &str) -> Result<Vec<(String, String)>, InvalidQuery> {
    let decode = |text: &str| {
        let bytes = percent_decode(&text.replace('+', " ")).ok_or(InvalidQuery(()))?;
        String::from_utf8(bytes).map_err(|_| InvalidQuery(()))
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_as_forms_encode_it() {
        let found = pairs("include=a%2Bb+c&tail=5&&x&y==").unwrap();
        let expected = [("include", "a+b c"), ("tail", "5"), ("x", ""), ("y", "=")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(pairs("").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_encoding_is_an_error() {
        for bad in ["a=%", "a=%4", "a=%zz", "a=%+1", "a=%ff", "%80=b"] {
            assert!(pairs(bad).is_err(), "{bad}");
        }
        assert_eq!(percent_decode("/a%2F+%C3%A9").unwrap(), "/a/+é".as_bytes());
    }
}
