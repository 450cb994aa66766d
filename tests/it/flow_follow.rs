//! Following files by name, by inotify and by polling alike.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use towpath::flow::merge::{Event, LogFile, Merge, StartAt};
use towpath::flow::{Missed, Why};

/// Only a test that has gone wrong waits so long.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A followed file, and what came out of it.
pub(crate) struct Followed {
    pub(crate) dir: TempDir,
    merge: Merge,
}

/// What a source said, as text that is easy to compare: lines as they are,
/// everything else in brackets.
fn said(event: Event) -> Vec<String> {
    match event {
        Event::Lines(lines) => String::from_utf8_lossy(&lines.bytes).split_inclusive('\n').map(str::to_owned).collect(),
        Event::Missed(missed) => {
            assert_eq!(missed, Missed::unknown(missed.why));
            vec![format!("[{}]", missed.why)]
        }
        Event::Trouble(error) => vec![format!("[{:?}]", error.kind())],
        Event::End(result) => vec![format!("[end: {}]", result.is_ok())],
    }
}

impl Followed {
    pub(crate) fn new(by_polling: bool, from: StartAt, content: Option<&str>) -> Followed {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let file = LogFile::new(path).follow(true).start_at(from).poll(by_polling);
        Followed { dir, merge: Merge::start([file.into()]).unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn rotated(&self) -> PathBuf {
        self.dir.path().join("log.1")
    }

    pub(crate) fn next(&self) -> Vec<String> {
        said(self.merge.items().recv_timeout(LIMIT).expect("nothing comes").event)
    }

    /// What is there, or comes in a moment.
    pub(crate) fn next_soon(&self) -> Vec<String> {
        let item = self.merge.items().recv_timeout(Duration::from_millis(5));
        item.map(|item| said(item.event)).unwrap_or_default()
    }

    /// What comes next, whatever the pieces it comes in.
    #[track_caller]
    fn gives(&self, wanted: &[&str]) {
        let mut got = Vec::new();
        while got.len() < wanted.len() {
            got.extend(self.next());
        }
        assert_eq!(got, wanted);
    }

    #[track_caller]
    fn ends(self, wanted: &[&str]) {
        self.merge.stop();
        let got: Vec<_> = self.merge.items().iter().flat_map(|item| said(item.event)).collect();
        assert_eq!(got, [wanted, &["[end: true]"]].concat());
    }
}

pub(crate) fn append(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).unwrap()
}

fn write(file: &File, text: &str) {
    let mut file = file;
    file.write_all(text.as_bytes()).unwrap();
}

/// A test for each way to look.
macro_rules! both_ways {
    ($($name:ident($by_polling:ident) $body:block)*) => {$(
        mod $name {
            use super::*;

            fn test($by_polling: bool) $body

            #[test]
            fn by_inotify() {
                test(false);
            }

            #[test]
            fn by_polling() {
                test(true);
            }
        }
    )*};
}

both_ways! {
    lines_come_as_they_are_written(poll) {
        let followed = Followed::new(poll, StartAt::Beginning, Some("old\n"));
        followed.gives(&["old\n"]);
        let log = append(&followed.path());
        for line in ["one\n", "two\n"] {
            write(&log, line);
            followed.gives(&[line]);
        }
        write(&log, "three\nhalf ");
        followed.gives(&["three\n"]);
        write(&log, "a line\n");
        followed.gives(&["half a line\n"]);
        write(&log, "no end");
        fs::write(followed.dir.path().join("other"), "another file in the directory\n").unwrap();
        write(&log, " yet\nx");
        followed.gives(&["no end yet\n"]);
        followed.ends(&["x"]);
    }

    it_starts_where_it_is_told(poll) {
        let content = Some("one\ntwo\nthree\n");
        Followed::new(poll, StartAt::Last(2), content).gives(&["two\n", "three\n"]);
        let followed = Followed::new(poll, StartAt::End, content);
        let mut log = append(&followed.path());
        // Until it has looked: which of these is the first is left to chance.
        let first = loop {
            log.write_all(b"more\n").unwrap();
            if let Ok(item) = followed.merge.items().recv_timeout(Duration::from_millis(50)) {
                break said(item.event);
            }
        };
        assert!(first.iter().all(|line| line == "more\n"), "{first:?}");
    }

    a_renamed_file_is_read_on_and_then_the_new_one(poll) {
        let followed = Followed::new(poll, StartAt::Beginning, Some("one\n"));
        followed.gives(&["one\n"]);
        let old = append(&followed.path());
        fs::rename(followed.path(), followed.rotated()).unwrap();
        write(&old, "two\n");
        followed.gives(&["two\n"]);
        write(&old, "three\n");
        let new = append(&followed.path());
        write(&new, "four\n");
        followed.gives(&["three\n", "four\n"]);
        write(&old, "a late one\n");
        followed.gives(&["a late one\n"]);
        write(&new, "five\n");
        followed.gives(&["five\n"]);
        followed.ends(&[]);
    }

    a_truncated_file_is_read_anew_and_the_gap_is_told(poll) {
        let followed = Followed::new(poll, StartAt::Beginning, Some("one\ntwo\nhalf"));
        followed.gives(&["one\n", "two\n"]);
        let log = append(&followed.path());
        log.set_len(0).unwrap();
        write(&log, "new\n");
        followed.gives(&["half", "[file truncated]", "new\n"]);
        followed.ends(&[]);
    }

    one_truncated_and_grown_beyond_the_old_place_is_told_apart(poll) {
        let followed = Followed::new(poll, StartAt::Last(1), Some("zero\none\n"));
        followed.gives(&["one\n"]);
        fs::write(followed.path(), "another zero\nanother one\n").unwrap();
        followed.gives(&["[file truncated]", "another zero\n", "another one\n"]);
        followed.ends(&[]);
    }

    the_hole_that_a_truncation_leaves_is_no_line(poll) {
        let followed = Followed::new(poll, StartAt::Beginning, None);
        followed.gives(&["[NotFound]"]);
        let mut log = File::create(followed.path()).unwrap();
        for number in 0..20_000 {
            log.write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        log.write_all(b"last\n").unwrap();
        while !followed.next().contains(&"last\n".to_owned()) {}
        let at = log.stream_position().unwrap();
        log.set_len(0).unwrap();
        followed.gives(&["[file truncated]"]);
        log.write_all_at(b"at the old place\n", at).unwrap();
        followed.gives(&["at the old place\n"]);
        followed.ends(&[]);
    }

    a_deleted_file_is_read_anew_when_it_is_there_again(poll) {
        let followed = Followed::new(poll, StartAt::Beginning, Some("one\n"));
        followed.gives(&["one\n"]);
        fs::remove_file(followed.path()).unwrap();
        fs::write(followed.path(), "two\n").unwrap();
        followed.gives(&["two\n"]);
        followed.ends(&[]);
    }

    a_file_may_appear_later_and_its_directory_too(poll) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/log");
        let file = LogFile::new(&path).follow(true).poll(poll);
        let followed = Followed { dir, merge: Merge::start([file.into()]).unwrap() };
        followed.gives(&["[NotFound]"]);
        fs::create_dir(path.parent().unwrap()).unwrap();
        let log = append(&path);
        write(&log, "one\n");
        followed.gives(&["one\n"]);
        write(&log, "two\n");
        followed.gives(&["two\n"]);
        followed.ends(&[]);
    }

    the_last_line_of_a_replaced_file_comes_before_the_next_file(poll) {
        let followed = Followed::new(poll, StartAt::Beginning, Some("one\nno end"));
        followed.gives(&["one\n"]);
        fs::rename(followed.path(), followed.rotated()).unwrap();
        fs::write(followed.path(), "two\n").unwrap();
        followed.gives(&["no end", "two\n"]);
        followed.ends(&[]);
    }

    a_line_begun_before_the_rotation_and_ended_after_it_is_one(poll) {
        let followed = Followed::new(poll, StartAt::Beginning, Some("one\nhalf"));
        followed.gives(&["one\n"]);
        let old = append(&followed.path());
        fs::rename(followed.path(), followed.rotated()).unwrap();
        fs::write(followed.path(), "two\n").unwrap();
        write(&old, " a line\n");
        followed.gives(&["half a line\n", "two\n"]);
        followed.ends(&[]);
    }

    one_that_is_renamed_back_is_not_read_again(poll) {
        let followed = Followed::new(poll, StartAt::Beginning, Some("one\n"));
        followed.gives(&["one\n"]);
        fs::rename(followed.path(), followed.rotated()).unwrap();
        fs::write(followed.path(), "two\n").unwrap();
        followed.gives(&["two\n"]);
        fs::rename(followed.rotated(), followed.path()).unwrap();
        write(&append(&followed.path()), "three\n");
        followed.gives(&["three\n"]);
        followed.ends(&[]);
    }

    a_link_is_followed_where_it_leads(poll) {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("a"), "in a\n").unwrap();
        fs::write(at("b"), "in b\n").unwrap();
        std::os::unix::fs::symlink("a", at("log")).unwrap();
        let merge = Merge::start([LogFile::new(at("log")).follow(true).poll(poll).into()]).unwrap();
        let (a, b, link, new_link) = (at("a"), at("b"), at("log"), at("new"));
        let followed = Followed { dir, merge };
        followed.gives(&["in a\n"]);
        write(&append(&a), "more in a\n");
        followed.gives(&["more in a\n"]);
        std::os::unix::fs::symlink("b", &new_link).unwrap();
        fs::rename(&new_link, &link).unwrap();
        followed.gives(&["in b\n"]);
        write(&append(&b), "more in b\n");
        followed.gives(&["more in b\n"]);
        followed.ends(&[]);
    }
}

#[test]
fn files_that_replace_one_another_while_nobody_takes_are_kept_open() {
    let followed = Followed::new(false, StartAt::Beginning, Some("start\n"));
    followed.gives(&["start\n"]);
    // More than the channel and the reader hold: the follower waits for us.
    let big = "x".repeat(99) + "\n";
    write(&append(&followed.path()), &big.repeat(40_000));
    for number in 0..20 {
        fs::rename(followed.path(), followed.rotated()).unwrap();
        fs::write(followed.path(), format!("{number}\n")).unwrap();
        // What is opened in time is left to chance; that it is told is not.
        std::thread::sleep(Duration::from_millis(if number % 2 == 0 { 5 } else { 0 }));
    }
    let mut said = Vec::new();
    while said.last().is_none_or(|last: &String| last != "19\n") {
        said.extend(followed.next().into_iter().filter(|line| *line != big));
    }
    let mut next = 0;
    let mut told = false;

    for line in said {
        match line.trim_end().parse::<u32>() {
            Ok(number) if number == next || (told && number > next) => (next, told) = (number + 1, false),
            Ok(number) => panic!("{number} in place of {next}"),
            Err(_) => told = line == format!("[{}]", Why::CameAndWent),
        }
    }
}
