//! `multipart/form-data` (RFC 7578): a reader of the bodies that others send,
//! and bodies of our own.
//!
//! ```
//! use std::io::Read;
//! use towpath::form::{Boundary, Content, Form, Limits, Reader};
//!
//! let form = Form::new()?
//!     .text("comment", "last night's")?
//!     .part("file", Content::stream(&b"0,1,2\n"[..]).file_name("a;b.csv").content_type("text/csv"))?;
//! let content_type = form.content_type();
//!
//! let mut reader = Reader::new(form.into_reader()?, Boundary::from_content_type(&content_type)?, Limits::default());
//! while let Some(mut part) = reader.next_part()? {
//!     if part.file_name() == Some("a;b.csv") {
//!         let mut rows = String::new();
//!         part.read_to_string(&mut rows)?; // Ok only if the whole part came
//!         assert_eq!(rows, "0,1,2\n");
//!     } else {
//!         assert_eq!(part.name(), "comment");
//!         assert_eq!(part.text()?, "last night's");
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What the [`Reader`] promises:
//!
//! * *An end is proven.* A part ends at a delimiter, the body at the final
//!   one; a body that ends anywhere else is an error, in each part that it
//!   cuts. After an error there are errors only.
//! * *Memory is bounded*: one buffer of a fixed size, one part's headers.
//!   Every count and size that a sender chooses has a limit with a name
//!   ([`Limits`], [`Limit`]).
//! * *One reading only.* What other parsers read differently (two names, lines
//!   that end in LF, encodings of content) is refused by a [`Rule`] with a
//!   name. How the bytes arrive never changes what is read.
//!
//! What a [`Form`] promises: parts in the order in which they were added,
//! names escaped as browsers do, a length that is exact or none at all, no
//! buffer between the sources and who reads, and an error before the final
//! delimiter if a source fails or isn't as long as it was said to be.
//!
//! Where it ends: no decoding of content, no character sets but UTF-8, no
//! nesting; storing files is not its work, and neither is HTTP: it reads any
//! `Read` and is one.

mod body;
mod boundary;
mod compose;
mod content;
mod disposition;
mod error;
mod frame;
mod head;
mod limits;
mod parameters;
mod part;
mod reader;
mod stream;

pub use body::Body;
pub use boundary::{Boundary, InvalidBoundary};
pub use compose::Form;
pub use content::Content;
pub use error::{Error, ErrorKind, Limit, Rule};
pub use limits::Limits;
pub use part::Part;
pub use reader::Reader;
