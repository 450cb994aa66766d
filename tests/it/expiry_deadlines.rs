//! Deadlines of one's own: set, listed, taken back, claimed, acknowledged; on
//! one server and in a Cluster, by the library and the command.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use towpath::expiry::{Cancelled, Deadline, Deadlines, Due, Entry, Group, Kind};

use crate::support::redis::{Cluster, Redis, Sentinel, Settings};
use crate::support::running::{Finished, Running};
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::wait::eventually;

const NOW: Due = Due::In(Duration::ZERO);
const LATER: Due = Due::In(Duration::from_secs(3600));
const VISIBLE: Duration = Duration::from_secs(60);

fn deadlines(url: &str) -> Deadlines {
    Deadlines::open(&url.parse().unwrap(), Group::default()).unwrap()
}

fn deadline(key: &[u8], due: Due, payload: &[u8]) -> Deadline {
    Deadline::new(key, due, payload).unwrap()
}

fn claim(deadlines: &mut Deadlines, fence: u64) -> Vec<Entry> {
    deadlines.claim(fence, VISIBLE, 100).unwrap().expect("the largest fence").entries
}

fn expiry(scene: &Scene, url: &str, words: &[&str]) -> Finished {
    let mut command = scene.towpath();
    command.args(["expiry", words[0], "--config", &scene.name("towpath.conf"), "--store", url]).args(&words[1..]);
    Running::start(&mut command).finish()
}

#[test]
fn what_is_due_is_claimed_once_and_over_when_it_is_acknowledged() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let mut ours = deadlines(&server.url());
    let key = b"any \xff\n:{bytes}\0";
    ours.set(&deadline(key, NOW, b"pay\0load")).unwrap();
    let later = ours.set(&deadline(b"later", LATER, b"")).unwrap();
    let claimed = ours.claim(7, VISIBLE, 100).unwrap().unwrap();
    let [entry] = claimed.entries.as_slice() else { panic!("{claimed:?}") };
    assert_eq!(
        (entry.key.as_slice(), entry.payload.as_slice(), entry.kind),
        (&key[..], &b"pay\0load"[..], Kind::Deadline)
    );
    let next_in = claimed.next_in.unwrap();
    assert!(next_in > Duration::from_secs(3000) && next_in <= Duration::from_secs(3600), "{next_in:?}");
    assert_eq!(claim(&mut ours, 7), [], "claimed already");
    assert_eq!(ours.pending(10).unwrap().len(), 2, "until it is acknowledged");
    ours.acknowledge(&claimed.entries).unwrap();
    let left = ours.pending(10).unwrap();
    assert_eq!(left.iter().map(|entry| entry.due_ms).collect::<Vec<_>>(), [later]);
}

#[test]
fn a_larger_fence_takes_over_with_the_same_ids_and_a_smaller_one_gets_nothing() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let (mut old, mut new) = (deadlines(&server.url()), deadlines(&server.url()));
    old.set_all(&(0..300).map(|n| deadline(format!("k{n}").as_bytes(), NOW, b"")).collect::<Vec<_>>()).unwrap();
    let ids =
        |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.id).collect::<std::collections::BTreeSet<_>>();
    let first = ids(claim(&mut old, 1));
    assert_eq!(first.len(), 300);
    assert_eq!(ids(claim(&mut new, 2)), first);
    assert_eq!(old.claim(1, VISIBLE, 100).unwrap(), None, "it leads no more");
    // What a claimant lets lie is due again, under the same fence too.
    new.set(&deadline(b"slow", NOW, b"")).unwrap();
    assert_eq!(new.claim(3, Duration::from_millis(1), 1000).unwrap().unwrap().entries.len(), 301);
    let again = eventually("what was let lie", || {
        let entries = new.claim(3, VISIBLE, 1000).unwrap().unwrap().entries;
        (!entries.is_empty()).then_some(entries)
    });
    assert!(again.iter().any(|entry| entry.key == b"slow"));
}

#[test]
fn what_fails_is_tried_again_after_a_pause_and_kept_when_it_fails_for_good() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let mut ours = deadlines(&server.url());
    ours.set(&deadline(b"k", NOW, b"p")).unwrap();
    let entry = claim(&mut ours, 1).remove(0);
    ours.fail(&entry, Some(Duration::from_secs(3600))).unwrap();
    assert_eq!(claim(&mut ours, 1), []);
    assert_eq!(ours.pending(10).unwrap()[0].attempts, 1);
    ours.fail(&entry, None).unwrap();
    assert_eq!(ours.pending(10).unwrap(), []);
    let failed = ours.failed(10).unwrap();
    assert_eq!((failed[0].key.as_slice(), failed[0].payload.as_slice()), (&b"k"[..], &b"p"[..]));
    assert_eq!(ours.cancel(b"k").unwrap(), Cancelled::Yes);
    assert_eq!(ours.failed(10).unwrap(), []);
}

#[test]
fn what_is_set_anew_while_it_is_handled_stays_when_the_old_one_is_acknowledged() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let mut ours = deadlines(&server.url());
    ours.set(&deadline(b"k", NOW, b"old")).unwrap();
    let old = claim(&mut ours, 1);
    ours.set(&deadline(b"k", LATER, b"new")).unwrap();
    ours.acknowledge(&old).unwrap();
    assert_eq!(ours.pending(10).unwrap()[0].payload, b"new");
    assert_eq!(ours.cancel(b"k").unwrap(), Cancelled::Yes);
    assert_eq!(ours.cancel(b"k").unwrap(), Cancelled::None);
    ours.set(&deadline(b"k", NOW, b"")).unwrap();
    claim(&mut ours, 1);
    assert_eq!(ours.cancel(b"k").unwrap(), Cancelled::WhileHandled);
}

#[test]
fn a_redis_that_is_full_refuses_new_ones_and_goes_on_with_those_it_has() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let mut ours = deadlines(&server.url());
    for n in 0..20 {
        ours.set(&deadline(format!("k{n}").as_bytes(), NOW, b"")).unwrap();
    }
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = ours.set(&deadline(b"new", NOW, b"")).unwrap_err();
    assert!(error.to_string().contains("is full (maxmemory)"), "{error}");
    let claimed = claim(&mut ours, 5);
    assert_eq!(claimed.len(), 20);
    ours.fail(&claimed[0], None).unwrap();
    ours.acknowledge(&claimed[1..]).unwrap();
    assert_eq!((ours.pending(100).unwrap().len(), ours.failed(100).unwrap().len()), (0, 1));
}

#[test]
fn in_a_cluster_they_survive_a_masters_death() {
    if skipped("redis") {
        return;
    }
    let cluster = Cluster::start();
    let mut ours = deadlines(&cluster.url());
    let many: Vec<_> = (0..200).map(|n| deadline(format!("k{n}").as_bytes(), NOW, b"")).collect();
    ours.set_all(&many).unwrap();
    let master = cluster.master_of("{towpath:deadlines:default:0}");
    master.wait_replicated();
    master.kill();
    let mut seen = std::collections::BTreeSet::new();
    eventually("all of them", || {
        // It fails until the replica has taken over.
        let claims = ours.claim(1, VISIBLE, 1000).ok()??;
        seen.extend(claims.entries.into_iter().map(|entry| entry.key));
        (seen.len() >= 200).then_some(())
    });
}

#[test]
fn a_sentinels_master_has_them_too() {
    if skipped("redis") {
        return;
    }
    let group = Sentinel::start();
    let mut ours = deadlines(&group.url());
    ours.set(&deadline(b"k", NOW, b"")).unwrap();
    assert_eq!(claim(&mut ours, 1).len(), 1);
}

#[test]
fn redis_clock_decides_and_a_time_that_is_past_is_due_at_once() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let mut ours = deadlines(&server.url());
    let at = SystemTime::now() - Duration::from_secs(10);
    ours.set(&deadline(b"past", Due::At(at), b"")).unwrap();
    let due = ours.set(&deadline(b"hour", LATER, b"")).unwrap();
    let time = server.cli(&["TIME"]);
    let seconds: u64 = time.lines().next().unwrap().parse().unwrap();
    assert!(due.abs_diff((seconds + 3600) * 1000) < 120_000, "{due} {time}");
    assert_eq!(claim(&mut ours, 1).len(), 1);
}

#[test]
fn the_command_sets_lists_and_cancels() {
    if skipped("redis") {
        return;
    }
    let (scene, server) = (Scene::new(), Redis::start());
    let url = server.url();
    let mut command = scene.towpath();
    command.args(["expiry", "set", "order 17", "--in", "1h", "--payload", "-", "--store", &url, "--group", "orders"]);
    let mut running = Running::start(command.args(["--config", &scene.name("towpath.conf")]).stdin(Stdio::piped()));
    running.stdin().write_all(b"{\"n\": 1}").unwrap();
    running.finish().assert_code(0).assert_silent();
    expiry(&scene, &url, &["set", "noon", "--at", "2099-01-01T13:00:00+01:00", "--group", "orders"]).assert_code(0);
    let listed = expiry(&scene, &url, &["pending", "--group", "orders"]);
    let listed = listed.assert_code(0).out();
    assert!(listed.lines().nth(1).unwrap().starts_with("2099-01-01T12:00:00.000Z  deadline    \"noon\""), "{listed}");
    let json = expiry(&scene, &url, &["pending", "--json", "--group", "orders"]).out();
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&first["key"], &first["payload_bytes"]), (&"order 17".into(), &8.into()), "{json}");
    assert_eq!(expiry(&scene, &url, &["pending"]).assert_code(0).out(), "", "another group's are its own");
    expiry(&scene, &url, &["cancel", "noon", "--group", "orders"]).assert_code(0).assert_silent();
    expiry(&scene, &url, &["cancel", "noon", "--group", "orders"]).assert_code(76).assert_one_line(&["no deadline"]);
}

#[test]
fn what_makes_no_sense_is_one_line() {
    if skipped("redis") {
        return;
    }
    let (scene, server) = (Scene::new(), Redis::start());
    std::fs::write(scene.path("large"), vec![b'x'; 65_537]).unwrap();
    let large = scene.name("large");
    let directory = scene.store();
    let cases: [(&str, &[&str], i32, &str); 8] = [
        (&server.url(), &["set", "k"], 2, "--at"),
        (&server.url(), &["set", "k", "--at", "noon"], 2, "isn't like"),
        (&server.url(), &["set", "", "--in", "1s"], 2, "1 to 4096 bytes"),
        (&server.url(), &["set", "k", "--in", "1s", "--payload", &large], 2, "65537 bytes is too large"),
        (&server.url(), &["set", "k", "--in", "1s", "--payload", "/nowhere"], 74, "/nowhere"),
        (&server.url(), &["set", "k", "--in", "1s", "--group", "a b"], 2, "a group has"),
        (&directory, &["pending"], 2, "no keys that expire"),
        ("redis-quorum://a,b,c", &["pending"], 2, "none of them decides"),
    ];
    for (url, words, code, part) in cases {
        expiry(&scene, url, words).assert_code(code).assert_one_line(&[part]);
    }
    server.kill();
    expiry(&scene, &server.url(), &["pending"]).assert_code(69).assert_one_line(&["can't be reached"]);
}

#[test]
fn a_user_without_the_rights_is_told_where_they_are_written() {
    if skipped("redis") {
        return;
    }
    let server = Redis::with(Settings::new().user("me", "pw", "~other* +@all"));
    let mut ours = deadlines(&server.url().replace("redis://", "redis://me:pw@"));
    let error = ours.set(&deadline(b"k", NOW, b"")).unwrap_err();
    assert!(error.to_string().contains("docs/expiry.md"), "{error}");
}
