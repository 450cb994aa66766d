//! The directory of a file store: what it must be, and what is said of one
//! that won't do.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use towpath::lock::Locks;
use towpath::store::NodeState;

use crate::lock_file::{lease, locks, request, state, url};

#[test]
fn the_record_and_the_lock_are_for_their_owner_only() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("made");
    lease(locks(&directory).try_acquire(&request()).unwrap()).release().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&directory), 0o700);
    for name in ["demo.lock", "demo.json"] {
        assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
    }
}

/// What is said of a directory that can't be used; it always names it.
fn refusal(directory: &Path) -> String {
    let error = Locks::open(&url(directory)).unwrap_err();
    assert!(error.is_unreachable());
    let text = error.to_string();
    assert!(text.contains(directory.to_str().unwrap()) && !text.contains('\n'), "{text}");
    text
}

#[test]
fn a_directory_that_will_not_do_is_named_with_the_reason() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);

    assert!(refusal(&at("no/such")).contains("create the directory above it first"));

    fs::write(at("file"), "").unwrap();
    assert!(refusal(&at("file")).contains("is no directory"));

    fs::create_dir(at("open")).unwrap();
    for mode in [0o777, 0o720, 0o702] {
        fs::set_permissions(at("open"), Permissions::from_mode(mode)).unwrap();
        assert!(refusal(&at("open")).contains(&format!("mode {mode:04o}")));
    }
    fs::set_permissions(at("open"), Permissions::from_mode(0o755)).unwrap();
    locks(&at("open"));

    symlink(at("open"), at("link")).unwrap();
    assert!(refusal(&at("link")).contains("is a symbolic link"));

    let full_of_surprises = at("open");
    fs::create_dir(full_of_surprises.join("demo.lock")).unwrap();
    assert!(locks(&full_of_surprises).try_acquire(&request()).unwrap_err().is_unreachable());
}

#[test]
fn a_directory_that_was_removed_is_an_error_and_not_a_second_lock() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("gone");
    let locks = locks(&directory);
    fs::remove_dir(&directory).unwrap();
    let error = locks.try_acquire(&request()).unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains("was removed"), "{error}");
}

/// Says what a test leaves out; only root can give directories away and mount.
fn without_root(left_out: &str) -> bool {
    let me = rustix::process::geteuid();
    if !me.is_root() {
        eprintln!("left out, as this is not root: {left_out}");
    }
    !me.is_root()
}

#[test]
fn a_directory_of_another_user_is_refused() {
    if without_root("a directory that belongs to another user") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    chown(directory.path(), Some(12_345), None).unwrap();
    assert!(refusal(directory.path()).contains("belongs to user 12345, not to 0"));
}

/// A small file system of its own, unmounted with it.
struct Mount {
    path: PathBuf,
    _parent: tempfile::TempDir,
}

impl Mount {
    /// `None`, and says so, where even root may not mount (a container).
    fn new(left_out: &str) -> Option<Mount> {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("mount");
        fs::create_dir(&path).unwrap();
        let options = "size=64k,mode=0700";
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(&path).output().unwrap();
        if !mounted.status.success() {
            eprintln!("left out, as mount failed: {left_out}: {}", String::from_utf8_lossy(&mounted.stderr));
            return None;
        }
        Some(Mount { path, _parent: parent })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a descriptor that a failed test left open must not keep it.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

#[test]
fn on_a_full_disk_nothing_is_taken_and_the_reason_is_said() {
    if without_root("a store on a full file system") {
        return;
    }
    let Some(mount) = Mount::new("a store on a full file system") else { return };
    let locks = locks(&mount.path);
    let filler = mount.path.join("filler");
    assert!(fs::write(&filler, vec![1; 128 * 1024]).is_err());

    let error = locks.try_acquire(&request()).unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains("is full; make room"), "{error}");
    assert!(error.to_string().contains(mount.path.to_str().unwrap()), "{error}");
    assert_eq!(state(&locks), NodeState::Free);

    fs::remove_file(&filler).unwrap();
    lease(locks.try_acquire(&request()).unwrap()).release().unwrap();
}

#[test]
fn on_a_read_only_file_system_the_reason_is_said() {
    if without_root("a store on a read-only file system") {
        return;
    }
    let Some(mount) = Mount::new("a store on a read-only file system") else { return };
    let store = mount.path.join("store");
    lease(locks(&store).try_acquire(&request()).unwrap()).release().unwrap();
    assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(&mount.path).status().unwrap().success());

    let error = locks(&store).try_acquire(&request()).unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains("is read-only"), "{error}");
    assert!(refusal(&mount.path.join("new")).contains("is read-only"));
}
