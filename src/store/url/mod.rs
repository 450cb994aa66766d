//! Which store is meant.

mod access;
#[cfg(feature = "redis")]
mod servers;

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

pub use access::StoreAccess;
#[cfg(feature = "redis")]
pub(crate) use servers::Address;
#[cfg(feature = "redis")]
pub(super) use servers::{Kind, Secret, Servers};

/// Which store is meant, and what it is opened with. By default the place that
/// all jobs of one user on one host share (see
/// [`FileStore::open_default`](super::FileStore::open_default)).
///
/// | URL | where |
/// |---|---|
/// | `file:DIR` | a directory of this host |
/// | `redis://[USER:PASSWORD@]HOST[:PORT][/DB]` | one Redis server |
/// | `redis+unix:PATH[?db=N&user=U&pass=P]` | one on a Unix socket |
/// | `redis-cluster://HOST[:PORT],...` | a Redis Cluster, found through any of these nodes |
/// | `redis-quorum://HOST[:PORT],...[/DB]` | three, five or more masters that know nothing of each other |
/// | `redis-sentinel://HOST[:PORT],.../NAME[?db=N]` | the master that these Sentinels call NAME |
///
/// `rediss` in place of `redis` is the same over TLS. Ports default to 6379, to
/// 26379 for Sentinels. User and password are percent-encoded, and the same for
/// all servers of one URL. None of them is ever printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreUrl {
    place: Place,
    access: StoreAccess,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    #[default]
    Default,
    File(PathBuf),
    #[cfg(feature = "redis")]
    Redis(Servers),
}

/// What is said of the schemes there are.
#[cfg(feature = "redis")]
const SCHEMES: &str = "file:DIR, redis://HOST, redis-cluster://, redis-quorum:// or redis-sentinel://";
#[cfg(not(feature = "redis"))]
const SCHEMES: &str = "file:DIR (this build has no Redis)";

/// A text that names no store. It repeats nothing that may hold a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidStoreUrl {
    /// The part before the colon is none that we know.
    #[error("unknown store scheme {0:?}; write {SCHEMES}")]
    UnknownScheme(String),
    /// There is no scheme at all.
    #[error("the store has no scheme; write {SCHEMES}")]
    NoScheme,
    /// `file:` with something that is no absolute path.
    #[error("{0:?} is no absolute directory; write file:/DIR, since cron and a shell start in different places")]
    NotAbsolute(String),
    /// A Redis URL that names its servers in another way than its scheme demands.
    #[error("the store {0}")]
    Servers(String),
}

impl StoreUrl {
    /// The same store, opened with these files: they go before what the URL says.
    pub fn access(self, access: StoreAccess) -> StoreUrl {
        StoreUrl { access, ..self }
    }

    /// Whether its locks lapse unless they are renewed, and so are lost when the
    /// store can't be reached for long enough. Those of a file store don't.
    pub fn lapses(&self) -> bool {
        !matches!(self.place, Place::Default | Place::File(_))
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    #[cfg(feature = "redis")]
    pub(super) fn files(&self) -> &StoreAccess {
        &self.access
    }
}

impl FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    /// Reads one of the forms above. A directory's path is taken literally: no
    /// percent-decoding, no `~`; `file:///DIR` means the same.
    fn from_str(text: &str) -> Result<StoreUrl, InvalidStoreUrl> {
        // Only the scheme goes into an error: the rest may hold a password.
        let (scheme, rest) = text.split_once(':').ok_or(InvalidStoreUrl::NoScheme)?;
        let place = match scheme {
            "file" => Place::File(directory(rest)?),
            #[cfg(feature = "redis")]
            _ => match Servers::parse(scheme, rest).map_err(InvalidStoreUrl::Servers)? {
                Some(servers) => Place::Redis(servers),
                None => return Err(InvalidStoreUrl::UnknownScheme(scheme.to_owned())),
            },
            #[cfg(not(feature = "redis"))]
            _ => return Err(InvalidStoreUrl::UnknownScheme(scheme.to_owned())),
        };
        Ok(StoreUrl { place, access: StoreAccess::default() })
    }
}

fn directory(path: &str) -> Result<PathBuf, InvalidStoreUrl> {
    let has_host = path.starts_with("//") && !path.starts_with("///");
    if !path.starts_with('/') || has_host || path.contains('\0') {
        return Err(InvalidStoreUrl::NotAbsolute(path.to_owned()));
    }
    // Without trailing slashes, which would make open(2) follow a symbolic link.
    Ok(Path::new(path).components().filter(|part| *part != Component::CurDir).collect())
}

impl fmt::Display for StoreUrl {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Default => f.write_str("the default directory"),
            Place::File(directory) => write!(f, "file:{}", directory.display()),
            #[cfg(feature = "redis")]
            Place::Redis(servers) => servers.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> PathBuf {
        match text.parse::<StoreUrl>().unwrap().place {
            Place::File(directory) => directory,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_file_url_names_a_directory_literally() {
        assert_eq!(parsed("file:/var/lib/x"), Path::new("/var/lib/x"));
        assert_eq!(parsed("file:///var/lib/x"), Path::new("/var/lib/x"));
        assert_eq!(parsed("file:/a%20b/~c:d"), Path::new("/a%20b/~c:d"));
        assert_eq!(parsed("file:/x/./y//.//").as_os_str(), "/x/y");
        assert_eq!(parsed("file:/").as_os_str(), "/");
    }

    #[test]
    fn the_default_is_no_particular_directory() {
        assert_eq!(StoreUrl::default().place, Place::Default);
        assert!(!StoreUrl::default().lapses());
    }

    #[test]
    fn an_unknown_scheme_is_named_but_never_what_follows_it() {
        let error = "gopher://user:secret@host".parse::<StoreUrl>().unwrap_err();
        assert!(error.to_string().starts_with("unknown store scheme \"gopher\"; write file:DIR"), "{error}");
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
