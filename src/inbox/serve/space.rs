//! Free space on the disk, and who has been promised how much of it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::folder::Folder;
use super::refused::Refused;
use super::settings::KeepFree;

/// So much is written between two looks at the disk.
const LOOK_EVERY_BYTES: u64 = 16 * 1024 * 1024;

/// The space of a folder.
#[derive(Debug)]
pub(super) struct Space {
    folder: Folder,
    keep_free_bytes: u64,
    /// To requests whose length is known, and which they haven't written yet.
    promised: AtomicU64,
}

/// A share of the space, given back when dropped.
#[derive(Debug)]
pub(super) struct Claim<'s> {
    space: &'s Space,
    left: u64,
    unseen: u64,
}

impl Space {
    pub(super) fn new(folder: &Folder, keep_free: KeepFree) -> std::io::Result<Space> {
        let keep_free_bytes = match keep_free {
            KeepFree::Bytes(bytes) => bytes,
            KeepFree::Percent(percent) => folder.size_bytes()? / 100 * u64::from(percent),
        };
        Ok(Space { folder: folder.clone(), keep_free_bytes, promised: AtomicU64::new(0) })
    }

    /// Promises space for so many bytes, if there is as much beside what others
    /// were promised; without a length, if there is any.
    pub(super) fn claim(&self, bytes: Option<u64>) -> Result<Claim<'_>, Refused> {
        let left = bytes.unwrap_or(0);
        let promised = self.promised.fetch_add(left, Ordering::Relaxed).saturating_add(left);
        let claim = Claim { space: self, left, unseen: 0 };
        self.look(promised)?;
        Ok(claim)
    }

    /// How many bytes can be taken in now.
    pub(super) fn free_bytes(&self) -> u64 {
        let free = self.folder.free_bytes().unwrap_or(0);
        free.saturating_sub(self.keep_free_bytes).saturating_sub(self.promised.load(Ordering::Relaxed))
    }

    fn look(&self, wanted: u64) -> Result<(), Refused> {
        let free = self.folder.free_bytes().map_err(|error| Refused::by_disk(&error))?;
        if free >= wanted.saturating_add(self.keep_free_bytes) {
            return Ok(());
        }
        Err(Refused::new(507, "the disk hasn't enough free space"))
    }
}

impl Claim<'_> {
    /// So many bytes have been written. Looks at the disk now and then, as
    /// others write to it too.
    pub(super) fn wrote(&mut self, bytes: u64) -> Result<(), Refused> {
        let given_back = bytes.min(self.left);
        self.left -= given_back;
        self.space.promised.fetch_sub(given_back, Ordering::Relaxed);
        self.unseen += bytes;
        if self.unseen >= LOOK_EVERY_BYTES {
            self.unseen = 0;
            self.space.look(0)?;
        }
        Ok(())
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.space.promised.fetch_sub(self.left, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_to_one_is_not_there_for_another() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        let space = Space::new(&folder, KeepFree::Bytes(0)).unwrap();
        // Other programs use the disk too: nothing here depends on a few bytes.
        let most = folder.free_bytes().unwrap() / 3 * 2;
        let mut first = space.claim(Some(most)).unwrap();
        assert_eq!(space.claim(Some(most)).unwrap_err().status, 507);
        assert!(space.free_bytes() < most);
        first.wrote(most).unwrap();
        drop(space.claim(Some(most)).unwrap());
        drop(first);
        assert_eq!(space.promised.load(Ordering::Relaxed), 0, "a promise is left over");
    }

    #[test]
    fn what_is_to_stay_free_stays_free() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        let all = Space::new(&folder, KeepFree::Percent(100)).unwrap();
        assert_eq!(all.claim(Some(1)).unwrap_err().status, 507);
        assert_eq!(all.claim(None).unwrap_err().status, 507);
        assert_eq!(all.free_bytes(), 0);
        let none = Space::new(&folder, KeepFree::Percent(0)).unwrap();
        assert_eq!(none.claim(Some(u64::MAX)).unwrap_err().status, 507);
        none.claim(Some(1)).unwrap();
    }
}
