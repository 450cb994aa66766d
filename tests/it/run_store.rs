//! `towpath run --once --store redis...`: what a user sees of the store itself.

use crate::support::redis::{Redis, Settings};
use crate::support::scene::Scene;
use crate::support::skipped;

#[test]
fn a_server_that_may_evict_is_warned_of_to_who_listens() {
    if skipped("redis") {
        return;
    }
    let (server, scene) = (Redis::with(Settings::new().memory("50mb", "allkeys-lru")), Scene::new());
    let url = server.url();
    let end = scene.finish(&["-v", "--once", "k", "--store", &url], &["true"]);
    assert!(end.assert_code(0).err().contains("may evict keys"), "{}", end.err());
    scene.finish(&["--once", "k", "--store", &url], &["true"]).assert_code(0).assert_silent();
}

#[test]
fn another_type_of_lock_is_75_and_said_aloud() {
    if skipped("redis") {
        return;
    }
    let (server, scene) = (Redis::start(), Scene::new());
    server.cli(&["HSET", "k", "uuid:1", "1"]);
    let flags = ["--once", "k", "--store", &server.url(), "--report", &scene.name("report")];
    let end = scene.finish(&flags, &["true"]);
    end.assert_code(75).assert_one_line(&["held by another type of lock", "hash", "nothing was run"]);
    assert_eq!(scene.report("report")["outcome"], "held");
}

#[test]
fn a_wrong_store_fails_before_the_command_whatever_if_unreachable_says() {
    if skipped("redis") {
        return;
    }
    let (server, scene) = (Redis::with(Settings::new().password("sesame")), Scene::new());
    let wrong = server.url().replace("sesame", "wrong");
    for what in ["fail", "skip", "run"] {
        let end = scene.finish(&["--once", "k", "--store", &wrong, "--if-unreachable", what], &["touch", "ran"]);
        end.assert_code(69).assert_one_line(&["refuses our user or password", "nothing was run"]);
        assert!(!end.err().contains("wrong"), "{}", end.err());
    }
    server.kill();
    let down = ["--once", "k", "--store", &server.url()];
    scene.finish(&down, &["touch", "ran"]).assert_code(69).assert_one_line(&["can't be reached"]);
    assert!(!scene.path("ran").exists());
    scene.finish(&[&down[..], &["--if-unreachable", "skip"]].concat(), &["touch", "ran"]).assert_code(0);
    assert!(!scene.path("ran").exists());
    scene.finish(&[&down[..], &["--if-unreachable", "run"]].concat(), &["touch", "ran"]).assert_code(0);
    assert!(scene.path("ran").exists());
}

#[test]
fn store_urls_that_make_no_sense_are_usage_and_repeat_no_password() {
    let scene = Scene::new();
    for (url, part) in [
        ("rediss+x://h", "unknown store scheme"),
        ("redis-quorum://:secret@a,b", "odd number"),
        ("redis-quorum://:secret@a,b,c,d", "odd number"),
        ("redis://:secret@a,b", "names 2 servers"),
        ("redis-sentinel://:secret@a", "doesn't name the master"),
    ] {
        let end = scene.finish(&["--once", "k", "--store", url], &["true"]);
        end.assert_code(2).assert_one_line(&["--store", part]);
        assert!(!end.err().contains("secret"), "{}", end.err());
    }
    let short = scene.finish(&["--once", "k", "--store", "redis://h", "--ttl", "900ms"], &["true"]);
    short.assert_code(2).assert_one_line(&["--ttl", "1s"]);
    let grace = scene.finish(&["--once", "k", "--store", "redis://h", "--kill-after", "16s"], &["true"]);
    grace.assert_code(2).assert_one_line(&["--kill-after", "half"]);
}
