//! Which store locks are kept in: the flags of every command that has locks.

#[cfg(feature = "redis")]
use std::path::PathBuf;

use clap::Args;
use towpath::job::with_causes;
#[cfg(feature = "redis")]
use towpath::store::StoreAccess;
use towpath::store::StoreUrl;

/// What `--store` takes.
#[cfg(feature = "redis")]
const HELP: &str = "Where locks are kept: file:DIR, redis://HOST, redis+unix:PATH, redis-cluster://HOST,..., \
                    redis-quorum://HOST,..., redis-sentinel://HOST,.../NAME, rediss... over TLS \
                    [default: a directory of this host's and user's]";
#[cfg(not(feature = "redis"))]
const HELP: &str = "Where locks are kept: file:DIR [default: a directory of this host's and user's]";

/// The store, and what it is opened with.
#[derive(Args)]
#[command(next_help_heading = "At most once")]
pub(crate) struct StoreArguments {
    #[arg(long, value_name = "URL", help = HELP)]
    pub(crate) store: Option<String>,
    /// The store's password is in this file, and not in its URL
    #[cfg(feature = "redis")]
    #[arg(long, value_name = "FILE")]
    pub(crate) store_password_file: Option<PathBuf>,
    /// Trust the certificates in this PEM file for the store, instead of the built-in list
    #[cfg(all(feature = "redis", feature = "tls"))]
    #[arg(long, value_name = "FILE")]
    pub(crate) store_ca: Option<PathBuf>,
    /// Our certificate chain (PEM), for a store that demands one
    #[cfg(all(feature = "redis", feature = "tls"))]
    #[arg(long, value_name = "FILE")]
    pub(crate) store_cert: Option<PathBuf>,
    /// Our certificate's key (PEM)
    #[cfg(all(feature = "redis", feature = "tls"))]
    #[arg(long, value_name = "FILE")]
    pub(crate) store_key: Option<PathBuf>,
}

impl StoreArguments {
    /// The store; one line if there is none such.
    pub(crate) fn url(&self) -> Result<StoreUrl, String> {
        let url: StoreUrl = match &self.store {
            Some(url) => url.parse().map_err(|error| format!("--store: {}", with_causes(&error)))?,
            None => StoreUrl::default(),
        };
        #[cfg(all(feature = "redis", feature = "tls"))]
        if self.store_cert.is_some() != self.store_key.is_some() {
            return Err("--store-cert and --store-key go together: give both or none".to_owned());
        }
        #[cfg(all(feature = "redis", not(feature = "tls")))]
        let url = url.access(StoreAccess { password: self.store_password_file.clone(), ..StoreAccess::default() });
        #[cfg(all(feature = "redis", feature = "tls"))]
        let url = url.access(StoreAccess {
            password: self.store_password_file.clone(),
            ca: self.store_ca.clone(),
            cert: self.store_cert.clone(),
            key: self.store_key.clone(),
        });
        Ok(url)
    }
}
