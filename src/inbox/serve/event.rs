//! What whoever runs the server is told.

use crate::http::Peer;

/// Something that happened to a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// It is stored.
    Stored {
        /// Who sent it.
        peer: Peer,
        /// The name it has.
        name: &'e str,
        /// Its length in bytes.
        size: u64,
    },
    /// It was deleted.
    Deleted {
        /// Who asked for that.
        peer: Peer,
        /// The name it had.
        name: &'e str,
    },
    /// It, or a whole request, was not stored.
    Refused {
        /// Who sent it.
        peer: Peer,
        /// The name it was to have; none for a whole form.
        name: Option<&'e str>,
        /// What the client was told: from 500 on, it was our fault.
        status: u16,
        /// Why.
        why: &'e str,
    },
}

/// Who is told, on the thread of the request's connection.
pub type Told = Box<dyn Fn(&Event<'_>) + Send + Sync>;
