//! Files fetched over HTTP: one that goes on where it was cut, or the files of a
//! `multipart/form-data` reply.
//!
//! ```no_run
//! use towpath::client::Target;
//! use towpath::inbox::Meter;
//! use towpath::inbox::get::{Fetch, To};
//! use towpath::thread::Stop;
//!
//! let fetch = Fetch::new(Target::parse("https://files.example.org/files/dump.sql")?, To::Directory("/srv".into()));
//! let fetched = fetch.get(&Meter::default(), &Stop::never())?;
//! println!("{} bytes", fetched.files[0].bytes);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it promises:
//!
//! * *A file is there when it is whole, and not before*: its length came to what
//!   was said or its last chunk was seen, its SHA-256 is the server's where the
//!   server names one, and it is synced.
//! * *What was cut goes on*, also in the next process, if the server has a strong
//!   validator for it: the part is kept hidden beside its place with the validator
//!   (`.towpath-part-...`), and asked on from with Range and If-Range. A part of
//!   another version, or of a host that was restarted since, isn't used.
//! * *The files of a form appear together*, after its final delimiter, or none
//!   of them does.
//! * *Names stay in the directory*, and a server's can't be hidden ones.

mod course;
mod error;
mod fetch;
mod named;
mod parts;
mod place;
mod range;
mod validator;

pub use error::GetError;
pub use fetch::{Fetch, Fetched, FetchedFile, Out, To};
