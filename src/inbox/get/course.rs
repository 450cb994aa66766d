//! The course of a fetch: tries, redirects, ranges, and its end.

use std::io::{self, Read};
use std::path::PathBuf;

use super::error::GetError;
use super::fetch::{Fetch, Fetched, FetchedFile};
use super::named::name_of;
use super::parts;
use super::place::{Place, Version};
use super::range::Range;
use super::validator;
use crate::client::{self, Load, Reply, Target, Transfer, tells_a_secret};
use crate::clock::Moment;
use crate::inbox::answer::{first_line, repr_digest, with_causes};
use crate::inbox::digest;
use crate::inbox::folder::{Folder, Name, OnConflict};
use crate::inbox::retry::{Failures, Next, asked_pause, is_passing, may_pass};
use crate::inbox::{Meter, Sha};
use crate::thread::Stop;

/// So many redirects are followed.
const HOPS: u32 = 10;

/// As much is read of what a server says beside a refusal.
const SAID_BYTES: u64 = 16 * 1024;

/// A fetch on its way.
pub(super) struct Course<'f> {
    fetch: &'f Fetch,
    client: Transfer,
    meter: &'f Meter,
    stop: &'f Stop,
    failures: Failures,
    place: Place,
    had: u64,
    /// How far it came before it was last cut.
    furthest: u64,
    begun: Moment,
}

/// How one answer's body ended.
enum Body {
    /// As it should; there may be more of the file.
    Ended,
    /// In the middle.
    Cut(io::Error),
}

impl<'f> Course<'f> {
    pub(super) fn new(fetch: &'f Fetch, place: Place, meter: &'f Meter, stop: &'f Stop) -> Course<'f> {
        let had = place.have().0;
        Course {
            fetch,
            client: Transfer::fetching(fetch.patience, fetch.buffer_bytes, &fetch.trust, fetch.token.clone()),
            meter,
            stop,
            failures: Failures::new(fetch.retry),
            place,
            had,
            furthest: had,
            begun: Moment::now(),
        }
    }

    /// To its end.
    pub(super) fn run(mut self) -> Result<Fetched, GetError> {
        match self.all() {
            Ok(End::File(reply)) => self.finish(&reply),
            Ok(End::Form(mut fetched)) => {
                self.place.leave();
                (fetched.failures, fetched.took) = (self.failures.total, self.begun.elapsed());
                Ok(fetched)
            }
            Err(GetError::Cut { target, bytes, source, .. }) => {
                let kept = self.place.leave();
                Err(GetError::Cut { target, bytes, kept, source })
            }
            Err(error @ (GetError::Unreachable { .. } | GetError::Stopped | GetError::Refused { .. })) => {
                self.place.leave();
                Err(error)
            }
            Err(error) => {
                // Of another version, or too large: nothing to go on with.
                if let Place::Folder(kept) = self.place {
                    kept.discard();
                }
                Err(error)
            }
        }
    }

    /// Asks until all of it came.
    fn all(&mut self) -> Result<End, GetError> {
        loop {
            if self.stop.is_set() {
                return Err(GetError::Stopped);
            }
            let (have, version) = self.place.have();
            let (validator, total) = (version.validator.clone(), version.total);
            let from = if validator.is_some() { have } else { 0 };
            let Some((mut reply, at)) = self.ask(from, validator.as_deref())? else { continue };
            let body = match reply.status() {
                206 if from > 0 => {
                    let range = Range::of(&reply, from, total);
                    let range = range.map_err(|what| GetError::Garbled { target: at.to_string(), what })?;
                    self.check_version(&reply, &at, validator.as_deref())?;
                    if range.total.or(total).is_none() {
                        let what = "206 of a file whose length isn't said".to_owned();
                        return Err(GetError::Garbled { target: at.to_string(), what });
                    }
                    self.go_on(range.total.or(total))?;
                    self.copy(&mut reply, &at, Some(range.last + 1 - from))?
                }
                200 | 203 => {
                    if let Some(directory) = self.form_directory(&reply, &at)? {
                        match parts::take(self.fetch, &mut reply, &at, &directory, (self.meter, self.stop)) {
                            Ok(fetched) => return Ok(End::Form(fetched)),
                            Err(_) if self.stop.is_set() => return Err(GetError::Stopped),
                            Err(error) => {
                                self.cut_form(error, &at)?;
                                continue;
                            }
                        }
                    }
                    self.begin(&reply, &at)?;
                    let length = reply.length();
                    self.copy(&mut reply, &at, length)?
                }
                status @ 200..=299 => {
                    let what = format!("{status}, where a file was asked for");
                    return Err(GetError::Garbled { target: at.to_string(), what });
                }
                // It has less than there is here: another version.
                416 if from > 0 => {
                    self.begin_anew()?;
                    continue;
                }
                _ => {
                    self.refused(&mut reply, &at)?;
                    continue;
                }
            };
            let (have, version) = self.place.have();
            match body {
                Body::Ended if version.total.is_none_or(|total| have >= total) => return Ok(End::File(reply)),
                // A server may give less than was asked for, as long as it gives something.
                Body::Ended if have > from => self.failures.forget(),
                Body::Ended => {
                    let what = format!("nothing behind byte {have}");
                    return Err(GetError::Garbled { target: at.to_string(), what });
                }
                Body::Cut(source) => self.cut(source, &at)?,
            }
        }
    }

    /// One question, redirects followed; none: it failed, and was waited for.
    fn ask(&mut self, from: u64, validator: Option<&str>) -> Result<Option<(Reply, Target)>, GetError> {
        let origin = &self.fetch.target;
        let mut at = origin.clone();
        let mut stranger = None;
        for _ in 0..=HOPS {
            let is_home = at.has_origin_of(origin);
            let mut headers = self.fetch.headers.clone();
            if !is_home {
                headers.retain(|(name, _)| !tells_a_secret(name));
            }
            if self.fetch.verify {
                headers.push((digest::WANT.0.to_owned(), digest::WANT.1.to_owned()));
            }
            if let Some(validator) = validator.filter(|_| from > 0) {
                headers.push(("Range".to_owned(), format!("bytes={from}-")));
                headers.push(("If-Range".to_owned(), validator.to_owned()));
            }
            let Fetch { patience, buffer_bytes, trust, .. } = self.fetch;
            let client = if is_home {
                &self.client
            } else {
                stranger.get_or_insert_with(|| Transfer::fetching(*patience, *buffer_bytes, trust, None))
            };
            let reply = match client.ask("GET", &at, &headers, Load::None) {
                Ok(reply) => reply,
                Err(error @ client::Error::InClear { .. }) => return Err(GetError::InClear(error)),
                Err(error) => return self.unanswered(error, &at).map(|()| None),
            };
            if !matches!(reply.status(), 301 | 302 | 303 | 307 | 308) {
                return Ok(Some((reply, at)));
            }
            let to = reply.header("location").and_then(|reference| at.resolve(reference));
            match to {
                Some(to) if to.is_encrypted() || !at.is_encrypted() => at = to,
                to => {
                    let to = to.map_or("nowhere".to_owned(), |to| to.to_string());
                    return Err(GetError::Redirected { target: at.to_string(), status: reply.status(), to });
                }
            }
        }
        Err(GetError::Redirected { target: at.to_string(), status: 310, to: "ever another place".to_owned() })
    }

    fn unanswered(&mut self, error: client::Error, at: &Target) -> Result<(), GetError> {
        let words = with_causes(&error);
        match if may_pass(&error) { self.failures.next(&words, None, self.stop) } else { Next::GiveUp } {
            Next::Again => Ok(()),
            Next::Stopped => Err(GetError::Stopped),
            Next::GiveUp => {
                let count = self.failures.total.max(1);
                Err(GetError::Unreachable { target: at.to_string(), count, source: error })
            }
        }
    }

    fn refused(&mut self, reply: &mut Reply, at: &Target) -> Result<(), GetError> {
        let (target, status) = (at.to_string(), reply.status());
        if is_passing(status, true) {
            let pause = asked_pause(reply.header("retry-after"));
            match self.failures.next(&format!("{at} answered {status}"), pause, self.stop) {
                Next::Again => return Ok(()),
                Next::Stopped => return Err(GetError::Stopped),
                Next::GiveUp => {}
            }
        }
        Err(GetError::Refused { target, status, text: first_line(&reply.text(SAID_BYTES)) })
    }

    /// A body that was cut: another try, if there is one.
    fn cut(&mut self, source: io::Error, at: &Target) -> Result<(), GetError> {
        let (bytes, version) = self.place.have();
        // What starts over each time gets nowhere, however far it comes.
        if version.validator.is_some() && bytes > self.furthest {
            self.furthest = bytes;
            self.failures.forget();
        }
        let can_go_on = version.validator.is_some() || self.place.can_begin();
        let words = format!("{at} cut it at {bytes} bytes: {source}");
        match if can_go_on { self.failures.next(&words, None, self.stop) } else { Next::GiveUp } {
            Next::Again => Ok(()),
            Next::Stopped => Err(GetError::Stopped),
            Next::GiveUp => Err(GetError::Cut { target: at.to_string(), bytes, kept: false, source }),
        }
    }

    /// A form that was cut is asked for again; whatever else is wrong with it stays so.
    fn cut_form(&mut self, error: GetError, at: &Target) -> Result<(), GetError> {
        use crate::form::ErrorKind;
        match &error {
            GetError::Form { source, .. } if matches!(source.kind(), ErrorKind::Io(_) | ErrorKind::Cut) => {
                match self.failures.next(&format!("{at} cut a form"), None, self.stop) {
                    Next::Again => Ok(()),
                    Next::Stopped => Err(GetError::Stopped),
                    Next::GiveUp => Err(error),
                }
            }
            _ => Err(error),
        }
    }

    /// The directory for the files of a form, if the answer is one.
    fn form_directory(&self, reply: &Reply, at: &Target) -> Result<Option<PathBuf>, GetError> {
        let content_type = reply.header("content-type").unwrap_or("").trim_start().to_ascii_lowercase();
        if !content_type.starts_with("multipart/form-data") {
            return Ok(None);
        }
        match self.fetch.wants_directory() {
            Some(directory) => Ok(Some(directory.clone())),
            None => Err(GetError::NeedsDirectory { target: at.to_string() }),
        }
    }

    /// A whole file comes; what is here of another version is dropped.
    fn begin(&mut self, reply: &Reply, at: &Target) -> Result<(), GetError> {
        let total = reply.length();
        if !self.place.can_begin() {
            let (bytes, _) = self.place.have();
            let source = io::Error::other("it has another version now, and what is printed can't be taken back");
            return Err(GetError::Cut { target: at.to_string(), bytes, kept: false, source });
        }
        let is_proven = reply.has_proven_end() || repr_digest(reply).is_some_and(|_| self.fetch.verify);
        if !is_proven && !self.fetch.accept_unproven {
            return Err(GetError::Unproven { target: at.to_string() });
        }
        if let (Some(limit), Some(total)) = (self.fetch.max_bytes, total)
            && total > limit
        {
            return Err(GetError::TooLarge { target: at.to_string(), limit });
        }
        if let Place::Folder(kept) = &self.place {
            let name = kept.name.clone().unwrap_or_else(|| name_of(reply, &self.fetch.target));
            self.check_free(&kept.folder, &name)?;
            self.meter.set_name(name.as_str());
        }
        self.meter.begin(0, total);
        self.had = 0;
        let version = Version { validator: validator::of(reply), total };
        self.place.begin(version, self.fetch.verify).map_err(|error| self.unwritable(error))
    }

    /// Before anything comes: a name that is taken stays so.
    fn check_free(&self, folder: &Folder, name: &Name) -> Result<(), GetError> {
        if self.fetch.on_conflict != OnConflict::Reject {
            return Ok(());
        }
        match folder.has(name) {
            Ok(false) => Ok(()),
            Ok(true) => {
                let source = io::Error::new(io::ErrorKind::AlreadyExists, "something of that name is there already");
                Err(GetError::File { path: self.path_of(name), source })
            }
            Err(error) => Err(self.unwritable(error)),
        }
    }

    fn path_of(&self, name: &Name) -> PathBuf {
        match &self.place {
            Place::Folder(kept) => kept.directory.join(name.as_str()),
            Place::Stream(_) => self.fetch.path(),
        }
    }

    fn begin_anew(&mut self) -> Result<(), GetError> {
        self.had = 0;
        self.place.begin(Version::default(), self.fetch.verify).map_err(|error| self.unwritable(error))
    }

    fn go_on(&mut self, total: Option<u64>) -> Result<(), GetError> {
        self.meter.begin(self.place.have().0, total);
        self.place.set_total(total);
        let Place::Folder(kept) = &mut self.place else { return Ok(()) };
        let announced = kept.announce(total);
        announced.map_err(|error| self.unwritable(error))
    }

    fn check_version(&self, reply: &Reply, at: &Target, validator: Option<&str>) -> Result<(), GetError> {
        match (reply.header("etag"), validator) {
            (Some(now), Some(before)) if before.starts_with('"') && now.trim() != before => {
                let what = format!("206 of the version {now}, where {before} was asked for");
                Err(GetError::Garbled { target: at.to_string(), what })
            }
            _ => Ok(()),
        }
    }

    /// Takes a body in, of so many bytes if that is known.
    fn copy(&mut self, reply: &mut Reply, at: &Target, length: Option<u64>) -> Result<Body, GetError> {
        let mut buffer = vec![0; self.fetch.buffer_bytes];
        let mut came = 0;
        loop {
            let len = match reply.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Body::Cut(error)),
            };
            came += len as u64;
            if length.is_some_and(|length| came > length) {
                let what = "more came than it said".to_owned();
                return Err(GetError::Garbled { target: at.to_string(), what });
            }
            self.place.write_all(&buffer[..len]).map_err(|error| self.unwritable(error))?;
            self.meter.add(len as u64);
            if let Some(limit) = self.fetch.max_bytes.filter(|limit| self.place.have().0 > *limit) {
                return Err(GetError::TooLarge { target: at.to_string(), limit });
            }
            if self.stop.is_set() {
                return Err(GetError::Stopped);
            }
        }
        if length.is_some_and(|length| came < length) {
            return Ok(Body::Cut(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(Body::Ended)
    }

    fn finish(self, reply: &Reply) -> Result<Fetched, GetError> {
        let (bytes, had) = (self.place.have().0, self.had);
        let theirs = repr_digest(reply);
        let target = reply.target().to_owned();
        let path = self.fetch.path();
        let unwritable = |source| GetError::File { path: path.clone(), source };
        let agree = |ours: Option<Sha>| match (ours, theirs) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                Err(GetError::Mismatch { target: target.clone(), ours, theirs })
            }
            (ours, theirs) => Ok(ours.is_some() && theirs.is_some()),
        };
        let file = match self.place {
            Place::Stream(passing) => {
                let sha256 = passing.finish().map_err(unwritable)?;
                let is_verified = agree(sha256)?;
                FetchedFile { path: None, bytes, had, sha256, is_verified }
            }
            Place::Folder(kept) => {
                let directory = kept.directory.clone();
                let sealed = kept.seal().map_err(unwritable)?;
                let sha256 = sealed.sha256();
                let is_verified = agree(sha256)?;
                let name = sealed.name.clone().unwrap_or_else(|| name_of(reply, &self.fetch.target));
                let published = sealed.publish(&name, self.fetch.on_conflict);
                let (path, _) =
                    published.map_err(|source| GetError::File { path: directory.join(name.as_str()), source })?;
                FetchedFile { path: Some(path), bytes, had, sha256, is_verified }
            }
        };
        let (failures, took) = (self.failures.total, self.begun.elapsed());
        Ok(Fetched { files: vec![file], fields: Vec::new(), failures, took })
    }

    fn unwritable(&self, source: io::Error) -> GetError {
        GetError::File { path: self.fetch.path(), source }
    }
}

enum End {
    File(Reply),
    Form(Fetched),
}
