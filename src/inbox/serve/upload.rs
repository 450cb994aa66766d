//! `POST /upload`: files and fields of a form.
//!
//! All files are written before the first gets its name, and none does if the
//! body ends before its end.

use std::cell::Cell;
use std::io::{self, Read};

use serde_json::{Value, json};

use super::super::folder::{Name, OnConflict, Published, Sealed};
use super::inbox::Shared;
use super::intake::{Bounded, Failed, Intake, as_much_as_fits};
use super::refused::Refused;
use super::report::{self, Fate};
use super::space::Claim;
use super::{answer, digest};
use crate::clock::rfc3339;
use crate::form::{Boundary, InvalidBoundary, Limits, Part, Reader};
use crate::http::{Method, Reply, Request, Sent};

/// What the fields of a form that are kept may have together, in bytes.
const FIELDS_BYTES: usize = 1024 * 1024;

pub(super) fn answer(shared: &Shared, request: &mut Request<'_>, reply: Reply<'_>) -> io::Result<Sent> {
    match request.method() {
        Method::Post => {}
        Method::Options => return answer::options(reply, "POST, OPTIONS"),
        _ => return Refused::no_method("POST, OPTIONS").reply(reply),
    }
    let mut form = Form::default();
    match receive(shared, request, &mut form) {
        Ok(()) if form.files.is_empty() => {
            let refused = Refused::bad("the form has no file: no part has a filename");
            shared.refuse(request, reply, None, refused)
        }
        Ok(()) => publish(shared, request, reply, form),
        Err(refused) => {
            shared.tell_refused(request, None, &refused);
            let unstored = |file: &File| json!({ "field": file.field, "name": file.sent_as, "error": "not stored" });
            let files: Vec<Value> = form.files.iter().map(unstored).collect();
            refused.member("files", files).reply(reply)
        }
    }
}

/// What came of a form.
#[derive(Default)]
struct Form {
    files: Vec<File>,
    fields: Vec<Value>,
    fields_bytes: usize,
}

/// A file of it, written or refused.
struct File {
    field: String,
    sent_as: String,
    written: Result<(Name, Sealed), Refused>,
}

fn receive(shared: &Shared, request: &mut Request<'_>, form: &mut Form) -> Result<(), Refused> {
    let boundary = boundary_of(request)?;
    let length = request.content_length();
    shared.check_request(length)?;
    let mut claim = shared.space.claim(length)?;
    let hashes = shared.settings.hash || digest::is_wanted(request);
    let next = as_much_as_fits();
    let body = Bounded::new(request.body(), shared.settings.max_request_bytes, &next);
    let mut reader = Reader::new(body, boundary, Limits::default());
    while let Some(part) = reader.next_part().map_err(|error| Refused::by_form(&error))? {
        let Some(sent_as) = part.file_name().map(str::to_owned) else {
            form.field(shared, part)?;
            continue;
        };
        if form.files.len() == shared.settings.max_files {
            return Err(Refused::new(413, format!("a form may have {} files at most", shared.settings.max_files)));
        }
        let field = part.name().to_owned();
        let written = match write(shared, part, &sent_as, &mut claim, hashes, &next) {
            Ok(written) => Ok(written),
            // The part's rest is read over; the other files can still be had.
            Err(Failed::Refused(refused)) => Err(refused),
            Err(Failed::Body(error)) => {
                form.files.push(File { field, sent_as, written: Err(Refused::bad("the body was cut")) });
                return Err(match crate::form::Error::inside(&error) {
                    Some(inside) => Refused::by_form(inside),
                    None => Refused::by_body(&error),
                });
            }
        };
        form.files.push(File { field, sent_as, written });
    }
    Ok(())
}

fn boundary_of(request: &Request<'_>) -> Result<Boundary, Refused> {
    let content_type = request.header("Content-Type").unwrap_or("");
    Boundary::from_content_type(content_type).map_err(|error| match error {
        InvalidBoundary::NotFormData => Refused::new(415, "send multipart/form-data here, or PUT /files/NAME"),
        error => Refused::bad(error.to_string()),
    })
}

fn write<R: Read>(
    shared: &Shared,
    mut part: Part<'_, R>,
    sent_as: &str,
    claim: &mut Claim<'_>,
    hashes: bool,
    next: &Cell<usize>,
) -> Result<(Name, Sealed), Failed> {
    let disk = |error: io::Error| Failed::Refused(Refused::by_disk(&error));
    let name = Name::parse(sent_as).map_err(|error| Failed::Refused(Refused::bad(error.to_string())))?;
    if shared.settings.on_conflict == OnConflict::Reject && shared.has(&name).map_err(Failed::Refused)? {
        return Err(Failed::Refused(Refused::taken()));
    }
    let mut draft = shared.folder.draft(None).map_err(disk)?;
    if hashes {
        draft.hash().map_err(disk)?;
    }
    let beyond = || shared.too_long();
    let mut intake = Intake { to: &mut draft, written: 0, claim, left_bytes: shared.file_limit(), beyond: &beyond };
    intake.take_lent(&mut part, next)?;
    Ok((name, draft.seal().map_err(disk)?))
}

impl Form {
    /// A field that is no file: kept if it is to be, else read over.
    fn field<R: Read>(&mut self, shared: &Shared, part: Part<'_, R>) -> Result<(), Refused> {
        if !shared.settings.keep_fields {
            return Ok(());
        }
        let name = part.name().to_owned();
        let value = part.text().map_err(|error| Refused::by_form(&error))?;
        self.fields_bytes += name.len() + value.len();
        if self.fields_bytes > FIELDS_BYTES {
            return Err(Refused::too_long("the fields of a form", FIELDS_BYTES as u64));
        }
        self.fields.push(json!({ "name": name, "value": value }));
        Ok(())
    }
}

fn publish(shared: &Shared, request: &Request<'_>, reply: Reply<'_>, form: Form) -> io::Result<Sent> {
    let Form { files, fields, .. } = form;
    let mut fates: Vec<Fate> = Vec::with_capacity(files.len());
    let mut reports = Vec::with_capacity(files.len());
    for File { field, sent_as, written } in files {
        let fate = written
            .and_then(|(name, sealed)| shared.publish(request, &name, sealed, shared.settings.on_conflict))
            .and_then(|published| keep_fields(shared, &fields, published));
        if let Err(refused) = &fate {
            shared.tell_refused(request, Some(&sent_as), refused);
        }
        reports.push(report::file(&sent_as, Some(&field), &fate, 201));
        fates.push(fate);
    }
    answer::json(reply.status(report::status(fates.iter())), &json!({ "files": reports }))
}

/// Records the fields beside the file.
fn keep_fields(shared: &Shared, fields: &[Value], published: Published) -> Fate {
    if fields.is_empty() {
        return Ok(published);
    }
    let told = |what: String| Refused::new(500, format!("the file is stored, its fields are not: {what}"));
    let name = format!("{}.fields.json", published.name);
    let name = Name::parse(&name).map_err(|error| told(error.to_string()))?;
    let received = rfc3339(std::time::SystemTime::now());
    let record = json!({ "file": published.name.as_str(), "received": received, "fields": fields });
    let on_conflict = match shared.settings.on_conflict {
        OnConflict::Replace => OnConflict::Replace,
        OnConflict::Reject | OnConflict::Rename => OnConflict::Rename,
    };
    let write = || -> io::Result<Published> {
        let mut draft = shared.folder.draft(None)?;
        io::Write::write_all(&mut draft, format!("{record:#}\n").as_bytes())?;
        draft.publish(&name, on_conflict)
    };
    match write() {
        Ok(_) => Ok(published),
        Err(error) => Err(told(error.to_string())),
    }
}
