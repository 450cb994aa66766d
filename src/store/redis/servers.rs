//! A store's Redis, for rooms above that keep other things in it than locks.
//!
//! Promises: each ask of a key's server has one deadline in all, follows the
//! Cluster's redirections, and looks again after a failover; a connection to
//! one server has a limit on every read and write. Credentials, TLS and the
//! words of an error are those of the locks.
//!
//! One server, a Cluster, or the master that Sentinels name: where a key has
//! one server that decides. A file store has none, and a quorum has several
//! that don't know of each other.

use std::sync::Arc;
use std::time::Duration;

use redis::{Connection, RedisError, RedisResult};

use super::super::url::{Address, Kind, Place};
use super::super::{Error, StoreUrl};
use super::dial::Dialer;
use super::fault::failed;
use super::link::Link;
use super::names::slot_of;
use super::route::{Group, Route};

/// One thread's way to the servers of a store. Connects when it is first asked.
/// Another thread takes a clone: it has connections of its own.
#[derive(Debug)]
pub(crate) struct Servers {
    link: Link,
    name: Arc<str>,
    db: i64,
}

impl Servers {
    /// The servers of the store that `url` names; `what` is what needs them, for
    /// the error: "deadlines", "a relay".
    ///
    /// # Errors
    /// [`Error::is_unfit`] if the store is a directory or a quorum.
    /// [`Error::is_unreachable`] if a file that it is opened with can't be read.
    pub(crate) fn open(url: &StoreUrl, what: &str) -> Result<Servers, Error> {
        let unfit = |why: &str| {
            Error::unfit(format!(
                "{what} can't be kept in {url}: {why}; use redis://, redis-cluster:// or redis-sentinel://"
            ))
        };
        let Place::Redis(servers) = url.place() else {
            return Err(unfit("a directory of this host has no keys that expire, and no other host sees it"));
        };
        let nodes = servers.nodes.clone();
        let route = match &servers.kind {
            Kind::Single => Route::Fixed(nodes.into_iter().next().ok_or_else(|| unfit("it names no server"))?),
            Kind::Cluster => Route::Cluster(nodes),
            Kind::Sentinel { name } => Route::Sentinel { sentinels: nodes, name: name.clone() },
            Kind::Quorum => return Err(unfit("its servers know nothing of each other, so none of them decides")),
        };
        let dialer = Arc::new(Dialer::new(servers, url.files())?);
        Ok(Servers { link: Link::new(dialer, route), name: servers.to_string().into(), db: servers.db })
    }

    /// The store's URL without its secrets.
    #[allow(dead_code, reason = "without the feature http no room names it")]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The database that connections select; 0 in a Cluster.
    pub(crate) fn db(&self) -> i64 {
        self.db
    }

    /// Asks the server that has `key`, for at most `limit` in all. The question
    /// is put again where the server moved or an answer was lost: twice shall
    /// mean the same as once, or be told apart.
    ///
    /// # Errors
    /// [`Error::is_unreachable`]: no answer; whether it was done isn't known.
    pub(crate) fn ask<T>(
        &mut self,
        key: &[u8],
        limit: Duration,
        question: impl FnMut(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, Error> {
        self.link.ask(slot_of(key), limit, question)
    }

    /// All servers that have keys now, within `limit`. Of a Sentinel's master and
    /// in a Cluster also their replicas.
    ///
    /// # Errors
    /// [`Error::is_unreachable`]: none that could know answered.
    pub(crate) fn groups(&mut self, limit: Duration) -> Result<Vec<Group>, Error> {
        self.link.groups(limit)
    }

    /// A new connection to one server, for the caller alone: for commands, or
    /// for a subscription (`as_pubsub`). It is made within `limit`, which each
    /// read and write then has too, until `set_read_timeout`.
    ///
    /// # Errors
    /// [`Error::is_unreachable`].
    pub(crate) fn connect(&mut self, address: &Address, limit: Duration) -> Result<Connection, Error> {
        self.link.dial_at(address, limit)
    }

    /// What a server's error on such a connection means, in words.
    pub(crate) fn explain(address: &Address, error: RedisError) -> Error {
        failed(address, error)
    }
}

impl Clone for Servers {
    fn clone(&self) -> Servers {
        Servers { link: self.link.another(), name: Arc::clone(&self.name), db: self.db }
    }
}
