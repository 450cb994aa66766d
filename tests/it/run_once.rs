//! At most one run of a key at a time: who gets it, who is told no, and when it is free again.

use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::running::Running;
use crate::support::scene::Scene;
use crate::support::wait::until;

fn keys(report: &Value) -> Vec<&str> {
    report.as_object().unwrap().keys().map(String::as_str).collect()
}

fn time(report: &Value, name: &str) -> SystemTime {
    humantime::parse_rfc3339(report[name].as_str().unwrap()).unwrap()
}

/// The fields of every report, in their order.
const FIELDS: [&str; 28] = [
    "format",
    "towpath",
    "run",
    "host",
    "pid",
    "command",
    "key",
    "began",
    "outcome",
    "exit_code",
    "error",
    "fence",
    "lease",
    "ran_without_lock",
    "holder",
    "waited_ms",
    "started",
    "ended",
    "ran_ms",
    "command_pid",
    "command_exit_code",
    "command_signal",
    "asked_to_end_by_signal",
    "left_behind",
    "stuck_pid",
    "output",
    "output_undelivered",
    "release_error",
];

#[test]
fn the_second_of_two_exits_75_silently_and_both_reports_tell_the_whole_story() {
    let scene = Scene::new();
    let demo = "for i in 1 2 3; do echo $i; sleep 1; done; exit 3";
    let before = SystemTime::now();
    let first = scene.start_sh(&["--once", "demo", "--report", &scene.name("first")], demo);
    first.wait_out("1\n");
    let begun = scene.report("first");
    assert_eq!(begun["outcome"], "running");
    let second = scene.finish_sh(&["--once", "demo", "--report", &scene.name("second")], demo);
    second.assert_code(75).assert_silent();
    let pid = first.process().pid;
    assert_eq!(first.finish().assert_code(3).out(), "1\n2\n3\n");
    let (first, second) = (scene.report("first"), scene.report("second"));
    for report in [&first, &second] {
        let mut fields = FIELDS.to_vec();
        fields.extend(cfg!(feature = "http").then_some("ping"));
        fields.extend(cfg!(all(feature = "http", feature = "redis")).then_some("relay"));
        fields.extend(cfg!(all(feature = "form", feature = "http")).then_some("shipped"));
        assert_eq!(keys(report), fields);
        assert_eq!(report["format"], 1);
        assert_eq!(report["towpath"], env!("CARGO_PKG_VERSION"));
        assert_eq!(report["command"], serde_json::json!(["sh", "-c", demo]));
        assert_eq!(report["key"], "demo");
        assert!(
            time(report, "began") >= before - Duration::from_millis(1) && time(report, "began") <= SystemTime::now()
        );
        assert_eq!(
            (&report["left_behind"], &report["output"], &report["release_error"]),
            (&0.into(), &Value::Null, &Value::Null)
        );
    }
    assert_ne!(first["run"], second["run"]);
    assert_eq!(first["run"], begun["run"]);
    tells_of_a_failure(&first, pid);
    tells_of_a_holder(&second, &first);
}

fn tells_of_a_failure(report: &Value, pid: i32) {
    assert_eq!(
        (&report["outcome"], &report["exit_code"], &report["error"]),
        (&"exited".into(), &3.into(), &Value::Null)
    );
    assert_eq!((&report["command_exit_code"], &report["command_signal"]), (&3.into(), &Value::Null));
    assert_eq!(
        (&report["pid"], &report["holder"], &report["asked_to_end_by_signal"]),
        (&pid.into(), &Value::Null, &Value::Null)
    );
    assert!(report["command_pid"].as_i64().unwrap() > 0);
    assert!(report["fence"].as_u64().unwrap() > 0);
    assert!(report["ran_ms"].as_u64().unwrap() >= 3000, "{report}");
    assert!(report["waited_ms"].as_u64().unwrap() < 60_000);
    let (began, started, ended) = (time(report, "began"), time(report, "started"), time(report, "ended"));
    assert!(began <= started && started + Duration::from_secs(3) <= ended, "{report}");
}

fn tells_of_a_holder(report: &Value, holder: &Value) {
    assert_eq!(
        (&report["outcome"], &report["exit_code"], &report["error"]),
        (&"held".into(), &75.into(), &Value::Null)
    );
    for name in ["fence", "started", "ended", "ran_ms", "command_pid", "command_exit_code", "command_signal"] {
        assert_eq!(report[name], Value::Null, "{name}");
    }
    let told = &report["holder"];
    assert_eq!((&told["ended"], &told["free_at"]), (&false.into(), &Value::Null), "{told}");
    for name in ["key", "host", "pid", "fence"] {
        assert_eq!(told["record"][name], holder[name], "{name}");
    }
    assert!(told["record"]["command"].as_str().unwrap().starts_with("sh -c for i in"), "{told}");
}

#[test]
fn a_busy_key_is_explained_with_v_and_its_exit_code_can_be_chosen() {
    let scene = Scene::new();
    let holder = scene.start_sh(&["--once", "k"], "echo on; exec sleep 1000");
    holder.wait_out("on");
    let told = scene.finish(&["--once", "k", "-v"], &["true"]);
    let pid = holder.process().pid.to_string();
    told.assert_code(75).assert_one_line(&["k is held by", &pid, "nothing was run"]);
    let flags = ["--once", "k", "--busy-exit", "0", "--report", &scene.name("report")];
    scene.finish(&flags, &["touch", "ran"]).assert_code(0).assert_silent();
    assert!(!scene.path("ran").exists());
    assert_eq!((&scene.report("report")["exit_code"], &scene.report("report")["outcome"]), (&0.into(), &"held".into()));
    scene.finish(&["--once", "other"], &["true"]).assert_code(0).assert_silent();
}

#[test]
fn of_two_hundred_at_once_exactly_one_runs() {
    let scene = Scene::new();
    // The one that runs stays until all others have their answer.
    let runs: Vec<Running> = (0..200)
        .map(|_| scene.start_sh(&["--once", "k"], "echo ran >>ran; while [ ! -e go ]; do sleep 0.1; done"))
        .collect();
    let mut runs = runs;
    until("199 to have ended", || runs.iter_mut().filter_map(|run| run.has_ended().then_some(())).count() == 199);
    std::fs::write(scene.path("go"), "").unwrap();
    let mut codes: Vec<Option<i32>> = Vec::new();
    for run in runs {
        let finished = run.finish();
        finished.assert_silent();
        codes.push(finished.code);
    }
    codes.sort_unstable();
    assert_eq!(codes[0], Some(0));
    assert!(codes[1..].iter().all(|code| *code == Some(75)), "{codes:?}");
    assert_eq!(scene.read("ran"), "ran\n");
}

#[test]
fn one_that_waits_gets_its_turn() {
    let scene = Scene::new();
    let holder =
        scene.start_sh(&["--once", "k"], "echo on; while [ ! -e go ]; do sleep 0.05; done; echo first >>order");
    holder.wait_out("on");
    let flags = ["--once", "k", "--wait", "10m", "--report", &scene.name("report")];
    let mut waiting = scene.start_sh(&flags, "echo second >>order");
    until("it to wait", || waiting.process().status("Threads") != "1");
    assert!(!waiting.has_ended());
    std::fs::write(scene.path("go"), "").unwrap();
    holder.finish().assert_code(0);
    waiting.finish().assert_code(0).assert_silent();
    assert_eq!(scene.read("order"), "first\nsecond\n");
    assert_eq!(scene.report("report")["outcome"], "exited");
}

#[test]
fn twenty_that_wait_all_get_their_turn_one_at_a_time() {
    let scene = Scene::new();
    let script = "mkdir inside || exit 50; echo $TOWPATH_FENCE >>fences; sleep 0.05; rmdir inside";
    let runs: Vec<Running> = (0..20).map(|_| scene.start_sh(&["--once", "k", "--wait", "10m"], script)).collect();
    for run in runs {
        run.finish().assert_code(0).assert_silent();
    }
    let fences: Vec<u64> = scene.read("fences").lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(fences.len(), 20);
    assert!(fences.is_sorted_by(|one, next| one < next), "each holder's fence is larger: {fences:?}");
}

#[test]
fn a_wait_that_is_too_short_ends_with_75() {
    let scene = Scene::new();
    let holder = scene.start_sh(&["--once", "k"], "echo on; exec sleep 1000");
    holder.wait_out("on");
    let flags = ["--once", "k", "--wait", "300ms", "--report", &scene.name("report")];
    scene.finish(&flags, &["true"]).assert_code(75).assert_silent();
    let report = scene.report("report");
    assert_eq!(report["outcome"], "held");
    assert!(report["waited_ms"].as_u64().unwrap() >= 300, "{report}");
}

#[test]
fn a_signal_ends_a_wait() {
    let scene = Scene::new();
    let holder = scene.start_sh(&["--once", "k"], "echo on; exec sleep 1000");
    holder.wait_out("on");
    for (signal, number) in [(Signal::TERM, 15), (Signal::INT, 2), (Signal::HUP, 1)] {
        let flags = ["--once", "k", "--wait", "1h", "--report", &scene.name("report")];
        let waiting = scene.start(&flags, &["touch", "ran"]);
        // Two threads at the least: it waits, and its signals are listened for.
        until("it to wait", || waiting.process().status("Threads").parse::<u32>().unwrap() >= 3);
        waiting.send(signal);
        let finished = waiting.finish();
        // By SIGINT it dies itself, as a shell expects of who was interrupted.
        match signal {
            Signal::INT => assert_eq!(finished.signal, Some(2)),
            _ => drop(finished.assert_code(128 + number)),
        }
        finished.assert_silent();
        let report = scene.report("report");
        assert_eq!((&report["outcome"], &report["exit_code"]), (&"interrupted".into(), &(128 + number).into()));
        assert_eq!(report["asked_to_end_by_signal"], number);
        assert!(!scene.path("ran").exists());
    }
}

#[test]
fn a_minimum_hold_keeps_the_key_taken_after_the_end() {
    let scene = Scene::new();
    scene.finish(&["--once", "k", "--hold-at-least", "1h"], &["true"]).assert_code(0).assert_silent();
    assert!(scene.processes().is_empty(), "nobody stays for it");
    let flags = ["--once", "k", "-v", "--report", &scene.name("report")];
    scene.finish(&flags, &["touch", "ran"]).assert_code(75).assert_one_line(&["k is held by"]);
    let report = scene.report("report");
    assert_eq!(report["holder"]["ended"], true);
    assert!(time(&report["holder"], "free_at") > SystemTime::now() + Duration::from_secs(3000), "{report}");
    assert!(!scene.path("ran").exists());
}

#[test]
fn a_minimum_hold_ends_and_a_waiter_then_gets_the_key() {
    let scene = Scene::new();
    scene.finish(&["--once", "k", "--hold-at-least", "3s"], &["true"]).assert_code(0);
    let flags = ["--once", "k", "--wait", "10m", "--report", &scene.name("report")];
    scene.finish(&flags, &["true"]).assert_code(0).assert_silent();
    assert_eq!(scene.report("report")["outcome"], "exited");
}

#[test]
fn a_minimum_hold_outlives_kill_9() {
    let scene = Scene::new();
    let holder = scene.start_sh(&["--once", "k", "--hold-at-least", "1h"], "echo on; exec sleep 1000");
    holder.wait_out("on");
    scene.processes().iter().for_each(|process| process.send(Signal::KILL));
    holder.finish();
    scene.wait_empty();
    assert!(scene.is_locked("k"));
}

#[test]
fn the_command_is_told_of_its_run_and_never_of_our_settings() {
    let scene = Scene::new();
    let mut command = scene.run(&["--once", "the key", "--timeout", "1h", "--", "env"]);
    for name in ["TOWPATH_STORE_PASSWORD", "TOWPATH_PING_", "TOWPATH_FENCE", "TOWPATH_URL", "TOWPATH_"] {
        command.env(name, "secret");
    }
    let before = SystemTime::now();
    let finished = Running::start(command.env("MY_TOWPATH_", "kept")).finish();
    let out = finished.assert_code(0).out();
    assert!(!out.contains("secret") && out.contains("MY_TOWPATH_=kept\n"), "{out}");
    let value = |name: &str| out.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap().to_owned();
    assert_eq!(value("TOWPATH_KEY"), "the key");
    assert!(value("TOWPATH_FENCE").parse::<u64>().unwrap() > 0);
    let deadline = SystemTime::UNIX_EPOCH + Duration::from_millis(value("TOWPATH_DEADLINE").parse().unwrap());
    let hour = Duration::from_secs(3600);
    assert!(deadline >= before + hour - Duration::from_millis(1) && deadline <= SystemTime::now() + hour);
    assert_eq!(out.lines().filter(|line| line.starts_with("TOWPATH_")).count(), 3, "{out}");
    // Without a key and a limit there is nothing to tell.
    let out = scene.finish(&[], &["env"]).out();
    assert!(!out.lines().any(|line| line.starts_with("TOWPATH_")), "{out}");
}

#[test]
fn the_fence_grows_from_run_to_run() {
    let scene = Scene::new();
    let fence = || {
        let out = scene.finish_sh(&["--once", "k"], "echo $TOWPATH_FENCE").out();
        out.trim().parse::<u64>().unwrap()
    };
    let fences = [fence(), fence(), fence()];
    assert!(fences.is_sorted_by(|one, next| one < next), "{fences:?}");
    // Though everything but the lock file itself was lost.
    for entry in std::fs::read_dir(scene.path("store")).unwrap() {
        std::fs::write(entry.unwrap().path(), "").unwrap();
    }
    assert!(fence() > fences[2]);
}

#[test]
fn keys_of_any_kind_are_kept_apart() {
    let scene = Scene::new();
    let long = "x".repeat(200);
    for key in ["a/b", "a_b", "..", "a b", "ä", "%2F", long.as_str()] {
        let held = scene.start_sh(&["--once", key], "echo on; exec sleep 1000");
        held.wait_out("on");
        assert!(scene.is_locked(key), "{key}");
    }
    assert_eq!(std::fs::read_dir(scene.dir()).unwrap().count(), 2, "all of it is in the store");
}

#[test]
fn a_command_that_cannot_start_frees_the_key() {
    let scene = Scene::new();
    scene.finish(&["--once", "k"], &["no-such-command"]).assert_code(127);
    assert!(!scene.is_locked("k"));
}
