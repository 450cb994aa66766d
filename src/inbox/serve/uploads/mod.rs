//! Uploads that go on where they were cut: "Resumable Uploads for HTTP"
//! (draft-ietf-httpbis-resumable-upload), for `PUT /files/NAME`.
//!
//! A PUT with `Upload-Complete` makes an upload resource, `/uploads/ID`; its
//! client asks it how far it came (HEAD), appends (PATCH), or gives up (DELETE).
//! What came is in a hidden file of the folder, so it survives the server. A
//! request for an upload cuts the one before it, which its client has given up.

mod append;
mod create;
mod headers;
mod record;
mod table;

use std::io;

use super::answer::options as plain_options;
use super::inbox::Shared;
use super::refused::Refused;
use crate::http::{Method, Reply, Request, Sent};

pub(super) use create::create;
pub(super) use headers::header_bool;
pub(super) use table::Uploads;

/// What a client that only appends sends as Content-Type.
const PARTIAL: &str = "application/partial-upload";

/// A request for an upload resource.
pub(super) fn answer(shared: &Shared, request: &mut Request<'_>, reply: Reply<'_>, id: &str) -> io::Result<Sent> {
    let answered = match request.method() {
        Method::Head => append::head(shared, request, id),
        Method::Patch => return append::patch(shared, request, reply, id),
        Method::Delete => append::cancel(shared, request, id),
        Method::Options => return plain_options(reply.header("Accept-Patch", PARTIAL), "HEAD, PATCH, DELETE, OPTIONS"),
        _ => Err(Refused::no_method("HEAD, PATCH, DELETE, OPTIONS")),
    };
    match answered {
        Err(refused) => refused.reply(reply),
        Ok(headers) => {
            let mut reply = reply.status(204).header("Cache-Control", "no-store");
            for (name, value) in headers {
                reply = reply.header(name, &value);
            }
            reply.send("")
        }
    }
}

/// What a client learns before it begins: that uploads can go on, and the limits.
pub(super) fn options(shared: &Shared, reply: Reply<'_>) -> io::Result<Sent> {
    let reply = reply.header("Accept-Patch", PARTIAL).header("Upload-Limit", &headers::limits(shared));
    plain_options(reply, shared.methods())
}
