//! Locks in one Redis server, through the store alone: who gets them, what
//! they promise, and what other clients see of them.

use std::time::Duration;

use towpath::clock::Moment;
use towpath::store::{
    Attempt, Broken, Claim, Error, Hold, Holder, Key, LockStore, Loss, NodeState, Renewal, StoreAccess, StoreUrl, open,
};
use towpath::thread::Stop;

use crate::support::redis::{Peer, Redis, Settings};
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::wait::until;

pub(crate) const TTL: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_secs(1);

pub(crate) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

pub(crate) fn store(url: &str) -> Box<dyn LockStore> {
    open(&url.parse().unwrap()).unwrap()
}

pub(crate) fn claim(ttl: Duration) -> Claim {
    Claim { ttl, command: "make tea".to_owned(), ..Claim::default() }
}

pub(crate) fn attempt(store: &dyn LockStore, name: &str, claim: &Claim) -> Result<Attempt, Error> {
    store.contender(&key(name))?.try_take(claim)
}

pub(crate) fn take(store: &dyn LockStore, name: &str, claim: &Claim) -> Box<dyn Hold> {
    match attempt(store, name, claim) {
        Ok(Attempt::Taken(hold)) => hold,
        other => panic!("not taken: {other:?}"),
    }
}

pub(crate) fn holder(store: &dyn LockStore, name: &str) -> Holder {
    match attempt(store, name, &claim(TTL)) {
        Ok(Attempt::Held(holder)) => holder,
        other => panic!("not held: {other:?}"),
    }
}

fn state(store: &dyn LockStore, name: &str) -> NodeState {
    let mut views = store.inspect(&key(name)).unwrap();
    assert_eq!(views.len(), 1);
    views.remove(0).state.unwrap()
}

fn refusal(url: &str) -> String {
    let store = store(url);
    let error = attempt(&*store, "k", &claim(TTL)).unwrap_err();
    assert!(error.is_unreachable());
    chain(&error)
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}

#[test]
fn the_key_is_the_users_and_lives_as_long_as_the_ttl() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let store = store(&server.url());
    let asked = Moment::now();
    let hold = take(&*store, "jobs/{nightly} backup", &claim(TTL));
    let value = server.cli(&["GET", "jobs/{nightly} backup"]);
    assert!(value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit()), "{value}");
    let left: u64 = server.cli(&["PTTL", "jobs/{nightly} backup"]).parse().unwrap();
    assert!((1..=30_000).contains(&left), "{left}");
    assert!(hold.valid_until() > asked && hold.valid_until() < asked + TTL, "drift is taken off");
    assert!(hold.descriptor().unwrap().is_none());
    hold.give_back().unwrap();
    assert_eq!(server.cli(&["KEYS", "jobs*"]), "");
    assert_eq!(state(&*store, "jobs/{nightly} backup"), NodeState::Free);
}

#[test]
fn the_second_is_told_who_has_it_and_fences_grow() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let (ours, theirs) = (store(&server.url()), store(&server.url()));
    let claim = Claim { url: Some("http://web1:8080".to_owned()), ..claim(TTL) };
    let first = take(&*ours, "k", &claim);
    let seen = holder(&*theirs, "k");
    let record = seen.record.clone().unwrap();
    assert_eq!((record.pid, record.fence), (std::process::id(), first.fence()));
    assert_eq!((record.command.as_str(), record.url.as_deref()), ("make tea", Some("http://web1:8080")));
    assert!(!seen.ended && seen.free_at.unwrap() <= Moment::now() + 2 * TTL);
    assert_eq!(holder(&*theirs, "k").record, seen.record);
    first.give_back().unwrap();
    let second = take(&*theirs, "k", &claim);
    assert!(second.fence() > first.fence());
    second.give_back().unwrap();
}

#[test]
fn a_fence_grows_although_the_counter_is_lost_spoilt_or_ahead() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let store = store(&server.url());
    let fence = || {
        let hold = take(&*store, "k", &claim(TTL));
        hold.give_back().unwrap();
        hold.fence()
    };
    let first = fence();
    server.cli(&["FLUSHALL"]);
    let second = fence();
    assert!(second > first, "by the server's time");
    server.cli(&["SET", "towpath:fence:{k}", "garbage"]);
    assert!(fence() > second);
    server.cli(&["DEL", "towpath:fence:{k}"]);
    server.cli(&["HSET", "towpath:fence:{k}", "a", "1"]);
    assert!(fence() > second);
    let ahead = second + 1_000_000_000_000;
    server.cli(&["SET", "towpath:fence:{k}", &ahead.to_string()]);
    assert_eq!(fence(), ahead + 1);
    let lives: u64 = server.cli(&["TTL", "towpath:fence:{k}"]).parse().unwrap();
    assert!(lives > 300 * 24 * 3600, "the counter doesn't live for ever, but long: {lives}");
}

#[test]
fn it_lapses_unless_it_is_renewed() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let store = store(&server.url());
    let hold = take(&*store, "k", &claim(SHORT));
    let before = hold.valid_until();
    assert_eq!(hold.renew().unwrap(), Renewal::Kept);
    assert!(hold.valid_until() > before);
    until("the next one has it", || matches!(attempt(&*store, "k", &claim(TTL)).unwrap(), Attempt::Taken(_)));
    assert!(hold.valid_until().has_passed(), "it was another's before it had lapsed for us");
    assert_eq!(hold.renew().unwrap(), Renewal::Lost(Loss::Lapsed));
    let error = hold.give_back().unwrap_err();
    assert!(error.is_lost(), "{error}");
    assert_ne!(server.cli(&["EXISTS", "k"]), "0", "only our own value is deleted");
}

#[test]
fn what_was_deleted_or_taken_is_noticed_and_never_taken_again() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let store = store(&server.url());
    let hold = take(&*store, "k", &claim(TTL));
    server.cli(&["DEL", "k"]);
    assert_eq!(hold.check(), Ok(()), "that needs the network");
    assert_eq!(hold.renew().unwrap(), Renewal::Lost(Loss::Deleted));
    assert_eq!(hold.check(), Err(Loss::Deleted));
    assert_eq!(server.cli(&["EXISTS", "k"]), "0");

    let hold = take(&*store, "k", &claim(TTL));
    server.cli(&["SET", "k", "a thief"]);
    assert_eq!(hold.renew().unwrap(), Renewal::Lost(Loss::Taken));
    assert!(hold.give_back().unwrap_err().is_lost());
    assert_eq!(server.cli(&["GET", "k"]), "a thief");

    server.cli(&["DEL", "k"]);
    let hold = take(&*store, "k", &claim(TTL));
    server.kill();
    server.restart();
    assert_eq!(hold.renew().unwrap(), Renewal::Lost(Loss::Deleted), "it restarted empty");
}

#[test]
fn a_minimum_hold_outlives_who_asked_for_it() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let store = store(&server.url());
    let claim = Claim { hold_at_least: Duration::from_secs(600), ..claim(TTL) };
    let left = |at_most: Duration| {
        let left = Duration::from_millis(server.cli(&["PTTL", "k"]).parse().unwrap());
        assert!(left <= at_most && left > Duration::from_secs(60), "{left:?}");
    };
    let hold = take(&*store, "k", &claim);
    assert!(hold.valid_until() < Moment::now() + TTL, "a crash is still told from a hold");
    hold.renew().unwrap();
    left(claim.hold_at_least);
    assert!(!holder(&*store, "k").ended);
    hold.give_back().unwrap();
    left(claim.hold_at_least);
    let kept = holder(&*store, "k");
    assert!(kept.ended && kept.record.is_some() && kept.free_at.is_some(), "{kept:?}");
    let fence = kept.record.unwrap().fence;
    assert!(store.break_lock(&key("k"), Some(fence + 1)).unwrap_err().is_held());
    assert!(matches!(store.break_lock(&key("k"), Some(fence)).unwrap(), Broken::From(_)));
    assert_eq!(store.break_lock(&key("k"), None).unwrap(), Broken::WasFree);
}

#[test]
fn a_broken_lock_is_lost_to_its_holder() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let store = store(&server.url());
    let hold = take(&*store, "k", &claim(TTL));
    let Broken::From(from) = store.break_lock(&key("k"), None).unwrap() else { panic!("it was held") };
    assert_eq!(from.record.unwrap().fence, hold.fence());
    assert_eq!(hold.renew().unwrap(), Renewal::Lost(Loss::Deleted));
}

#[test]
fn another_type_of_lock_is_named_and_left_alone() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    server.cli(&["HSET", "k", "uuid:1", "1"]);
    let store = store(&server.url());
    let error = attempt(&*store, "k", &claim(TTL)).unwrap_err();
    assert!(error.is_held() && error.to_string().contains("held by another type of lock, a Redis hash"), "{error}");
    assert!(store.break_lock(&key("k"), None).unwrap_err().is_held());
    assert!(store.inspect(&key("k")).unwrap().remove(0).state.unwrap_err().is_held());
    assert_eq!(server.cli(&["HGET", "k", "uuid:1"]), "1");
}

#[test]
fn redis_py_excludes_us_and_is_excluded() {
    if skipped("redis") {
        return;
    }
    let (server, scene) = (Redis::start(), Scene::new());
    let store = store(&server.url());
    let wait = |seconds| Duration::from_secs(seconds);
    let theirs = Peer::redis_py(&scene, &server.url(), "k", TTL, wait(0));
    theirs.wait_held();
    let seen = holder(&*store, "k");
    assert!(seen.record.is_none() && seen.free_at.is_some(), "{seen:?}");
    assert!(theirs.release());
    let ours = take(&*store, "k", &claim(TTL));
    assert!(!Peer::redis_py(&scene, &server.url(), "k", TTL, wait(0)).holds());
    ours.give_back().unwrap();
    let next = Peer::redis_py(&scene, &server.url(), "k", TTL, wait(0));
    assert!(next.holds());
    assert!(next.release());
}

#[test]
fn a_scripts_cache_that_is_lost_and_a_connection_that_was_cut_cost_nothing() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let store = store(&server.url());
    let hold = take(&*store, "k", &claim(TTL));
    server.cli(&["SCRIPT", "FLUSH"]);
    assert_eq!(hold.renew().unwrap(), Renewal::Kept);
    server.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    assert_eq!(hold.renew().unwrap(), Renewal::Kept);
    hold.give_back().unwrap();
}

#[test]
fn a_server_that_hangs_or_is_gone_fails_in_a_tenth_of_the_ttl() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let store = store(&server.url());
    let hold = take(&*store, "k", &claim(TTL));
    server.stop();
    let before = Moment::now();
    assert!(hold.renew().unwrap_err().is_unreachable());
    assert!(attempt(&*store, "other", &claim(SHORT)).unwrap_err().is_unreachable());
    // No bar, but far from the ttl.
    assert!(before.elapsed() < TTL / 2, "{:?}", before.elapsed());
    server.go_on();
    assert_eq!(hold.renew().unwrap(), Renewal::Kept);
    server.kill();
    assert!(hold.give_back().unwrap_err().is_unreachable());
    assert!(store.inspect(&key("k")).unwrap_err().is_unreachable());
}

#[test]
fn passwords_users_databases_and_sockets() {
    if skipped("redis") {
        return;
    }
    let scene = Scene::new();
    let rules = "~jobs:* ~towpath:* &towpath:* +evalsha +script|load +info +subscribe +unsubscribe \
                 +punsubscribe +publish \
                 +set +get +del +pexpire +pttl +type +exists +time";
    let server = Redis::with(Settings::new().password("sesame").user("cron", "p%w", rules));
    assert!(refusal(&server.url().replace("sesame", "wrong")).contains("refuses our user or password"));
    let bare = server.url().replace(":sesame@", "");
    assert!(refusal(&bare).contains("refuses our user or password"));

    let file = scene.path("password");
    std::fs::write(&file, "sesame\n").unwrap();
    let access = StoreAccess { password: Some(file.clone()), ..StoreAccess::default() };
    let with_file: StoreUrl = bare.parse::<StoreUrl>().unwrap().access(access.clone());
    take(&*open(&with_file).unwrap(), "k", &claim(TTL)).give_back().unwrap();
    std::fs::write(&file, "\n").unwrap();
    assert!(open(&with_file).unwrap_err().to_string().contains("is empty"));
    std::fs::remove_file(&file).unwrap();
    assert!(open(&bare.parse::<StoreUrl>().unwrap().access(access)).unwrap_err().to_string().contains("can't be read"));

    let as_user = store(&server.url().replace(":sesame@", "cron:p%25w@"));
    take(&*as_user, "jobs:k", &claim(TTL)).give_back().unwrap();
    let error = attempt(&*as_user, "others:k", &claim(TTL)).unwrap_err();
    assert!(error.to_string().contains("doesn't permit our user"), "{}", chain(&error));
    let hold = take(&*as_user, "jobs:k", &claim(TTL));
    server.cli(&["ACL", "SETUSER", "cron", "-get"]);
    for error in [hold.renew().unwrap_err(), attempt(&*as_user, "jobs:k", &claim(TTL)).unwrap_err()] {
        assert!(error.to_string().contains("doesn't permit our user") && !error.may_pass(), "{}", chain(&error));
    }
    server.cli(&["ACL", "SETUSER", "cron", "+get"]);
    assert_eq!(hold.renew().unwrap(), Renewal::Kept);
    hold.give_back().unwrap();

    let socket = format!("redis+unix:{}?db=3&pass=sesame", server.socket().display());
    let hold = take(&*store(&socket), "k", &claim(TTL));
    assert_eq!(server.cli(&["GET", "k"]), "(nil)", "it is in database 3");
    let _other = take(&*store(&server.url()), "k", &claim(TTL));
    hold.give_back().unwrap();
}

#[test]
#[cfg(feature = "tls")]
fn over_tls_with_certificates_of_our_own() {
    if skipped("redis") {
        return;
    }
    let settings = Settings::new().tls();
    let server = Redis::with(settings.clone());
    let (cert, key_file) = settings.client_pair();
    let url: StoreUrl = server.url().parse().unwrap();
    let access = StoreAccess { ca: Some(settings.ca()), cert: Some(cert.clone()), key: Some(key_file), password: None };
    take(&*open(&url.clone().access(access.clone())).unwrap(), "k", &claim(TTL)).give_back().unwrap();
    let half = StoreAccess { key: None, ..access };
    assert!(open(&url.clone().access(half)).unwrap_err().to_string().contains("needs its key too"));
    let error = attempt(&*open(&url).unwrap(), "k", &claim(TTL)).unwrap_err();
    let text = chain(&error);
    assert!(text.contains("certificate that isn't trusted") && !error.may_pass(), "{text}");
}

#[test]
fn waiting_ends_by_the_release_by_the_ttls_end_and_by_a_stop() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let (ours, theirs) = (store(&server.url()), store(&server.url()));
    let held = take(&*ours, "k", &claim(Duration::from_secs(3600)));
    let mut waiting = theirs.contender(&key("k")).unwrap();
    let far = Moment::now() + Duration::from_secs(3000);
    let released = std::thread::scope(|scope| {
        scope.spawn(|| {
            until("it listens", || server.cli(&["PUBSUB", "NUMSUB", "towpath:free:{k}"]).ends_with('1'));
            held.give_back().unwrap();
        });
        loop {
            match waiting.try_take(&claim(SHORT)).unwrap() {
                Attempt::Taken(hold) => break hold,
                Attempt::Held(_) => waiting.wait_for_change(far, &Stop::never()),
            }
        }
    });
    // Not given back: its holder crashed.
    drop(released);
    let next = loop {
        match waiting.try_take(&claim(TTL)).unwrap() {
            Attempt::Taken(hold) => break hold,
            Attempt::Held(_) => waiting.wait_for_change(far, &Stop::never()),
        }
    };
    let mut late = ours.contender(&key("k")).unwrap();
    assert!(matches!(late.try_take(&claim(TTL)).unwrap(), Attempt::Held(_)));
    let (stopper, stop) = Stop::new();
    stopper.stop();
    late.wait_for_change(far, &stop);
    late.wait_for_change(Moment::now(), &Stop::never());
    next.give_back().unwrap();
}

#[test]
fn a_server_of_the_wrong_kind_is_named() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let host = server.host();
    assert!(refusal(&format!("redis-cluster://{host}")).contains("is no Redis Cluster; write redis://"));
    assert!(refusal(&format!("redis-sentinel://{host}/main")).contains("is no Sentinel"));
    let replica = Redis::with(Settings::new().line(format!("replicaof 127.0.0.1 {}", server.port())));
    assert!(refusal(&replica.url()).contains("is a replica"));
    server.kill();
    assert!(refusal(&server.url()).contains("can't be reached"));
}
