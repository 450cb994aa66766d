//! Where shared state lives: store URLs, and what every store offers to `lock`.
//!
//! [`open`] turns a [`StoreUrl`] into a [`LockStore`]. A store decides who
//! holds a key, orders its holders by a growing fence, and keeps a [`Record`]
//! of the holder for people to read; the record never decides who holds.
//! It knows nothing of leases, jobs or renewal threads: that is `lock`.
//!
//! | URL | where | reach |
//! |---|---|---|
//! | none | `/run/lock/towpath-UID`, or `/tmp/towpath-UID` | one user of one host |
//! | `file:DIR` | the directory | one user of one host |
//! | `redis://...`, `redis-cluster://...`, `redis-quorum://...`, `redis-sentinel://...` | Redis | every host that reaches it |

mod contract;
mod error;
mod file;
mod key;
mod now;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod url;

pub use contract::{Attempt, Broken, Claim, Contender, Hold, Holder, LockStore, Loss, NodeState, NodeView, Renewal};
pub use error::Error;
pub use file::FileStore;
pub use key::{InvalidKey, Key};
pub use record::Record;
#[cfg(feature = "redis")]
pub use redis::RedisStore;
#[cfg(all(feature = "http", feature = "redis"))]
pub(crate) use redis::key_beside;
#[cfg(feature = "redis")]
pub(crate) use redis::{Servers, random_id};
#[cfg(feature = "redis")]
pub(crate) use url::Address;
pub use url::{InvalidStoreUrl, StoreAccess, StoreUrl};

use url::Place;

/// Opens the store that `url` names.
///
/// # Errors
/// [`Error::is_unreachable`] if the store can't be used; the text names it,
/// says what is wrong, and what to do.
pub fn open(url: &StoreUrl) -> Result<Box<dyn LockStore>, Error> {
    Ok(match url.place() {
        Place::Default => Box::new(FileStore::open_default()?),
        Place::File(directory) => Box::new(FileStore::open(directory)?),
        #[cfg(feature = "redis")]
        Place::Redis(servers) => Box::new(RedisStore::open(servers, url.files())?),
    })
}
