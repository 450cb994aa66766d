//! Places and limits that nobody meant, which must neither hang nor panic.

use std::fs;
use std::process::Stdio;

use rustix::process::Signal;

use crate::support::process::Process;
use crate::support::running::Running;
use crate::support::scene::Scene;
use crate::support::wait::{eventually, until};

#[test]
fn too_few_descriptors_are_an_error_of_one_line_and_never_a_hang() {
    let scene = Scene::new();
    let run = scene.run_line(&format!("--once k --log {} -- sh -c 'exit 3'", scene.name("log")));
    let mut codes = Vec::new();
    // Three are the least with which the program itself can be loaded, and more than forty are enough.
    for limit in (5..12).chain([14, 17, 20, 24, 48]) {
        let finished =
            Running::start(scene.program("sh").args(["-c", &format!("ulimit -n {limit}; exec {run}")])).finish();
        let code = finished.code.unwrap();
        if code == 3 {
            finished.assert_silent();
        } else {
            assert!([69, 74, 125].contains(&code), "{limit}: {code} {}", finished.err());
            finished.assert_one_line(&["open files"]);
        }
        codes.push(code);
        scene.wait_empty();
        assert!(!scene.is_locked("k"), "{limit}");
    }
    assert_eq!(codes.last(), Some(&3));
    assert_ne!(codes.first(), Some(&3));
}

#[test]
fn a_fifo_that_nobody_reads_is_an_error_before_the_start() {
    let scene = Scene::new();
    Running::start(scene.program("mkfifo").arg("fifo")).finish().assert_code(0);
    for flag in ["--log", "--report"] {
        let finished = scene.finish(&[flag, &scene.name("fifo")], &["touch", "ran"]);
        finished.assert_code(74).assert_one_line(&["fifo", "nothing was run"]);
        assert!(!scene.path("ran").exists());
    }
}

#[test]
fn a_report_goes_to_where_a_link_points() {
    let scene = Scene::new();
    fs::write(scene.path("there"), "").unwrap();
    for target in ["there", "not yet there"] {
        let _ = fs::remove_file(scene.path("link"));
        std::os::unix::fs::symlink(scene.path(target), scene.path("link")).unwrap();
        scene.finish(&["--report", &scene.name("link")], &["true"]).assert_code(0).assert_silent();
        assert!(scene.path("link").is_symlink(), "{target}: the link was replaced");
        assert_eq!(scene.report(target)["outcome"], "exited");
    }
}

#[test]
fn a_report_can_go_to_a_device() {
    let scene = Scene::new();
    scene.finish(&["--report", "/dev/null"], &["true"]).assert_code(0).assert_silent();
    assert!(scene.finish(&["--report", "/dev/stderr"], &["true"]).assert_code(0).err().contains("\"exited\""));
    // It can be opened, and not written: told at the latest when the command has succeeded.
    scene.finish(&["--report", "/dev/full"], &["touch", "ran"]).assert_code(74).assert_one_line(&["/dev/full"]);
}

#[test]
fn the_place_we_were_started_in_may_be_gone() {
    let scene = Scene::new();
    let run = scene.run_line("--once k -- echo said");
    let line = format!("mkdir gone; cd gone; rmdir ../gone; {run}");
    let finished = Running::start(scene.program("sh").args(["-c", &line])).finish();
    assert_eq!(finished.assert_code(0).out(), "said\n");
}

#[test]
fn a_limit_of_zero_is_refused_and_other_zeros_are_taken_as_they_are() {
    let scene = Scene::new();
    scene.finish(&["--timeout", "0s"], &["touch", "ran"]).assert_code(2).assert_one_line(&["--timeout", "0"]);
    assert!(!scene.path("ran").exists());
    let stubborn = "trap '' TERM; while :; do sleep 1; done";
    scene.finish_sh(&["--timeout", "300ms", "--kill-after", "0s"], stubborn).assert_code(124);
    scene.finish(&["--once", "k", "--wait", "0s", "--hold-at-least", "0s"], &["true"]).assert_code(0).assert_silent();
}

#[test]
fn times_beyond_any_clock_are_for_ever() {
    let scene = Scene::new();
    let flags =
        ["--timeout", "500y", "--kill-after", "500y", "--once", "k", "--hold-at-least", "500y", "--wait", "500y"];
    scene.finish(&flags, &["true"]).assert_code(0).assert_silent();
    assert!(scene.is_locked("k"));
}

/// As for a `yes` without us, when its reader sleeps.
#[test]
fn term_ends_a_run_whose_output_nobody_takes() {
    let scene = Scene::new();
    for flags in [&[][..], &["--log", "/dev/null"], &["--include", "y"]] {
        let mut command = scene.run(flags);
        command.args(["--kill-after", "200ms", "--", "sh", "-c", "echo $$ >command; exec yes"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let yes = scene.process_in("command");
        until("a full pipe", || {
            fs::read_to_string(format!("/proc/{}/wchan", yes.pid)).is_ok_and(|place| place.contains("pipe"))
                || yes.state() == Some('S')
        });
        Process::of(i32::try_from(child.id()).unwrap()).send(Signal::TERM);
        yes.wait_gone();
        eventually(format!("the end of run {flags:?}"), || child.try_wait().unwrap());
        fs::remove_file(scene.path("command")).unwrap();
    }
}

#[test]
fn a_command_on_a_pty_that_reads_nothing_ends_all_the_same() {
    let scene = Scene::new();
    let run = scene.run_line("--pty -- sh -c 'exit 3'");
    let line = format!("yes | {run}");
    Running::start(scene.program("sh").args(["-c", &line])).finish().assert_code(3);
}

#[test]
fn all_that_is_fed_to_a_pty_arrives() {
    let scene = Scene::new();
    let run = scene.run_line("--pty -- sh -c 'cat >copy'");
    let line = format!("seq 100000 >original; cat original | {run}; cmp original copy");
    Running::start(scene.program("sh").args(["-c", &line])).finish().assert_code(0).assert_silent();
}
