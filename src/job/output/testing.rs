//! A disk that is soon full, for tests of what happens then.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small tmpfs, unmounted on drop. Needs root.
pub(super) struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, said on stderr, where nothing can be mounted.
    pub(super) fn new(size_bytes: u64) -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size_bytes},nr_inodes=16");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(dir.path()).output();
        match mount {
            Ok(output) if output.status.success() => Some(SmallDisk { dir }),
            other => {
                eprintln!("not tested: a tmpfs can't be mounted here (root is needed): {other:?}");
                None
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Fills it to the last block; removing the file that is returned makes room.
    pub(super) fn fill(&self) -> PathBuf {
        let path = self.path().join("ballast");
        let mut file = File::create(&path).unwrap();
        while file.write(&[0; 4096]).is_ok_and(|written| written > 0) {}
        path
    }

    /// Files until no more can be created.
    pub(super) fn use_up_inodes(&self) -> Vec<PathBuf> {
        let paths = (0..).map(|n: u32| self.path().join(n.to_string()));
        paths.take_while(|path| File::create(path).is_ok()).collect()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a file of a test that failed may still be open.
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).output();
        let _ = fs::remove_dir(self.dir.path());
    }
}
