//! A folder served over HTTP: files come in whole and go out as they are.
//!
//! | request | does |
//! |---|---|
//! | `GET /` | the page |
//! | `POST /upload` | stores the files of a `multipart/form-data` body |
//! | `PUT /files/NAME` | stores the body |
//! | `GET`, `HEAD /files/NAME` | gives a file back: ranges, conditions, digests |
//! | `DELETE /files/NAME` | takes it out, if [`Settings::allow_delete`] |
//! | `GET /files/` | the list, as a page or as JSON |
//! | `GET /form?file=A&file=B` | several files as one `multipart/form-data` reply |
//! | `HEAD`, `PATCH`, `DELETE /uploads/ID` | an upload that goes on where it was cut |
//! | `GET /healthz` | `ok` |
//!
//! An upload is acknowledged when it is synced and has its name; a reply's
//! status is 2xx only if *all* files of the request are stored. Nothing of a
//! form whose body was cut is kept.
//!
//! Uploads that go on are those of "Resumable Uploads for HTTP"
//! (draft-ietf-httpbis-resumable-upload, version 8 and later). Digests are those of RFC 9530.

mod answer;
mod conditions;
mod digest;
mod download;
mod event;
mod file_header;
mod inbox;
mod intake;
mod listing;
mod parcel;
mod put;
mod range;
mod refused;
mod report;
mod service;
mod settings;
mod space;
mod upload;
mod uploads;

pub use event::{Event, Told};
pub use inbox::Inbox;
pub use service::{End, Service};
pub use settings::{InvalidKeepFree, KeepFree, Settings};
