//! Keys that expire and deadlines, all the time, while leaders are killed and
//! masters of a Cluster: each is handled, and how many are handled twice is
//! printed.
//!
//! Some seconds long, minutes with `TOWPATH_TEST_LONG=1`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::{Connection, RedisResult};
use rustix::process::Signal;
use serde_json::Value;
use towpath::expiry::{Deadline, Deadlines, Due, Group};

use crate::support::dice::Dice;
use crate::support::groups::long;
use crate::support::redis::{Cluster, Redis, Settings};
use crate::support::running::Running;
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::wait::{eventually, until};

/// How many keys, and how many deadlines, are set in one go.
const BATCH: usize = 25;
/// From one go to the next.
const PAUSE: Duration = Duration::from_millis(100);
/// They fall due within so long.
const SOON: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// Keys of a Cluster: what is set and expires before anybody listens to a new master is missed.
const LATER: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(8));
const PATIENCE: Duration = Duration::from_secs(5);

fn telling() -> Settings {
    Settings::new().line("notify-keyspace-events Exg")
}

fn watch(scene: &Scene, store: &str) -> Running {
    let mut command = scene.towpath();
    Running::start(command.args(["expiry", "watch", "--config", &scene.name("towpath.conf"), "--store", store]))
}

/// Where keys are set: on one server, or on the masters of these keys' slots.
enum Place<'p> {
    One(&'p Redis),
    /// With a key of each master.
    Cluster(&'p Cluster, [String; 3]),
}

impl<'p> Place<'p> {
    fn cluster(cluster: &'p Cluster) -> Place<'p> {
        let tag_of = |node: &Redis| {
            let is_its = |tag: &String| cluster.master_of(tag).port() == node.port();
            (0..).map(|n| format!("{{t{n}}}")).find(is_its).unwrap()
        };
        let [a, b, c, ..] = cluster.nodes() else { panic!("a Cluster has three masters") };
        Place::Cluster(cluster, [a, b, c].map(tag_of))
    }

    fn url(&self) -> String {
        match self {
            Place::One(server) => server.url(),
            Place::Cluster(cluster, _) => cluster.url(),
        }
    }

    /// Sets keys that expire at random; whether they are where no single death can lose them.
    fn expire(&self, keys: &[String], dice: &mut Dice) -> bool {
        match self {
            Place::One(server) => expire(server, "", keys, dice, 0).is_ok(),
            Place::Cluster(cluster, tags) => {
                tags.iter().all(|tag| expire(cluster.master_of(tag), tag, keys, dice, 1).is_ok())
            }
        }
    }

    /// The names that a key has there.
    fn names(&self, key: &str) -> Vec<String> {
        match self {
            Place::One(_) => vec![key.to_owned()],
            Place::Cluster(_, tags) => tags.iter().map(|tag| format!("{tag}{key}")).collect(),
        }
    }

    /// Whether all that was written until now is where no single death can lose it.
    fn is_kept(&self) -> bool {
        let Place::Cluster(cluster, tags) = self else { return true };
        tags.iter().all(|tag| expire(cluster.master_of(tag), tag, &[], &mut Dice::new(0), 1).is_ok())
    }
}

fn connect(server: &Redis) -> RedisResult<Connection> {
    let connection = redis::Client::open(server.url())?.get_connection_with_timeout(PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    Ok(connection)
}

/// An error if they, and all that was written before, aren't on so many replicas.
fn expire(server: &Redis, tag: &str, keys: &[String], dice: &mut Dice, replicas: usize) -> RedisResult<()> {
    let mut connection = connect(server)?;
    let mut pipe = redis::pipe();
    for key in keys {
        let (least, most) = if replicas == 0 { SOON } else { LATER };
        let ms = dice.time(least, most).as_millis() as u64;
        pipe.cmd("SET").arg(format!("{tag}{key}")).arg("v").arg("PX").arg(ms).ignore();
    }
    // WAIT is for the writes of its own connection, and so for all before them.
    pipe.cmd("SET").arg(format!("{tag}mark")).arg("v").ignore();
    pipe.exec(&mut connection)?;
    let reached: usize = redis::cmd("WAIT").arg(replicas).arg(2000).query(&mut connection)?;
    let lost = || redis::RedisError::from((redis::ErrorKind::Io, "it isn't replicated"));
    (reached >= replicas).then_some(()).ok_or_else(lost)
}

/// Sets keys and deadlines until it is told to stop. The keys of all that were set for sure.
fn load(place: &Place<'_>, seed: u64, is_over: &AtomicBool) -> BTreeSet<String> {
    let mut deadlines = Deadlines::open(&place.url().parse().unwrap(), Group::default()).unwrap();
    let (mut dice, mut sure) = (Dice::new(seed), BTreeSet::new());
    for round in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let named = |what: &str| (0..BATCH).map(|n| format!("{what}:{round}:{n}")).collect::<Vec<_>>();
        let (keys, own) = (named("key"), named("own"));
        eventually("keys to be set", || place.expire(&keys, &mut dice).then_some(()));
        sure.extend(keys.iter().flat_map(|key| place.names(key)));
        eventually("deadlines to be set", || {
            let due = |dice: &mut Dice| Due::In(dice.time(SOON.0, SOON.1));
            let all = own.iter().map(|key| Deadline::new(key.as_str(), due(&mut dice), "").unwrap());
            let all: Vec<_> = all.collect();
            (deadlines.set_all(&all).is_ok() && place.is_kept()).then_some(())
        });
        sure.extend(own);
        std::thread::sleep(PAUSE); // it is a load, and no flood
    }
    sure
}

/// What was handled: the lines of all watchers, whole ones only.
fn handled(watchers: &[Running]) -> Vec<Value> {
    let of = |one: &Running| {
        let out = one.out();
        let whole = out.rfind('\n').map_or("", |end| &out[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    watchers.iter().flat_map(of).collect()
}

/// Waits until all were handled; prints how many were, and how many of them more than once. The lines by their ids.
#[track_caller]
fn none_is_missed(what: &str, watchers: &[Running], keys: &BTreeSet<String>) -> BTreeMap<String, Vec<Value>> {
    let began = Instant::now();
    let lines = loop {
        let lines = handled(watchers);
        let seen: BTreeSet<&str> = lines.iter().filter_map(|line| line["key"].as_str()).collect();
        let missing: BTreeSet<_> = keys.iter().filter(|key| !seen.contains(key.as_str())).cloned().collect();
        if missing.is_empty() {
            break lines;
        }
        let said: Vec<String> = watchers.iter().map(Running::err).collect();
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{} of {} are missed: {missing:?}\n{said:#?}",
            missing.len(),
            keys.len()
        );
        std::thread::sleep(Duration::from_millis(200)); // they tell us nothing when they have done
    };
    let mut by_id: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let count = lines.len();
    for line in lines {
        by_id.entry(line["id"].to_string()).or_default().push(line);
    }
    let reconciled = by_id.values().filter(|lines| lines[0]["kind"] == "reconciled").count();
    eprintln!(
        "{what}: {} keys and deadlines, none missed; {count} handled, {} of them again, {reconciled} reconciled",
        keys.len(),
        count - by_id.len(),
    );
    by_id
}

fn leader(watchers: &[Running]) -> Option<usize> {
    // Later fences are larger, and those who were killed lead no more.
    let fence = |one: &Running| -> Option<u64> {
        one.err().rsplit_once("leading, with fence ")?.1.split('\n').next()?.parse().ok()
    };
    (0..watchers.len()).filter_map(|at| Some((fence(&watchers[at])?, at))).max().map(|(_, at)| at)
}

#[test]
fn leaders_killed_under_load_lose_nothing_and_repeat_only_what_another_had_begun() {
    if skipped("redis") {
        return;
    }
    let (scene, server) = (Scene::new(), Redis::with(telling()));
    let place = Place::One(&server);
    let mut watchers: Vec<_> = (0..2).map(|_| watch(&scene, &place.url())).collect();
    until("both listen", || watchers.iter().all(|one| one.err().contains("listening at")));
    let is_over = AtomicBool::new(false);
    let keys = std::thread::scope(|scope| {
        let load = scope.spawn(|| load(&place, 1, &is_over));
        for _ in 0..if long() { 12 } else { 1 } {
            let first = eventually("one leads", || leader(&watchers));
            until("it handles", || watchers[first].out().lines().count() > 100);
            watchers[first].send(Signal::KILL);
            watchers.push(watch(&scene, &place.url()));
            until("another one leads", || leader(&watchers).is_some_and(|next| next != first));
        }
        is_over.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });
    let by_id = none_is_missed("leaders killed", &watchers, &keys);
    assert!(by_id.len() >= keys.len(), "ids are each one's own");
    for (id, lines) in by_id {
        let fences: BTreeSet<u64> = lines.iter().filter_map(|line| line["fence"].as_u64()).collect();
        assert_eq!(fences.len(), lines.len(), "{id} was handled twice by one leader: {lines:?}");
    }
}

#[test]
fn masters_killed_under_load_lose_nothing_that_was_replicated() {
    if skipped("redis") {
        return;
    }
    let (scene, cluster) = (Scene::new(), Cluster::with(&telling()));
    let place = Place::cluster(&cluster);
    let watchers: Vec<_> = (0..2).map(|_| watch(&scene, &place.url())).collect();
    until("both listen at all masters", || watchers.iter().all(|one| one.err().matches("listening at").count() >= 3));
    let is_over = AtomicBool::new(false);
    let keys = std::thread::scope(|scope| {
        let load = scope.spawn(|| load(&place, 2, &is_over));
        for round in 0..if long() { 9 } else { 1 } {
            let lines = || watchers.iter().map(|one| one.out().lines().count()).sum::<usize>();
            let before = lines();
            until("they handle", || lines() > before + 100);
            // Also that of the leader's lock, by turns.
            let its = ["towpath:expiry:default", "{towpath:deadlines:default:0}", "{t0}"][round % 3];
            let victim = cluster.master_of(its);
            victim.kill();
            until("a replica has taken over", || cluster.master_of(its).port() != victim.port());
            victim.restart();
            cluster.wait_ok();
        }
        is_over.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });
    none_is_missed("masters killed", &watchers, &keys);
}
