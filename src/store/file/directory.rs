//! The directory of a file store: found, made, proven to be ours, and held open.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, mkdirat, openat, statat};
use rustix::io::Errno;

use super::super::Error;

/// Where the default directory may be, in this order.
const BASES: [&str; 2] = ["/run/lock", "/tmp"];
const OTHERS_ANY: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;

/// A directory that was proven to be ours. All is done relative to its
/// descriptor, so that nobody can put another one in its place.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    fd: OwnedFd,
}

impl Directory {
    pub(super) fn open_default() -> Result<Directory, Error> {
        Directory::open_default_in(&BASES.map(Path::new))
    }

    /// Takes the first base that lets us have a directory in it. Goes on to the
    /// next only for reasons that are the same for every process of this user,
    /// or two of them would end up in different places.
    pub(super) fn open_default_in(bases: &[&Path]) -> Result<Directory, Error> {
        let name = format!("towpath-{}", rustix::process::geteuid().as_raw());
        for base in bases {
            let path = base.join(&name);
            match make(&path) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::PERM) => {}
                Err(error) => return Err(cannot_create(&path, error)),
                Ok(()) => return Directory::open_checked(&path, OTHERS_ANY),
            }
        }
        let tried: Vec<String> = bases.iter().map(|base| base.display().to_string()).collect();
        Err(Error::unreachable(format!("no place for locks in {}; name a directory as file:/DIR", tried.join(" or "))))
    }

    pub(super) fn open(path: &Path) -> Result<Directory, Error> {
        make(path).map_err(|error| cannot_create(path, error))?;
        Directory::open_checked(path, OTHERS_WRITE)
    }

    fn open_checked(path: &Path, forbidden: u32) -> Result<Directory, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty()).map_err(|error| cannot_open(path, error))?;
        let stat = fstat(&fd).map_err(|error| cannot_open(path, error))?;
        let me = rustix::process::geteuid().as_raw();
        if stat.st_uid != me {
            return Err(unusable(
                path,
                &format!("belongs to user {}, not to {me}; name a directory of your own as file:/DIR", stat.st_uid),
            ));
        }
        if stat.st_mode & forbidden != 0 {
            let whom = if forbidden == OTHERS_ANY { "is open to" } else { "can be written to by" };
            let mode = stat.st_mode & 0o7777;
            return Err(unusable(path, &format!("{whom} other users (mode {mode:04o}); chmod 700 it")));
        }
        Ok(Directory { path: path.to_owned(), fd })
    }

    /// One whose names can be changed, but not synced.
    #[cfg(test)]
    pub(super) fn that_cannot_be_synced(path: &Path) -> Directory {
        let fd = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        Directory { path: path.to_owned(), fd }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

/// Creates `path` if it isn't there.
fn make(path: &Path) -> Result<(), Errno> {
    match mkdirat(CWD, path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        // What is there may be ours even where the kernel would not let us create it.
        Err(_) if statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).is_ok() => Ok(()),
        Err(error) => Err(error),
    }
}

fn cannot_create(path: &Path, error: Errno) -> Error {
    let advice = match error {
        Errno::NOENT => "create the directory above it first",
        Errno::NOSPC | Errno::DQUOT => "its file system is full; make room there",
        Errno::ROFS => "its file system is read-only; name another directory as file:/DIR",
        Errno::ACCESS | Errno::PERM => "this user may not; name another directory as file:/DIR",
        _ => "name another directory as file:/DIR",
    };
    Error::unreachable(format!("cannot create the store directory {}; {advice}", path.display()))
        .because(io::Error::from(error))
}

fn cannot_open(path: &Path, error: Errno) -> Error {
    let found = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map(|stat| FileType::from_raw_mode(stat.st_mode));
    let what = match found {
        Ok(FileType::Symlink) => "is a symbolic link; name the directory it points to",
        Ok(FileType::Directory) => "can't be opened; look at its owner and mode",
        Ok(_) => "is no directory; name another one as file:/DIR",
        Err(_) => "can't be opened; name another one as file:/DIR",
    };
    unusable(path, what).because(io::Error::from(error))
}

fn unusable(path: &Path, what: &str) -> Error {
    Error::unreachable(format!("the store directory {} {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn own_name() -> String {
        format!("towpath-{}", rustix::process::geteuid().as_raw())
    }

    #[test]
    fn the_default_is_in_the_first_base_that_is_there() {
        let base = tempfile::tempdir().unwrap();
        let missing = base.path().join("missing");
        let opened = Directory::open_default_in(&[&missing, base.path()]).unwrap();
        assert_eq!(opened.path(), base.path().join(own_name()));
        let mode = std::fs::metadata(opened.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
        Directory::open_default_in(&[&missing, base.path()]).unwrap();
    }

    #[test]
    fn a_default_that_is_not_ours_alone_is_an_error_and_not_passed_over() {
        let spare = tempfile::tempdir().unwrap();
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join(own_name());
        let refusal = || Directory::open_default_in(&[base.path(), spare.path()]).unwrap_err().to_string();

        symlink(spare.path(), &path).unwrap();
        assert!(refusal().contains("is a symbolic link"), "{}", refusal());
        std::fs::remove_file(&path).unwrap();

        std::fs::write(&path, "").unwrap();
        assert!(refusal().contains("is no directory"), "{}", refusal());
        std::fs::remove_file(&path).unwrap();

        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o710)).unwrap();
        assert!(refusal().contains("mode 0710"), "{}", refusal());
    }

    #[test]
    fn the_places_that_the_guide_names() {
        assert_eq!(BASES, ["/run/lock", "/tmp"]);
    }
}
