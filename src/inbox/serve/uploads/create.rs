//! The first request of an upload.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

use super::super::super::folder::{Kept, Name, OnConflict};
use super::super::inbox::Shared;
use super::super::put::Wish;
use super::super::refused::Refused;
use super::append::{Appended, append, finish};
use super::headers::{boolean, header_integer, limits};
use super::record::Record;
use crate::http::{Reply, Request, Sent};

/// A PUT that has `Upload-Complete`.
pub(in super::super) fn create(
    shared: &Shared,
    request: &mut Request<'_>,
    reply: Reply<'_>,
    name: &Name,
    wish: &Wish,
    is_complete: bool,
) -> io::Result<Sent> {
    let (id, record, kept) = match begin(shared, request, name, wish, is_complete) {
        Ok(begun) => begun,
        Err(refused) => return shared.refuse(request, reply, Some(name), refused),
    };
    let turn = match shared.uploads.turn(request, &id) {
        Ok(turn) => turn,
        Err(refused) => return shared.refuse(request, reply, Some(name), refused),
    };
    let (location, limit) = (format!("/uploads/{id}"), limits(shared));
    reply.inform(
        104,
        "Upload Resumption Supported",
        &[("Location", location.as_str()), ("Upload-Limit", limit.as_str())],
    )?;
    match append(shared, request, &id, &record, kept, is_complete) {
        Ok(Appended::Whole(kept)) => finish(shared, request, reply, &id, record, kept),
        Ok(Appended::Part(offset)) => {
            drop(turn);
            reply
                .status(201)
                .header("Location", &location)
                .header("Upload-Limit", &limit)
                .header("Upload-Complete", &boolean(false))
                .header("Upload-Offset", &offset.to_string())
                .header("Cache-Control", "no-store")
                .send("")
        }
        Err(refused) => {
            let refused = refused.header("Location", location).header("Upload-Complete", boolean(false));
            shared.refuse(request, reply, Some(name), refused)
        }
    }
}

fn begin(
    shared: &Shared,
    request: &Request<'_>,
    name: &Name,
    wish: &Wish,
    is_complete: bool,
) -> Result<(String, Record, Kept), Refused> {
    let length = length_of(request, 0, is_complete)?;
    shared.check_file(length.or(request.content_length()))?;
    shared.check_request(request.content_length())?;
    shared.uploads.check_room()?;
    // What isn't there now may be when it is needed; but why begin.
    drop(shared.space.claim(length)?);
    let record = Record {
        name: name.clone(),
        length,
        announced: wish.announced,
        wants_digest: wish.wants_digest,
        is_new: wish.on_conflict == OnConflict::Reject && shared.settings.on_conflict != OnConflict::Reject,
        done: None,
    };
    let id = new_id().map_err(|error| Refused::by_disk(&error))?;
    let keep = || {
        shared.folder.write_record(&id, &record.to_text())?;
        shared.folder.keep(&id)
    };
    match keep() {
        Ok(kept) => Ok((id, record, kept)),
        Err(error) => {
            // The refusal says what matters.
            let _: io::Result<()> = shared.folder.forget(&id);
            Err(Refused::by_disk(&error))
        }
    }
}

/// The length of the whole, as far as a request tells it in its two ways.
pub(super) fn length_of(request: &Request<'_>, offset: u64, is_complete: bool) -> Result<Option<u64>, Refused> {
    let told = header_integer(request, "Upload-Length");
    let content = request.content_length();
    let known = content.filter(|_| is_complete).map(|content| offset.saturating_add(content));
    let overflows = told.zip(content).is_some_and(|(told, content)| offset.saturating_add(content) > told);
    match (told, known) {
        (Some(told), Some(known)) if told != known => Err(inconsistent()),
        _ if overflows => Err(inconsistent()),
        _ => Ok(told.or(known)),
    }
}

pub(super) fn inconsistent() -> Refused {
    Refused::bad("the lengths that were given for this upload don't fit").of_type("inconsistent-upload-length")
}

/// 128 random bits: who knows an upload's address may write to it.
fn new_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
