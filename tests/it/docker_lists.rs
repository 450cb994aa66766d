//! `towpath docker ps` and `images` beside the docker CLI's own, byte for byte.

use crate::support::docker::{Daemon, IMAGE, Registry, Settings};
use crate::support::running::{Finished, Running};
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::wait::eventually;

/// What both print, once nothing moves between: ages are told in seconds.
#[track_caller]
fn same(daemon: &Daemon, scene: &Scene, words: &[&str]) -> String {
    let theirs = || Running::start(&mut daemon.theirs(scene, words)).finish();
    let (expected, ours): (Finished, Finished) = eventually(format!("{words:?} to stand still"), || {
        let before = theirs();
        let ours = Running::start(&mut daemon.ours(scene, words)).finish();
        (before.out == theirs().out).then_some((before, ours))
    });
    assert_eq!(ours.out(), expected.out(), "{words:?}: {}", ours.err());
    assert_eq!((ours.code, expected.code), (Some(0), Some(0)), "{words:?}");
    ours.out()
}

#[test]
fn containers_are_listed_as_the_docker_cli_lists_them() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::with(Settings::new().bridged()), Scene::new());
    assert_eq!(same(&daemon, &scene, &["ps"]).lines().count(), 1);
    let run = |words: &[&str]| daemon.cli(&[&["run", "-d"], words].concat());
    run(&["--name", "open", "-p", "127.0.0.1:8080:80", "-p", "7000-7002:7000-7002/udp", IMAGE, "sleep", "1000"]);
    run(&["--name", "web", "--label", "app=web", "--expose", "81", "--expose", "82", IMAGE, "sleep", "1000"]);
    let script = "echo \"a quote\" 'and' \\ more than twenty \u{65e5}\u{672c}\u{8a9e} columns; exit 3";
    daemon.docker().args(["run", "--name", "gone", IMAGE, "sh", "-c", script]).output().unwrap();
    daemon.cli(&["create", "--name", "made", "--label", "app=web", IMAGE, "printf", "\t\n\x1b[31m\u{a0}"]);
    daemon.cli(&["tag", IMAGE, "other.example.org:5000/deep/name:2"]);
    run(&["--name", "other", "other.example.org:5000/deep/name:2", "sleep", "1000"]);
    let id = daemon.cli(&["images", "-q", "--no-trunc", IMAGE]);
    run(&["--name", "by-id", &id, "sleep", "1000"]);
    run(&["--name", "by-short-id", &id[7..15], "sleep", "1000"]);
    daemon.cli(&["pause", "by-id"]);
    let lists: [&[&str]; 14] = [
        &["ps"],
        &["ps", "-a"],
        &["ps", "-a", "--no-trunc"],
        &["ps", "-q"],
        &["ps", "-aq", "--no-trunc"],
        &["ps", "-aq", "-n", "-1"],
        &["ps", "-q", "-n", "0"],
        &["ps", "-n", "2"],
        &["ps", "-l"],
        &["ps", "-a", "-f", "status=exited"],
        &["ps", "-a", "-f", "status=exited", "-f", "status=created"],
        &["ps", "--filter", "label=app=web"],
        &["ps", "-a", "--filter", "Label=app=web", "--filter", "name=ma"],
        &["ps", "-f", "ancestor=none"],
    ];
    for words in lists {
        same(&daemon, &scene, words);
    }
    let text = same(&daemon, &scene, &["ps", "-a"]);
    for part in ["127.0.0.1:8080->80/tcp", "7000-7002", "81-82/tcp", "Exited (3)", "(Paused)", "Created"] {
        assert!(text.contains(part), "no {part} to compare in {text}");
    }
    // An image that loses its name is shown by its id from then on.
    daemon.import(IMAGE);
    same(&daemon, &scene, &["ps", "-a"]);
}

#[test]
fn images_are_listed_as_the_docker_cli_lists_them() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene, registry) = (Daemon::start(), Scene::new(), Registry::start());
    registry.push(&daemon, IMAGE, "app:1");
    let config = registry.config(Registry::USER, Registry::PASSWORD);
    let pull =
        daemon.docker().env("DOCKER_CONFIG", config.path()).args(["pull", "-q", &registry.image("app:1")]).status();
    assert!(pull.unwrap().success());
    daemon.cli(&["tag", IMAGE, "library/app:3"]);
    // One by its digest alone, one without any name.
    daemon.import("lost:1");
    registry.push(&daemon, "lost:1", "lost:1");
    daemon.import("lost:1");
    let lists: [&[&str]; 12] = [
        &["images"],
        &["images", "-a"],
        &["images", "--no-trunc"],
        &["images", "--digests"],
        &["images", "-q"],
        &["images", "-q", "--no-trunc"],
        &["images", "app"],
        &["images", "app:3"],
        &["images", "none:1"],
        &["images", "-f", "dangling=true"],
        &["images", "-f", "reference=*:1"],
        &["images", "--digests", "-q"],
    ];
    for words in lists {
        sorted_same(&daemon, &scene, words);
    }
    let text = sorted_same(&daemon, &scene, &["images", "--digests"]);
    assert!(text.contains("<none>") && text.contains("@sha256:") == text.contains("@"), "{text}");
    assert!(text.contains(&registry.host()), "{text}");
}

/// The CLI gives an image's several names in the order of a Go map, and the daemon
/// images of one second in any order.
#[track_caller]
fn sorted_same(daemon: &Daemon, scene: &Scene, words: &[&str]) -> String {
    let sorted = |finished: Finished| {
        let text = finished.assert_code(0).out();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let theirs = || sorted(Running::start(&mut daemon.theirs(scene, words)).finish());
    let (expected, ours) = eventually(format!("{words:?} to stand still"), || {
        let before = theirs();
        let ours = sorted(Running::start(&mut daemon.ours(scene, words)).finish());
        (before == theirs()).then_some((before, ours))
    });
    assert_eq!(ours, expected, "{words:?}");
    ours.join("\n")
}

#[test]
fn what_the_daemon_says_comes_as_json() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::shared(), Scene::new());
    let read = |words: &[&str]| -> serde_json::Value {
        let finished = Running::start(&mut daemon.ours(&scene, words)).finish();
        serde_json::from_str(&finished.assert_code(0).out()).unwrap()
    };
    let images = read(&["images", "--json", IMAGE]);
    assert_eq!(images[0]["RepoTags"][0], IMAGE);
    assert_eq!(read(&["ps", "--json", "-f", "name=towpath-no-such"]), serde_json::json!([]));
}
