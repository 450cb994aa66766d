//! Which store is meant.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// Which store is meant: `file:DIR`, or by default the place that all jobs of
/// one user on one host share (see [`FileStore::open_default`](super::FileStore::open_default)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreUrl {
    directory: Option<PathBuf>,
}

/// A text that names no store.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidStoreUrl {
    /// The part before the colon is none that we know.
    #[error("unknown store scheme {0:?}; write file:DIR")]
    UnknownScheme(String),
    /// There is no scheme at all.
    #[error("the store has no scheme; write file:DIR")]
    NoScheme,
    /// `file:` with something that is no absolute path.
    #[error("{0:?} is no absolute directory; write file:/DIR, since cron and a shell start in different places")]
    NotAbsolute(String),
}

impl StoreUrl {
    /// The directory of `file:DIR`; `None` for the default place.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }
}

impl FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    /// Reads `file:DIR` (also `file:///DIR`). The path is taken literally: no
    /// percent-decoding, no `~`.
    fn from_str(text: &str) -> Result<StoreUrl, InvalidStoreUrl> {
        // Only the scheme goes into an error: the rest may hold a password.
        let (scheme, rest) = text.split_once(':').ok_or(InvalidStoreUrl::NoScheme)?;
        if scheme != "file" {
            return Err(InvalidStoreUrl::UnknownScheme(scheme.to_owned()));
        }
        let has_host = rest.starts_with("//") && !rest.starts_with("///");
        if !rest.starts_with('/') || has_host || rest.contains('\0') {
            return Err(InvalidStoreUrl::NotAbsolute(rest.to_owned()));
        }
        // Without trailing slashes, which would make open(2) follow a symbolic link.
        let directory = Path::new(rest).components().filter(|part| *part != Component::CurDir).collect();
        Ok(StoreUrl { directory: Some(directory) })
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.directory {
            Some(directory) => write!(f, "file:{}", directory.display()),
            None => f.write_str("the default directory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(text: &str) -> PathBuf {
        text.parse::<StoreUrl>().unwrap().directory().unwrap().to_owned()
    }

    #[test]
    fn a_file_url_names_a_directory_literally() {
        assert_eq!(directory("file:/var/lib/x"), Path::new("/var/lib/x"));
        assert_eq!(directory("file:///var/lib/x"), Path::new("/var/lib/x"));
        assert_eq!(directory("file:/a%20b/~c:d"), Path::new("/a%20b/~c:d"));
        assert_eq!(directory("file:/x/./y//.//").as_os_str(), "/x/y");
        assert_eq!(directory("file:/").as_os_str(), "/");
    }

    #[test]
    fn the_default_is_no_particular_directory() {
        assert_eq!(StoreUrl::default().directory(), None);
    }

    #[test]
    fn an_unknown_scheme_is_named_but_never_what_follows_it() {
        let error = "gopher://user:secret@host".parse::<StoreUrl>().unwrap_err();
        assert_eq!(error.to_string(), "unknown store scheme \"gopher\"; write file:DIR");
        assert!(!format!("{error:?}").contains("secret"));
        assert_eq!("/run/x".parse::<StoreUrl>().unwrap_err(), InvalidStoreUrl::NoScheme);
    }

    #[test]
    fn refuses_directories_that_depend_on_where_it_was_started() {
        for text in ["file:", "file:locks", "file:./locks", "file://host/locks", "file:/a\0b"] {
            assert!(matches!(text.parse::<StoreUrl>(), Err(InvalidStoreUrl::NotAbsolute(_))), "{text:?}");
        }
    }
}
