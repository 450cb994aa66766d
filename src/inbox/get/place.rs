//! Where the bytes go: a draft that is kept for the next try, or a stream.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::fetch::To;
use crate::inbox::Sha;
use crate::inbox::digest::{Hashing, Lane};
use crate::inbox::folder::{Draft, Folder, Name, OnConflict, Published};

/// What is known of the version of which a part is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) validator: Option<String>,
    pub(super) total: Option<u64>,
}

/// A place for one file.
pub(super) enum Place {
    Folder(Kept),
    Stream(Passing),
}

/// A part in a directory, and a note beside it of what it is a part of.
pub(super) struct Kept {
    pub(super) directory: PathBuf,
    pub(super) folder: Folder,
    /// The name that was asked for, if one was.
    pub(super) name: Option<Name>,
    draft: Draft,
    note: String,
    version: Version,
}

/// Bytes that are gone once they are written.
pub(super) struct Passing {
    out: Box<dyn Write + Send>,
    passed: u64,
    hash: Option<(Hashing, Lane)>,
    version: Version,
}

impl Place {
    /// Opens the place, with what is there of an earlier try.
    pub(super) fn open(to: &To, url: &str, verify: bool) -> io::Result<Place> {
        let (directory, name) = match to {
            To::Directory(directory) => (directory.clone(), None),
            To::File(path) => (parent(path), Some(last(path)?)),
            To::Stream(out) => return Passing::new(out.take()?, verify).map(Place::Stream),
        };
        let folder = Folder::open(&directory)?;
        let part = format!(".towpath-part-{}", key(url, name.as_ref()));
        let draft = match Draft::kept(&folder, &part) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(error.kind(), "another process is fetching the same to there"));
            }
            draft => draft?,
        };
        let note = format!("{part}.json");
        let mut kept = Kept { directory, folder, name, draft, note, version: Version::default() };
        kept.take_up(verify)?;
        Ok(Place::Folder(kept))
    }

    /// How much is there, and of what.
    pub(super) fn have(&self) -> (u64, &Version) {
        match self {
            Place::Folder(kept) => (kept.draft.written(), &kept.version),
            Place::Stream(passing) => (passing.passed, &passing.version),
        }
    }

    /// Begins with nothing of this version. A stream can't once something is through.
    pub(super) fn begin(&mut self, version: Version, verify: bool) -> io::Result<()> {
        match self {
            Place::Folder(kept) => kept.begin(version, verify),
            Place::Stream(passing) if passing.passed == 0 => {
                passing.version = version;
                Ok(())
            }
            Place::Stream(_) => Err(io::Error::other("what is printed can't be taken back")),
        }
    }

    /// How long the whole is, which an answer with a part of it has said.
    pub(super) fn set_total(&mut self, total: Option<u64>) {
        match self {
            Place::Folder(kept) => kept.version.total = total,
            Place::Stream(passing) => passing.version.total = total,
        }
    }

    /// Whether it could begin again.
    pub(super) fn can_begin(&self) -> bool {
        match self {
            Place::Folder(_) => true,
            Place::Stream(passing) => passing.passed == 0,
        }
    }

    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Place::Folder(kept) => kept.draft.write_all(bytes),
            Place::Stream(passing) => {
                passing.out.write_all(bytes)?;
                passing.passed += bytes.len() as u64;
                if let Some((_, lane)) = &passing.hash {
                    lane.feed(bytes);
                }
                Ok(())
            }
        }
    }

    /// Leaves a part for the next time if that can go on, else nothing. Whether it did.
    pub(super) fn leave(self) -> bool {
        match self {
            Place::Folder(kept) if kept.draft.written() > 0 && kept.version.validator.is_some() => {
                kept.draft.leave();
                true
            }
            Place::Folder(kept) => {
                kept.remove_note();
                false
            }
            Place::Stream(_) => false,
        }
    }
}

impl Kept {
    /// Reads the note of an earlier try; without one that holds, its bytes are of no use.
    fn take_up(&mut self, verify: bool) -> io::Result<()> {
        let noted = self.read_note().unwrap_or_default();
        if noted.validator.is_none() {
            self.draft.restart(None)?;
        } else if let Some(total) = noted.total.filter(|total| self.draft.written() >= *total) {
            // All of it was there: one byte is asked for, so that the server says what it is.
            self.draft.shorten(total.saturating_sub(1))?;
        }
        self.version = noted;
        if verify { self.draft.hash() } else { Ok(()) }
    }

    fn begin(&mut self, version: Version, verify: bool) -> io::Result<()> {
        self.remove_note();
        self.draft.restart(version.total)?;
        if version.validator.is_some() {
            self.write_note(&version)?;
        }
        self.version = version;
        if verify { self.draft.hash() } else { Ok(()) }
    }

    pub(super) fn announce(&mut self, total: Option<u64>) -> io::Result<()> {
        self.draft.announce(total)
    }

    /// Says that it is whole; its hash, if one was taken.
    pub(super) fn seal(self) -> io::Result<Sealed> {
        self.remove_note();
        let sealed = self.draft.seal()?;
        Ok(Sealed { sealed, directory: self.directory, name: self.name })
    }

    /// Drops the part, and what is noted of it.
    pub(super) fn discard(self) {
        self.remove_note();
    }

    fn read_note(&self) -> Option<Version> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: File = rustix::fs::openat(self.folder.fd(), &self.note, flags, Mode::empty()).ok()?.into();
        let mut text = String::new();
        file.take(64 * 1024).read_to_string(&mut text).ok()?;
        let note: Value = serde_json::from_str(&text).ok()?;
        // After a crash of the host, bytes may be missing in the middle of what has its length.
        if note.get("boot")?.as_str()? != boot()? {
            return None;
        }
        let validator = note.get("validator")?.as_str()?.to_owned();
        Some(Version { validator: Some(validator), total: note.get("total").and_then(Value::as_u64) })
    }

    fn write_note(&self, version: &Version) -> io::Result<()> {
        let note = json!({ "validator": version.validator, "total": version.total, "boot": boot() });
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let mut file: File = rustix::fs::openat(self.folder.fd(), &self.note, flags, mode)?.into();
        file.write_all(note.to_string().as_bytes())
    }

    fn remove_note(&self) {
        // It may not be there; what is left behind is overwritten by the next.
        let _: rustix::io::Result<()> = rustix::fs::unlinkat(self.folder.fd(), &self.note, AtFlags::empty());
    }
}

/// A whole file without its name.
pub(super) struct Sealed {
    sealed: crate::inbox::folder::Sealed,
    directory: PathBuf,
    pub(super) name: Option<Name>,
}

impl Sealed {
    pub(super) fn sha256(&self) -> Option<Sha> {
        self.sealed.sha256()
    }

    pub(super) fn publish(self, name: &Name, on_conflict: OnConflict) -> io::Result<(PathBuf, Published)> {
        let published = self.sealed.publish(name, on_conflict)?;
        Ok((self.directory.join(published.name.as_str()), published))
    }
}

impl Passing {
    fn new(out: Box<dyn Write + Send>, verify: bool) -> io::Result<Passing> {
        let hashing = verify.then(Hashing::start).transpose()?;
        let hash = hashing.map(|hashing| {
            let lane = hashing.lane();
            (hashing, lane)
        });
        Ok(Passing { out, passed: 0, hash, version: Version::default() })
    }

    /// Says that it is whole; its hash, if one was taken.
    pub(super) fn finish(mut self) -> io::Result<Option<Sha>> {
        self.out.flush()?;
        let Some((hashing, lane)) = self.hash else { return Ok(None) };
        lane.end();
        drop(lane);
        Ok(hashing.finish()?.pop())
    }
}

/// Different URLs, and different names for one, have different parts.
fn key(url: &str, name: Option<&Name>) -> String {
    let name = name.map_or("", Name::as_str);
    let digest = Sha256::new().chain_update(url).chain_update([0]).chain_update(name).finalize();
    digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

fn boot() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn last(path: &Path) -> io::Result<Name> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| invalid("the path doesn't end in a file name in UTF-8".to_owned()))?;
    Name::parse(name).map_err(|error| invalid(error.to_string()))
}
