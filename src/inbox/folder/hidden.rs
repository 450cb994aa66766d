//! Files that have no name yet, or a hidden one that nobody is shown.
//!
//! A hidden file is locked (`flock(2)`) by who writes it. The kernel lets go of
//! the lock when its process ends, however that ends: what isn't locked is a
//! leftover.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use super::name::HIDDEN;

/// The names of drafts. Longer than [`HIDDEN`], as there are hidden files that outlive us.
const DRAFT: &str = "draft-";

/// What files may be used by, as for any program that makes one: the umask decides.
pub(super) const MODE: Mode = Mode::from_raw_mode(0o666);

/// Whether a file can be written here before it has a name, and get one later.
pub(super) fn can_be_unnamed(folder: &OwnedFd) -> bool {
    // A descriptor is linked by its path below /proc.
    let linkable = rustix::fs::access("/proc/self/fd", rustix::fs::Access::EXISTS).is_ok();
    linkable && unnamed(folder).is_ok()
}

/// A file without a name.
pub(super) fn unnamed(folder: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(folder, c".", OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, MODE)
}

/// A file with a hidden name, locked.
pub(super) fn named(folder: &OwnedFd) -> io::Result<(OwnedFd, String)> {
    loop {
        let name = random_name()?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(folder, &name, flags, MODE) {
            Ok(fd) => fd,
            Err(Errno::EXIST) => continue,
            Err(error) => return Err(error.into()),
        };
        lock(&fd);
        // A sweeper may have come between the two.
        if rustix::fs::fstat(&fd)?.st_nlink > 0 {
            return Ok((fd, name));
        }
    }
}

/// A file with a hidden name that is left from one process to the next, locked.
pub(super) fn kept(folder: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    loop {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(folder, name, flags, MODE)?;
        rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
        // Its name may have gone to a final one between the two.
        let is_same = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|there| {
            rustix::fs::fstat(&fd).is_ok_and(|ours| (ours.st_ino, ours.st_dev) == (there.st_ino, there.st_dev))
        });
        if is_same {
            return Ok(fd);
        }
    }
}

/// Gives a file without a name a hidden one, so that it can take another's place.
pub(super) fn hide(folder: &OwnedFd, file: &File) -> io::Result<String> {
    lock(file);
    loop {
        let name = random_name()?;
        match link_unnamed(folder, file, &name) {
            Ok(()) => return Ok(name),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Gives a file without a name one that is free.
pub(super) fn link_unnamed(folder: &OwnedFd, file: &File, name: &str) -> rustix::io::Result<()> {
    use std::os::fd::AsRawFd;
    // By its path: AT_EMPTY_PATH asks for a capability before Linux 6.10.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(rustix::fs::CWD, &path, folder, name, AtFlags::SYMLINK_FOLLOW)
}

/// Gives a hidden file a name that is free.
pub(super) fn rename_to_free(folder: &OwnedFd, hidden: &str, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(folder, hidden, folder, name, RenameFlags::NOREPLACE) {
        // Not every file system can do it; those that can't mostly have links.
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::linkat(folder, hidden, folder, name, AtFlags::empty())?;
            rustix::fs::unlinkat(folder, hidden, AtFlags::empty())
        }
        renamed => renamed,
    }
}

/// Gives a hidden file a name, whoever had it before.
pub(super) fn rename_over(folder: &OwnedFd, hidden: &str, name: &str) -> rustix::io::Result<()> {
    rustix::fs::renameat(folder, hidden, folder, name)
}

/// Takes a hidden file away; there is nobody to tell if that fails.
pub(super) fn remove(folder: &OwnedFd, hidden: &str) {
    if let Err(error) = rustix::fs::unlinkat(folder, hidden, AtFlags::empty()) {
        log::warn!("a leftover stays behind: {hidden}: {error}");
    }
}

/// Removes what nobody has locked.
pub(super) fn sweep(folder: &OwnedFd) -> io::Result<usize> {
    let mut swept = 0;
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if is_draft(entry.file_name()) && is_left(folder, entry.file_name()) {
            swept += usize::from(rustix::fs::unlinkat(folder, entry.file_name(), AtFlags::empty()).is_ok());
        }
    }
    Ok(swept)
}

fn is_draft(name: &CStr) -> bool {
    name.to_bytes().strip_prefix(HIDDEN.as_bytes()).is_some_and(|rest| rest.starts_with(DRAFT.as_bytes()))
}

fn is_left(folder: &OwnedFd, name: &CStr) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
        .is_ok_and(|fd| rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok())
}

/// Where locks don't work, nobody can take it from us either: a sweeper leaves
/// alone what it can't lock.
fn lock(file: impl AsFd) {
    let _: rustix::io::Result<()> = rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive);
}

fn random_name() -> io::Result<String> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(format!("{HIDDEN}{DRAFT}{:016x}", u64::from_ne_bytes(bytes)))
}
