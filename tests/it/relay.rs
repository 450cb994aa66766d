//! `run --relay` and `watch KEY` on real Redis servers, each process as a host
//! of its own: lines, gaps and codes arrive through failovers, full and frozen
//! servers, and what ended without an end is told from it.

use rustix::process::Signal;

use crate::live_slow::lines_missed;
use crate::support::proxy::Proxy;
use crate::support::redis::{Cluster, Redis, Sentinel};
use crate::support::running::{Finished, Running};
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::wait::{eventually, until};

const KEY: &str = "job";
const LAST: &str = "towpath:relay:{job}";

/// What a script waits for the test with, see [`Scene::touch`].
const AWAIT: &str = "await() { until [ -e \"$1\" ]; do sleep 0.02; done; }\n";

/// A store, and those who run and watch.
struct Stage {
    scene: Scene,
    store: String,
}

impl Stage {
    fn on(store: String) -> Stage {
        Stage { scene: Scene::new(), store }
    }

    fn start(&self, flags: &[&str], script: &str) -> Running {
        let flags = [&["--store", &self.store, "--once", KEY, "--relay", "-v"], flags].concat();
        self.scene.start_sh(&flags, &format!("{AWAIT}{script}"))
    }

    fn watch(&self, flags: &[&str]) -> Running {
        self.scene.watch(&[&["--store", &self.store, KEY], flags].concat())
    }

    fn logs(&self, flags: &[&str]) -> Running {
        let base = ["logs", "--config", &self.scene.name("towpath.conf"), "--store", &self.store, "--relay", KEY];
        Running::start(self.scene.towpath().args(base).args(flags))
    }

    /// One that sees the run that is about to begin.
    fn watch_next(&self) -> Running {
        self.watch(&["--wait", "5m"])
    }
}

#[track_caller]
fn assert_seen(watched: &Finished, code: i32, out: &str) {
    assert_eq!(watched.assert_code(code).out(), out, "{}", watched.err());
}

#[test]
fn a_run_is_seen_from_elsewhere_while_it_runs_and_afterwards_to_its_own_code() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let stage = Stage::on(server.url());
    let early = stage.watch_next();
    let script = "echo one; await a; echo oops >&2; printf 'a\\377\\n\\nhalf'; exit 3";
    let run = stage.start(&[], script);
    early.wait_out("one\n");
    let joins = stage.watch(&[]);
    joins.wait_out("one\n");
    stage.scene.touch("a");
    run.finish().assert_code(3);
    let late = stage.watch(&[]);
    for watched in [early, joins, late] {
        let watched = watched.finish();
        watched.assert_code(3);
        assert_eq!((watched.out.as_slice(), watched.err().as_str()), (&b"one\na\xff\n\nhalf"[..], "oops\n"));
    }
    assert_eq!(stage.watch(&["--tail", "2"]).finish().assert_code(3).out(), "\nhalf");
    assert_eq!(stage.watch(&["--tail", "99"]).finish().out, b"one\na\xff\n\nhalf");
    // Logs of it are the run itself, with its name and end, for who can't reach the store.
    let logs = stage.logs(&["--linger", "1h", "--listen", "127.0.0.1:0", "-v"]);
    let url = eventually("the address", || {
        let err = logs.err();
        err.split_once("live at ").and_then(|(_, told)| told.split_once('\n')).map(|(url, _)| url.to_owned())
    });
    let watched = stage.scene.watch(&[&url]).finish();
    assert_eq!((watched.assert_code(3).out.as_slice(), watched.err().as_str()), (&b"one\na\xff\n\nhalf"[..], "oops\n"));
    logs.send(Signal::TERM);
    let logs = logs.finish();
    logs.assert_code(3);
    assert_eq!(logs.out, b"one\noops\na\xff\n\nhalf");
    let only = stage.logs(&["--prefix", "--include", "oops|half", "--tail", "9"]).finish();
    assert_eq!(only.assert_code(3).out(), "stderr: oops\nstdout: half");
    // Nothing of it stays for ever.
    for key in server.cli(&["KEYS", "towpath:*"]).lines() {
        assert_ne!(server.cli(&["PTTL", key]), "-1", "{key}");
    }
}

#[test]
fn of_two_runs_each_has_its_own_lines_and_end_and_the_first_gives_way() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let stage = Stage::on(server.url());
    let first = stage.start(&[], "echo first; await a; exit 3");
    let of_first = stage.watch_next();
    of_first.wait_out("first\n");
    stage.scene.touch("a");
    first.finish().assert_code(3);
    let stream = server.cli(&["HGET", LAST, "stream"]);
    let next = stage.watch_next();
    let logs = stage.logs(&["--wait", "5m"]);
    let second = stage.start(&[], "echo second; await b; exit 4");
    next.wait_out("second\n");
    logs.wait_out("second\n");
    stage.scene.touch("b");
    second.finish().assert_code(4);
    assert_seen(&of_first.finish(), 3, "first\n");
    assert_seen(&next.finish(), 4, "second\n");
    assert_seen(&logs.finish(), 4, "second\n");
    assert_seen(&stage.watch(&[]).finish(), 4, "second\n");
    let left: u64 = server.cli(&["PTTL", &stream]).parse().unwrap();
    assert!(left <= 60_000, "{left}");
}

#[test]
fn a_run_that_is_killed_is_cut_for_who_watches_it() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let stage = Stage::on(server.url());
    let run = stage.start(&["--ttl", "3s"], "echo on; exec sleep 1000");
    let watch = stage.watch_next();
    watch.wait_out("on\n");
    let logs = stage.logs(&[]);
    logs.wait_out("on\n");
    run.send(Signal::KILL);
    logs.finish().assert_code(76).assert_one_line(&["the run \"job\" was cut"]);
    let watched = watch.finish();
    assert_seen(&watched, 76, "on\n");
    watched.assert_one_line(&["the run \"job\" was cut", "died"]);
    let waits = stage.watch(&["--wait", "10ms"]).finish();
    waits.assert_code(69).assert_one_line(&["no run of \"job\" goes on"]);
}

#[test]
fn a_writer_whose_lock_went_to_another_writes_no_more() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let stage = Stage::on(server.url());
    let run = stage.start(&[], "echo one; await a; echo two");
    let watch = stage.watch_next();
    watch.wait_out("one\n");
    let stream = server.cli(&["HGET", LAST, "stream"]);
    server.cli(&["HSET", LAST, "fence", "9007199254740991", "stream", "other"]);
    stage.scene.touch("a");
    let ended = run.finish();
    let told = "the relay couldn't be told the end; who follows it is cut (another run with the same key has begun)";
    assert!(ended.assert_code(0).err().contains(told), "{}", ended.err());
    assert_eq!(server.cli(&["XLEN", &stream]), "1");
    assert_eq!(server.cli(&["EXISTS", "other"]), "0");
    let watched = watch.finish();
    assert_seen(&watched, 76, "one\n");
    watched.assert_one_line(&["another run has begun"]);
}

#[test]
fn no_line_is_lost_or_doubled_when_connections_to_the_store_are_cut() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let proxy = Proxy::to(server.address());
    let stage = Stage::on(format!("redis://{}", proxy.host()));
    let run = stage.start(&["--ttl", "10m"], "seq 1 1000; await a; seq 1001 2000; await b; seq 2001 3000; exit 3");
    let watch = stage.watch_next();
    for (line, file) in [("\n1000\n", "a"), ("\n2000\n", "b")] {
        watch.wait_out(line);
        proxy.cut();
        stage.scene.touch(file);
    }
    run.finish().assert_code(3);
    let numbers: String = (1..=3_000).map(|n| format!("{n}\n")).collect();
    let watched = watch.finish();
    assert!(watched.assert_code(3).out() == numbers, "not every line once: {}", watched.err());

    // Within an answer.
    let cuts = [10, 150, 700, 701, 2_000, 4_000, 333];
    let proxy = Proxy::to(server.address()).cutting_after(&cuts);
    let cut = Stage::on(format!("redis://{}", proxy.host()));
    let watched = cut.watch(&[]).finish();
    assert!(watched.assert_code(3).out() == numbers, "not every line once: {}", watched.err());
    assert_eq!(proxy.accepted(), cuts.len() + 1);
}

#[test]
fn what_the_store_no_longer_has_is_a_gap_and_not_a_jump() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let stage = Stage::on(server.url());
    let run = stage.start(&[], "echo one; await a; echo two; await b; echo three; exit 3");
    let watch = stage.watch_next();
    for (line, file) in [("one\n", "a"), ("two\n", "b")] {
        watch.wait_out(line);
        stage.scene.touch(file);
    }
    run.finish().assert_code(3);
    let stream = server.cli(&["HGET", LAST, "stream"]);
    server.cli(&["XDEL", &stream, "2-0"]);
    assert_seen(&watch.finish(), 3, "one\ntwo\nthree\n");
    let late = stage.watch(&[]).finish();
    assert_seen(&late, 3, "one\nthree\n");
    late.assert_one_line(&["gap: 1 lines, unknown bytes lost (no longer kept)"]);

    // Of a long one the newest lines are kept, within the budget.
    stage.start(&["--relay-keep", "256KiB"], "seq 1 300000").finish().assert_code(0);
    let stream = server.cli(&["HGET", LAST, "stream"]);
    let bytes: u64 = server.cli(&["MEMORY", "USAGE", &stream, "SAMPLES", "0"]).parse().unwrap();
    assert!(bytes < 1 << 20, "{bytes}");
    let late = stage.watch(&[]).finish();
    assert!(late.assert_code(0).out().ends_with("\n300000\n"), "{}", late.err());
    let (seen, missed) = (late.out().lines().count() as u64, lines_missed(&late));
    assert!(missed > 0 && seen + missed == 300_000, "{seen} {missed}");
    assert_eq!(stage.watch(&["--tail", "2"]).finish().assert_code(0).out(), "299999\n300000\n");
    let lacking = stage.watch(&["--tail", "299999"]).finish();
    assert_eq!(lines_missed(&lacking), missed - 1, "{}", lacking.err());
    assert_eq!(stage.watch(&["--tail", "0"]).finish().assert_code(0).out(), "");
}

#[test]
fn a_frozen_server_slows_no_run_and_what_is_lost_is_a_gap() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let stage = Stage::on(server.url());
    let script = "echo first; await a; seq 1 1000000; touch done; await b; echo last; exit 3";
    let run = stage.start(&["--ttl", "1h"], script);
    let watch = stage.watch_next();
    watch.wait_out("first\n");
    server.stop();
    stage.scene.touch("a");
    // All of it is written while nobody takes a line.
    stage.scene.wait_file("done");
    server.go_on();
    stage.scene.touch("b");
    assert_eq!(run.finish().assert_code(3).out().lines().count(), 1_000_002);
    let watched = watch.finish();
    assert!(watched.assert_code(3).out().ends_with("1000000\nlast\n"), "{}", watched.err());
    let (seen, missed) = (watched.out().lines().count() as u64, lines_missed(&watched));
    assert_eq!(seen + missed, 1_000_002, "{}", watched.err());
    assert!(missed > 0 && watched.err().contains("the relay's store was too slow or away"), "{}", watched.err());
}

#[test]
fn a_full_server_loses_no_end_once_there_is_room_and_changes_no_outcome_where_there_is_none() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let stage = Stage::on(server.url());
    let run = stage.start(&["--ttl", "10s"], "echo one; await a; echo two; await b; exit 3");
    let watch = stage.watch_next();
    watch.wait_out("one\n");
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    stage.scene.touch("a");
    run.wait_err("maxmemory");
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    watch.wait_out("two\n");
    stage.scene.touch("b");
    run.finish().assert_code(3);
    assert_seen(&watch.finish(), 3, "one\ntwo\n");

    let run = stage.start(&["--ttl", "4s"], "echo one; await c; exit 5");
    let watch = stage.watch_next();
    watch.wait_out("one\n");
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    stage.scene.touch("c");
    let ended = run.finish();
    assert!(ended.assert_code(5).err().contains("the relay couldn't be told the end"), "{}", ended.err());
    watch.finish().assert_code(76).assert_one_line(&["was cut"]);
}

#[test]
fn who_watches_goes_on_at_the_master_that_took_over() {
    if skipped("redis") {
        return;
    }
    let group = Sentinel::start();
    let stage = Stage::on(group.url());
    let run = stage.start(&["--ttl", "10m"], "echo one; await a; echo two; exit 3");
    let watch = stage.watch_next();
    watch.wait_out("one\n");
    let old = group.master();
    until("the replica has it", || old.cli(&["WAIT", "1", "1000"]).ends_with('1'));
    old.kill();
    assert_ne!(group.master().port(), old.port());
    stage.scene.touch("a");
    run.finish().assert_code(3);
    let watched = watch.finish();
    assert_seen(&watched, 3, "one\ntwo\n");
    assert_eq!(lines_missed(&watched), 0);
}

#[test]
fn a_cluster_has_it_all_in_the_slot_of_the_lock() {
    if skipped("redis") {
        return;
    }
    let cluster = Cluster::start();
    let stage = Stage::on(cluster.url());
    let run = stage.start(&["--ttl", "10m"], "echo one; await a; echo two; exit 3");
    let watch = stage.watch_next();
    watch.wait_out("one\n");
    let master = cluster.master_of(KEY);
    until("the replica has it", || master.cli(&["WAIT", "1", "1000"]).ends_with('1'));
    master.kill();
    cluster.wait_ok();
    stage.scene.touch("a");
    run.finish().assert_code(3);
    assert_seen(&watch.finish(), 3, "one\ntwo\n");
}

#[test]
fn what_can_not_be_relayed_or_followed_is_said_at_once() {
    let scene = Scene::new();
    let quorum = "redis-quorum://127.0.0.1:1,127.0.0.1:2,127.0.0.1:3";
    for (flags, part) in [
        (&["--relay"][..], "--relay does nothing without --once"),
        (&["--once", KEY, "--relay-keep", "1MiB"], "--relay-keep does nothing without --relay"),
        (&["--once", KEY, "--relay"], "--relay: a relay can't be kept in"),
        (&["--once", KEY, "--relay", "--store", quorum], "its servers know nothing of each other"),
    ] {
        scene.finish_sh(flags, "echo ran").assert_code(2).assert_one_line(&[part]);
    }
    for (arguments, part) in [
        (&[KEY][..], "say with --store where its run is"),
        (&[KEY, "--store", &scene.store()], "a relay can't be kept in"),
        (&["unix:/none"], "a Unix socket can't be watched"),
        (&["http://127.0.0.1:1", "--store", quorum], "--store does nothing with a URL"),
        (&["http://127.0.0.1:1", "--tail", "1"], "--tail does nothing with a URL"),
        (&["http://127.0.0.1:1", "--wait", "1s"], "--wait does nothing with a URL"),
        (&[KEY, "--store", "redis://127.0.0.1:1", "--token-file", "/none"], "--token-file does nothing with a KEY"),
        (&[KEY, "--store", quorum], "its servers know nothing of each other"),
    ] {
        scene.watch(arguments).finish().assert_code(2).assert_one_line(&[part]);
    }
    for (flag, value) in [("--wait", "1s"), ("--store", quorum)] {
        let mut logs = scene.towpath();
        logs.args(["logs", "--config", &scene.name("towpath.conf"), flag, value, "--", "true"]);
        let part = format!("{flag} does nothing without --relay KEY");
        Running::start(&mut logs).finish().assert_code(2).assert_one_line(&[&part]);
    }
    let nowhere = ["--store", "redis://user:secret@127.0.0.1:1", KEY, "--retry", "0s"];
    let unreachable = scene.watch(&nowhere).finish();
    unreachable.assert_code(69).assert_one_line(&["the run \"job\" can't be followed"]);
    assert!(!unreachable.err().contains("secret"), "{}", unreachable.err());
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let stage = Stage::on(server.url());
    stage.watch(&[]).finish().assert_code(69).assert_one_line(&["no run of \"job\" is relayed"]);
    server.cli(&["SET", LAST, "somebody's"]);
    stage.watch(&["--retry", "0s"]).finish().assert_code(69);
    stage.start(&[], "exit 3").finish().assert_code(3);
}
