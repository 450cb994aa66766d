//! The secret that opens a server, compared without telling how much of it was right.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use base64::Engine;
use sha2::{Digest, Sha256};

/// The longest token that is read; a file beyond it is no token file.
const LONGEST_BYTES: usize = 4096;

/// A server's token. It keeps a hash only, and prints nothing.
#[derive(Clone)]
pub struct Token {
    digest: [u8; 32],
}

/// A text that can't be a token: empty, longer than 4 KiB, or with anything
/// but visible ASCII in it, which no header could carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is 1 to 4096 visible ASCII characters without blanks")]
pub struct InvalidToken(());

impl Token {
    /// Takes a token from a text.
    ///
    /// # Errors
    /// [`InvalidToken`]; it doesn't repeat the text.
    pub fn new(text: &str) -> Result<Token, InvalidToken> {
        let visible = text.bytes().all(|b| b.is_ascii_graphic());
        if text.is_empty() || text.len() > LONGEST_BYTES || !visible {
            return Err(InvalidToken(()));
        }
        Ok(Token { digest: Sha256::digest(text).into() })
    }

    /// Reads a token from a file, without white space around it.
    ///
    /// # Errors
    /// The file can't be read, or is no token (`InvalidData`); the text names
    /// neither, as the caller knows the file.
    pub fn from_file(path: &Path) -> io::Result<Token> {
        let mut text = String::new();
        std::fs::File::open(path)?.take(LONGEST_BYTES as u64 + 64).read_to_string(&mut text)?;
        Token::new(text.trim()).map_err(|e| io::Error::new(ErrorKind::InvalidData, e))
    }

    /// Whether the value of an `Authorization` header carries this token: as
    /// `Bearer TOKEN`, or as the password of `Basic`, with any user.
    pub(super) fn opens(&self, authorization: &str) -> bool {
        let Some((scheme, rest)) = authorization.split_once(' ') else { return false };
        let rest = rest.trim_matches(' ');
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.is(rest.as_bytes());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return false;
        }
        let Ok(pair) = base64::engine::general_purpose::STANDARD.decode(rest) else { return false };
        match pair.iter().position(|b| *b == b':') {
            Some(colon) => self.is(&pair[colon + 1..]),
            None => false,
        }
    }

    /// Compares hashes, all of both: the time it takes tells nothing about the
    /// token, not even its length.
    fn is(&self, given: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        let different = self.digest.iter().zip(given).fold(0, |different, (a, b)| different | (a ^ b));
        std::hint::black_box(different) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(...)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_and_basic_with_any_user_open() {
        let token = Token::new("s3:cret").unwrap();
        // "me:s3:cret", ":s3:cret"
        for right in ["Bearer s3:cret", "bearer  s3:cret", "Basic bWU6czM6Y3JldA==", "BASIC OnMzOmNyZXQ="] {
            assert!(token.opens(right), "{right}");
        }
        // "s3:cret" alone is user "s3" with password "cret".
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer s3:cre",
            "Bearer s3:cret2",
            "s3:cret",
            "Digest s3:cret",
            "Basic !",
            "Basic czM6Y3JldA==",
        ] {
            assert!(!token.opens(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_never_printed_and_never_empty() {
        assert_eq!(format!("{:?}", Token::new("secret").unwrap()), "Token(...)");
        for bad in ["", "a b", "a\n", "é", &"a".repeat(4097)] {
            assert!(Token::new(bad).is_err());
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "secret\n").unwrap();
        assert!(Token::from_file(&path).unwrap().opens("Bearer secret"));
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(Token::from_file(&path).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
