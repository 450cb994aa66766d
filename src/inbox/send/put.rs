//! Each file by a PUT: in one request, or in as many as it takes, where the
//! server can go on at an offset.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use super::ask::{ANSWER_BYTES, Failure, Line, file_error, since};
use super::error::SendError;
use super::item::Item;
use super::outflow::{Beside, Exactly, Outflow, Outgoing};
use super::resume::Upload;
use super::shipment::ShippedFile;
use crate::client::{Load, Reply, Target};
use crate::clock::Moment;
use crate::inbox::answer::{first_line, repr_digest};
use crate::inbox::digest::Hashing;

/// From this length on a server is asked whether it can go on after a cut; less
/// is sent again faster.
const RESUMED_BYTES: u64 = 1024 * 1024;

/// How a server takes an upload in pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pieces {
    /// The longest upload.
    pub(super) max_size: Option<u64>,
    /// The longest piece.
    pub(super) max_append_size: Option<u64>,
}

/// Sends the files one after the other, until one fails in a way that others would too.
pub(super) fn all(line: &mut Line<'_>, is_below: bool) -> Vec<Result<ShippedFile, SendError>> {
    let items = &line.shipment.items;
    let mut files = Vec::new();
    for item in items {
        let target = if is_below { line.shipment.target.child(&item.name) } else { line.shipment.target.clone() };
        let file = one(line, item, target);
        // Another file may be readable, and another name free.
        let goes_on = match &file {
            Ok(_) | Err(SendError::File { .. } | SendError::Mismatch { .. }) => true,
            Err(SendError::Refused { status, .. }) => matches!(status, 400 | 409 | 412 | 413 | 415 | 422),
            Err(_) => false,
        };
        files.push(file);
        if !goes_on {
            break;
        }
    }
    files
}

/// One file, with its hash.
pub(super) struct Putting<'p> {
    pub(super) item: &'p Item,
    pub(super) target: Target,
    pub(super) length: Option<u64>,
    pub(super) hashing: Option<Hashing>,
    /// How far the hash was fed.
    pub(super) hashed: Arc<AtomicU64>,
    pub(super) passed: Arc<AtomicU64>,
}

fn one(line: &mut Line<'_>, item: &Item, target: Target) -> Result<ShippedFile, SendError> {
    let begun = Moment::now();
    let unreadable = |source| SendError::File { what: item.described(), source };
    let length = item.length().map_err(unreadable)?;
    line.meter.set_name(&item.name);
    let hashing = line.shipment.verify.then(Hashing::start).transpose().map_err(SendError::Hash)?;
    let (hashed, passed) = (Arc::default(), Arc::default());
    let mut putting = Putting { item, target, length, hashing, hashed, passed };
    let (answer, is_ours) = match length {
        Some(length) if length >= RESUMED_BYTES => match Upload::pieces(line, &putting.target)? {
            Some(pieces) => Upload::new(&mut putting, length, pieces)?.send(line)?,
            None => putting.send(line)?,
        },
        _ => putting.send(line)?,
    };
    putting.conclude(&answer, is_ours, begun)
}

/// What a file's end was told by, and whether that it was there already and is ours.
pub(super) type Ended = (Reply, bool);

impl Putting<'_> {
    /// In one request, from the beginning each time.
    fn send(&mut self, line: &mut Line<'_>) -> Result<Ended, SendError> {
        loop {
            line.meter.begin(0, self.length);
            let flow = Outflow::going_on(self.item, self.beside(line), None, self.hashed.clone());
            let (asked, spent, is_whole) = match self.length {
                Some(length) => {
                    let mut body = Outgoing::new(Exactly::new(flow, length), line.shipment.buffer_bytes);
                    self.put(line, &mut body, Some(length))?
                }
                None => self.put(line, &mut Outgoing::new(flow, line.shipment.buffer_bytes), None)?,
            };
            let target = self.target.clone();
            let failure = Failure { target: &target, what: Some(&self.item.described()), idempotent: true, spent };
            let mut answer = match asked {
                Ok(answer) => answer,
                Err(error) => {
                    line.unanswered(error, failure)?;
                    continue;
                }
            };
            if (300..400).contains(&answer.status()) {
                self.target = line.redirected(&answer, &self.target, failure.spent.is_some())?;
            } else if answer.is_success() && is_whole {
                return Ok((answer, false));
            } else if answer.is_success() {
                let what = format!("it answered {} before it had everything", answer.status());
                return Err(SendError::Garbled { target: target.to_string(), what });
            } else if matches!(answer.status(), 409 | 412) && line.failures.total > 0 && self.is_there(line)? {
                return Ok((answer, true));
            } else {
                line.refused(&mut answer, &failure)?;
            }
        }
    }

    /// One try: the answer or why there is none, what can't be read again, and
    /// whether all of it was sent.
    #[allow(clippy::type_complexity)] // three things of one try, taken apart at once
    fn put<R: std::io::Read>(
        &self,
        line: &Line<'_>,
        body: &mut Outgoing<R>,
        length: Option<u64>,
    ) -> Result<(Result<Reply, crate::client::Error>, Option<String>, bool), SendError> {
        let mut headers = line.headers(length);
        headers.push(("Content-Type".to_owned(), self.content_type(line)));
        let failed = body.failed();
        let load = match length {
            Some(length) => Load::Sized(&mut *body, length),
            None => Load::Chunked(&mut *body),
        };
        let asked = line.transfer.ask("PUT", &self.target, &headers, load);
        file_error(&failed, || self.item.described())?;
        let spent = (length.is_none() && body.has_begun()).then(|| self.item.described());
        Ok((asked, spent, body.is_whole(length)))
    }

    pub(super) fn content_type(&self, line: &Line<'_>) -> String {
        line.shipment.content_type.clone().unwrap_or_else(|| "application/octet-stream".to_owned())
    }

    pub(super) fn beside(&self, line: &Line<'_>) -> Beside {
        let lane = self.hashing.as_ref().map(Hashing::lane);
        let index = Arc::new(AtomicUsize::new(0));
        Beside { meter: line.meter.clone(), lane, index, own_index: 0, passed: self.passed.clone() }
    }

    /// Whether the server has this very file under its name, as after an answer
    /// that was lost. Only the hash tells; it is taken to its end if it wasn't.
    pub(super) fn is_there(&mut self, line: &mut Line<'_>) -> Result<bool, SendError> {
        let Some(length) = self.length.filter(|_| self.hashing.is_some()) else { return Ok(false) };
        let unreadable = |source| SendError::File { what: self.item.described(), source };
        let mut rest = Exactly::new(Outflow::going_on(self.item, self.beside(line), None, self.hashed.clone()), length);
        // What was hashed isn't hashed again; the rest is.
        std::io::copy(&mut rest, &mut std::io::sink()).map_err(unreadable)?;
        drop(rest);
        let hashing = self.hashing.take().map(Hashing::finish).transpose().map_err(SendError::Hash)?;
        let ours = hashing.and_then(|done| done.last().copied());
        let is_there = line.has_ours(&self.target, ours);
        if !is_there {
            self.hashing = Some(Hashing::start().map_err(SendError::Hash)?);
            self.hashed = Arc::default();
        }
        Ok(is_there)
    }

    fn conclude(mut self, answer: &Reply, is_ours: bool, begun: Moment) -> Result<ShippedFile, SendError> {
        let bytes = self.length.unwrap_or_else(|| self.passed.load(std::sync::atomic::Ordering::Relaxed));
        let hashing = self.hashing.take().map(Hashing::finish).transpose().map_err(SendError::Hash)?;
        let ours = hashing.and_then(|done| done.last().copied());
        let theirs = repr_digest(answer);
        if let (Some(ours), Some(theirs), false) = (ours, theirs, is_ours)
            && ours != theirs
        {
            let (target, what) = (self.target.to_string(), self.item.described());
            return Err(SendError::Mismatch { target, what, ours, theirs });
        }
        let stored_as = answer.header("content-location").or(answer.header("location")).and_then(last_component);
        Ok(ShippedFile {
            name: self.item.name.clone(),
            stored_as: stored_as.filter(|name| *name != self.item.name),
            bytes,
            sha256: ours,
            is_verified: is_ours || (ours.is_some() && theirs.is_some()),
            took: since(begun),
        })
    }
}

/// The last component of a URL's path, decoded if it is UTF-8.
fn last_component(url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    crate::inbox::decoded(path.rsplit('/').next()?).filter(|name| !name.is_empty())
}

/// The text of an answer that is none of this protocol's.
pub(super) fn garbled(target: &Target, answer: &mut Reply, what: &str) -> SendError {
    let said = first_line(&answer.text(ANSWER_BYTES));
    let what = format!("{what}: {}{}", answer.status(), if said.is_empty() { said } else { format!(" ({said})") });
    SendError::Garbled { target: target.to_string(), what }
}
