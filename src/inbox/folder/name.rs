//! The name of a file in a folder: one component, always.

use std::fmt;
use std::str::FromStr;

/// The longest name, in bytes: what Linux file systems take (`NAME_MAX`).
const MAX_BYTES: usize = 255;

/// What the names of our own hidden files begin with.
pub(super) const HIDDEN: &str = ".towpath-";

/// A name that stands for a file in a folder and for nothing outside of it: 1 to
/// 255 bytes of UTF-8 without `/`, `\` and control characters, not `.` or `..`,
/// and not one of our own hidden names (`.towpath-...`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// A text that can't be a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// It is empty, `.` or `..`.
    #[error("the name is empty, or means a folder")]
    Nothing,
    /// It has more than 255 bytes.
    #[error("the name is longer than 255 bytes")]
    Length,
    /// It has a slash, a backslash or a control character.
    #[error("the name has a slash, a backslash or a control character")]
    Character,
    /// It begins with `.towpath-`, as our own hidden files do.
    #[error("names that begin with .towpath- are towpath's own")]
    Hidden,
}

impl Name {
    /// Takes a name as it is.
    ///
    /// # Errors
    /// What is no name; nothing is stripped to make it one.
    pub fn parse(text: &str) -> Result<Name, InvalidName> {
        if matches!(text, "" | "." | "..") {
            return Err(InvalidName::Nothing);
        }
        if text.len() > MAX_BYTES {
            return Err(InvalidName::Length);
        }
        if text.contains(|c: char| matches!(c, '/' | '\\') || c.is_control()) {
            return Err(InvalidName::Character);
        }
        if text.starts_with(HIDDEN) {
            return Err(InvalidName::Hidden);
        }
        Ok(Name(text.to_owned()))
    }

    /// Takes the last component of a path, of Unix or of Windows: what a stranger
    /// calls a file, without where they have it.
    ///
    /// # Errors
    /// The last component is no name.
    pub fn last_of(path: &str) -> Result<Name, InvalidName> {
        Name::parse(path.rsplit(['/', '\\']).next().unwrap_or(path))
    }

    /// The name as a text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same name with a number before its extension: `report (1).csv`. What
    /// doesn't fit is cut from its middle, never from the number or a short
    /// extension.
    pub(super) fn numbered(&self, number: u32) -> Name {
        let dot = self.0.rfind('.').filter(|at| *at > 0 && self.0.len() - at <= 64);
        let (stem, extension) = self.0.split_at(dot.unwrap_or(self.0.len()));
        let number = format!(" ({number})");
        Name(format!("{}{number}{extension}", cut(stem, MAX_BYTES - number.len() - extension.len())))
    }
}

/// The beginning of a text, whole characters only.
fn cut(text: &str, max_bytes: usize) -> &str {
    let end = (0..=max_bytes.min(text.len())).rfind(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Name, InvalidName> {
        Name::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_component() {
        for good in ["a", "a;b.txt", "x\"y", "...", " ", ".hidden", "grün €.txt", "a%2Fb", "-rf"] {
            assert_eq!(Name::parse(good).unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", InvalidName::Nothing),
            (".", InvalidName::Nothing),
            ("..", InvalidName::Nothing),
            ("a/b", InvalidName::Character),
            ("../x", InvalidName::Character),
            ("a\\b", InvalidName::Character),
            ("a\0b", InvalidName::Character),
            ("a\nb", InvalidName::Character),
            ("a\u{85}b", InvalidName::Character),
            (".towpath-x", InvalidName::Hidden),
        ] {
            assert_eq!(Name::parse(bad), Err(why), "{bad:?}");
        }
        assert!(Name::parse(&"x".repeat(255)).is_ok());
        assert_eq!(Name::parse(&"x".repeat(256)), Err(InvalidName::Length));
    }

    #[test]
    fn of_a_path_only_the_last_component_counts() {
        assert_eq!(Name::last_of("../../x").unwrap().as_str(), "x");
        assert_eq!(Name::last_of("C:\\dir\\x.txt").unwrap().as_str(), "x.txt");
        assert_eq!(Name::last_of("a/.."), Err(InvalidName::Nothing));
        assert_eq!(Name::last_of("a/"), Err(InvalidName::Nothing));
    }

    #[test]
    fn a_numbered_name_keeps_its_extension_and_fits() {
        let numbered = |text: &str| Name::parse(text).unwrap().numbered(12).0;
        assert_eq!(numbered("report.csv"), "report (12).csv");
        assert_eq!(numbered("report"), "report (12)");
        assert_eq!(numbered(".profile"), ".profile (12)");
        assert_eq!(numbered("a.tar.gz"), "a.tar (12).gz");
        let long = numbered(&format!("{}.csv", "ü".repeat(125)));
        assert!(long.len() <= 255 && long.ends_with("ü (12).csv"), "{long}");
        assert!(numbered(&"x".repeat(255)).len() == 255);
        assert!(numbered(&format!("a.{}", "x".repeat(253))).len() == 255);
    }
}
