//! `towpath expiry watch` where it hears nothing for a while: subscriptions that
//! are cut, keys that are flushed meanwhile, masters that give way; and where
//! keys go without having expired, or Redis has another clock, or no room.

use rustix::process::Signal;

use crate::expiry_watch::{counts, expire_in, lines, set, telling, wait_handled, watch};
use crate::support::proxy::Proxy;
use crate::support::redis::{Cluster, Redis, Sentinel, Settings};
use crate::support::running::Running;
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::wait::{eventually, until};

/// A server and a watcher that knows some of its keys.
struct Gap {
    scene: Scene,
    server: Redis,
    watcher: Running,
    keys: Vec<String>,
}

impl Gap {
    /// Everything is heard. The keys are due 6 s after they were set.
    fn ahead() -> Gap {
        let (scene, server) = (Scene::new(), Redis::with(telling()));
        let watcher = watch(&scene, &server.url(), &[]);
        watcher.wait_err("listening at");
        let keys = learned(&watcher, &server);
        Gap { scene, server, watcher, keys }
    }

    /// Nothing is heard of the keys any more.
    fn open() -> Gap {
        let gap = Gap::ahead();
        // Redis cuts off those who listen to what they may not any more.
        gap.server.cli(&["ACL", "SETUSER", "default", "resetchannels"]);
        gap.watcher.wait_err("doesn't permit our user the channels");
        gap
    }

    fn heal(&self) {
        self.server.cli(&["ACL", "SETUSER", "default", "allchannels"]);
    }

    /// Asserts that each key was handled, once.
    fn assert_handled(self) {
        let handled = wait_handled(&[&self.watcher], &self.keys);
        assert!(handled.iter().any(|line| line["kind"] == "reconciled"), "{handled:?}");
        self.watcher.send(Signal::TERM);
        let finished = self.watcher.finish();
        assert_eq!(finished.assert_code(143).out().lines().count(), 51, "each once");
        self.scene.wait_empty();
    }
}

/// Fifty keys that the watcher knows of, due 6 s after they were set.
fn learned(watcher: &Running, server: &Redis) -> Vec<String> {
    let keys: Vec<String> = (0..50).map(|n| format!("k{n}")).collect();
    for key in &keys {
        server.cli(&["SET", key, "v", "PX", "6000"]);
    }
    // It has learned their times when it has handled one that came after them.
    server.cli(&["SET", "last", "v", "PX", "100"]);
    watcher.wait_out("\"last\"");
    keys
}

/// Asserts that none of them is handled, also when all are due.
fn assert_not_handled(watcher: &Running, server: &Redis) {
    server.cli(&["SET", "after", "v", "PX", "13000"]);
    watcher.wait_out("\"after\"");
    let keys: Vec<_> = counts(&lines([watcher])).into_keys().collect();
    assert_eq!(keys, ["after", "last"]);
}

#[test]
fn a_subscription_that_is_cut_loses_nothing_that_was_known() {
    if skipped("redis") {
        return;
    }
    let gap = Gap::open();
    until("all to have expired unheard", || gap.server.cli(&["KEYS", "k*"]).is_empty());
    gap.heal();
    gap.assert_handled();
}

#[test]
fn a_server_that_is_told_to_tell_no_more_is_named_and_nothing_is_lost() {
    if skipped("redis") {
        return;
    }
    let Gap { server, watcher, keys, scene: _scene } = Gap::ahead();
    server.cli(&["CONFIG", "SET", "notify-keyspace-events", "Eg"]);
    watcher.wait_err("lacks \"x\"");
    until("all to have expired untold", || server.cli(&["KEYS", "k*"]).is_empty());
    wait_handled(&[&watcher], &keys);
}

#[test]
fn what_falls_due_while_redis_takes_no_writes_is_handled_afterwards() {
    if skipped("redis") {
        return;
    }
    let Gap { server, watcher, keys, scene: _scene } = Gap::ahead();
    // Who isn't touched doesn't expire, and nobody touches them but the watcher.
    server.cli(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    server.cli(&["CLIENT", "PAUSE", "8000", "WRITE"]);
    wait_handled(&[&watcher], &keys);
}

#[test]
fn what_is_flushed_while_nobody_hears_has_not_expired() {
    if skipped("redis") {
        return;
    }
    for flush in ["FLUSHALL", "FLUSHDB"] {
        let gap = Gap::open();
        gap.server.cli(&[flush]);
        gap.heal();
        assert_not_handled(&gap.watcher, &gap.server);
    }
}

#[test]
fn another_databases_flush_hides_no_expiry() {
    if skipped("redis") {
        return;
    }
    let gap = Gap::open();
    gap.server.cli(&["EVAL", "redis.call('SELECT', 1) return redis.call('FLUSHDB')", "0"]);
    until("all to have expired unheard", || gap.server.cli(&["KEYS", "k*"]).is_empty());
    gap.heal();
    gap.assert_handled();
}

#[test]
fn what_is_flushed_while_the_server_is_cut_off_has_not_expired() {
    if skipped("redis") {
        return;
    }
    let (scene, server) = (Scene::new(), Redis::with(telling()));
    let proxy = Proxy::to(server.address());
    let watcher = watch(&scene, &format!("redis://{}", proxy.host()), &[]);
    watcher.wait_err("listening at");
    learned(&watcher, &server);
    proxy.aim(None);
    proxy.cut();
    server.cli(&["FLUSHALL"]);
    // Longer than what was flushed would have been there, and nobody has learned of it.
    server.cli(&["SET", "unknown", "v", "PX", "7000"]);
    until("all to be due", || server.cli(&["EXISTS", "unknown"]) == "0");
    proxy.aim(Some(server.address()));
    watcher.wait_err("was flushed while it wasn't listened to; 50 keys that were due by now don't count as expired");
    assert_not_handled(&watcher, &server);
}

#[test]
fn a_master_that_gives_way_takes_nothing_with_it() {
    if skipped("redis") {
        return;
    }
    let (scene, cluster) = (Scene::new(), Cluster::with(&telling()));
    let watcher = watch(&scene, &cluster.url(), &[]);
    until("it listens at all masters", || watcher.err().matches("listening at").count() >= 3);
    // Due one after the other, before, while and after the replicas take over.
    let keys: Vec<String> =
        (0..60).flat_map(|at| expire_in(&cluster, &format!("at{at}n"), 6, 500 + 100 * at)).collect();
    for replica in &cluster.nodes()[3..] {
        let mut looks = 0..;
        until("a replica to have taken over", || {
            // One that isn't done in time is given up by Redis, and has to be asked for again.
            if looks.next().is_some_and(|look| look % 500 == 0) {
                // Too early, or done already.
                let _ = replica.try_cli(&["CLUSTER", "FAILOVER"]);
            }
            replica.info("role").as_deref() == Some("master")
        });
    }
    wait_handled(&[&watcher], &keys);
}

#[test]
fn a_sentinels_master_that_gives_way_takes_nothing_with_it() {
    if skipped("redis") {
        return;
    }
    let (scene, group) = (Scene::new(), Sentinel::with(telling()));
    let watcher = watch(&scene, &group.url(), &[]);
    watcher.wait_err("listening at");
    let old = group.master();
    let keys: Vec<String> = (0..200).map(|n| format!("k{n}")).collect();
    for (n, key) in keys.iter().enumerate() {
        old.cli(&["SET", key, "v", "PX", &(1000 + 20 * n).to_string()]);
    }
    old.wait_replicated();
    group.sentinels()[0].cli(&["SENTINEL", "FAILOVER", Sentinel::NAME]);
    wait_handled(&[&watcher], &keys);
    assert_ne!(group.master().port(), old.port());
}

#[test]
fn what_is_evicted_has_not_expired() {
    if skipped("redis") {
        return;
    }
    let settings = Settings::new().line("notify-keyspace-events Exge").line("maxmemory-policy volatile-lru");
    let (scene, server) = (Scene::new(), Redis::with(settings));
    let watcher = watch(&scene, &server.url(), &[]);
    watcher.wait_err("listening at");
    let keys = learned(&watcher, &server);
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    until("all to be evicted", || server.cli(&["KEYS", "k*"]).is_empty());
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(server.info("expired_keys").as_deref(), Some("1"), "only the last of {} keys", keys.len());
    assert_not_handled(&watcher, &server);
}

#[test]
fn a_redis_that_is_full_has_all_handled_that_it_has() {
    if skipped("redis") {
        return;
    }
    let (scene, server) = (Scene::new(), Redis::with(telling()));
    let watcher = watch(&scene, &server.url(), &[]);
    watcher.wait_err("towpath: leading");
    watcher.wait_err("listening at");
    let keys = learned(&watcher, &server);
    set(&scene, &server.url(), &["own", "--in", "14s"]);
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    // Longer than a leader stays that can't renew its lease.
    wait_handled(&[&watcher], &[keys, vec!["own".to_owned()]].concat());
    let mut refused = scene.towpath();
    refused.args(["expiry", "set", "new", "--in", "1s", "--config", &scene.name("towpath.conf")]);
    let refused = Running::start(refused.args(["--store", &server.url()])).finish();
    refused.assert_code(69).assert_one_line(&["is full (maxmemory)"]);
    assert!(!watcher.err().contains("leading no more"), "{}", watcher.err());
}

#[test]
fn redis_clock_decides_where_it_is_another_than_ours() {
    if skipped("redis") {
        return;
    }
    for (offset, hours) in [("+3h", 3), ("-3h", -3)] {
        let (scene, server) = (Scene::new(), Redis::with(telling()));
        let with_its_clock = |words: &[&str]| {
            let mut command = scene.towpath();
            // The linker knows where the system's libraries are.
            command.env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1").env("FAKETIME", offset);
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").arg("expiry").args(words);
            Running::start(command.args(["--config", &scene.name("towpath.conf"), "--store", &server.url()]))
        };
        let watcher = with_its_clock(&["watch", "--exec", "echo $TOWPATH_KEY $TOWPATH_DEADLINE $(date +%s)"]);
        watcher.wait_err("listening at");
        with_its_clock(&["set", "own", "--in", "1s"]).finish().assert_code(0);
        server.cli(&["SET", "k", "v", "PX", "1000"]);
        for key in ["own ", "k "] {
            let line = eventually("it is handled", || {
                let out = watcher.out();
                out.lines().find(|line| line.starts_with(key)).map(str::to_owned)
            });
            let [due_ms, host] = [1, 2].map(|word| line.split(' ').nth(word).unwrap().parse::<i64>().unwrap());
            let redis = server.cli(&["TIME"]).lines().next().unwrap().parse::<i64>().unwrap();
            assert!((redis - due_ms / 1000).abs() < 120, "{offset}: {line}, {redis}");
            assert!((host - redis - hours * 3600).abs() < 120, "{offset}: {line}, {redis}");
        }
    }
}
