//! What holds for unnamed drafts holds for hidden ones.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::*;
use crate::inbox::Sha;

/// An empty directory, opened in both ways.
fn each_way(test: impl Fn(&Path, Folder)) {
    for hidden in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        test(directory.path(), if hidden { folder.with_hidden_drafts() } else { folder });
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn publish(folder: &Folder, text: &str, at: &str, on_conflict: OnConflict) -> std::io::Result<Published> {
    let mut draft = folder.draft(None).unwrap();
    draft.write_all(text.as_bytes()).unwrap();
    draft.publish(&name(at), on_conflict)
}

/// All names, the hidden ones too.
fn names(directory: &Path) -> BTreeSet<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn only(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_file_is_seen_when_it_is_whole_and_not_before() {
    each_way(|directory, folder| {
        let mut draft = folder.draft(Some(6)).unwrap();
        draft.write_all(b"abc").unwrap();
        assert!(folder.list().unwrap().is_empty());
        assert_eq!(folder.read(&name("a")).unwrap_err().kind(), ErrorKind::NotFound);
        draft.write_all(b"def").unwrap();
        let published = draft.publish(&name("a"), OnConflict::Reject).unwrap();
        assert_eq!(published, Published { name: name("a"), size: 6, sha256: None });
        let mut text = String::new();
        folder.read(&name("a")).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcdef");
        assert_eq!(names(directory), only(&["a"]));
        let listed = folder.list().unwrap();
        assert_eq!((listed.len(), listed[0].size, listed[0].name.as_str()), (1, 6, "a"));
        assert_eq!(listed[0].modified, fs::metadata(directory.join("a")).unwrap().modified().unwrap());
    });
}

#[test]
fn a_length_that_was_announced_is_held() {
    each_way(|directory, folder| {
        let mut draft = folder.draft(Some(4)).unwrap();
        draft.write_all(b"abc").unwrap();
        assert_eq!(draft.publish(&name("a"), OnConflict::Reject).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        let mut draft = folder.draft(Some(4)).unwrap();
        assert_eq!(draft.write_all(b"abcde").unwrap_err().kind(), ErrorKind::InvalidData);
        draft.write_all(b"abcd").unwrap();
        draft.publish(&name("a"), OnConflict::Reject).unwrap_err();
        assert_eq!(names(directory), only(&[]));
    });
}

#[test]
fn a_dropped_draft_is_gone() {
    each_way(|directory, folder| {
        let mut draft = folder.draft(Some(3)).unwrap();
        draft.hash().unwrap();
        draft.write_all(b"abc").unwrap();
        drop(draft);
        assert_eq!(names(directory), only(&[]));
        let mut draft = folder.draft(None).unwrap();
        draft.write_all(b"abc").unwrap();
        drop(draft.seal().unwrap());
        assert_eq!(names(directory), only(&[]));
    });
}

#[test]
fn a_taken_name_is_left_or_numbered_or_replaced() {
    each_way(|directory, folder| {
        publish(&folder, "old", "a.txt", OnConflict::Reject).unwrap();
        let error = publish(&folder, "new", "a.txt", OnConflict::Reject).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(directory.join("a.txt")).unwrap(), "old");
        for number in 1..=2 {
            let published = publish(&folder, "new", "a.txt", OnConflict::Rename).unwrap();
            assert_eq!(published.name.as_str(), format!("a ({number}).txt"));
        }
        let before = fs::File::open(directory.join("a.txt")).unwrap();
        publish(&folder, "new", "a.txt", OnConflict::Replace).unwrap();
        assert_eq!(fs::read_to_string(directory.join("a.txt")).unwrap(), "new");
        assert_eq!(std::io::read_to_string(before).unwrap(), "old", "who reads the old one reads on");
        assert_eq!(names(directory), only(&["a.txt", "a (1).txt", "a (2).txt"]));
    });
}

#[test]
fn a_folder_of_that_name_is_never_replaced() {
    each_way(|directory, folder| {
        fs::create_dir(directory.join("a")).unwrap();
        for on_conflict in [OnConflict::Reject, OnConflict::Replace] {
            publish(&folder, "x", "a", on_conflict).unwrap_err();
        }
        assert_eq!(publish(&folder, "x", "a", OnConflict::Rename).unwrap().name.as_str(), "a (1)");
        assert_eq!(names(directory), only(&["a", "a (1)"]));
    });
}

#[test]
fn no_symbolic_link_is_followed_and_none_is_listed() {
    each_way(|directory, folder| {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), directory.join("link")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("new"), directory.join("dangling")).unwrap();
        for link in ["link", "dangling"] {
            assert_eq!(folder.read(&name(link)).unwrap_err().kind(), ErrorKind::NotFound);
            assert_eq!(folder.remove(&name(link)).unwrap_err().kind(), ErrorKind::NotFound);
            assert!(folder.has(&name(link)).unwrap());
            let error = publish(&folder, "x", link, OnConflict::Reject).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
            publish(&folder, "x", link, OnConflict::Replace).unwrap();
            assert!(fs::symlink_metadata(directory.join(link)).unwrap().is_file());
        }
        assert_eq!(names(outside.path()), only(&["secret"]));
        assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "s");
    });
}

#[test]
fn the_hash_is_of_what_is_in_the_file() {
    each_way(|_, folder| {
        let text: Vec<u8> = (0..300_000_u32).flat_map(u32::to_ne_bytes).collect();
        let want = Some(Sha::from(Sha256::new_with_prefix(&text)));
        let mut draft = folder.draft(Some(text.len() as u64)).unwrap();
        draft.write_all(&text[..100]).unwrap();
        draft.hash().unwrap();
        text[100..].chunks(7_777).for_each(|piece| draft.write_all(piece).unwrap());
        assert_eq!(draft.publish(&name("a"), OnConflict::Reject).unwrap().sha256, want);
        let mut draft = folder.draft(None).unwrap();
        draft.hash().unwrap();
        draft.write_all(b"another version").unwrap();
        draft.restart(Some(text.len() as u64)).unwrap();
        draft.write_all(&text).unwrap();
        let published = draft.publish(&name("b"), OnConflict::Reject).unwrap();
        assert_eq!((published.sha256, published.size), (want, text.len() as u64));
    });
}

#[test]
fn a_sweep_takes_leftovers_and_leaves_the_living() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    for leftover in [".towpath-draft-0123456789abcdef", ".towpath-other", "mine"] {
        fs::write(path.join(leftover), "x").unwrap();
    }
    let folder = Folder::open(path).unwrap().with_hidden_drafts();
    let mut draft = folder.draft(None).unwrap();
    draft.write_all(b"abc").unwrap();
    assert_eq!(Folder::open(path).unwrap().sweep().unwrap(), 1);
    draft.publish(&name("a"), OnConflict::Reject).unwrap();
    assert_eq!(names(path), only(&[".towpath-other", "mine", "a"]));
}

#[test]
fn of_many_who_want_one_name_each_gets_what_its_rule_says() {
    each_way(|directory, folder| {
        for on_conflict in [OnConflict::Reject, OnConflict::Rename, OnConflict::Replace] {
            let at = format!("{on_conflict:?}");
            let stored: usize = std::thread::scope(|scope| {
                let racers: Vec<_> = (0..8)
                    .map(|racer| {
                        let (folder, at) = (&folder, &at);
                        scope.spawn(move || publish(folder, &racer.to_string().repeat(1_000), at, on_conflict).is_ok())
                    })
                    .collect();
                racers.into_iter().map(|racer| usize::from(racer.join().unwrap())).sum()
            });
            assert_eq!(stored, if on_conflict == OnConflict::Reject { 1 } else { 8 }, "{at}");
            for entry in folder.list().unwrap() {
                let text = fs::read_to_string(directory.join(entry.name.as_str())).unwrap();
                assert_eq!(text, text[..1].repeat(1_000), "{at}");
            }
        }
        assert_eq!(names(directory).len(), 1 + 8 + 1);
    });
}

#[test]
fn space_that_is_not_there_is_refused_at_once() {
    each_way(|directory, folder| {
        // More than a disk has; some file systems can't reserve, and wait for the writes.
        let Err(error) = folder.draft(Some(1 << 60)) else { return };
        assert!(matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::FileTooLarge), "{error}");
        assert_eq!(names(directory), only(&[]));
    });
}
