//! `logs --docker`: a container's log as a source beside others.

use rustix::process::Signal;

use crate::support::docker::{Daemon, IMAGE};
use crate::support::running::Running;
use crate::support::scene::Scene;
use crate::support::skipped;

fn logs(scene: &Scene, daemon: &Daemon, arguments: &[&str]) -> Running {
    Running::start(scene.towpath().arg("logs").args(arguments).envs(daemon.environment()))
}

/// Starts a container that is removed by the guard's end.
fn container(daemon: &Daemon, name: &str, script: &str) {
    daemon.cli(&["run", "-d", "--name", name, IMAGE, "sh", "-c", script]);
}

#[test]
fn a_containers_log_stands_beside_files_and_is_filtered_like_them() {
    if skipped("docker") {
        return;
    }
    let (scene, daemon) = (Scene::new(), Daemon::shared());
    container(daemon, "logs-beside", "echo one; echo two >&2; echo three");
    daemon.cli(&["wait", "logs-beside"]);
    std::fs::write(scene.path("file"), "from the file\n").unwrap();
    let ended = logs(&scene, daemon, &["--prefix", "--docker", "logs-beside", "file"]).finish();
    let out = ended.assert_code(0).out();
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 4, "{out}");
    assert!(lines[0].starts_with("file") && lines[0].ends_with("from the file"), "{out}");
    assert!(lines[1].starts_with("logs-beside"), "{out}");
    let ended = logs(&scene, daemon, &["--docker", "logs-beside", "--include", "t", "--exclude", "w"]).finish();
    assert_eq!(ended.assert_code(0).out(), "three\n");
    daemon.cli(&["rm", "logs-beside"]);
}

#[test]
fn a_log_that_cannot_be_read_is_told_and_the_others_go_on() {
    if skipped("docker") {
        return;
    }
    let (scene, daemon) = (Scene::new(), Daemon::shared());
    std::fs::write(scene.path("file"), "from the file\n").unwrap();
    let ended = logs(&scene, daemon, &["--docker", "logs-nobody", "file"]).finish();
    assert_eq!(ended.assert_code(125).assert_one_line(&["logs-nobody", "No such container"]).out(), "from the file\n");
    let away = Running::start(
        scene.towpath().args(["logs", "--docker", "web", "file"]).env("DOCKER_HOST", "unix:///no/such.sock"),
    );
    assert_eq!(away.finish().assert_code(125).assert_one_line(&["no Docker daemon"]).out(), "from the file\n");
}

#[test]
fn a_followed_log_ends_with_its_container_or_when_it_is_asked_to() {
    if skipped("docker") {
        return;
    }
    let (scene, daemon) = (Scene::new(), Daemon::shared());
    container(daemon, "logs-follow", "echo one; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo two");
    let first = logs(&scene, daemon, &["-f", "--docker", "logs-follow"]);
    let second = logs(&scene, daemon, &["-f", "--docker", "logs-follow"]);
    first.wait_out("one\n");
    second.wait_out("one\n");
    // It waits for the daemon, which says nothing: a signal ends it all the same.
    second.send(Signal::TERM);
    assert_eq!(second.finish().assert_code(143).out(), "one\n");
    daemon.cli(&["exec", "logs-follow", "touch", "/tmp/go"]);
    assert_eq!(first.finish().assert_code(0).out(), "one\ntwo\n");
    daemon.cli(&["rm", "-f", "logs-follow"]);
}
