//! Torture for following by name: renames, truncations and re-creations at
//! random, while lines are written. Each line comes once, or a gap is told.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use towpath::flow::merge::StartAt;

use super::flow_follow::{Followed, LIMIT, append};
use crate::support::groups::long;

/// What happens to the file.
#[derive(Clone, Copy, Debug)]
enum Step {
    Lines(u8),
    /// A line in two writes.
    Halves,
    Rename,
    CopyTruncate,
    Recreate,
    /// A line to the file that was there before.
    Late,
    /// Lets the others run for so many microseconds: what they see is up to chance.
    Pause(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => (1..30u8).prop_map(Step::Lines),
        2 => Just(Step::Halves),
        2 => Just(Step::Rename),
        1 => Just(Step::CopyTruncate),
        1 => Just(Step::Recreate),
        2 => Just(Step::Late),
        6 => (0..3_000u16).prop_map(Step::Pause),
    ];
    prop::collection::vec(step, 20..300)
}

/// The program whose log it is, and the one that rotates it.
struct Writer {
    path: PathBuf,
    log: File,
    /// The file before, and lines that were written to it after it was replaced.
    old: Option<File>,
    written: u32,
    late: u32,
    rotations: u32,
    /// The first line that the file has now.
    first: u32,
    /// All lines below this were received, or never will be.
    received: Arc<AtomicU32>,
}

impl Writer {
    fn new(path: PathBuf, received: Arc<AtomicU32>) -> Writer {
        let log = append(&path);
        Writer { path, log, old: None, written: 0, late: 0, rotations: 0, first: 0, received }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Lines(lines) => (0..lines).for_each(|_| self.line("")),
            Step::Halves => {
                self.log.write_all(b"ha").unwrap();
                self.line("lf ");
            }
            Step::Rename => {
                let number = self.rotations;
                fs::rename(&self.path, self.path.with_extension(number.to_string())).unwrap();
                self.reopen();
            }
            Step::Recreate => {
                fs::remove_file(&self.path).unwrap();
                self.reopen();
            }
            Step::CopyTruncate => {
                self.wait_for_a_look();
                fs::copy(&self.path, self.path.with_extension("copy")).unwrap();
                self.log.set_len(0).unwrap();
            }
            Step::Late => {
                if let Some(old) = &mut self.old {
                    old.write_all(format!("late {}\n", self.late).as_bytes()).unwrap();
                    self.late += 1;
                }
            }
            Step::Pause(us) => thread::sleep(Duration::from_micros(us.into())),
        }
    }

    /// Nobody can tell that a file was truncated who hasn't read anything of it.
    fn wait_for_a_look(&mut self) {
        let start = Instant::now();
        while self.first < self.written && self.received.load(Ordering::SeqCst) <= self.first {
            assert!(start.elapsed() < LIMIT, "line {} doesn't come", self.first);
            thread::yield_now();
        }
        self.first = self.written;
    }

    fn line(&mut self, prefix: &str) {
        self.log.write_all(format!("{prefix}{}\n", self.written).as_bytes()).unwrap();
        self.written += 1;
    }

    fn reopen(&mut self) {
        self.rotations += 1;
        self.first = self.written;
        let new = append(&self.path);
        self.old = Some(std::mem::replace(&mut self.log, new));
    }
}

/// What was received: at which place of the stream.
#[derive(Default)]
struct Received {
    lines: BTreeMap<u32, usize>,
    late: HashSet<u32>,
    /// Places of gaps.
    gaps: Vec<usize>,
    came_and_went: bool,
    count: usize,
    up_to: Arc<AtomicU32>,
}

impl Received {
    fn take(&mut self, said: &str) {
        self.count += 1;
        if said.starts_with('[') {
            self.gaps.push(self.count);
            self.came_and_went |= said == "[a file came and went]";
        } else if let Some(number) = said.strip_prefix("late ") {
            let number = number.trim_end().parse().expect(said);
            assert!(self.late.insert(number), "{said:?} came twice");
        } else if let Ok(number) = said.strip_prefix("half ").unwrap_or(said).trim_end().parse() {
            assert_eq!(self.lines.insert(number, self.count), None, "{said:?} came twice");
            self.up_to.fetch_max(number + 1, Ordering::SeqCst);
        } else {
            // Torn, by a truncation: a part of a line is all that was there.
            assert!(["ha", "h"].contains(&said), "{said:?}");
        }
    }

    /// Where lines are missing, a gap was told between those around them.
    fn check(&self, written: u32) {
        let mut before = (None, 0);
        for (&number, &at) in &self.lines {
            assert!(at > before.1, "{number} came before {:?}", before.0);
            let expected = before.0.map_or(0, |before: u32| before + 1);
            let gap = self.gaps.iter().any(|gap| (before.1..at).contains(gap));
            assert!(number == expected || gap, "{expected} to {} are missing, and no gap tells it", number - 1);
            before = (Some(number), at);
        }
        assert_eq!(before.0, Some(written - 1), "the last line is there");
    }
}

fn torture(steps: Vec<Step>) {
    let followed = Followed::new(false, StartAt::Beginning, Some("start\n"));
    // What went by before the first look is nobody's loss.
    assert_eq!(followed.next(), ["start\n"]);
    let mut received = Received::default();
    let (path, seen) = (followed.path(), Arc::clone(&received.up_to));
    let writer = thread::spawn(move || {
        let mut writer = Writer::new(path, seen);
        steps.into_iter().for_each(|step| writer.take(step));
        writer.line("");
        (writer.written, writer.late)
    });
    while !writer.is_finished() {
        followed.next_soon().iter().for_each(|said| received.take(said));
    }
    let (written, late): (u32, u32) = writer.join().unwrap();
    let all = |received: &Received| {
        received.lines.contains_key(&(written - 1)) && (received.late.len() as u32 == late || received.came_and_went)
    };
    while !all(&received) {
        followed.next().iter().for_each(|said| received.take(said));
    }
    received.check(written);
}

#[test]
fn through_any_rotation_each_line_comes_once_or_a_gap_is_told() {
    let cases = if long() { 1_000 } else { 25 };
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() });
    let outcome = runner.run(&steps(), |steps| {
        torture(steps);
        Ok(())
    });
    outcome.unwrap();
}
