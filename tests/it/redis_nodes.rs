//! Locks over several Redis servers: a quorum, a Cluster, Sentinels; what a
//! node that hangs, is killed, or comes back empty changes, and what not.

use std::time::Duration;

use towpath::clock::Moment;
use towpath::store::{Attempt, Broken, Claim, Hold, LockStore, Loss, NodeState, Renewal};

use crate::redis_store::{TTL, attempt, chain, claim, holder, key, store, take};
use crate::support::redis::{Cluster, Peer, Quorum, Redis, Sentinel, has_redlock};
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::wait::{eventually, until};

/// Nodes that hold `key`.
fn holding(quorum: &Quorum, key: &str) -> usize {
    quorum.get(key).iter().flatten().filter(|value| *value != "(nil)").count()
}

/// Takes it as soon as the servers let us: they may be sorting themselves out.
fn take_at_last(store: &dyn LockStore, name: &str, claim: &Claim) -> Box<dyn Hold> {
    eventually("the lock is taken", || match attempt(store, name, claim) {
        Ok(Attempt::Taken(hold)) => Some(hold),
        _ => None,
    })
}

#[test]
fn a_quorum_takes_renews_and_gives_back_on_all_its_nodes() {
    if skipped("redis") {
        return;
    }
    let quorum = Quorum::start();
    let (ours, theirs) = (store(&quorum.url()), store(&quorum.url()));
    let hold = take(&*ours, "k", &claim(TTL));
    until("the last node has it too", || holding(&quorum, "k") == 3);
    assert_eq!(holder(&*theirs, "k").record.unwrap().fence, hold.fence());
    assert_eq!(hold.renew().unwrap(), Renewal::Kept);
    let views = ours.inspect(&key("k")).unwrap();
    let nodes: Vec<_> = views.iter().map(|view| view.node.clone()).collect();
    assert_eq!(nodes, quorum.nodes().iter().map(Redis::host).collect::<Vec<_>>());
    assert!(views.iter().all(|view| matches!(view.state, Ok(NodeState::Held(_)))), "{views:?}");
    hold.give_back().unwrap();
    until("it is gone everywhere", || holding(&quorum, "k") == 0);
    let next = take(&*theirs, "k", &claim(TTL));
    assert!(next.fence() > hold.fence());
    assert!(matches!(ours.break_lock(&key("k"), Some(next.fence())).unwrap(), Broken::From(_)));
    assert_eq!(next.renew().unwrap(), Renewal::Lost(Loss::Deleted));
}

#[test]
fn one_node_of_three_may_hang_or_be_dead_and_two_may_not() {
    if skipped("redis") {
        return;
    }
    let quorum = Quorum::start();
    let store = store(&quorum.url());
    let [first, second, _] = quorum.nodes() else { panic!("three nodes") };
    first.stop();
    let before = Moment::now();
    for _ in 0..5 {
        let hold = take(&*store, "k", &claim(TTL));
        assert_eq!(hold.renew().unwrap(), Renewal::Kept);
        hold.give_back().unwrap();
    }
    // No bar: a node that hangs for 2 s an ask would need 30 s.
    assert!(before.elapsed() < Duration::from_secs(15), "{:?}", before.elapsed());
    let hold = take(&*store, "k", &claim(Duration::from_secs(600)));
    second.stop();
    assert!(hold.renew().unwrap_err().is_unreachable());
    let error = attempt(&*store, "other", &claim(TTL)).unwrap_err();
    assert!(error.to_string().contains("2 of 3 nodes"), "{}", chain(&error));
    second.go_on();
    first.go_on();
    until("all have it, the first too", || matches!(hold.renew(), Ok(Renewal::Kept)) && holding(&quorum, "k") == 3);
    second.kill();
    assert_eq!(hold.renew().unwrap(), Renewal::Kept);
    first.kill();
    let error = store.break_lock(&key("k"), None).unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains("no majority"), "{}", chain(&error));
}

#[test]
fn a_node_that_comes_back_empty_gets_its_key_again_while_the_others_have_it() {
    if skipped("redis") {
        return;
    }
    let quorum = Quorum::start();
    let store = store(&quorum.url());
    let hold = take(&*store, "k", &claim(TTL));
    until("all have it", || holding(&quorum, "k") == 3);
    let node = &quorum.nodes()[1];
    node.kill();
    node.restart();
    until("it is restored", || hold.renew().unwrap() == Renewal::Kept && holding(&quorum, "k") == 3);
    let fence: u64 = node.cli(&["GET", "towpath:fence:{k}"]).parse().unwrap();
    assert!(fence >= hold.fence(), "with its fence");
    for node in &quorum.nodes()[..2] {
        node.cli(&["DEL", "k"]);
    }
    assert!(matches!(hold.renew().unwrap(), Renewal::Lost(_)), "never without a majority");
    assert!(holding(&quorum, "k") <= 1);
}

#[test]
fn any_majority_gives_a_larger_fence_than_the_one_before() {
    if skipped("redis") {
        return;
    }
    let quorum = Quorum::start();
    let store = store(&quorum.url());
    // The first node is a century ahead.
    let ahead = 4_900_000_000_000_000_u64;
    quorum.nodes()[0].cli(&["SET", "towpath:fence:{k}", &ahead.to_string()]);
    quorum.nodes()[2].stop();
    let first = take(&*store, "k", &claim(TTL));
    assert_eq!(first.fence(), ahead + 1);
    first.give_back().unwrap();
    quorum.nodes()[2].go_on();
    quorum.nodes()[0].stop();
    let second = take_at_last(&*store, "k", &claim(TTL));
    assert!(second.fence() > first.fence(), "{} then {}", first.fence(), second.fence());
    quorum.nodes()[0].go_on();
}

#[test]
fn a_split_vote_resolves() {
    if skipped("redis") {
        return;
    }
    let quorum = Quorum::start();
    let url = quorum.url();
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                let store = store(&url);
                let mut contender = store.contender(&key("k")).unwrap();
                loop {
                    match contender.try_take(&claim(TTL)).unwrap() {
                        Attempt::Taken(hold) => break hold.give_back().unwrap(),
                        Attempt::Held(_) => contender.wait_for_change(Moment::NEVER, &towpath::thread::Stop::never()),
                    }
                }
            });
        }
    });
}

#[test]
fn a_clusters_lock_fence_and_record_are_in_one_slot_and_follow_a_move() {
    if skipped("redis") {
        return;
    }
    let cluster = Cluster::start();
    let store = store(&cluster.url());
    for name in ["k", "{tag}k", "a}b", "{}x", "näme"] {
        let hold = take(&*store, name, &claim(TTL));
        assert_eq!(hold.renew().unwrap(), Renewal::Kept, "{name}");
        assert!(holder(&*store, name).record.is_some());
        let views = store.inspect(&key(name)).unwrap();
        assert_eq!(views[0].node, cluster.master_of(name).host());
        hold.give_back().unwrap();
    }
    let single = crate::redis_store::store(&cluster.nodes()[0].url());
    let error = attempt(&*single, "k", &claim(TTL)).unwrap_err();
    assert!(error.to_string().contains("is a node of a Redis Cluster; write redis-cluster://"), "{}", chain(&error));
    let scene = Scene::new();
    let hold = take(&*store, "k", &claim(TTL));
    let theirs = Peer::redis_py(&scene, &cluster.master_of("k").url(), "k", TTL, Duration::ZERO);
    assert!(!theirs.holds());
    hold.give_back().unwrap();
}

#[test]
fn a_clusters_master_that_is_killed_or_hangs_is_replaced_and_the_lease_goes_on() {
    if skipped("redis") {
        return;
    }
    let cluster = Cluster::start();
    let store = store(&cluster.url());
    let hold = take(&*store, "k", &claim(Duration::from_secs(120)));
    let old = cluster.master_of("k");
    until("a replica has the key", || cluster.cli("k", &["WAIT", "1", "1000"]).ends_with('1'));
    old.kill();
    until("it is renewed at the new master", || matches!(hold.renew(), Ok(Renewal::Kept)));
    let view = store.inspect(&key("k")).unwrap().remove(0);
    assert_ne!(view.node, old.host());
    hold.give_back().unwrap();
    let again = take(&*store, "k", &claim(TTL));
    assert!(again.fence() > hold.fence());
}

#[test]
fn a_sentinels_master_is_found_and_found_again() {
    if skipped("redis") {
        return;
    }
    let group = Sentinel::start();
    let store = store(&group.url());
    let hold = take(&*store, "k", &claim(Duration::from_secs(120)));
    let old = group.master().host();
    assert_eq!(store.inspect(&key("k")).unwrap()[0].node, old);
    until("the replica has the key", || group.master().cli(&["WAIT", "1", "1000"]).ends_with('1'));
    group.master().kill();
    until("it is renewed at the new master", || matches!(hold.renew(), Ok(Renewal::Kept)));
    assert_ne!(store.inspect(&key("k")).unwrap()[0].node, old);
    hold.give_back().unwrap();
    let nobody = crate::redis_store::store(&group.url().replace("/main", "/nobody"));
    let error = attempt(&*nobody, "k", &claim(TTL)).unwrap_err();
    assert!(error.to_string().contains("knows no master \"nobody\""), "{}", chain(&error));
}

#[test]
fn a_slot_that_moves_to_another_master_takes_its_lock_along() {
    if skipped("redis") {
        return;
    }
    let cluster = Cluster::start();
    let store = store(&cluster.url());
    let hold = take(&*store, "k", &claim(Duration::from_secs(120)));
    let from = cluster.master_of("k");
    let masters = cluster.nodes().iter().filter(|node| node.info("role").as_deref() == Some("master"));
    let to = masters.into_iter().find(|node| node.port() != from.port()).unwrap();
    let slot = from.cli(&["CLUSTER", "KEYSLOT", "k"]);
    let (from_id, to_id) = (from.cli(&["CLUSTER", "MYID"]), to.cli(&["CLUSTER", "MYID"]));
    to.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
    from.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
    let port = to.port().to_string();
    let migrate = |key: &str| from.cli(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
    // Half of the keys are there: the servers say TRYAGAIN.
    migrate("k");
    assert!(matches!(hold.renew(), Err(_) | Ok(Renewal::Kept)));
    migrate("towpath:fence:{k}");
    migrate("towpath:holder:{k}");
    assert_eq!(hold.renew().unwrap(), Renewal::Kept, "by ASK");
    for node in [to, from] {
        node.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    }
    assert_eq!(hold.renew().unwrap(), Renewal::Kept, "by MOVED");
    assert_eq!(store.inspect(&key("k")).unwrap()[0].node, to.host());
    hold.give_back().unwrap();
}

#[test]
fn redlock_on_the_same_masters_excludes_us_and_is_excluded() {
    if skipped("redis") || !has_redlock() {
        return;
    }
    let (quorum, scene) = (Quorum::start(), Scene::new());
    let urls = quorum.nodes().iter().map(Redis::url).collect::<Vec<_>>().join(",");
    let store = store(&quorum.url());
    let theirs = Peer::redlock(&scene, &urls, "k", TTL, Duration::ZERO);
    theirs.wait_held();
    assert!(holder(&*store, "k").record.is_none());
    assert!(theirs.release());
    let ours = take_at_last(&*store, "k", &claim(TTL));
    assert!(!Peer::redlock(&scene, &urls, "k", TTL, Duration::ZERO).holds());
    ours.give_back().unwrap();
}
