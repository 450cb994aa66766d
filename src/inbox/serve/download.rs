//! `GET`, `HEAD` and `DELETE` of `/files/NAME`.

use std::fs::File;
use std::io;

use super::super::folder::Name;
use super::conditions::{self, Verdict, Version};
use super::digest;
use super::event::Event;
use super::file_header::attachment;
use super::inbox::Shared;
use super::range::{Asked, asked};
use super::refused::Refused;
use crate::http::{Reply, Request, Sent};

/// What is stored here came from strangers. It is downloaded, not shown; and
/// if a browser shows it all the same, it can do nothing there.
const STRANGERS: [(&str, &str); 5] = [
    ("Content-Type", "application/octet-stream"),
    ("Content-Security-Policy", "default-src 'none'; sandbox"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    // May be kept, but is asked about each time: a file can be replaced.
    ("Cache-Control", "private, no-cache"),
];

pub(super) fn answer(shared: &Shared, request: &Request<'_>, reply: Reply<'_>, name: &Name) -> io::Result<Sent> {
    match open(shared, name) {
        Ok((file, version)) => give(shared, request, reply, name, &file, &version),
        Err(refused) => refused.reply(reply),
    }
}

pub(super) fn open(shared: &Shared, name: &Name) -> Result<(File, Version), Refused> {
    let open = || {
        let file = shared.folder.read(name)?;
        let version = Version::of(&file)?;
        Ok((file, version))
    };
    open().map_err(|error: io::Error| Refused::by_disk(&error))
}

fn give(
    shared: &Shared,
    request: &Request<'_>,
    reply: Reply<'_>,
    name: &Name,
    file: &File,
    version: &Version,
) -> io::Result<Sent> {
    let reply = reply.header("ETag", &version.etag);
    match version.for_reading(request) {
        Verdict::Failed => {
            return Refused::new(412, "the file isn't what the request's conditions say").reply(reply);
        }
        Verdict::NotModified => {
            return reply.status(304).header("Cache-Control", "private, no-cache").send("");
        }
        Verdict::Proceed => {}
    }
    let range = request.header("Range").filter(|_| version.fits_range(request));
    let reply = reply.header("Last-Modified", &version.date()).header("Accept-Ranges", "bytes");
    let (status, offset, length) = match asked(range, version.size) {
        Asked::Whole => (200, 0, version.size),
        Asked::Part { first, last } => (206, first, last - first + 1),
        Asked::Nothing => {
            let refused = Refused::new(416, format!("the file has {} bytes", version.size));
            return refused.header("Content-Range", format!("bytes */{}", version.size)).reply(reply);
        }
    };
    let mut reply = reply.status(status).header("Content-Disposition", &attachment(name.as_str()));
    for (name, value) in STRANGERS {
        reply = reply.header(name, value);
    }
    if status == 206 {
        let range = format!("bytes {offset}-{}/{}", offset + length - 1, version.size);
        reply = reply.header("Content-Range", &range);
    }
    if digest::is_wanted(request) {
        let sha = shared.digests.of(file, &version.etag, request.stop())?;
        reply = reply.header("Repr-Digest", &sha.to_header());
    }
    reply.file(file, offset, length)
}

pub(super) fn delete(shared: &Shared, request: &Request<'_>, reply: Reply<'_>, name: &Name) -> io::Result<Sent> {
    let deleted = open(shared, name).and_then(|(_, version)| {
        if !conditions::may_change(request, Some(&version)) {
            return Err(Refused::new(412, "the file isn't what the request's conditions say"));
        }
        shared.folder.remove(name).map_err(|error| Refused::by_disk(&error))
    });
    match deleted {
        Ok(()) => {
            (shared.told)(&Event::Deleted { peer: request.peer(), name: name.as_str() });
            reply.status(204).send("")
        }
        Err(refused) => refused.reply(reply),
    }
}
