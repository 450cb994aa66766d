//! Variables for a container, from the command line and from files, as the docker
//! CLI reads them.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;

/// How large a file of variables may be.
const FILE_BYTE: u64 = 1 << 20;

/// Why there are no variables to be had.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEnv {
    /// There is no name before the `=`.
    #[error("{0:?} is no variable; write NAME=VALUE, or NAME for the value that it has here")]
    Name(String),
    /// The value that it has here isn't UTF-8.
    #[error("the value of {0} isn't UTF-8")]
    Utf8(String),
    /// A line of a file isn't a variable.
    #[error("line {line} of the file")]
    Line {
        /// The line's number, counted from one.
        line: usize,
        /// What is wrong with it.
        source: Box<InvalidEnv>,
    },
    /// The file can't be read, or is larger than 1 MiB.
    #[error("the file can't be read")]
    File(#[source] io::Error),
}

/// One variable, `NAME=VALUE`. `NAME` alone takes the value that it has in `here`;
/// where it has none, `NAME` alone removes the image's.
///
/// # Errors
/// [`InvalidEnv::Name`], [`InvalidEnv::Utf8`].
pub fn env_of(text: &str, here: impl Fn(&str) -> Option<OsString>) -> Result<String, InvalidEnv> {
    match text.split_once('=') {
        // Not the value: it may be a secret.
        Some(("", _)) => Err(InvalidEnv::Name("=".to_owned())),
        Some(_) => Ok(text.to_owned()),
        None if text.is_empty() => Err(InvalidEnv::Name(text.to_owned())),
        None => match here(text) {
            Some(value) => {
                let value = value.into_string().map_err(|_| InvalidEnv::Utf8(text.to_owned()))?;
                Ok(format!("{text}={value}"))
            }
            None => Ok(text.to_owned()),
        },
    }
}

/// The variables in a file, one a line: `NAME=VALUE`, or `NAME` for one that has a
/// value in `here`, and else doesn't count. Lines that begin with `#` and empty ones
/// don't either; nothing is unquoted.
///
/// # Errors
/// [`InvalidEnv::File`], [`InvalidEnv::Line`].
pub fn env_in_file(path: &Path, here: impl Fn(&str) -> Option<OsString>) -> Result<Vec<String>, InvalidEnv> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(InvalidEnv::File)?;
    file.take(FILE_BYTE + 1).read_to_string(&mut text).map_err(InvalidEnv::File)?;
    if text.len() as u64 > FILE_BYTE {
        return Err(InvalidEnv::File(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB")));
    }
    let mut variables = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |source| InvalidEnv::Line { line: index + 1, source: Box::new(source) };
        let name = line.split('=').next().unwrap_or_default();
        if name.contains(char::is_whitespace) {
            // Not the whole line: it may hold a secret.
            return Err(wrong(InvalidEnv::Name(name.to_owned())));
        }
        let variable = env_of(line, &here).map_err(wrong)?;
        if variable.contains('=') {
            variables.push(variable);
        }
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(name: &str) -> Option<OsString> {
        (name == "HOME").then(|| "/home/me".into())
    }

    #[test]
    fn a_name_alone_takes_the_value_that_it_has_here() {
        for (text, variable) in
            [("A=1", "A=1"), ("A=", "A="), ("A=b=c", "A=b=c"), ("HOME", "HOME=/home/me"), ("B", "B")]
        {
            assert_eq!(env_of(text, here).unwrap(), variable);
        }
        for text in ["", "=", "=x"] {
            assert!(env_of(text, here).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_file_has_a_variable_a_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\u{feff}# a comment\n\n  A=1 # not one\r\nHOME\nB\nC=\"x\"\n").unwrap();
        assert_eq!(env_in_file(file.path(), here).unwrap(), ["A=1 # not one", "HOME=/home/me", "C=\"x\""]);
        std::fs::write(file.path(), "A=1\nB C=secret\n").unwrap();
        let error = env_in_file(file.path(), here).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.to_string().starts_with("line 2") && source.starts_with("\"B C\""), "{error}: {source}");
        std::fs::write(file.path(), "=secret\n").unwrap();
        let error = env_in_file(file.path(), here).unwrap_err();
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        assert!(env_in_file(Path::new("/no/such/file"), here).is_err());
    }
}
