//! What is to be fetched, and what came.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::course::Course;
use super::error::GetError;
use super::place::Place;
use crate::client::{Patience, Target, Token, Trust};
use crate::inbox::folder::OnConflict;
use crate::inbox::{Meter, Retry, Sha};
use crate::thread::Stop;

/// The buffer's size unless the caller chooses: 128 KiB.
const BUFFER_BYTES: usize = 128 * 1024;

/// Where a file goes.
#[derive(Clone, Debug)]
pub enum To {
    /// Into a directory, under the name that the server or the URL gives.
    Directory(PathBuf),
    /// To this path.
    File(PathBuf),
    /// Through a stream, as it comes: whether it was whole is known at the end only.
    Stream(Out),
}

/// A stream to be written to, once.
#[derive(Clone)]
pub struct Out(Arc<Mutex<Option<Box<dyn Write + Send>>>>);

impl Out {
    /// A stream.
    pub fn new(out: impl Write + Send + 'static) -> Out {
        Out(Arc::new(Mutex::new(Some(Box::new(out)))))
    }

    pub(super) fn take(&self) -> io::Result<Box<dyn Write + Send>> {
        let out = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        out.ok_or_else(|| io::Error::other("it was written to before"))
    }
}

impl std::fmt::Debug for Out {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Out")
    }
}

/// A file to be fetched.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is got"]
pub struct Fetch {
    pub(super) target: Target,
    to: To,
    pub(super) on_conflict: OnConflict,
    pub(super) headers: Vec<(String, String)>,
    pub(super) buffer_bytes: usize,
    pub(super) verify: bool,
    pub(super) accept_unproven: bool,
    pub(super) max_bytes: Option<u64>,
    pub(super) max_files: u64,
    pub(super) retry: Retry,
    pub(super) patience: Patience,
    pub(super) trust: Trust,
    pub(super) token: Option<Token>,
}

/// What was fetched.
#[derive(Debug, Default)]
pub struct Fetched {
    /// One file, or those of a form.
    pub files: Vec<FetchedFile>,
    /// The form's fields, if it was one.
    pub fields: Vec<(String, String)>,
    /// How many tries had failed.
    pub failures: u32,
    /// How long it took.
    pub took: Duration,
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchedFile {
    /// Where; `None` if it went through a stream.
    pub path: Option<PathBuf>,
    /// Its length in bytes.
    pub bytes: u64,
    /// How many of these were there from an earlier command.
    pub had: u64,
    /// Its hash, if one was taken.
    pub sha256: Option<Sha>,
    /// Whether the server named the same.
    pub is_verified: bool,
}

impl Fetch {
    /// Fetches what is at a URL.
    pub fn new(target: Target, to: To) -> Fetch {
        Fetch {
            target,
            to,
            on_conflict: OnConflict::default(),
            headers: Vec::new(),
            buffer_bytes: BUFFER_BYTES,
            verify: true,
            accept_unproven: false,
            max_bytes: None,
            max_files: 1_000,
            retry: Retry::default(),
            patience: Patience::default(),
            trust: Trust::default(),
            token: None,
        }
    }

    /// What to do if something has the name. Defaults to [`OnConflict::Reject`].
    pub fn on_conflict(mut self, on_conflict: OnConflict) -> Fetch {
        self.on_conflict = on_conflict;
        self
    }

    /// Adds a header to each request. Those that prove who asks are sent over
    /// encrypted connections and to this host only, and not to where a redirect leads.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Fetch {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The most that is read and written at once. Defaults to 128 KiB.
    pub fn buffer_bytes(mut self, bytes: usize) -> Fetch {
        self.buffer_bytes = bytes.max(1);
        self
    }

    /// Neither asks the server for its SHA-256 nor takes one. By default both.
    pub fn no_verify(mut self) -> Fetch {
        self.verify = false;
        self
    }

    /// Takes an answer without length and chunks for whole, as HTTP/1.0 servers
    /// send it. By default only if its SHA-256 proves it.
    pub fn accept_unproven(mut self) -> Fetch {
        self.accept_unproven = true;
        self
    }

    /// The most that may come in all. Unlimited by default.
    pub fn max_bytes(mut self, bytes: u64) -> Fetch {
        self.max_bytes = Some(bytes);
        self
    }

    /// How many parts a form may have. Defaults to 1,000.
    pub fn max_files(mut self, files: u64) -> Fetch {
        self.max_files = files;
        self
    }

    /// How often to try again. Defaults to [`Retry::default`].
    pub fn retry(mut self, retry: Retry) -> Fetch {
        self.retry = retry;
        self
    }

    /// How long each step may take. Defaults to [`Patience::default`].
    pub fn patience(mut self, patience: Patience) -> Fetch {
        self.patience = patience;
        self
    }

    /// Which certificates a server may show.
    pub fn trust(mut self, trust: Trust) -> Fetch {
        self.trust = trust;
        self
    }

    /// Proves who asks; never over a connection that others can read, and only
    /// to the server that was named.
    pub fn token(mut self, token: Token) -> Fetch {
        self.token = Some(token);
        self
    }

    /// Fetches it. Blocks until it is there or can't come; `meter` can be read
    /// meanwhile, `stop` ends the pauses between tries and counts after each read.
    ///
    /// # Errors
    /// See [`GetError`].
    pub fn get(&self, meter: &Meter, stop: &Stop) -> Result<Fetched, GetError> {
        let place = Place::open(&self.to, &self.target.unmasked(), self.verify);
        let place = place.map_err(|source| GetError::File { path: self.path(), source })?;
        Course::new(self, place, meter, stop).run()
    }

    pub(super) fn path(&self) -> PathBuf {
        match &self.to {
            To::Directory(path) | To::File(path) => path.clone(),
            To::Stream(_) => PathBuf::from("standard output"),
        }
    }

    pub(super) fn wants_directory(&self) -> Option<&PathBuf> {
        match &self.to {
            To::Directory(path) => Some(path),
            To::File(_) | To::Stream(_) => None,
        }
    }
}
