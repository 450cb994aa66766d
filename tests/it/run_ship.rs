//! `run --ship`: what a run made is sent away while its lock is held, or the
//! run is a failure.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::peer::{Peer, Say, answer};
use crate::support::scene::Scene;
use crate::support::wait::until;

fn ok() -> Say {
    Say::Answer(answer("200 OK", "", "thanks"))
}

#[test]
fn what_a_run_made_is_shipped_after_its_success() {
    let (scene, peer) = (Scene::new(), Peer::playing([ok()]));
    let to = ["a", "b=x", "log"].map(|file| format!("{file}={}", peer.url(if file == "a" { "/up" } else { "/d/" })));
    let ships = ["--ship", &to[0], "--ship", &to[1], "--ship", &to[2]];
    let flags = [&ships[..], &["--report", "report", "--log", "log"]].concat();
    scene.finish_sh(&flags, "echo line; printf abc > a; printf d > b=x").assert_code(0);
    assert_eq!(peer.methods(), "POST PUT PUT");
    let asked = peer.asked();
    assert_eq!((asked[1].path.as_str(), &asked[1].body[..]), ("/d/b%3Dx", &b"d"[..]));
    assert_eq!(&asked[2].body[..], b"line\n", "the log is whole before it is shipped");
    let report = scene.report("report");
    let shipped = report["shipped"].as_array().unwrap();
    assert_eq!((shipped.len(), shipped[0]["bytes"].as_u64(), &shipped[0]["error"]), (3, Some(3), &Value::Null));
    assert_eq!(report["exit_code"], 0);
}

#[test]
fn a_run_that_failed_ships_nothing() {
    let (scene, peer) = (Scene::new(), Peer::playing([ok()]));
    let ship = format!("towpath.conf={}", peer.url("/up"));
    scene.finish(&["--ship", &ship], &["false"]).assert_code(1);
    scene.finish(&["--ship", &ship, "--timeout", "100ms"], &["sleep", "1000"]).assert_code(124);
    scene.finish(&["--ship", &ship], &["/no/such"]).assert_code(127);
    assert_eq!(peer.methods(), "");
}

#[test]
fn a_shipment_that_fails_makes_the_run_fail_and_says_which() {
    let scene = Scene::new();
    let peer = Peer::playing([Say::Answer(answer("507 Full", "", "no space left\n")), ok()]);
    fs::write(scene.path("a"), "abc").unwrap();
    let to = |file: &str| format!("{file}={}", peer.url("/up"));
    let flags = ["--ship", &to("a"), "--ship", &to("towpath.conf"), "--ship", &to("none"), "--report", "report"];
    let finished = scene.finish(&flags, &["true"]);
    finished.assert_code(74);
    let err = finished.err();
    assert!(err.contains("can't ship a to http://127.0.0.1") && err.contains("507 (no space left)"), "{err}");
    assert!(err.contains("can't ship none to") && err.contains("No such file") && err.lines().count() == 2, "{err}");
    let report = scene.report("report");
    assert_eq!((report["exit_code"].as_u64(), report["command_exit_code"].as_u64()), (Some(74), Some(0)), "{report}");
    assert!(report["shipped"][1]["error"].is_null() && report["shipped"][2]["error"].is_string(), "{report}");
}

#[test]
fn the_lock_is_held_until_it_is_shipped_and_a_signal_ends_that() {
    let (scene, peer) = (Scene::new(), Peer::playing([Say::Stay(Vec::new())]));
    fs::write(scene.path("a"), "abc").unwrap();
    let ship = format!("a={}", peer.url("/up"));
    let running = scene.start(&["--once", "demo", "--ship", &ship], &["true"]);
    until("the shipment", || !peer.asked().is_empty());
    scene.finish(&["--once", "demo"], &["true"]).assert_code(75);
    running.send(Signal::TERM);
    let finished = running.finish();
    finished.assert_code(74).assert_one_line(&["can't ship a to", "the end was asked for"]);
    scene.finish(&["--once", "demo"], &["true"]).assert_code(0);
}

#[test]
fn a_shipment_that_makes_no_sense_is_told_before_anything_runs() {
    let scene = Scene::new();
    fs::write(scene.path("token"), "t0ken").unwrap();
    for (flags, part) in [
        (&["--ship", "a"][..], "FILE=URL"),
        (&["--ship", "=http://h/"], "FILE=URL"),
        (&["--ship", "a=http://"], "--ship a"),
        (&["--ship", "a=http://192.0.2.1/", "--ship-token-file", "token"], "unencrypted"),
        (&["--ship-token-file", "token"], "--ship FILE=URL"),
        (&["--ship", "a=http://h/", "--ship-token-file", "none"], "--ship-token-file none"),
    ] {
        scene.finish(flags, &["touch", "ran"]).assert_code(2).assert_one_line(&[part]);
    }
    assert!(!scene.path("ran").exists());
    let peer = Peer::playing([ok()]);
    let ship = format!("token={}", peer.url("/up"));
    scene.finish(&["--ship", &ship, "--ship-token-file", "token"], &["true"]).assert_code(0);
    assert_eq!(peer.asked()[0].header("authorization"), Some("Bearer t0ken"));
}
