//! `PUT /files/NAME`: the body is the file.

use std::io;

use serde_json::Value;

use super::super::folder::{Name, OnConflict, Published, Sealed};
use super::conditions::{self, Version};
use super::digest;
use super::event::Event;
use super::inbox::Shared;
use super::intake::{Bounded, Failed, Intake, as_much_as_fits};
use super::refused::Refused;
use super::{answer, report, uploads};
use crate::http::{Reply, Request, Sent};
use crate::inbox::Sha;

pub(super) fn answer(shared: &Shared, request: &mut Request<'_>, reply: Reply<'_>, name: &Name) -> io::Result<Sent> {
    let wish = match Wish::of(shared, request, name) {
        Ok(wish) => wish,
        Err(refused) => return shared.refuse(request, reply, Some(name), refused),
    };
    if let Some(is_complete) = uploads::header_bool(request, "Upload-Complete") {
        return uploads::create(shared, request, reply, name, &wish, is_complete);
    }
    match receive(shared, request, &wish).and_then(|sealed| wish.publish(shared, request, name, sealed)) {
        Ok(published) => wish.reply(reply, name, published),
        Err(refused) => shared.refuse(request, reply, Some(name), refused),
    }
}

/// What a client wants of its file, beside its name.
pub(super) struct Wish {
    pub(super) announced: Option<Sha>,
    /// Whether the digest is told.
    pub(super) wants_digest: bool,
    pub(super) on_conflict: OnConflict,
    /// Whether there was a file of that name.
    replaces: bool,
}

impl Wish {
    /// Refuses what won't do whatever the body is.
    fn of(shared: &Shared, request: &Request<'_>, name: &Name) -> Result<Wish, Refused> {
        if request.header("Content-Range").is_some() {
            return Err(Refused::bad("a part of a file can't be put; see Upload-Complete in OPTIONS"));
        }
        let coding = request.header("Content-Encoding").unwrap_or("identity");
        if !coding.eq_ignore_ascii_case("identity") {
            return Err(Refused::new(415, "the body is encoded: send it as it is"));
        }
        let announced = digest::announced(request).map_err(Refused::bad)?;
        let mut on_conflict = shared.settings.on_conflict;
        if request.header("If-None-Match").is_some_and(|tags| tags.trim() == "*") {
            on_conflict = OnConflict::Reject;
        }
        let wish = Wish {
            announced,
            wants_digest: shared.settings.hash || digest::is_wanted(request),
            on_conflict,
            replaces: shared.has(name)?,
        };
        wish.check(shared, request, name)?;
        Ok(wish)
    }

    /// Whether the name may be taken, as things are now.
    fn check(&self, shared: &Shared, request: &Request<'_>, name: &Name) -> Result<(), Refused> {
        let now = shared.folder.read(name).ok().and_then(|file| Version::of(&file).ok());
        if !conditions::may_change(request, now.as_ref()) {
            return Err(Refused::new(412, "the file isn't what the request's conditions say"));
        }
        if self.on_conflict == OnConflict::Reject && shared.has(name)? { Err(Refused::taken()) } else { Ok(()) }
    }

    /// Whether the file's SHA-256 is needed.
    pub(super) fn hashes(&self) -> bool {
        self.wants_digest || self.announced.is_some()
    }

    /// Gives the file its name, if it is what was announced.
    pub(super) fn publish(
        &self,
        shared: &Shared,
        request: &Request<'_>,
        name: &Name,
        sealed: Sealed,
    ) -> Result<Published, Refused> {
        if self.announced.is_some() && self.announced != sealed.sha256() {
            return Err(Refused::bad("the file's SHA-256 isn't the one announced").of_type("digest-mismatching-values"));
        }
        // Somebody else may have been faster.
        self.check(shared, request, name)?;
        shared.publish(request, name, sealed, self.on_conflict)
    }

    /// Tells that the file is stored.
    pub(super) fn reply(&self, reply: Reply<'_>, sent_as: &Name, published: Published) -> io::Result<Sent> {
        let replaced = self.replaces && self.on_conflict == OnConflict::Replace;
        let status = if replaced { 200 } else { 201 };
        let mut reply = reply.status(status).header("Location", &report::url(published.name.as_str()));
        if let Some(sha) = published.sha256.filter(|_| self.wants_digest) {
            reply = reply.header("Repr-Digest", &sha.to_header());
        }
        let file: Value = report::file(sent_as.as_str(), None, &Ok(published), status);
        answer::json(reply, &file)
    }
}

fn receive(shared: &Shared, request: &mut Request<'_>, wish: &Wish) -> Result<Sealed, Refused> {
    let length = request.content_length();
    shared.check_file(length)?;
    shared.check_request(length)?;
    // Only looked at: the draft reserves what it needs.
    let claim = shared.space.claim(length)?;
    let mut draft = shared.folder.draft(length).map_err(|error| Refused::by_disk(&error))?;
    drop(claim);
    if wish.hashes() {
        draft.hash().map_err(|error| Refused::by_disk(&error))?;
    }
    let mut claim = shared.space.claim(None)?;
    let beyond = || shared.too_long();
    let mut intake =
        Intake { to: &mut draft, written: 0, claim: &mut claim, left_bytes: shared.file_limit(), beyond: &beyond };
    let next = as_much_as_fits();
    let mut body = Bounded::new(request.body(), shared.settings.max_request_bytes, &next);
    match intake.take_all(&mut body) {
        Ok(()) => draft.seal().map_err(|error| Refused::by_disk(&error)),
        Err(Failed::Body(error)) => Err(Refused::by_body(&error)),
        Err(Failed::Refused(refused)) => Err(refused),
    }
}

impl Shared {
    /// Whether something has the name.
    pub(super) fn has(&self, name: &Name) -> Result<bool, Refused> {
        self.folder.has(name).map_err(|error| Refused::by_disk(&error))
    }

    /// Gives a file its name, remembers its digest, and tells of it.
    pub(super) fn publish(
        &self,
        request: &Request<'_>,
        name: &Name,
        sealed: Sealed,
        on_conflict: OnConflict,
    ) -> Result<Published, Refused> {
        let published = sealed.publish(name, on_conflict).map_err(|error| Refused::by_disk(&error))?;
        if let Some(sha) = published.sha256
            && let Ok(version) = self.folder.read(&published.name).and_then(|file| Version::of(&file))
            && version.size == published.size
        {
            self.digests.learn(&version.etag, sha);
        }
        (self.told)(&Event::Stored { peer: request.peer(), name: published.name.as_str(), size: published.size });
        Ok(published)
    }
}
