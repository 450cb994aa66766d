//! What is asked of an upload that has begun.

use std::io::{self, ErrorKind};

use super::super::super::folder::Kept;
use super::super::answer;
use super::super::inbox::Shared;
use super::super::intake::{Bounded, Failed, Intake, as_much_as_fits};
use super::super::refused::Refused;
use super::super::report;
use super::PARTIAL;
use super::create::{inconsistent, length_of};
use super::headers::{boolean, header_bool, header_integer, limits};
use super::record::{Done, Record};
use super::table::busy;
use crate::http::{Reply, Request, Sent};

type Headers = Vec<(&'static str, String)>;

/// How far it came. A request that is still at it is cut first, so that what is
/// told stays true.
pub(super) fn head(shared: &Shared, request: &Request<'_>, id: &str) -> Result<Headers, Refused> {
    let _turn = shared.uploads.turn(request, id)?;
    let record = record(shared, id)?;
    let mut headers = vec![("Upload-Limit", limits(shared))];
    let (offset, length) = match &record.done {
        Some(done) => {
            headers.push(("Content-Location", report::url(done.name.as_str())));
            headers.extend(done.sha256.map(|sha| ("Repr-Digest", sha.to_header())));
            (done.size, Some(done.size))
        }
        None => (synced(&kept(shared, id)?)?, record.length),
    };
    headers.push(("Upload-Offset", offset.to_string()));
    headers.push(("Upload-Complete", boolean(record.done.is_some())));
    headers.extend(length.map(|length| ("Upload-Length", length.to_string())));
    Ok(headers)
}

/// The client gives it up.
pub(super) fn cancel(shared: &Shared, request: &Request<'_>, id: &str) -> Result<Headers, Refused> {
    let _turn = shared.uploads.turn(request, id)?;
    record(shared, id)?;
    shared.folder.forget(id).map_err(|error| Refused::by_disk(&error))?;
    Ok(Vec::new())
}

/// More of it.
pub(super) fn patch(shared: &Shared, request: &mut Request<'_>, reply: Reply<'_>, id: &str) -> io::Result<Sent> {
    let turn = match shared.uploads.turn(request, id) {
        Ok(turn) => turn,
        Err(refused) => return refused.reply(reply),
    };
    let (record, kept, is_complete) = match prepare(shared, request, id) {
        Ok(prepared) => prepared,
        Err(refused) => return refused.reply(reply),
    };
    match append(shared, request, id, &record, kept, is_complete) {
        Ok(Appended::Whole(kept)) => finish(shared, request, reply, id, record, kept),
        Ok(Appended::Part(offset)) => {
            drop(turn);
            let reply = reply.status(204).header("Upload-Complete", &boolean(false));
            reply.header("Upload-Offset", &offset.to_string()).header("Cache-Control", "no-store").send("")
        }
        Err(refused) => {
            shared.refuse(request, reply, Some(&record.name), refused.header("Upload-Complete", boolean(false)))
        }
    }
}

/// Refuses what doesn't fit, before anything of the body is read.
fn prepare(shared: &Shared, request: &Request<'_>, id: &str) -> Result<(Record, Kept, bool), Refused> {
    let content_type = request.header("Content-Type").unwrap_or("").split(';').next().unwrap_or("").trim();
    if !content_type.eq_ignore_ascii_case(PARTIAL) {
        return Err(Refused::new(415, format!("send {PARTIAL} here")).header("Accept-Patch", PARTIAL));
    }
    let offset = header_integer(request, "Upload-Offset").ok_or_else(|| Refused::bad("there is no Upload-Offset"))?;
    let is_complete =
        header_bool(request, "Upload-Complete").ok_or_else(|| Refused::bad("there is no Upload-Complete"))?;
    let mut record = record(shared, id)?;
    if let Some(done) = &record.done {
        let refused = if request.content_length() == Some(0) {
            Refused::new(410, "the upload is complete").of_type("completed-upload")
        } else {
            inconsistent()
        };
        return Err(refused.header("Content-Location", report::url(done.name.as_str())));
    }
    let kept = kept(shared, id)?;
    if kept.written() != offset {
        let refused = Refused::new(409, "the offset isn't that of the upload").of_type("mismatching-upload-offset");
        let refused = refused.member("expected-offset", kept.written()).member("provided-offset", offset);
        return Err(refused.header("Upload-Offset", kept.written().to_string()));
    }
    let told = length_of(request, offset, is_complete)?;
    match (record.length, told) {
        (Some(known), Some(told)) if known != told => return Err(inconsistent()),
        (None, Some(told)) => {
            shared.check_file(Some(told))?;
            record.length = Some(told);
            shared.folder.write_record(id, &record.to_text()).map_err(|error| Refused::by_disk(&error))?;
        }
        _ => {}
    }
    let content = request.content_length();
    if content.zip(record.length).is_some_and(|(content, length)| offset.saturating_add(content) > length) {
        return Err(inconsistent());
    }
    shared.check_request(content)?;
    Ok((record, kept, is_complete))
}

/// What came of appending.
pub(super) enum Appended {
    /// All of it is there, and isn't published yet.
    Whole(Kept),
    /// So many bytes are there.
    Part(u64),
}

/// Appends a request's body. What came of one that is cut stays.
pub(super) fn append(
    shared: &Shared,
    request: &mut Request<'_>,
    id: &str,
    record: &Record,
    mut kept: Kept,
    is_complete: bool,
) -> Result<Appended, Refused> {
    let disk = |error: io::Error| Refused::by_disk(&error);
    let content = request.content_length();
    let mut claim = shared.space.claim(content)?;
    if is_complete && record.hashes() {
        kept.hash().map_err(disk)?;
    }
    let limit = record.length.unwrap_or_else(|| shared.file_limit());
    let beyond = || if record.length.is_some() { inconsistent() } else { shared.too_long() };
    let left_bytes = limit.saturating_sub(kept.written());
    let mut intake = Intake { written: kept.written(), to: &mut kept, claim: &mut claim, left_bytes, beyond: &beyond };
    let next = as_much_as_fits();
    let taken = intake.take_all(&mut Bounded::new(request.body(), shared.settings.max_request_bytes, &next));
    match taken {
        Ok(()) => {}
        Err(Failed::Body(error)) => {
            // Whoever comes back asks how far it came; syncing can wait until then.
            return Err(Refused::by_body(&error));
        }
        Err(Failed::Refused(refused)) => {
            if refused.status != 507 {
                // Longer than it may be: the draft wants it gone.
                shared.folder.forget(id).map_err(disk)?;
            }
            return Err(refused);
        }
    }
    if !is_complete {
        return synced(&kept).map(Appended::Part);
    }
    match record.length {
        Some(length) if length != kept.written() => Err(inconsistent()),
        _ => Ok(Appended::Whole(kept)),
    }
}

/// Gives the whole its name, and answers as a plain PUT would have been.
pub(super) fn finish(
    shared: &Shared,
    request: &Request<'_>,
    reply: Reply<'_>,
    id: &str,
    mut record: Record,
    kept: Kept,
) -> io::Result<Sent> {
    let sent_as = record.name.clone();
    let published = kept.seal().map_err(|error| Refused::by_disk(&error)).and_then(|sealed| {
        if record.announced.is_some() && record.announced != sealed.sha256() {
            return Err(Refused::bad("the file's SHA-256 isn't the one announced").of_type("digest-mismatching-values"));
        }
        shared.publish(request, &record.name, sealed, record.on_conflict(shared.settings.on_conflict))
    });
    let published = match published {
        Ok(published) => published,
        Err(refused) => {
            // The file is gone; a record alone is nothing to come back to.
            let _: io::Result<()> = shared.folder.forget(id);
            return shared.refuse(request, reply, Some(&sent_as), refused.header("Upload-Complete", boolean(true)));
        }
    };
    let sha256 = published.sha256.filter(|_| record.wants_digest);
    record.done = Some(Done { name: published.name.clone(), size: published.size, sha256 });
    // The file is stored whatever becomes of the record.
    if let Err(error) = shared.folder.write_record(id, &record.to_text()) {
        log::warn!("an upload's end isn't recorded: {error}");
    }
    let mut reply = reply
        .status(201)
        .header("Location", &report::url(published.name.as_str()))
        .header("Upload-Complete", &boolean(true))
        .header("Upload-Offset", &published.size.to_string());
    if let Some(sha) = sha256 {
        reply = reply.header("Repr-Digest", &sha.to_header());
    }
    answer::json(reply, &report::file(sent_as.as_str(), None, &Ok(published), 201))
}

fn record(shared: &Shared, id: &str) -> Result<Record, Refused> {
    let text = shared.folder.read_record(id).map_err(|error| missing(&error))?;
    Record::from_text(&text).ok_or_else(|| Refused::new(404, "there is no such upload"))
}

fn kept(shared: &Shared, id: &str) -> Result<Kept, Refused> {
    shared.folder.kept(id).map_err(|error| missing(&error))
}

fn missing(error: &io::Error) -> Refused {
    match error.kind() {
        ErrorKind::NotFound => Refused::new(404, "there is no such upload"),
        // Another server's, on the same folder.
        ErrorKind::WouldBlock => busy(),
        _ => Refused::by_disk(error),
    }
}

/// How many bytes of it survive a crash: all.
fn synced(kept: &Kept) -> Result<u64, Refused> {
    kept.sync().map_err(|error| Refused::by_disk(&error))?;
    Ok(kept.written())
}
