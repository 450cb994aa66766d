//! `towpath lock`: who has a lock, told to people and programs, and a guarded break.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::running::{Finished, Running};
use crate::support::scene::Scene;

fn lock(scene: &Scene, store: &str, arguments: &[&str]) -> Command {
    let mut command = scene.towpath();
    command.arg("lock").args(arguments).args(["--config", &scene.name("towpath.conf"), "--store", store]);
    command
}

fn finish(scene: &Scene, arguments: &[&str]) -> Finished {
    Running::start(&mut lock(scene, &scene.store(), arguments)).finish()
}

fn json(scene: &Scene, arguments: &[&str]) -> Value {
    serde_json::from_str(finish(scene, arguments).assert_code(0).out().as_str()).unwrap()
}

#[test]
fn the_status_of_a_free_a_held_and_a_kept_lock() {
    let scene = Scene::new();
    let free = finish(&scene, &["status", "k"]);
    assert!(free.assert_code(0).out().ends_with(": free\n"), "{}", free.out());
    let holding = scene.start_sh(&["--once", "k", "--hold-at-least", "1h"], "echo on; sleep 600");
    holding.wait_out("on\n");
    let held = finish(&scene, &["status", "k"]);
    let pid = holding.process().pid.to_string();
    for part in [": held by pid ", &pid, "sleep 600", ", fence "] {
        assert!(held.assert_code(0).out().contains(part), "{}", held.out());
    }
    let status = json(&scene, &["status", "k", "--json"]);
    assert_eq!((&status["key"], &status["nodes"][0]["state"]), (&"k".into(), &"held".into()));
    let fence = status["nodes"][0]["holder"]["record"]["fence"].as_u64().unwrap();
    // A running holder's flock can't be taken from it.
    let refused = finish(&scene, &["break", "k", "--yes"]);
    refused.assert_code(75).assert_one_line(&["can't be broken", &pid]);

    holding.send(Signal::TERM);
    holding.finish();
    let kept = finish(&scene, &["status", "k"]);
    assert!(kept.out().contains("ended; kept by its minimum hold until"), "{}", kept.out());
    let unguarded = finish(&scene, &["break", "k"]);
    unguarded.assert_code(2);
    assert!(unguarded.out().contains(&fence.to_string()) && unguarded.err().contains("--yes"), "{}", unguarded.err());
    finish(&scene, &["break", "k", "--fence", "1"]).assert_code(75).assert_one_line(&["look again"]);
    let broken = finish(&scene, &["break", "k", "--fence", &fence.to_string()]);
    assert!(broken.assert_code(0).out().starts_with("\"k\" was taken from pid "), "{}", broken.out());
    assert_eq!(finish(&scene, &["break", "k", "--yes"]).assert_code(0).out(), "\"k\" was free\n");
    assert_eq!(json(&scene, &["break", "k", "--yes", "--json"])["broken"], Value::Null);
}

#[test]
fn a_guard_never_comes_from_the_environment() {
    let scene = Scene::new();
    scene.finish_sh(&["--once", "k", "--hold-at-least", "1h"], "exit 0").assert_code(0);
    let mut command = lock(&scene, &scene.store(), &["break", "k"]);
    let end = Running::start(command.env("TOWPATH_YES", "true").env("TOWPATH_FENCE", "1")).finish();
    end.assert_code(2);
    assert!(end.err().contains("nothing was broken"), "{}", end.err());
}

#[test]
fn wrong_usage_and_stores_that_cannot_be_used() {
    let scene = Scene::new();
    finish(&scene, &["status", ""]).assert_code(2).assert_one_line(&["KEY"]);
    finish(&scene, &["status", "k", "--yes"]).assert_code(2).assert_one_line(&["--yes"]);
    finish(&scene, &["steal", "k"]).assert_code(2).assert_one_line(&["steal"]);
    let end = Running::start(&mut lock(&scene, "file:/proc/none", &["status", "k"])).finish();
    end.assert_code(69).assert_one_line(&["/proc/none"]);
}

#[test]
#[cfg(feature = "redis")]
fn every_node_of_a_quorum_is_told_also_one_that_is_down() {
    use crate::support::redis::Quorum;
    if crate::support::skipped("redis") {
        return;
    }
    let (quorum, scene) = (Quorum::start(), Scene::new());
    let url = quorum.url();
    let holding = scene.start_sh(&["--once", "k", "--store", &url], "echo on; sleep 600");
    holding.wait_out("on\n");
    quorum.nodes()[2].kill();
    let status = Running::start(&mut lock(&scene, &url, &["status", "k"])).finish();
    let lines: Vec<String> = status.assert_code(0).out().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[..2].iter().all(|line| line.contains("held by pid") && line.contains("unless renewed")), "{lines:?}");
    assert!(lines[2].starts_with(&quorum.nodes()[2].host()) && lines[2].contains("can't be reached"), "{lines:?}");
    let broken = Running::start(&mut lock(&scene, &url, &["break", "k", "--yes"])).finish();
    assert!(broken.assert_code(0).out().contains("was taken from pid"), "{}", broken.out());
    holding.finish().assert_code(79);
}
