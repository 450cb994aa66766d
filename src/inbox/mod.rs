//! Files received and given back: a folder in which a file is there whole or
//! not at all.
//!
//! What it promises:
//!
//! * *An upload that was acknowledged is there*: its length is right, it is
//!   synced to the disk with its folder, and only then has it a name.
//! * *One that wasn't is not*: nothing partial ever has a final name, whoever is
//!   killed, and what was there before is untouched until it is replaced whole.
//! * *Names stay in the folder*: a [`Name`](folder::Name) is one component, and
//!   no symbolic link is followed.
//!
//! [`send`] and [`get`] are the other side: files on their way to and from any
//! server.
//!
//! Where it ends: one folder, no folders within; who may send and fetch is for
//! the server in front to say.

mod answer;
mod digest;
pub mod folder;
pub mod get;
mod meter;
mod retry;
pub mod send;
pub mod serve;
mod sha;

pub use meter::Meter;
pub use retry::Retry;
pub use sha::Sha;

/// A part of a URL without its `%XX`; `None` if that isn't UTF-8.
fn decoded(text: &str) -> Option<String> {
    String::from_utf8(crate::http::percent_decode(text)?).ok()
}
