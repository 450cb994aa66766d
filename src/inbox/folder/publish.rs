//! A file gets its name: in one step, or not at all.

use std::fs::File;
use std::io::{self, ErrorKind};

use rustix::io::Errno;

use super::draft::Hidden;
use super::hidden;
use super::name::Name;
use super::root::Folder;
use crate::inbox::Sha;

/// So many numbers are tried for a name that is taken.
const NUMBERS: u32 = 10_000;

/// What to do when something already has the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// Leave it, and don't publish. The default.
    #[default]
    Reject,
    /// Publish under the next free name: `report (1).csv`.
    Rename,
    /// Take its place. It is there, whole, until then.
    Replace,
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The name it got, which is another than was asked for only with
    /// [`OnConflict::Rename`].
    pub name: Name,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, if it was taken.
    pub sha256: Option<Sha>,
}

/// A file that is written to its end and has no name yet, from
/// [`Draft::seal`](super::Draft::seal). Dropped, it is gone.
#[derive(Debug)]
#[must_use = "a sealed file that isn't published is gone"]
pub struct Sealed {
    folder: Folder,
    file: File,
    hidden: Option<Hidden>,
    size: u64,
    sha256: Option<Sha>,
}

impl Sealed {
    pub(super) fn new(folder: Folder, file: File, hidden: Option<Hidden>, size: u64, sha256: Option<Sha>) -> Sealed {
        Sealed { folder, file, hidden, size, sha256 }
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its SHA-256, if it was taken.
    pub fn sha256(&self) -> Option<Sha> {
        self.sha256
    }

    /// Syncs it to the disk, gives it its name in one step, and syncs the
    /// folder. When this returns, it survives a crash of the host.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken and isn't to be replaced;
    /// `IsADirectory` if a folder has it; what the disk says. Nothing is
    /// published then. The one exception: if only the last step failed, the
    /// folder's sync, a replaced file stays replaced.
    pub fn publish(self, name: &Name, on_conflict: OnConflict) -> io::Result<Published> {
        let (folder, size, sha256) = (self.folder.clone(), self.size, self.sha256);
        self.file.sync_all()?;
        let name = match on_conflict {
            OnConflict::Reject => self.link(name)?,
            OnConflict::Rename => self.link_renamed(name)?,
            OnConflict::Replace => self.replace(name.as_str()).map(|()| name.clone())?,
        };
        if let Err(error) = folder.sync() {
            if on_conflict != OnConflict::Replace {
                hidden::remove(folder.fd(), name.as_str());
            }
            return Err(error);
        }
        Ok(Published { name, size, sha256 })
    }

    /// As [`publish`](Sealed::publish), under a hidden name, whoever had it.
    pub(super) fn publish_hidden(self, name: &str) -> io::Result<()> {
        let folder = self.folder.clone();
        self.file.sync_all()?;
        self.replace(name)?;
        folder.sync()
    }

    fn link(mut self, name: &Name) -> io::Result<Name> {
        match self.try_link(name) {
            Ok(()) => Ok(name.clone()),
            Err(Errno::EXIST) => Err(taken()),
            Err(error) => Err(error.into()),
        }
    }

    fn link_renamed(mut self, name: &Name) -> io::Result<Name> {
        let candidates = std::iter::once(name.clone()).chain((1..=NUMBERS).map(|number| name.numbered(number)));
        for candidate in candidates {
            match self.try_link(&candidate) {
                Ok(()) => return Ok(candidate),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::Error::new(ErrorKind::AlreadyExists, format!("{NUMBERS} files have that name and a number")))
    }

    fn try_link(&mut self, name: &Name) -> rustix::io::Result<()> {
        match &self.hidden {
            None => hidden::link_unnamed(self.folder.fd(), &self.file, name.as_str()),
            Some(hidden) => {
                hidden::rename_to_free(self.folder.fd(), hidden.name(), name.as_str())?;
                self.hidden.take().into_iter().for_each(Hidden::renamed);
                Ok(())
            }
        }
    }

    /// By way of a hidden name: only a rename takes another's place in one step.
    fn replace(self, name: &str) -> io::Result<()> {
        let hidden = match self.hidden {
            Some(hidden) => hidden,
            None => Hidden::new(&self.folder, hidden::hide(self.folder.fd(), &self.file)?),
        };
        hidden::rename_over(self.folder.fd(), hidden.name(), name)?;
        hidden.renamed();
        Ok(())
    }
}

fn taken() -> io::Error {
    io::Error::new(ErrorKind::AlreadyExists, "a file of that name is there already")
}
