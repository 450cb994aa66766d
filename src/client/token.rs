//! A secret that proves who asks.

use std::fmt;
use std::io;
use std::path::Path;

/// A bearer token (RFC 6750): visible ASCII, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: String,
}

/// Why a text is no [`Token`]. It doesn't repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// There is nothing in it.
    #[error("the token is empty")]
    Empty,
    /// It can't stand in a header.
    #[error("the token may only have visible ASCII characters, on one line")]
    Characters,
}

impl Token {
    /// Takes a token, without the white space around it.
    ///
    /// # Errors
    /// See [`InvalidToken`].
    pub fn new(text: &str) -> Result<Token, InvalidToken> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidToken::Empty);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidToken::Characters);
        }
        Ok(Token { text: text.to_owned() })
    }

    /// The token that is the content of a file.
    ///
    /// # Errors
    /// The file can't be read, or isn't a token (`InvalidData`).
    pub fn in_file(path: &Path) -> io::Result<Token> {
        let text = std::fs::read_to_string(path)?;
        Token::new(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// The secret itself: for a comparison, not for a message.
    pub fn secret(&self) -> &str {
        &self.text
    }

    pub(super) fn as_bearer(&self) -> String {
        format!("Bearer {}", self.text)
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
    fn a_token_is_one_visible_word_and_is_never_printed() {
        assert_eq!(Token::new(" abc.def\n").unwrap().secret(), "abc.def");
        assert_eq!(format!("{:?}", Token::new("abc").unwrap()), "Token(...)");
        for text in ["a b", "a\nb", "\u{e9}", "a\0b"] {
            assert_eq!(Token::new(text), Err(InvalidToken::Characters));
        }
        assert_eq!(Token::new(" \n"), Err(InvalidToken::Empty));
    }
}
