//! Leases over the stores: a lock that is held, and how it ceases to be.
//!
//! [`Locks`] is one store's locks; a [`Request`] asks for one; a [`Lease`] is
//! the proof of holding it, and ends in exactly one of two ways: by
//! [`Lease::release`], or by a [`Lost`] that says when that was noticed. One
//! that lapses is renewed by a thread until then.
//! Which promise a store can keep is said with the store; what runs under the
//! lease is for `job`.
//!
//! ```no_run
//! use towpath::lock::{Acquired, Locks, Request};
//! use towpath::store::{Key, StoreUrl};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let locks = Locks::open(&StoreUrl::default())?;
//! match locks.try_acquire(&Request::new(Key::new("nightly")?))? {
//!     Acquired::Lease(lease) => {
//!         println!("holding, with fence {}", lease.fence());
//!         lease.release()?;
//!     }
//!     Acquired::Held(holder) => println!("held by {holder}"),
//!     Acquired::Stopped => {}
//! }
//! # Ok(())
//! # }
//! ```

mod lease;
mod locks;
mod renewal;
mod request;

pub use crate::store::Error;
pub use lease::{Lease, Lost};
pub use locks::{Acquired, Locks};
pub use request::Request;
