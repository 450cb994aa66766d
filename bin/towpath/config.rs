//! `/etc/towpath.conf`: lines `TOWPATH_STORE=...`, read before the environment,
//! which cron hardly has. The format is an environment file's (`systemd.exec(5)`):
//! comments with `#` or `;`, a value in single or double quotes if it likes.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Where it is unless `--config` says otherwise.
pub(crate) const DEFAULT_PATH: &str = "/etc/towpath.conf";

/// The settings of a file, by variable name.
pub(crate) type Settings = BTreeMap<String, Setting>;

/// A value, and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) value: String,
    pub(crate) line: usize,
}

/// Reads a file. One that isn't there has no settings, unless it was asked for by name.
///
/// One that may not be read is an error: it may name the store, and without
/// that a job would lock somewhere else, and run twice.
///
/// # Errors
/// One line: the file, the line's number, and what is wrong with it.
pub(crate) fn read(path: &Path, named: bool) -> Result<Settings, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text).map_err(|error| format!("{}: {error}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => Ok(Settings::new()),
        Err(error) => {
            let hint = if named { "" } else { "; name others with --config FILE" };
            Err(format!("can't read the settings in {}: {error}{hint}", path.display()))
        }
    }
}

fn parse(text: &str) -> Result<Settings, String> {
    let mut settings = Settings::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let wrong = |what: &str| format!("line {}: {what}", number + 1);
        let (name, value) = line.split_once('=').ok_or_else(|| wrong("not NAME=VALUE"))?;
        let name = name.trim();
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') || name.is_empty() {
            return Err(wrong("not a variable's name before the ="));
        }
        // Somebody else's variables may stand in the same file.
        if name.starts_with("TOWPATH_") {
            let value = unquoted(value.trim()).ok_or_else(|| wrong("a quote that isn't closed"))?;
            settings.insert(name.to_owned(), Setting { value: value.to_owned(), line: number + 1 });
        }
    }
    Ok(settings)
}

fn unquoted(value: &str) -> Option<&str> {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return rest.strip_suffix(quote);
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_an_environment_file() {
        let text = "# a comment\n; another\n\n TOWPATH_STORE = file:/x y \nTOWPATH_PING='http://h/a'\nTOWPATH_LOG=\"/l\"\nOTHER=1\n";
        let settings = parse(text).unwrap();
        let got: Vec<_> = settings.iter().map(|(name, set)| (name.as_str(), set.value.as_str(), set.line)).collect();
        assert_eq!(
            got,
            [("TOWPATH_LOG", "/l", 6), ("TOWPATH_PING", "http://h/a", 5), ("TOWPATH_STORE", "file:/x y", 4)]
        );
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, number) in [("A=1\nTOWPATH_STORE", "line 2"), ("a b=1", "line 1"), ("\n\nTOWPATH_LOG='x", "line 3")]
        {
            assert!(parse(text).unwrap_err().contains(number), "{text:?}");
        }
    }
}
