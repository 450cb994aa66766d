//! Whether a request's conditions hold for a file as it is now (RFC 9110, 13).

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use crate::http::Request;

/// What tells one version of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) size: u64,
    pub(super) modified: SystemTime,
    /// A strong one: files are replaced, never changed, by us.
    pub(super) etag: String,
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Proceed,
    NotModified,
    Failed,
}

impl Version {
    pub(super) fn of(file: &File) -> io::Result<Version> {
        let metadata = file.metadata()?;
        let modified = metadata.modified()?;
        let since = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let etag = format!("\"{:x}-{:x}-{since:x}\"", metadata.ino(), metadata.len());
        Ok(Version { size: metadata.len(), modified, etag })
    }

    /// For `Last-Modified`.
    pub(super) fn date(&self) -> String {
        httpdate::fmt_http_date(self.modified)
    }

    /// Whether the dates in headers, which have no fractions, mean this or later.
    fn is_since(&self, date: SystemTime) -> bool {
        self.modified < date + Duration::from_secs(1)
    }

    /// Of a request that only reads.
    pub(super) fn for_reading(&self, request: &Request<'_>) -> Verdict {
        let header = |name| request.header(name);
        if let Some(tags) = header("If-Match") {
            if !has(tags, &self.etag) {
                return Verdict::Failed;
            }
        } else if let Some(date) = header("If-Unmodified-Since").and_then(date)
            && !self.is_since(date)
        {
            return Verdict::Failed;
        }
        if let Some(tags) = header("If-None-Match") {
            // A weak comparison: W/ makes no difference.
            if has(&tags.replace("W/", ""), &self.etag) {
                return Verdict::NotModified;
            }
        } else if let Some(date) = header("If-Modified-Since").and_then(date)
            && self.is_since(date)
        {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }

    /// Whether a range of it fits what the client has already.
    pub(super) fn fits_range(&self, request: &Request<'_>) -> bool {
        match request.header("If-Range") {
            None => true,
            Some(tag) if tag.starts_with('"') => tag == self.etag,
            Some(other) => other == self.date(),
        }
    }
}

/// Whether what would change a file may: `If-Match` and `If-None-Match` against
/// its version, if there is one.
pub(super) fn may_change(request: &Request<'_>, now: Option<&Version>) -> bool {
    let matches = |tags: &str| now.is_some_and(|now| has(tags, &now.etag));
    request.header("If-Match").is_none_or(matches) && !request.header("If-None-Match").is_some_and(matches)
}

fn has(tags: &str, etag: &str) -> bool {
    tags.trim() == "*" || tags.split(',').any(|tag| tag.trim() == etag)
}

fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}
