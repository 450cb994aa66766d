//! What is in a folder.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use super::name::Name;

/// A file in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Name,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last changed.
    pub modified: SystemTime,
}

pub(super) fn list(folder: &OwnedFd) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().ok().and_then(|name| Name::parse(name).ok()) else { continue };
        let stat = match rustix::fs::statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // It went while we were looking.
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            entries.push(Entry { name, size, modified: moment(stat.st_mtime, stat.st_mtime_nsec) });
        }
    }
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The time of a file, which may lie before 1970.
pub(super) fn moment(seconds: i64, nanoseconds: impl TryInto<u32>) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let whole = if seconds < 0 { SystemTime::UNIX_EPOCH - whole } else { SystemTime::UNIX_EPOCH + whole };
    whole + Duration::from_nanos(nanoseconds.try_into().unwrap_or(0).into())
}
