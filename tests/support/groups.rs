//! Groups of tests that a machine may have to leave out, and how long a test
//! may take.
//!
//! A test that leaves itself out must say so: it passes, so nothing else
//! would tell. What is said here goes to stderr at once, past the test
//! harness's capture, and `tests/run` repeats it as the last thing it prints.

use std::fs::OpenOptions;
use std::io::Write;

/// Names of groups to leave out, separated by commas.
const SKIP: &str = "TOWPATH_TEST_SKIP";
/// The file, made by `tests/run`, that collects what was left out.
const LEFT_OUT: &str = "TOWPATH_TEST_LEFT_OUT";
/// `1` makes the long tests long.
const LONG: &str = "TOWPATH_TEST_LONG";

/// Whether `group` is to be left out, as `TOWPATH_TEST_SKIP=cron,sudo` asks.
///
/// Says so when it is. `tests/run` knows a group by its literal name here:
/// `if skipped("cron") { return; }`.
pub(crate) fn skipped(group: &str) -> bool {
    let skipped = names(&std::env::var(SKIP).unwrap_or_default(), group);
    if skipped {
        left_out(group, &format!("{SKIP} names it"));
    }
    skipped
}

/// Says that a group of tests is left out, and why: for a test that finds out
/// by itself that it can't run here.
pub(crate) fn left_out(group: &str, why: &str) {
    let line = format!("left out: {group} ({why})\n");
    // One write each: lines of tests on other threads don't mix. That nobody
    // reads stderr is no reason to fail a test.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os(LEFT_OUT) {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// Whether tests that can go on for long are asked to: `TOWPATH_TEST_LONG=1`.
#[allow(dead_code)] // for the tests that torture; the first come with the keeper
pub(crate) fn long() -> bool {
    std::env::var_os(LONG).is_some_and(|value| value == "1")
}

fn names(list: &str, group: &str) -> bool {
    list.split(',').any(|name| name.trim() == group)
}

#[test]
fn a_group_is_left_out_by_its_whole_name_only() {
    assert!(names("cron,static", "static"));
    assert!(names(" cron , sudo", "sudo"));
    assert!(!names("static-binary", "static"));
    assert!(!names("", "static"));
}
