//! An upload that goes on where it was cut: Resumable Uploads for HTTP
//! (draft-ietf-httpbis-resumable-upload).
//!
//! The upload is made by a PUT without content (`Upload-Complete: ?0`), which
//! gives it a URL of its own; the content goes there by PATCH. After a cut, HEAD
//! tells how much has arrived, and the next PATCH begins there. An answer that
//! was lost is no loss: HEAD tells that the upload is complete too.

use std::fs::File;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::ask::{Failure, Line, file_error};
use super::error::SendError;
use super::item::Source;
use super::outflow::{Exactly, Outflow, Outgoing, from};
use super::put::{Ended, Pieces, Putting, garbled};
use crate::client::{self, Load, Reply, Target};

/// One upload, which outlives its connections.
pub(super) struct Upload<'u, 'p> {
    putting: &'u mut Putting<'p>,
    length: u64,
    pieces: Pieces,
    file: File,
    /// What it was when it began: what has changed since isn't the same file.
    changed: Option<SystemTime>,
    at: Where,
}

/// How far it is.
enum Where {
    /// The server knows nothing of it.
    Nowhere,
    /// It has a URL, and how much arrived is for the server to say.
    Unknown(Target),
    /// So much arrived.
    Offset(Target, u64),
}

impl<'u, 'p> Upload<'u, 'p> {
    /// Whether and how the server does this, asked once a shipment.
    pub(super) fn pieces(line: &mut Line<'_>, target: &Target) -> Result<Option<Pieces>, SendError> {
        if let Some(known) = line.resume {
            return Ok(known);
        }
        let pieces = loop {
            match line.transfer.ask("OPTIONS", target, &line.shipment.headers, Load::None) {
                Ok(answer) if answer.is_success() => break answer.list("upload-limit").map(|list| limits(&list)),
                // The upload itself will be told why, if it can't be.
                Ok(_) => break None,
                Err(error) => {
                    line.unanswered(error, Failure { target, what: None, idempotent: true, spent: None })?;
                }
            }
        };
        line.resume = Some(pieces);
        Ok(pieces)
    }

    pub(super) fn new(putting: &'u mut Putting<'p>, length: u64, pieces: Pieces) -> Result<Upload<'u, 'p>, SendError> {
        let unreadable = |source| SendError::File { what: putting.item.described(), source };
        let Source::File(path) = &putting.item.source else {
            // Only what has a length comes here.
            return Err(unreadable(std::io::ErrorKind::Unsupported.into()));
        };
        let file = File::open(path).map_err(unreadable)?;
        let changed = file.metadata().map_err(unreadable)?.modified().ok();
        if let Some(max) = pieces.max_size.filter(|max| length > *max) {
            let text = format!("it takes files of {max} bytes at most");
            let what = Some(putting.item.described());
            return Err(SendError::Refused { target: putting.target.to_string(), what, status: 413, text });
        }
        Ok(Upload { putting, length, pieces, file, changed, at: Where::Nowhere })
    }

    /// Until it is complete.
    pub(super) fn send(mut self, line: &mut Line<'_>) -> Result<Ended, SendError> {
        let mut furthest = 0;
        loop {
            if line.was_stopped() {
                return Err(SendError::Stopped);
            }
            let ended = match &self.at {
                Where::Nowhere => self.create(line)?,
                Where::Unknown(url) => {
                    let url = url.clone();
                    self.look(line, url)?
                }
                Where::Offset(url, offset) => {
                    let (url, offset) = (url.clone(), *offset);
                    if offset > furthest {
                        furthest = offset;
                        line.failures.forget();
                    }
                    self.append(line, url, offset)?
                }
            };
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
    }

    fn create(&mut self, line: &mut Line<'_>) -> Result<Option<Ended>, SendError> {
        line.meter.begin(0, Some(self.length));
        let mut headers = line.headers(Some(0));
        headers.push(("Content-Type".to_owned(), self.putting.content_type(line)));
        headers.push(("Upload-Complete".to_owned(), "?0".to_owned()));
        headers.push(("Upload-Length".to_owned(), self.length.to_string()));
        let target = self.putting.target.clone();
        let asked = line.transfer.ask("PUT", &target, &headers, Load::Empty);
        let Some(mut answer) = self.answered(line, &target, asked)? else { return Ok(None) };
        if (300..400).contains(&answer.status()) {
            self.putting.target = line.redirected(&answer, &target, false)?;
            return Ok(None);
        }
        if matches!(answer.status(), 409 | 412) && line.failures.total > 0 && self.putting.is_there(line)? {
            return Ok(Some((answer, true)));
        }
        if !answer.is_success() {
            line.refused(&mut answer, &self.failure(&target))?;
            return Ok(None);
        }
        let url = answer.header("location").and_then(|location| target.resolve(location));
        match url.filter(|url| url.has_origin_of(&target)) {
            Some(url) => {
                let offset = offset_of(&answer).unwrap_or(0);
                self.at = Where::Offset(url, offset);
                Ok(None)
            }
            None => Err(garbled(&target, &mut answer, "it began an upload without saying where on itself")),
        }
    }

    /// Asks how much has arrived.
    fn look(&mut self, line: &mut Line<'_>, url: Target) -> Result<Option<Ended>, SendError> {
        let headers = line.headers(Some(0));
        let asked = line.transfer.ask("HEAD", &url, &headers, Load::None);
        let Some(mut answer) = self.answered(line, &url, asked)? else { return Ok(None) };
        if matches!(answer.status(), 404 | 410) {
            // It was cleaned up; what it had is lost, or complete and forgotten.
            self.at = Where::Nowhere;
            line.refused_but_again(&url, answer.status())?;
            return Ok(None);
        }
        if !answer.is_success() {
            line.refused(&mut answer, &self.failure(&url))?;
            return Ok(None);
        }
        let is_complete = answer.header("upload-complete").is_some_and(|value| value.trim() == "?1");
        match offset_of(&answer) {
            _ if is_complete => {
                self.hash_to_the_end(line)?;
                Ok(Some((answer, false)))
            }
            Some(offset) if offset <= self.length => {
                self.at = Where::Offset(url, offset);
                Ok(None)
            }
            _ => Err(garbled(&url, &mut answer, "it doesn't say how much of an upload has arrived")),
        }
    }

    fn append(&mut self, line: &mut Line<'_>, url: Target, offset: u64) -> Result<Option<Ended>, SendError> {
        self.check_unchanged()?;
        let left = self.length - offset;
        let piece = self.pieces.max_append_size.map_or(left, |max| left.min(max.max(1)));
        let is_last = piece == left;
        let mut headers = line.headers(Some(piece));
        headers.push(("Content-Type".to_owned(), "application/partial-upload".to_owned()));
        headers.push(("Upload-Offset".to_owned(), offset.to_string()));
        headers.push(("Upload-Complete".to_owned(), if is_last { "?1" } else { "?0" }.to_owned()));
        line.meter.begin(offset, Some(self.length));
        let unreadable = |source| SendError::File { what: self.putting.item.described(), source };
        let file = from(&self.file, offset).map_err(unreadable)?;
        let beside = self.putting.beside(line);
        let flow = Outflow::going_on(self.putting.item, beside, Some((file, offset)), self.putting.hashed.clone());
        let body: Box<dyn std::io::Read> =
            if is_last { Box::new(Exactly::new(flow, piece)) } else { Box::new(std::io::Read::take(flow, piece)) };
        let mut body = Outgoing::new(body, line.shipment.buffer_bytes);
        let failed = body.failed();
        let asked = line.transfer.ask("PATCH", &url, &headers, Load::Sized(&mut body, piece));
        file_error(&failed, || self.putting.item.described())?;
        let is_whole = body.is_whole(Some(piece));
        drop(body);
        let Some(mut answer) = self.answered(line, &url, asked)? else {
            self.at = Where::Unknown(url);
            return Ok(None);
        };
        match answer.status() {
            200..=299 if is_whole && is_last => Ok(Some((answer, false))),
            200..=299 if is_whole => {
                self.at = Where::Offset(url, offset_of(&answer).unwrap_or(offset + piece).min(self.length));
                Ok(None)
            }
            // It has another offset than we think: let it say which.
            409 if offset_of(&answer).is_some() => {
                self.at = Where::Unknown(url);
                line.refused_but_again(self.url(), 409)?;
                Ok(None)
            }
            404 | 410 => {
                self.at = Where::Nowhere;
                line.refused_but_again(&url, answer.status())?;
                Ok(None)
            }
            200..=299 => Err(garbled(&url, &mut answer, "it answered before it had everything")),
            _ => {
                line.refused(&mut answer, &self.failure(&url))?;
                self.at = Where::Unknown(url);
                Ok(None)
            }
        }
    }

    fn url(&self) -> &Target {
        match &self.at {
            Where::Nowhere => &self.putting.target,
            Where::Unknown(url) | Where::Offset(url, _) => url,
        }
    }

    fn failure<'f>(&self, target: &'f Target) -> Failure<'f> {
        Failure { target, what: None, idempotent: true, spent: None }
    }

    /// The answer; none after a failure that was waited for.
    fn answered(
        &self,
        line: &mut Line<'_>,
        target: &Target,
        asked: Result<Reply, client::Error>,
    ) -> Result<Option<Reply>, SendError> {
        match asked {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => line.unanswered(error, self.failure(target)).map(|()| None),
        }
    }

    fn check_unchanged(&self) -> Result<(), SendError> {
        let unreadable = |source| SendError::File { what: self.putting.item.described(), source };
        let metadata = self.file.metadata().map_err(unreadable)?;
        if metadata.len() == self.length && metadata.modified().ok() == self.changed {
            return Ok(());
        }
        Err(unreadable(std::io::Error::new(std::io::ErrorKind::InvalidData, "it has changed while it was sent")))
    }

    /// All of it arrived, and its answer was lost: the hash may lack the end of
    /// what was read before.
    fn hash_to_the_end(&self, line: &Line<'_>) -> Result<(), SendError> {
        if self.putting.hashing.is_none() {
            return Ok(());
        }
        let unreadable = |source| SendError::File { what: self.putting.item.described(), source };
        let at = self.putting.hashed.load(Ordering::Relaxed);
        let file = from(&self.file, at).map_err(unreadable)?;
        let beside = self.putting.beside(line);
        let mut rest = Outflow::going_on(self.putting.item, beside, Some((file, at)), self.putting.hashed.clone());
        std::io::copy(&mut rest, &mut std::io::sink()).map(drop).map_err(unreadable)
    }
}

fn offset_of(answer: &Reply) -> Option<u64> {
    answer.header("upload-offset")?.trim().parse().ok()
}

/// What `Upload-Limit` says: a dictionary of integers (RFC 9651); what isn't known is passed over.
fn limits(list: &str) -> Pieces {
    let mut pieces = Pieces::default();
    for item in list.split(',') {
        let Some((name, value)) = item.split_once('=') else { continue };
        let value = value.split(';').next().unwrap_or("").trim().parse().ok();
        match name.trim() {
            "max-size" => pieces.max_size = value,
            "max-append-size" => pieces.max_append_size = value,
            _ => {}
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_limits_are_read_and_others_passed_over() {
        let pieces = limits("max-size=1000, min-size=1, max-append-size=10;x=y, max-age=3, odd");
        assert_eq!(pieces, Pieces { max_size: Some(1000), max_append_size: Some(10) });
        assert_eq!(limits("max-size=a"), Pieces::default());
    }
}
