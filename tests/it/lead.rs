//! `towpath lead`: one of several leads, another takes over, and what the
//! command's own end means.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::process::Process;
use crate::support::redis::{Cluster, Quorum, Redis};
use crate::support::running::Running;
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::wait::{eventually, until};

/// A command that says who it is, how it is asked to end, and stays.
const STAYS: &str = "echo up $$ $TOWPATH_FENCE; trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done";

fn lead(scene: &Scene, store: &str, flags: &[&str], script: &str) -> Command {
    let mut command = scene.towpath();
    command.args(["lead", "boss", "--config", &scene.name("towpath.conf"), "--store", store, "--ttl", "3s"]);
    command.args(flags).args(["--", "sh", "-c", script]);
    command
}

fn start(scene: &Scene, store: &str) -> Running {
    Running::start(&mut lead(scene, store, &[], STAYS))
}

/// Which of them leads, by what their commands say.
fn leader(candidates: &[Running]) -> usize {
    eventually("one leads", || candidates.iter().position(|one| one.out().contains("up ")))
}

fn fence(candidate: &Running) -> u64 {
    let out = candidate.out();
    let line = out.lines().rfind(|line| line.starts_with("up ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// The process of a leader's command.
fn command_of(candidate: &Running) -> i32 {
    candidate.out().lines().rfind(|line| line.starts_with("up ")).unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

/// Three candidates; the leader is killed, asked to end, and stopped: each time another takes over.
fn three_take_turns(store: &str) {
    let scene = Scene::new();
    let mut candidates: Vec<_> = (0..3).map(|_| start(&scene, store)).collect();
    let first = candidates.remove(leader(&candidates));
    assert!(candidates.iter().all(|one| !one.out().contains("up ")), "one at a time");
    let (first_fence, command) = (fence(&first), Process::of(command_of(&first)));
    first.send(Signal::KILL);
    let second = candidates.remove(leader(&candidates));
    assert!(!command.is_alive(), "its command is dead before another leads");
    assert!(fence(&second) > first_fence);
    first.finish();

    second.send(Signal::TERM);
    let third = candidates.remove(0);
    third.wait_out("up ");
    let end = second.finish();
    assert!(end.out().contains("bye\n"), "{}", end.out());
    assert!(end.err().contains("leading boss, with fence"), "{}", end.err());
    end.assert_code(0);

    let fourth = start(&scene, store);
    let command = Process::of(command_of(&third));
    third.send(Signal::STOP);
    fourth.wait_out("up ");
    assert!(!command.is_alive(), "the command of the stopped one is dead before another leads");
    assert!(fence(&fourth) > fence(&third));
    third.send(Signal::CONT);
    third.wait_err("was lost");
    third.send(Signal::TERM);
    third.finish();
    fourth.send(Signal::TERM);
    fourth.finish().assert_code(0);
    scene.wait_empty();
}

#[test]
fn three_candidates_on_one_redis_take_turns() {
    if skipped("redis") {
        return;
    }
    three_take_turns(&Redis::start().url());
}

#[test]
fn three_candidates_on_a_cluster_take_turns() {
    if skipped("redis") {
        return;
    }
    three_take_turns(&Cluster::start().url());
}

#[test]
fn leading_goes_on_by_itself_after_a_clusters_master_is_killed() {
    if skipped("redis") {
        return;
    }
    let (cluster, scene) = (Cluster::start(), Scene::new());
    let candidates: Vec<_> = (0..2).map(|_| start(&scene, &cluster.url())).collect();
    let before = fence(&candidates[leader(&candidates)]);
    cluster.master_of("boss").kill();
    // The one who led goes on if the failover is quick enough; otherwise one of both begins anew.
    cluster.master_of("boss");
    until("one leads at the new master", || {
        let alive = |one: &Running| Process::find(command_of(one)).is_some_and(|it| it.is_alive());
        let led = candidates.iter().filter(|one| one.out().contains("up "));
        led.filter(|one| alive(one) && fence(one) >= before).count() == 1
            && cluster.cli("boss", &["EXISTS", "boss"]).ends_with('1')
    });
    for candidate in candidates {
        candidate.send(Signal::TERM);
        candidate.finish();
    }
}

#[test]
fn a_quorum_leads_on_without_one_of_its_nodes() {
    if skipped("redis") {
        return;
    }
    let (quorum, scene) = (Quorum::start(), Scene::new());
    let candidate = start(&scene, &quorum.url());
    candidate.wait_out("up ");
    quorum.nodes()[0].kill();
    quorum.nodes()[0].restart();
    until("the node has the key again", || quorum.nodes()[0].cli(&["EXISTS", "boss"]).ends_with('1'));
    candidate.send(Signal::TERM);
    let end = candidate.finish();
    assert_eq!(end.out().matches("up ").count(), 1, "{}", end.out());
}

#[test]
fn the_commands_own_end_lets_go_starts_again_or_ends() {
    if skipped("redis") {
        return;
    }
    let (server, scene) = (Redis::start(), Scene::new());
    let end = Running::start(&mut lead(&scene, &server.url(), &["--on-exit", "end"], "echo up; exit 7")).finish();
    end.assert_code(7);
    assert!(end.err().contains("sh exited with code 7"), "{}", end.err());
    assert_eq!(server.cli(&["EXISTS", "boss"]), "0", "it has let go");

    let again = Running::start(&mut lead(&scene, &server.url(), &["--on-exit", "restart"], "echo up $TOWPATH_FENCE"));
    until("it was started twice", || again.out().matches("up ").count() >= 2);
    assert_ne!(server.cli(&["EXISTS", "boss"]), "0", "the leader stays the leader");
    again.send(Signal::TERM);
    let end = again.finish();
    let fences: Vec<_> = end.out().lines().map(str::to_owned).collect();
    assert_eq!(fences[0], fences[1], "one term, one fence");

    let released = Running::start(&mut lead(&scene, &server.url(), &[], "echo up $TOWPATH_FENCE"));
    until("it led twice", || released.out().matches("up ").count() >= 2);
    released.send(Signal::TERM);
    let end = released.finish();
    let fences: Vec<u64> = end.out().lines().map(|line| line[3..].parse().unwrap()).collect();
    assert!(fences[1] > fences[0], "{fences:?}");
    assert!(end.err().matches("standing by to lead boss").count() >= 2, "{}", end.err());
}

#[test]
fn one_who_stands_by_ends_at_once_when_asked() {
    if skipped("redis") {
        return;
    }
    let (server, scene) = (Redis::start(), Scene::new());
    server.cli(&["SET", "boss", "another program's", "PX", "3600000"]);
    let waiting = start(&scene, &server.url());
    waiting.wait_err("standing by");
    waiting.send(Signal::TERM);
    waiting.finish().assert_code(128 + 15);
}

#[test]
fn a_store_that_is_down_is_waited_for_and_one_that_refuses_us_is_not() {
    if skipped("redis") {
        return;
    }
    let (server, scene) = (Redis::start(), Scene::new());
    server.kill();
    let patient = start(&scene, &server.url());
    patient.wait_err("can't be reached");
    server.restart();
    patient.wait_out("up ");
    patient.send(Signal::TERM);
    patient.finish().assert_code(0);

    let wrong = server.url().replace("redis://", "redis-cluster://");
    let end = start(&scene, &wrong).finish();
    end.assert_code(69);
    assert!(end.err().contains("can't lead: ") && end.err().contains("is no Redis Cluster"), "{}", end.err());
    let end = Running::start(&mut lead(&scene, &server.url(), &["--ttl", "900ms"], "true")).finish();
    end.assert_code(2);
    let end = Running::start(&mut lead(&scene, &server.url(), &["--kill-after", "2s"], "true")).finish();
    end.assert_code(2).assert_one_line(&["--kill-after", "half"]);
}

#[test]
fn a_file_store_leads_too() {
    let scene = Scene::new();
    let (one, store) = (start(&scene, &scene.store()), scene.store());
    one.wait_out("up ");
    let other = start(&scene, &store);
    other.wait_err("standing by");
    one.send(Signal::TERM);
    one.finish().assert_code(0);
    other.wait_out("up ");
    other.send(Signal::TERM);
    other.finish().assert_code(0);
}

#[test]
#[cfg(feature = "http")]
fn the_live_view_says_who_leads_and_shows_every_term() {
    if skipped("redis") {
        return;
    }
    let (server, scene) = (Redis::start(), Scene::new());
    let flags = ["--listen", "127.0.0.1:0"];
    let candidates: Vec<_> = (0..2).map(|_| Running::start(&mut lead(&scene, &server.url(), &flags, STAYS))).collect();
    let url = |one: &Running| {
        eventually("it tells its URL", || {
            let err = one.err();
            let line = err.lines().find_map(|line| line.split_once("live at ").map(|(_, url)| url.to_owned()))?;
            err.contains(&format!("{line}\n")).then_some(line)
        })
    };
    let status = |one: &Running| -> Value {
        let mut curl = scene.program("curl");
        let out = curl.args(["-sS", &format!("{}/status", url(one))]).output().unwrap();
        serde_json::from_slice(&out.stdout).unwrap()
    };
    let at = leader(&candidates);
    let (leading, waiting) = (&candidates[at], &candidates[1 - at]);
    until("the status says so", || status(leading)["lead"]["role"] == "leader");
    assert_eq!(status(leading)["lead"]["fence"], fence(leading));
    assert_eq!(status(leading)["key"], "boss");
    assert_eq!(status(waiting)["lead"]["role"], "standby");
    let mut seen = scene.towpath();
    seen.args(["lock", "status", "boss", "--config", &scene.name("towpath.conf"), "--store", &server.url()]);
    let seen = String::from_utf8(seen.output().unwrap().stdout).unwrap();
    assert!(seen.contains(&format!("watch it at {}", url(leading))), "{seen}");
    let mut watch = scene.towpath();
    watch.args(["watch", &url(leading), "--config", &scene.name("towpath.conf")]);
    let watch = Running::start(&mut watch);
    watch.wait_out("up ");
    leading.send(Signal::TERM);
    let end = watch.finish();
    assert!(end.out().ends_with("bye\n"), "{}", end.out());
    end.assert_code(0);
    waiting.wait_out("up ");
    for candidate in candidates {
        candidate.send(Signal::TERM);
        candidate.finish();
    }
}
