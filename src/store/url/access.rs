//! Files that a store is opened with.

use std::path::PathBuf;

/// Files that a store is opened with, read when it is opened. None by default;
/// a file store needs none and ignores them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreAccess {
    /// Holds the password, without the white space around it. It goes before a
    /// password in the URL, which others can see in the process list.
    pub password: Option<PathBuf>,
    /// The certificates (PEM) to trust over TLS, in place of the built-in list.
    pub ca: Option<PathBuf>,
    /// Our certificate chain (PEM), for a server that demands one; with `key`.
    pub cert: Option<PathBuf>,
    /// Our certificate's key (PEM).
    pub key: Option<PathBuf>,
}
