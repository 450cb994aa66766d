//! What is taken in, and how.

use std::str::FromStr;
use std::time::Duration;

use super::super::folder::OnConflict;

/// How a folder is served.
///
/// ```
/// let mut settings = towpath::inbox::serve::Settings::default();
/// settings.max_file_bytes = Some(1 << 30);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// What to do with a file whose name is taken. Defaults to rejecting it.
    pub on_conflict: OnConflict,
    /// Whether files may be deleted. Defaults to no.
    pub allow_delete: bool,
    /// Whether the SHA-256 of every upload is taken; else of those whose client
    /// asks for it. Defaults to no.
    pub hash: bool,
    /// Whether a form's other fields are kept, in a file `NAME.fields.json`
    /// beside each of its files. Defaults to no.
    pub keep_fields: bool,
    /// The longest file that is taken, in bytes. Defaults to none.
    pub max_file_bytes: Option<u64>,
    /// The longest request's body that is taken, in bytes. Defaults to none.
    pub max_request_bytes: Option<u64>,
    /// How many files one request may bring or fetch; each costs a descriptor
    /// until all are there. Defaults to 256.
    pub max_files: usize,
    /// What stays free on the disk. Defaults to 1 %.
    pub keep_free: KeepFree,
    /// How long an upload that was cut is kept for its client to go on.
    /// Defaults to 1 day.
    pub keep_partial: Duration,
    /// How many of those there may be at a time. Defaults to 1,000.
    pub max_partials: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            on_conflict: OnConflict::Reject,
            allow_delete: false,
            hash: false,
            keep_fields: false,
            max_file_bytes: None,
            max_request_bytes: None,
            max_files: 256,
            keep_free: KeepFree::Percent(1),
            keep_partial: Duration::from_secs(86_400),
            max_partials: 1_000,
        }
    }
}

/// Space that uploads leave free on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepFree {
    /// So many bytes.
    Bytes(u64),
    /// So much of the file system's size, in percent.
    Percent(u8),
}

/// A text that is no [`KeepFree`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no share of a disk; write 5%, or bytes as 500MiB")]
pub struct InvalidKeepFree {
    text: String,
}

impl FromStr for KeepFree {
    type Err = InvalidKeepFree;

    /// Reads `5%`, and plain bytes.
    fn from_str(text: &str) -> Result<KeepFree, InvalidKeepFree> {
        let invalid = || InvalidKeepFree { text: text.to_owned() };
        match text.strip_suffix('%') {
            Some(percent) => {
                percent.parse().ok().filter(|percent| *percent <= 100).map(KeepFree::Percent).ok_or_else(invalid)
            }
            None => text.parse().map(KeepFree::Bytes).map_err(|_| invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let settings = Settings::default();
        assert_eq!(settings.on_conflict, OnConflict::Reject);
        assert!(!settings.allow_delete && !settings.hash && !settings.keep_fields);
        assert_eq!((settings.max_file_bytes, settings.max_request_bytes), (None, None));
        assert_eq!((settings.max_files, settings.max_partials), (256, 1_000));
        assert_eq!((settings.keep_free, settings.keep_partial), (KeepFree::Percent(1), Duration::from_secs(86_400)));
    }

    #[test]
    fn a_share_is_a_percentage_or_bytes() {
        assert_eq!("5%".parse(), Ok(KeepFree::Percent(5)));
        assert_eq!("0".parse(), Ok(KeepFree::Bytes(0)));
        for wrong in ["101%", "%", "", "-1", "5 %"] {
            assert!(wrong.parse::<KeepFree>().is_err(), "{wrong}");
        }
    }
}
