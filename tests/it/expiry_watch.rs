//! `towpath expiry watch`: keys that expire and deadlines, handled by the leader
//! of a group; on one server, a Cluster and with Sentinels, while watchers and
//! masters are killed and slots move.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use towpath::expiry::{Deadline, Deadlines, Due, Group};

use crate::support::redis::{Cluster, Redis, Sentinel, Settings};
use crate::support::running::Running;
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::wait::{eventually, until};

pub(crate) fn telling() -> Settings {
    Settings::new().line("notify-keyspace-events Exg")
}

pub(crate) fn watch(scene: &Scene, store: &str, flags: &[&str]) -> Running {
    let mut command = scene.towpath();
    command.args(["expiry", "watch", "--config", &scene.name("towpath.conf"), "--store", store]);
    Running::start(command.args(flags))
}

pub(crate) fn set(scene: &Scene, store: &str, words: &[&str]) {
    let mut command = scene.towpath();
    command.args(["expiry", "set", "--config", &scene.name("towpath.conf"), "--store", store]).args(words);
    Running::start(&mut command).finish().assert_code(0);
}

/// All lines of these watchers, whole ones only.
pub(crate) fn lines<'w>(watchers: impl IntoIterator<Item = &'w Running>) -> Vec<Value> {
    let of = |one: &Running| {
        let out = one.out();
        let whole = out.rfind('\n').map_or("", |end| &out[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    watchers.into_iter().flat_map(of).collect()
}

/// How often each key was handled.
pub(crate) fn counts(lines: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line["key"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    counts
}

/// Waits until each of these keys was handled by any of these.
#[track_caller]
pub(crate) fn wait_handled(watchers: &[&Running], keys: &[String]) -> Vec<Value> {
    eventually(format!("all of {} keys", keys.len()), || {
        let lines = lines(watchers.iter().copied());
        let counts = counts(&lines);
        keys.iter().all(|key| counts.contains_key(key)).then_some(lines)
    })
}

/// Sets keys that expire, each on the node that its slot belongs to.
pub(crate) fn expire_in(cluster: &Cluster, name: &str, count: usize, ms: u32) -> Vec<String> {
    let keys: Vec<String> = (0..count).map(|n| format!("{name}{n}")).collect();
    for key in &keys {
        cluster.cli(key, &["SET", key, "v", "PX", &ms.to_string()]);
    }
    keys
}

fn leader(watchers: &[Running]) -> usize {
    eventually("one leads", || watchers.iter().position(|one| one.err().contains("towpath: leading")))
}

#[test]
fn three_watch_a_cluster_and_the_leader_alone_handles_whoever_is_killed() {
    if skipped("redis") {
        return;
    }
    let (scene, cluster) = (Scene::new(), Cluster::with(&telling()));
    let mut watchers: Vec<_> = (0..3).map(|_| watch(&scene, &cluster.url(), &[])).collect();
    let first = watchers.remove(leader(&watchers));
    until("all listen at all masters", || {
        watchers.iter().chain([&first]).all(|one| one.err().matches("listening at").count() >= 3)
    });
    let keys = expire_in(&cluster, "a", 30, 500);
    let handled = wait_handled(&[&first], &keys);
    assert!(handled.iter().all(|line| line["kind"] == "expired" && line["node"] != ""), "{handled:?}");
    assert!(handled.iter().all(|line| line["seen_ms"].as_u64() >= line["due_ms"].as_u64()));
    assert_eq!(lines(&watchers), Vec::<Value>::new(), "the others leave it to the leader");

    // What falls due while nobody leads is handled by who leads next.
    let keys = expire_in(&cluster, "b", 30, 1000);
    first.send(Signal::KILL);
    let others: Vec<_> = watchers.iter().collect();
    wait_handled(&others, &keys);

    // And while a master is dead.
    let keys = expire_in(&cluster, "c", 30, 4000);
    cluster.master_of("c0").kill();
    wait_handled(&others, &keys);
    let all = lines(watchers.iter().chain([&first]));
    let mut ids: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for line in &all {
        ids.entry(line["id"].to_string()).or_default().push(line);
    }
    assert_eq!(ids.len(), 90, "each has one id, whoever handled it: {:?}", counts(&all));
    for one in watchers {
        one.send(Signal::TERM);
        one.finish().assert_code(143);
    }
}

#[test]
fn while_slots_move_nothing_is_missed() {
    if skipped("redis") {
        return;
    }
    let (scene, cluster) = (Scene::new(), Cluster::with(&telling()));
    let watcher = watch(&scene, &cluster.url(), &[]);
    until("it listens at all masters", || watcher.err().matches("listening at").count() >= 3);
    let soon = expire_in(&cluster, "soon", 100, 2000);
    let later = expire_in(&cluster, "later", 100, 8000);
    let id = |node: &Redis| node.cli(&["CLUSTER", "MYID"]);
    let [from, to] = [id(&cluster.nodes()[0]), id(&cluster.nodes()[1])];
    let host = cluster.nodes()[0].host();
    let mut reshard = scene.program("redis-cli");
    reshard.args(["--cluster", "reshard", &host, "--cluster-from", &from, "--cluster-to", &to]);
    Running::start(reshard.args(["--cluster-slots", "2000", "--cluster-yes"])).finish().assert_code(0);
    wait_handled(&[&watcher], &[soon, later].concat());
}

#[test]
fn a_sentinels_failover_loses_nothing_that_was_replicated() {
    if skipped("redis") {
        return;
    }
    let (scene, group) = (Scene::new(), Sentinel::with(telling()));
    let watcher = watch(&scene, &group.url(), &[]);
    watcher.wait_err("listening at");
    let keys: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
    for key in &keys {
        group.master().cli(&["SET", key, "v", "PX", "3000"]);
    }
    group.master().wait_replicated();
    group.master().kill();
    wait_handled(&[&watcher], &keys);
}

#[test]
fn what_is_deleted_renamed_persisted_or_flushed_has_not_expired() {
    if skipped("redis") {
        return;
    }
    let (scene, server) = (Scene::new(), Redis::with(telling()));
    let watcher = watch(&scene, &server.url(), &["--match", "k*"]);
    watcher.wait_err("listening at");
    for key in ["kdel", "kren", "kper", "kover", "other"] {
        server.cli(&["SET", key, "v", "PX", "1000"]);
    }
    server.cli(&["DEL", "kdel"]);
    server.cli(&["RENAME", "kren", "knew"]);
    server.cli(&["PERSIST", "kper"]);
    server.cli(&["SET", "kover", "v"]);
    watcher.wait_out("\"knew\"");
    server.cli(&["SET", "kflushed", "v", "PX", "1000"]);
    server.cli(&["FLUSHALL"]);
    // By then what was flushed would have been told, too: it was due 8 s before.
    server.cli(&["SET", "kend", "v", "PX", "9000"]);
    watcher.wait_out("\"kend\"");
    let keys: Vec<_> = counts(&lines([&watcher])).into_keys().collect();
    assert_eq!(keys, ["kend", "knew"]);
}

#[test]
fn a_command_is_told_all_and_what_fails_or_hangs_is_tried_again_and_kept() {
    if skipped("redis") {
        return;
    }
    let (scene, server) = (Scene::new(), Redis::with(telling()));
    let url = server.url();
    let script = "echo \"$TOWPATH_KEY|$TOWPATH_KIND|$TOWPATH_ATTEMPT|$TOWPATH_GROUP|$TOWPATH_STORE|$(cat)\"; \
                  case $TOWPATH_KEY in bad) exit 3;; hang) sleep 1000;; esac";
    let flags = ["--group", "g", "--attempts", "2", "--handler-timeout", "2s", "--exec", script];
    let watcher = watch(&scene, &url, &flags);
    watcher.wait_err("listening at");
    std::fs::write(scene.path("payload"), "hello").unwrap();
    set(&scene, &url, &["own", "--in", "0s", "--group", "g", "--payload", &scene.name("payload")]);
    watcher.wait_out("own|deadline|1|g||hello\n");
    for key in ["good", "bad", "hang"] {
        server.cli(&["SET", key, "v", "PX", "100"]);
    }
    watcher.wait_err("it exited with code 3; it is kept");
    watcher.wait_err("it took longer than 2s, and was ended; it is kept");
    assert!(watcher.out().contains("good|expired|1|g||\n") && watcher.out().contains("hang|expired|2|g||\n"));
    let mut pending = scene.towpath();
    pending.args(["expiry", "pending", "--failed", "--config", &scene.name("towpath.conf"), "--store", &url]);
    let failed = Running::start(pending.args(["--group", "g"])).finish();
    let failed = failed.assert_code(0).out();
    assert!(failed.contains("\"bad\"  failed 2 times") && failed.lines().count() == 2, "{failed}");
    let mut cancel = scene.towpath();
    cancel.args(["expiry", "cancel", "bad", "--config", &scene.name("towpath.conf"), "--store", &url]);
    Running::start(cancel.args(["--group", "g"])).finish().assert_code(0);
    watcher.send(Signal::TERM);
    watcher.finish().assert_code(143);
    scene.wait_empty();
}

#[test]
fn keys_of_any_bytes_are_told_in_hexadecimal() {
    if skipped("redis") {
        return;
    }
    let (scene, server) = (Scene::new(), Redis::with(telling()));
    let watcher = watch(&scene, &server.url(), &[]);
    watcher.wait_err("listening at");
    server.cli(&["EVAL", "return redis.call('SET', 'a\\255\\0\\n', 'v', 'PX', 100)", "0"]);
    let line = eventually("the key", || lines([&watcher]).pop());
    assert_eq!(line["key_hex"], "61ff000a");
    assert_eq!(line["key"], Value::Null);
    server.cli(&["EVAL", "return redis.call('SET', string.rep('x', 40000), 'v', 'PX', 100)", "0"]);
    watcher.wait_err("a key of 40000 bytes is not handled, nor is any other of more than 32768");
    watcher.send(Signal::TERM);
    watcher.finish().assert_code(143);
    let script = "echo \"${TOWPATH_KEY-none}|$(echo $TOWPATH_KEY_HEX | wc -c)|$TOWPATH_KIND\"";
    let watcher = watch(&scene, &server.url(), &["--exec", script]);
    watcher.wait_err("listening at");
    server.cli(&["EVAL", "return redis.call('SET', 'a\\255\\0\\n', 'v', 'PX', 100)", "0"]);
    watcher.wait_out("none|9|expired\n");
    server.cli(&["EVAL", "return redis.call('SET', string.rep('x', 32768), 'v', 'PX', 100)", "0"]);
    watcher.wait_out("x|65537|expired\n");
}

#[cfg(feature = "http")]
#[test]
fn json_is_posted_and_posted_again_where_it_was_refused() {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    if skipped("redis") {
        return;
    }
    let (scene, server) = (Scene::new(), Redis::with(telling()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let bodies = std::thread::spawn(move || {
        let statuses = ["503 No", "204 Yes"];
        statuses.map(|status| {
            let mut client = BufReader::new(listener.accept().unwrap().0);
            let (mut line, mut length) = (String::new(), 0);
            while client.read_line(&mut line).unwrap() > 2 {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            client.read_exact(&mut body).unwrap();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            client.get_mut().write_all(answer.as_bytes()).unwrap();
            serde_json::from_slice::<Value>(&body).unwrap()
        })
    });
    let watcher = watch(&scene, &server.url(), &["--post", &url]);
    watcher.wait_err("listening at");
    server.cli(&["SET", "k", "v", "PX", "100"]);
    watcher.wait_err("answered 503; it is tried again");
    let [first, second] = bodies.join().unwrap();
    assert_eq!((&first["key"], &first["id"]), (&"k".into(), &second["id"]));
    assert_eq!((&first["attempt"], &second["attempt"]), (&1.into(), &2.into()));
}

#[test]
fn a_server_that_does_not_tell_is_named_and_configured_where_we_may() {
    if skipped("redis") {
        return;
    }
    let (scene, server) = (Scene::new(), Redis::with(Settings::new().line("notify-keyspace-events Kx")));
    let watcher = watch(&scene, &server.url(), &[]);
    watcher.wait_err("lacks \"Eg\"");
    // Deadlines of one's own need no notifications.
    set(&scene, &server.url(), &["own", "--in", "0s"]);
    watcher.wait_out("\"own\"");
    let configuring = watch(&scene, &server.url(), &["--group", "other", "--configure"]);
    configuring.wait_err("listening at");
    let flags = server.cli(&["CONFIG", "GET", "notify-keyspace-events"]);
    assert!("KExg".chars().all(|flag| flags.lines().nth(1).unwrap().contains(flag)), "{flags}");
    watcher.wait_err("listening at");
}

#[test]
fn a_user_without_the_channels_is_told_which() {
    if skipped("redis") {
        return;
    }
    let server = Redis::with(telling().user("me", "pw", "~* +@all resetchannels"));
    let scene = Scene::new();
    let url = server.url().replace("redis://", "redis://me:pw@");
    let watcher = watch(&scene, &url, &[]);
    watcher.wait_err("doesn't permit our user the channels __keyevent@0__:*");
    assert!(!watcher.err().contains("pw@"));
}

#[test]
fn the_rights_that_the_guide_names_suffice() {
    if skipped("redis") {
        return;
    }
    let guide = include_str!("../../docs/expiry.md");
    let rules = guide.lines().find_map(|line| line.strip_prefix("ACL SETUSER towpath on >PASSWORD ")).unwrap();
    let server = Redis::with(telling().user("me", "pw", rules));
    let scene = Scene::new();
    let url = server.url().replace("redis://", "redis://me:pw@");
    let watcher = watch(&scene, &url, &[]);
    watcher.wait_err("listening at");
    set(&scene, &url, &["own", "--in", "0s"]);
    server.cli(&["SET", "k", "v", "PX", "100"]);
    wait_handled(&[&watcher], &["own".to_owned(), "k".to_owned()]);
    watcher.send(Signal::TERM);
    let finished = watcher.finish();
    assert!(!finished.assert_code(143).err().contains("permit"), "{}", finished.err());
}

#[test]
fn a_store_without_such_keys_is_refused_and_one_that_is_away_is_said() {
    if skipped("redis") {
        return;
    }
    let scene = Scene::new();
    for (store, why) in [(scene.store(), "no keys that expire"), ("redis-quorum://a,b,c".to_owned(), "none of them")] {
        watch(&scene, &store, &[]).finish().assert_code(2).assert_one_line(&[why]);
    }
}

#[test]
fn output_that_nobody_can_take_ends_it_and_what_was_not_written_stays() {
    if skipped("redis") {
        return;
    }
    let (scene, server) = (Scene::new(), Redis::with(telling()));
    let mut command = scene.towpath();
    command.args(["expiry", "watch", "--config", &scene.name("towpath.conf"), "--store", &server.url()]);
    let (watcher, unread) = Running::start_unread(&mut command);
    watcher.wait_err("listening at");
    drop(unread);
    set(&scene, &server.url(), &["own", "--in", "0s"]);
    let finished = watcher.finish();
    assert!(finished.assert_code(74).err().contains("standard output can't be written"), "{}", finished.err());
    let next = watch(&scene, &server.url(), &[]);
    next.wait_out("\"own\"");
}

/// A watcher with more lines to write than a pipe holds, which nobody reads.
fn unread(scene: &Scene, server: &Redis, flags: &[&str]) -> (Running, std::process::ChildStdout) {
    let mut deadlines = Deadlines::open(&server.url().parse().unwrap(), Group::default()).unwrap();
    let due = Due::In(Duration::ZERO);
    let many: Vec<_> = (0..2000).map(|n| Deadline::new(format!("own{n}"), due, "").unwrap()).collect();
    deadlines.set_all(&many).unwrap();
    let mut command = scene.towpath();
    command.args(["expiry", "watch", "--config", &scene.name("towpath.conf"), "--store", &server.url()]);
    let (watcher, unread) = Running::start_unread(command.args(flags));
    watcher.wait_err("towpath: leading");
    until("the pipe to be full", || rustix::io::ioctl_fionread(&unread).unwrap() > 60_000);
    (watcher, unread)
}

#[test]
fn output_that_is_not_read_ends_a_leader_and_the_next_one_handles_all() {
    if skipped("redis") {
        return;
    }
    let (scene, server) = (Scene::new(), Redis::with(telling()));
    let (watcher, _unread) = unread(&scene, &server, &["--handler-timeout", "1s"]);
    let finished = watcher.finish();
    assert!(finished.assert_code(74).err().contains("nobody took anything for 1s"), "{}", finished.err());
    let next = watch(&scene, &server.url(), &[]);
    wait_handled(&[&next], &["own1998".to_owned(), "own1999".to_owned()]);
    let mut pending = scene.towpath();
    pending.args(["expiry", "pending", "--config", &scene.name("towpath.conf"), "--store", &server.url()]);
    until("none to be left", || Running::start(&mut pending).finish().assert_code(0).out().is_empty());
}

#[test]
fn output_that_is_not_read_keeps_nobody_from_ending() {
    if skipped("redis") {
        return;
    }
    let (scene, server) = (Scene::new(), Redis::with(telling()));
    let (watcher, _unread) = unread(&scene, &server, &["--handler-timeout", "1h"]);
    watcher.send(Signal::TERM);
    watcher.finish().assert_code(143);
}

#[cfg(feature = "http")]
#[test]
fn a_request_that_hangs_keeps_nobody_from_ending_and_is_made_again() {
    use std::io::Read;
    use std::net::TcpListener;

    if skipped("redis") {
        return;
    }
    let (scene, server) = (Scene::new(), Redis::with(telling()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let watcher = watch(&scene, &server.url(), &["--post", &url, "--handler-timeout", "1h"]);
    watcher.wait_err("listening at");
    set(&scene, &server.url(), &["own", "--in", "0s"]);
    let mut client = listener.accept().unwrap().0;
    assert!(client.read(&mut [0; 64]).unwrap() > 0, "it asks, and gets no answer");
    watcher.send(Signal::TERM);
    watcher.finish().assert_code(143);
    let next = watch(&scene, &server.url(), &[]);
    let handled = wait_handled(&[&next], &["own".to_owned()]);
    assert_eq!(handled[0]["attempt"], 1, "what was cut hasn't failed");
}
