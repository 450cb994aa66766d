//! Files sent over HTTP: in one form, or each by a PUT that goes on where it
//! was cut.
//!
//! ```no_run
//! use towpath::client::Target;
//! use towpath::inbox::Meter;
//! use towpath::inbox::send::{Item, Shipment};
//! use towpath::thread::Stop;
//!
//! let shipment = Shipment::new(Target::parse("https://files.example.org/upload")?)
//!     .field("host", "db1")
//!     .item(Item::file("/srv/dump.sql")?);
//! let shipped = shipment.send(&Meter::default(), &Stop::never())?;
//! assert_eq!(shipped.files.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it promises:
//!
//! * *A success was said by the server*, by a status of 2xx, and by towpath's own
//!   for each file. Where the server names the SHA-256 of what it has, it is the
//!   one of what was sent; the hash is taken beside the sending.
//! * *A file is sent as it is*: one that grows or shrinks meanwhile is an error,
//!   and the request ends before its end, so that the server has nothing whole.
//! * *What may pass is tried again*, with pauses that grow, as long as what was
//!   sent can be read again, and a PUT goes on where the server can.
//! * *Memory doesn't grow with the files*: one buffer, and a few of its size for
//!   the hash.
//!
//! # Asking twice
//!
//! A PUT says where the file shall be, so asking twice is asking once. A POST
//! isn't so by itself: when its answer is lost, the server may have stored the
//! files, and a second request finds them there. A server that rejects names
//! which are taken, as towpath's does unless it was told otherwise, answers 409;
//! then, on a second try, the file under that name is asked for its SHA-256 by
//! HEAD, and if it is ours, it is the one that was stored the first time. With a
//! server that renames, a lost answer may leave a file twice. An answer that came
//! is believed: of a POST only 408, 425, 429 and 503 are tried again, of a PUT
//! each 5xx that may pass.

mod ask;
mod error;
mod item;
mod outflow;
mod post;
mod put;
mod reply;
mod resume;
mod shipment;

pub use error::SendError;
pub use item::Item;
pub use shipment::{How, Shipment, Shipped, ShippedFile};
