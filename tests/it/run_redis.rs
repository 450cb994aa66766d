//! `run --once` on a real Redis, each run as a host of its own: who runs, and
//! what becomes of the command when towpath is frozen or killed, the network
//! is cut, or the server hangs or forgets. Always: the next one begins only
//! when the command of the one before is dead.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use towpath::clock::Moment;

use crate::support::process::Process;
use crate::support::proxy::Proxy;
use crate::support::redis::{Cluster, Quorum, Redis};
use crate::support::running::Running;
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::wait::{eventually, until};

const KEY: &str = "job";

/// Heeds no request to end.
const DEAF: &str = "trap '' TERM; echo $$ >pid; while :; do sleep 0.1; done";
/// Ends when there is a file `go`.
const WAITS: &str = "echo $$ >pid; while [ ! -e go ]; do sleep 0.05; done";
/// The first thing that the next one does: looks whether the one before is dead.
const LOOKS: &str =
    "case $(cut -d' ' -f3 /proc/$(cat pid)/stat 2>/dev/null) in ''|Z|X) echo alone;; *) echo both;; esac";

/// What a run says whose lease is lost.
const LOST: &str = "the lock \"job\" was lost: ";

/// Runs that share a directory, and a store.
struct Stage {
    scene: Scene,
    store: String,
    ttl: &'static str,
}

impl Stage {
    fn on(store: String, ttl: &'static str) -> Stage {
        Stage { scene: Scene::new(), store, ttl }
    }

    fn start(&self, flags: &[&str], script: &str) -> Running {
        self.start_at(&self.store, flags, script)
    }

    fn start_at(&self, store: &str, flags: &[&str], script: &str) -> Running {
        let flags = [&["--store", store, "--once", KEY, "--ttl", self.ttl], flags].concat();
        self.scene.start_sh(&flags, script)
    }

    /// The command of the run that was just started, which writes its `pid`.
    fn command(&self) -> Process {
        self.scene.process_in("pid")
    }

    /// One that waits for its turn, and looks first.
    fn next(&self) -> Running {
        self.start(&["--wait", "5m"], LOOKS)
    }

    fn go(&self) {
        fs::write(self.scene.path("go"), "").unwrap();
    }
}

#[track_caller]
fn assert_alone(next: Running) {
    assert_eq!(next.finish().assert_code(0).out(), "alone\n");
}

fn pttl(answer: &str) -> u64 {
    answer.parse().unwrap_or(0)
}

#[test]
fn the_second_host_exits_75_silently_and_one_that_waits_runs_when_the_first_is_done() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let stage = Stage::on(server.url(), "10m");
    let first = stage.start(&[], WAITS);
    stage.command();
    stage.start(&[], "echo ran").finish().assert_code(75).assert_silent();
    let next = stage.next();
    // It hears of the end: nothing else would tell it before ten minutes are over.
    until("it listens", || server.cli(&["PUBSUB", "NUMSUB", "towpath:free:{job}"]).ends_with("\n1"));
    stage.go();
    first.finish().assert_code(0).assert_silent();
    assert_alone(next);
    assert_eq!(server.cli(&["EXISTS", KEY]), "0");
}

#[test]
fn a_short_job_keeps_its_lock_for_as_long_as_it_was_told_to() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let stage = Stage::on(server.url(), "2s");
    stage.start(&["--hold-at-least", "1h"], "true").finish().assert_code(0).assert_silent();
    let left = pttl(&server.cli(&["PTTL", KEY]));
    assert!((2_000_000..=3_600_000).contains(&left), "{left}");
    stage.start(&[], "echo ran").finish().assert_code(75).assert_silent();
    server.cli(&["DEL", KEY]);
    stage.start(&["--hold-at-least", "1s"], WAITS.replace("pid;", "pid; touch go;").as_str()).finish().assert_code(0);
    assert_alone(stage.next());
}

#[test]
fn the_command_of_a_frozen_towpath_is_dead_before_the_next_one_runs() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let stage = Stage::on(server.url(), "3s");
    let first = stage.start(&[], DEAF);
    let command = stage.command();
    let next = stage.next();
    first.send(Signal::STOP);
    assert_alone(next);
    assert!(!command.is_alive() && first.process().is_stopped());
    first.send(Signal::CONT);
    first.finish().assert_code(79).assert_one_line(&[LOST]);
    assert_eq!(server.cli(&["EXISTS", KEY]), "0");
}

#[test]
fn a_towpath_frozen_for_less_than_its_lease_goes_on() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let stage = Stage::on(server.url(), "20s");
    let first = stage.start(&[], WAITS);
    let command = stage.command();
    first.send(Signal::STOP);
    first.process().wait_stopped();
    let began = Moment::now();
    // A renewal falls due meanwhile.
    until("over a third of the ttl", || began.elapsed() > Duration::from_secs(7));
    let before = pttl(&server.cli(&["PTTL", KEY]));
    first.send(Signal::CONT);
    until("a renewal", || pttl(&server.cli(&["PTTL", KEY])) > before);
    assert!(command.is_alive());
    stage.go();
    first.finish().assert_code(0).assert_silent();
}

#[test]
fn the_command_of_a_killed_towpath_is_dead_before_the_next_one_runs() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let stage = Stage::on(server.url(), "3s");
    let first = stage.start(&[], DEAF);
    stage.command();
    let next = stage.next();
    first.send(Signal::KILL);
    assert_eq!(first.finish().signal, Some(9));
    assert_alone(next);
}

/// A run whose way to the server is broken by `break_it` for good.
fn cut_off(break_it: fn(&Proxy)) {
    let server = Redis::start();
    let proxy = Proxy::to(server.address());
    let stage = Stage::on(server.url(), "3s");
    let report = stage.scene.name("report");
    let first = stage.start_at(&format!("redis://{}", proxy.host()), &["--report", &report], DEAF);
    let command = stage.command();
    let next = stage.next();
    break_it(&proxy);
    first.finish().assert_code(79).assert_one_line(&[LOST, "not renewed in time"]);
    assert!(!command.is_alive());
    assert_alone(next);
    assert_eq!(stage.scene.report("report")["outcome"], "lease-lost");
}

#[test]
fn a_command_whose_network_is_silent_is_dead_before_the_next_one_runs() {
    if skipped("redis") {
        return;
    }
    cut_off(Proxy::hang);
}

#[test]
fn a_command_whose_network_is_cut_is_dead_before_the_next_one_runs() {
    if skipped("redis") {
        return;
    }
    cut_off(|proxy| {
        proxy.aim(None);
        proxy.cut();
    });
}

#[test]
fn connections_that_are_cut_are_made_anew() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let proxy = Proxy::to(server.address());
    let stage = Stage::on(format!("redis://{}", proxy.host()), "10s");
    let first = stage.start(&[], WAITS);
    stage.command();
    for _ in 0..2 {
        let before = pttl(&server.cli(&["PTTL", KEY]));
        proxy.cut();
        until("a renewal", || pttl(&server.cli(&["PTTL", KEY])) > before);
    }
    stage.go();
    first.finish().assert_code(0).assert_silent();
    assert_eq!(server.cli(&["EXISTS", KEY]), "0");
}

#[test]
fn a_server_that_hangs_for_less_than_the_lease_changes_nothing() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let stage = Stage::on(server.url(), "10s");
    let first = stage.start(&["--kill-after", "100ms"], WAITS);
    let command = stage.command();
    server.stop();
    let began = Moment::now();
    // The first renewal falls due meanwhile, and finds nobody.
    until("over a third of the ttl", || began.elapsed() > Duration::from_secs(5));
    server.go_on();
    let before = pttl(&server.cli(&["PTTL", KEY]));
    until("a renewal", || pttl(&server.cli(&["PTTL", KEY])) > before);
    assert!(command.is_alive());
    stage.go();
    first.finish().assert_code(0);
}

#[test]
fn a_server_that_restarts_empty_is_noticed_at_the_next_renewal() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let stage = Stage::on(server.url(), "15s");
    let first = stage.start(&[], WAITS);
    stage.command();
    let before = Moment::now();
    server.restart();
    // Found gone, and not only when it had lapsed: the bar is a third of the ttl.
    first.finish().assert_code(79).assert_one_line(&[LOST, "deleted"]);
    assert!(before.elapsed() < Duration::from_secs(15));
    assert_alone(stage.next());
}

#[test]
fn one_that_waits_outlives_a_server_that_goes_away_for_a_while() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let stage = Stage::on(server.url(), "3s");
    let first = stage.start(&[], DEAF);
    stage.command();
    let next = stage.next();
    until("it listens", || server.cli(&["PUBSUB", "NUMSUB", "towpath:free:{job}"]).ends_with("\n1"));
    server.kill();
    first.finish().assert_code(79);
    // Who comes now is told at once; one that waited goes on waiting.
    stage.start(&["--wait", "5m"], "true").finish().assert_code(69);
    server.restart();
    assert_alone(next);
}

#[test]
fn ten_who_wait_all_get_their_turn_one_after_the_other() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let stage = Stage::on(server.url(), "30s");
    let first = stage.start(&[], WAITS);
    stage.command();
    let alone = "mkdir inside || echo both; echo turn >>turns; sleep 0.05; rmdir inside";
    let waiters: Vec<_> = (0..10).map(|_| stage.start(&["--wait", "5m"], alone)).collect();
    until("all listen", || server.cli(&["PUBSUB", "NUMSUB", "towpath:free:{job}"]).ends_with("\n10"));
    stage.go();
    first.finish().assert_code(0);
    for waiter in waiters {
        waiter.finish().assert_code(0).assert_silent();
    }
    assert_eq!(stage.scene.read("turns").lines().count(), 10);
}

#[test]
fn a_time_limit_is_its_own_whether_the_lease_is_longer_or_shorter() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    for (ttl, limit) in [("30s", "1s"), ("2s", "5s")] {
        let stage = Stage::on(server.url(), ttl);
        let run = stage.start(&["--timeout", limit, "--kill-after", "500ms"], DEAF);
        let command = stage.command();
        run.finish().assert_code(124);
        assert!(!command.is_alive());
        assert_eq!(server.cli(&["EXISTS", KEY]), "0", "given back at once");
    }
}

#[test]
fn a_run_on_a_quorum_outlives_one_of_its_nodes_and_not_two() {
    if skipped("redis") {
        return;
    }
    let quorum = Quorum::start();
    let [first, second, _] = quorum.nodes() else { panic!("three nodes") };
    let stage = Stage::on(quorum.url(), "3s");
    first.stop();
    let run = stage.start(&[], DEAF);
    let command = stage.command();
    let began = Moment::now();
    until("the first ttl is over", || began.elapsed() > Duration::from_secs(4));
    assert!(command.is_alive());
    stage.start(&[], "echo ran").finish().assert_code(75).assert_silent();
    let next = stage.next();
    until("it listens", || second.cli(&["PUBSUB", "NUMSUB", "towpath:free:{job}"]).ends_with("\n1"));
    second.kill();
    run.finish().assert_code(79).assert_one_line(&[LOST, "not renewed in time", "2 of 3 nodes"]);
    assert!(!command.is_alive());
    first.go_on();
    assert_alone(next);
}

#[test]
fn a_run_outlives_the_failover_of_a_cluster() {
    if skipped("redis") {
        return;
    }
    let cluster = Cluster::start();
    let stage = Stage::on(cluster.url(), "30s");
    let run = stage.start(&[], WAITS);
    let command = stage.command();
    let old = cluster.master_of(KEY);
    until("a replica has the lock", || {
        let written = format!("offset={},", old.info("master_repl_offset").unwrap());
        old.info("slave0").is_some_and(|replica| replica.contains(&written))
    });
    old.kill();
    let before = eventually("the new master has the lock", || {
        let new = cluster.master_of(KEY);
        let left = pttl(&new.try_cli(&["PTTL", KEY]).ok()?);
        (new.port() != old.port() && left > 0).then_some(left)
    });
    until("it is renewed there", || pttl(&cluster.cli(KEY, &["PTTL", KEY])) > before);
    assert!(command.is_alive());
    stage.go();
    run.finish().assert_code(0);
    assert_eq!(cluster.cli(KEY, &["EXISTS", KEY]), "0");
}
