//! The files of a `multipart/form-data` reply: all of them, or none.

use std::io::{self, Read};
use std::path::Path;

use super::error::GetError;
use super::fetch::{Fetch, Fetched, FetchedFile};
use super::named::strangers;
use crate::client::{Reply, Target};
use crate::form::{Boundary, Limits, Part, Reader};
use crate::inbox::Meter;
use crate::inbox::folder::{Folder, Name, OnConflict, Published, Sealed};
use crate::thread::Stop;

/// As much may follow the final delimiter, and means nothing.
const EPILOGUE_BYTES: u64 = 64 * 1024;

/// Takes the form apart. Nothing has a name before its final delimiter and the
/// end of the answer were seen; if a name can't be given then, those that were
/// are taken back. What was replaced can't be.
pub(super) fn take(
    fetch: &Fetch,
    reply: &mut Reply,
    at: &Target,
    directory: &Path,
    (meter, stop): (&Meter, &Stop),
) -> Result<Fetched, GetError> {
    let target = at.to_string();
    let unwritable = |source| GetError::File { path: directory.to_owned(), source };
    let folder = Folder::open(directory).map_err(unwritable)?;
    let boundary = Boundary::from_content_type(reply.header("content-type").unwrap_or_default())
        .map_err(|error| GetError::Garbled { target: target.clone(), what: error.to_string() })?;
    meter.begin(0, reply.length());
    let limits = Limits { parts: fetch.max_files, ..Limits::default() };
    let mut body = Counted { reply, meter, stop, left: fetch.max_bytes };
    let mut fetched = Fetched::default();
    let mut drafts: Vec<(Name, Sealed)> = Vec::new();
    let mut reader = Reader::new(&mut body, boundary, limits);
    let broken = |source: crate::form::Error| match source.kind() {
        crate::form::ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            GetError::TooLarge { target: target.clone(), limit: fetch.max_bytes.unwrap_or(0) }
        }
        _ => GetError::Form { target: target.clone(), source },
    };
    while let Some(part) = reader.next_part().map_err(broken)? {
        match part.file_name().map(str::to_owned) {
            None => {
                let name = part.name().to_owned();
                fetched.fields.push((name, part.text().map_err(broken)?));
            }
            Some(sent) => {
                let name = strangers(&sent).ok_or_else(|| GetError::Garbled {
                    target: target.clone(),
                    what: format!("a file is called {sent:?}"),
                })?;
                meter.set_name(name.as_str());
                if fetch.on_conflict == OnConflict::Replace && drafts.iter().any(|(other, _)| *other == name) {
                    // The one would take the other's place.
                    let what = format!("two files are called {:?}", name.as_str());
                    return Err(GetError::Garbled { target, what });
                }
                let sealed = file(&folder, part, fetch.verify, &broken, &unwritable)?;
                drafts.push((name, sealed));
            }
        }
    }
    drop(reader);
    // The answer's own end, too: its last chunk, or its length.
    let rest = io::copy(&mut (&mut body).take(EPILOGUE_BYTES), &mut io::sink());
    rest.map_err(|error| GetError::Cut { target: target.clone(), bytes: meter.moved(), kept: false, source: error })?;
    fetched.files = publish(fetch, &folder, directory, drafts)?;
    Ok(fetched)
}

fn file<R: Read>(
    folder: &Folder,
    mut part: Part<'_, R>,
    verify: bool,
    broken: &dyn Fn(crate::form::Error) -> GetError,
    unwritable: &dyn Fn(io::Error) -> GetError,
) -> Result<Sealed, GetError> {
    use std::io::{BufRead, Write};
    let mut draft = folder.draft(None).map_err(unwritable)?;
    if verify {
        draft.hash().map_err(GetError::Hash)?;
    }
    loop {
        let lent = match part.fill_buf() {
            Ok(lent) => lent,
            Err(error) => {
                return Err(match error.downcast::<crate::form::Error>() {
                    Ok(error) => broken(error),
                    Err(error) => broken(crate::form::Error::from_io(error)),
                });
            }
        };
        if lent.is_empty() {
            return draft.seal().map_err(unwritable);
        }
        let len = draft.write(lent).or_else(|error| match error.kind() {
            io::ErrorKind::Interrupted => Ok(0),
            _ => Err(unwritable(error)),
        })?;
        part.consume(len);
    }
}

/// Gives each its name; if one can't have it, those before lose theirs.
fn publish(
    fetch: &Fetch,
    folder: &Folder,
    directory: &Path,
    drafts: Vec<(Name, Sealed)>,
) -> Result<Vec<FetchedFile>, GetError> {
    let mut done: Vec<Published> = Vec::new();
    for (name, sealed) in drafts {
        match sealed.publish(&name, fetch.on_conflict) {
            Ok(published) => done.push(published),
            Err(source) => {
                if fetch.on_conflict != OnConflict::Replace {
                    for published in done {
                        // What can't be taken back stays: it is whole.
                        let _: io::Result<()> = folder.remove(&published.name);
                    }
                }
                return Err(GetError::File { path: directory.join(name.as_str()), source });
            }
        }
    }
    Ok(done
        .into_iter()
        .map(|published| FetchedFile {
            path: Some(directory.join(published.name.as_str())),
            bytes: published.size,
            had: 0,
            sha256: published.sha256,
            is_verified: false,
        })
        .collect())
}

/// The body, counted and limited.
struct Counted<'c> {
    reply: &'c mut Reply,
    meter: &'c Meter,
    stop: &'c Stop,
    left: Option<u64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_set() {
            return Err(io::Error::other("stopped"));
        }
        let len = self.reply.read(buf)?;
        self.meter.add(len as u64);
        if let Some(left) = &mut self.left {
            match left.checked_sub(len as u64) {
                Some(now) => *left = now,
                None => return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more came than is allowed")),
            }
        }
        Ok(len)
    }
}
