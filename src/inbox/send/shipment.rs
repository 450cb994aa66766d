//! What is to be sent where, and what came of it.

use std::time::Duration;

use super::ask::Line;
use super::error::SendError;
use super::item::Item;
use super::{post, put};
use crate::client::{Patience, Target, Token, Transfer, Trust};
use crate::inbox::{Meter, Retry, Sha};
use crate::thread::Stop;

/// The buffer's size unless the caller chooses: 128 KiB.
const BUFFER_BYTES: usize = 128 * 1024;

/// In which way files are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum How {
    /// As a form to a URL; each by a PUT below it if its path ends in a slash,
    /// which is curl's convention. The default.
    #[default]
    AsUrlSays,
    /// One file by a PUT to the very URL.
    Put,
}

/// Files and fields on their way to a server.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is sent"]
pub struct Shipment {
    pub(super) target: Target,
    pub(super) how: How,
    pub(super) items: Vec<Item>,
    pub(super) fields: Vec<(String, String)>,
    pub(super) field: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) content_type: Option<String>,
    pub(super) buffer_bytes: usize,
    pub(super) verify: bool,
    pub(super) retry: Retry,
    pub(super) patience: Patience,
    pub(super) trust: Trust,
    pub(super) token: Option<Token>,
}

impl Shipment {
    /// Nothing yet, to a URL.
    pub fn new(target: Target) -> Shipment {
        Shipment {
            target,
            how: How::default(),
            items: Vec::new(),
            fields: Vec::new(),
            field: "file".to_owned(),
            headers: Vec::new(),
            content_type: None,
            buffer_bytes: BUFFER_BYTES,
            verify: true,
            retry: Retry::default(),
            patience: Patience::default(),
            trust: Trust::default(),
            token: None,
        }
    }

    /// Where it goes.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// In which way. Defaults to [`How::AsUrlSays`].
    pub fn how(mut self, how: How) -> Shipment {
        self.how = how;
        self
    }

    /// Adds a file.
    pub fn item(mut self, item: Item) -> Shipment {
        self.items.push(item);
        self
    }

    /// Adds a field to the form; fields come before files, in their order. A PUT has none.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<String>) -> Shipment {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// The form field of the files. Defaults to `file`.
    pub fn file_field(mut self, name: impl Into<String>) -> Shipment {
        self.field = name.into();
        self
    }

    /// Adds a header to each request. Those that prove who asks are sent over
    /// encrypted connections and to this host only.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Shipment {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The files' Content-Type. Defaults to `application/octet-stream`.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Shipment {
        self.content_type = Some(content_type.into());
        self
    }

    /// The most that is read and written at once. Defaults to 128 KiB.
    pub fn buffer_bytes(mut self, bytes: usize) -> Shipment {
        self.buffer_bytes = bytes.max(1);
        self
    }

    /// Neither asks the server for the SHA-256 of what it has nor takes one.
    /// By default both.
    pub fn no_verify(mut self) -> Shipment {
        self.verify = false;
        self
    }

    /// How often to try again. Defaults to [`Retry::default`].
    pub fn retry(mut self, retry: Retry) -> Shipment {
        self.retry = retry;
        self
    }

    /// How long each step may take. Defaults to [`Patience::default`].
    pub fn patience(mut self, patience: Patience) -> Shipment {
        self.patience = patience;
        self
    }

    /// Which certificates a server may show.
    pub fn trust(mut self, trust: Trust) -> Shipment {
        self.trust = trust;
        self
    }

    /// Proves who sends; never over a connection that others can read.
    pub fn token(mut self, token: Token) -> Shipment {
        self.token = Some(token);
        self
    }

    /// Sends it. Blocks until each file's end is known; `meter` can be read
    /// meanwhile. `stop` ends the pauses between tries; [`Shipment::send_with`]
    /// is for who wants to end a request too.
    ///
    /// # Errors
    /// What went wrong with the whole of it: see [`SendError`]. What went wrong
    /// with one file is in its place in [`Shipped`].
    pub fn send(&self, meter: &Meter, stop: &Stop) -> Result<Shipped, SendError> {
        self.send_with(&self.transfer(), meter, stop)
    }

    /// The client that it is sent with; its [`Transfer::cutter`] ends a request.
    pub fn transfer(&self) -> Transfer {
        Transfer::new(self.patience, self.buffer_bytes, &self.trust, self.token.clone())
    }

    /// The same over a client that the caller has.
    ///
    /// # Errors
    /// As [`Shipment::send`].
    pub fn send_with(&self, transfer: &Transfer, meter: &Meter, stop: &Stop) -> Result<Shipped, SendError> {
        let mut line = Line::new(self, transfer, meter, stop);
        let is_below = self.how == How::AsUrlSays && self.target.path().ends_with('/');
        let files =
            if self.how == How::Put || is_below { put::all(&mut line, is_below) } else { post::all(&mut line)? };
        Ok(Shipped { files, failures: line.failures.total })
    }
}

/// What became of each file.
#[derive(Debug)]
#[must_use = "each file has its own result"]
pub struct Shipped {
    /// In the order in which they were given. Of PUTs, none comes after one
    /// that failed for a reason that others would meet too.
    pub files: Vec<Result<ShippedFile, SendError>>,
    /// How many tries had failed.
    pub failures: u32,
}

impl Shipped {
    /// The files, if all of them arrived.
    ///
    /// # Errors
    /// The first that didn't.
    pub fn all(self) -> Result<Vec<ShippedFile>, SendError> {
        self.files.into_iter().collect()
    }
}

/// A file that the server has, as it said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShippedFile {
    /// The name it was sent under.
    pub name: String,
    /// The name the server gave it, if it said one.
    pub stored_as: Option<String>,
    /// How many bytes were sent.
    pub bytes: u64,
    /// What was sent, if a hash was taken.
    pub sha256: Option<Sha>,
    /// Whether the server named the same hash.
    pub is_verified: bool,
    /// How long it took, failed tries included.
    pub took: Duration,
}
