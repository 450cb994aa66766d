//! Settings: the file first, the environment next, flags last.

use std::fs;

use crate::support::running::{Finished, Running};
use crate::support::scene::Scene;

/// Runs a command that says what its time limit is, under settings, an environment and flags.
fn limited(scene: &Scene, settings: &str, environment: &[(&str, &str)], flags: &[&str]) -> Finished {
    fs::write(scene.path("towpath.conf"), settings).unwrap();
    let mut command = scene.run(flags);
    command.args(["--", "sleep", "1000"]).envs(environment.iter().copied());
    Running::start(&mut command).finish()
}

#[test]
fn a_flag_counts_more_than_the_environment_and_that_more_than_the_file() {
    let scene = Scene::new();
    let file = "TOWPATH_TIMEOUT=101ms\n";
    let environment = [("TOWPATH_TIMEOUT", "102ms")];
    limited(&scene, file, &[], &[]).assert_code(124).assert_one_line(&["101ms"]);
    limited(&scene, file, &environment, &[]).assert_code(124).assert_one_line(&["102ms"]);
    limited(&scene, file, &environment, &["--timeout", "103ms"]).assert_code(124).assert_one_line(&["103ms"]);
    limited(&scene, "", &environment, &[]).assert_code(124).assert_one_line(&["102ms"]);
}

#[test]
fn the_file_is_an_environment_file() {
    let scene = Scene::new();
    let log = scene.name("log");
    let settings = format!("# ours\n\n; too\nSOMEBODY_ELSES=1\nTOWPATH_LOG=\"{log}\"\nTOWPATH_TIMEOUT='100ms'\n");
    limited(&scene, &settings, &[], &[]).assert_code(124).assert_one_line(&["100ms"]);
    assert!(scene.path("log").exists());
}

#[test]
fn switches_can_be_set_and_unset() {
    let scene = Scene::new();
    let say = |settings: &str, environment: &[(&str, &str)], flags: &[&str]| {
        fs::write(scene.path("towpath.conf"), settings).unwrap();
        let mut command = scene.run(flags);
        Running::start(command.args(["--", "echo", "said"]).envs(environment.iter().copied())).finish().out()
    };
    assert_eq!(say("TOWPATH_QUIET_SUCCESS=1\n", &[], &[]), "");
    assert_eq!(say("TOWPATH_QUIET_SUCCESS=true\n", &[], &[]), "");
    assert_eq!(say("TOWPATH_QUIET_SUCCESS=no\n", &[], &[]), "said\n");
    assert_eq!(say("TOWPATH_QUIET_SUCCESS=1\n", &[("TOWPATH_QUIET_SUCCESS", "0")], &[]), "said\n");
    assert_eq!(say("TOWPATH_QUIET_SUCCESS=0\n", &[("TOWPATH_QUIET_SUCCESS", "0")], &["--quiet-success"]), "");
}

#[test]
fn every_flag_has_a_variable() {
    let scene = Scene::new();
    let environment = [
        ("TOWPATH_ONCE", "k"),
        ("TOWPATH_STORE", &format!("file:{}", scene.name("elsewhere"))),
        ("TOWPATH_HOLD_AT_LEAST", "1h"),
        ("TOWPATH_BUSY_EXIT", "42"),
        ("TOWPATH_WAIT", "1ms"),
        ("TOWPATH_KILL_AFTER", "1s"),
        ("TOWPATH_LOG", &scene.name("log")),
        ("TOWPATH_REPORT", &scene.name("report")),
        ("TOWPATH_EXCLUDE", "hidden"),
        ("TOWPATH_INCLUDE", "."),
        ("TOWPATH_NO_STDIN", "1"),
        ("TOWPATH_VERBOSE", "1"),
        ("TOWPATH_CONFIG", &scene.name("towpath.conf")),
    ];
    let run = || {
        let mut command = scene.towpath();
        Running::start(command.args(["run", "--", "printf", "shown\\nhidden\\n"]).envs(environment)).finish()
    };
    assert_eq!(run().assert_code(0).out(), "shown\n");
    assert_eq!(scene.read("log"), "shown\nhidden\n");
    assert_eq!(scene.report("report")["key"], "k");
    run().assert_code(42).assert_one_line(&["k is held by"]);
    assert!(scene.path("elsewhere").exists());
}

#[test]
fn the_file_named_by_the_environment_is_read() {
    let scene = Scene::new();
    fs::write(scene.path("other.conf"), "TOWPATH_TIMEOUT=104ms\n").unwrap();
    let mut command = scene.towpath();
    command.args(["run", "--", "sleep", "1000"]).env("TOWPATH_CONFIG", scene.name("other.conf"));
    Running::start(&mut command).finish().assert_code(124).assert_one_line(&["104ms"]);
}

#[test]
fn a_malformed_line_is_2_with_file_and_line() {
    let scene = Scene::new();
    let cases: &[(&str, &[&str])] = &[
        ("TOWPATH_LOG=x\nno equals sign\n", &["line 2"]),
        ("\n\nTOWPATH_LOG='x\n", &["line 3", "quote"]),
        ("a b=1\n", &["line 1"]),
    ];
    assert_refused(&scene, cases);
    // Not text at all.
    fs::write(scene.path("towpath.conf"), b"TOWPATH_LOG=\xff\n").unwrap();
    scene.finish(&[], &["true"]).assert_code(2).assert_one_line(&["towpath.conf"]);
}

#[test]
fn an_unknown_setting_or_a_wrong_value_is_2_with_file_and_line() {
    let scene = Scene::new();
    let cases: &[(&str, &[&str])] = &[
        ("# fine\nTOWPATH_TIMOUT=1s\n", &["line 2", "TOWPATH_TIMOUT"]),
        ("# fine\n\nTOWPATH_TIMEOUT=soon\n", &["line 3", "soon"]),
        ("TOWPATH_QUIET_SUCCESS=perhaps\n", &["line 1", "perhaps"]),
    ];
    assert_refused(&scene, cases);
}

#[track_caller]
fn assert_refused(scene: &Scene, cases: &[(&str, &[&str])]) {
    for (settings, parts) in cases {
        let finished = limited(scene, settings, &[], &[]);
        assert_eq!(finished.code, Some(2), "{settings:?}: {}", finished.err());
        finished.assert_one_line(&[&scene.name("towpath.conf")]).assert_one_line(parts);
    }
}

#[test]
fn help_and_completions_are_there_though_the_settings_are_wrong() {
    let scene = Scene::new();
    fs::write(scene.path("wrong.conf"), "TOWPATH_TIMOUT=1s\n").unwrap();
    for (arguments, part) in [
        (&["run", "--help"][..], "--once"),
        (&["--help"], "Usage"),
        (&["help", "run"], "--once"),
        (&["--version"], "towpath "),
        (&["completions", "bash"], "complete"),
    ] {
        let mut command = scene.towpath();
        let finished = Running::start(command.args(arguments).env("TOWPATH_CONFIG", scene.name("wrong.conf"))).finish();
        assert!(finished.assert_code(0).out().contains(part), "{arguments:?}: {}", finished.out());
        assert_eq!(finished.err(), "");
    }
    let mut command = scene.towpath();
    command.args(["run", "--config", &scene.name("wrong.conf"), "--help"]);
    assert!(Running::start(&mut command).finish().assert_code(0).out().contains("--once"));
    scene.finish(&["--config", &scene.name("wrong.conf")], &["true"]).code.filter(|code| *code == 2).unwrap();
}

#[test]
fn a_wrong_value_in_the_environment_is_2_and_named() {
    let scene = Scene::new();
    limited(&scene, "", &[("TOWPATH_TIMEOUT", "soon")], &[]).assert_code(2).assert_one_line(&["timeout", "soon"]);
    limited(&scene, "", &[("TOWPATH_PTY", "perhaps")], &[]).assert_code(2).assert_one_line(&["pty", "perhaps"]);
}

#[test]
fn settings_that_need_a_key_are_no_mistake_for_a_run_without_one() {
    let scene = Scene::new();
    fs::write(scene.path("towpath.conf"), "TOWPATH_HOLD_AT_LEAST=1m\nTOWPATH_WAIT=5s\n").unwrap();
    scene.finish(&[], &["true"]).assert_code(0).assert_silent();
}
