//! A folder whose files appear whole: written without a name, then linked.
//!
//! ```
//! use std::io::Write;
//! use towpath::inbox::folder::{Folder, Name, OnConflict};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path();
//! # #[cfg(any())]
//! let path = "/srv/inbox";
//! let folder = Folder::open(path)?;
//! let mut draft = folder.draft(Some(5))?; // the space is reserved
//! draft.hash()?;
//! draft.write_all(b"12345")?;
//! let published = draft.publish(&Name::parse("five.txt")?, OnConflict::Rename)?;
//! assert_eq!((published.name.as_str(), published.size), ("five.txt", 5));
//! assert!(published.sha256.is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Draft`] is a file that nobody sees: unnamed (`O_TMPFILE`), or, where the
//! file system has none, hidden under a name that begins with `.towpath-`.
//! Publishing checks its length, syncs it, gives it its name in one step, and
//! syncs the folder. A draft that is dropped is gone; one whose process was
//! killed is gone at once if it was unnamed, else swept by [`Folder::sweep`].
//!
//! Every access is relative to the folder's descriptor and by a [`Name`], which
//! is a single component; nothing opened here follows a symbolic link.

mod draft;
mod hash;
mod hidden;
mod kept;
mod listing;
mod name;
mod publish;
mod root;
#[cfg(test)]
mod tests;

pub use draft::Draft;
pub(super) use kept::{Kept, is_id};
pub use listing::Entry;
pub use name::{InvalidName, Name};
pub use publish::{OnConflict, Published, Sealed};
pub use root::Folder;
