//! What the tests of Docker stand on: daemons and a registry that are real, are
//! private, and are gone afterwards.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::docker::{DOCKER, Daemon, IMAGE, Registry, Settings};
use crate::support::process::Process;
use crate::support::skipped;
use crate::support::wait::until;

#[test]
fn a_dropped_daemon_is_gone_with_its_containers_and_its_directory() {
    if skipped("docker") {
        return;
    }
    let daemon = Daemon::start();
    daemon.cli(&["run", "-d", "--name", "left", IMAGE, "sleep", "1000"]);
    let container = daemon.inspect("left")["State"]["Pid"].as_i64().unwrap();
    // Its namespace has ids of its own; here it is a process below the daemon's guard.
    assert!(container > 0);
    let (daemon_process, socket) = (daemon.process(), daemon.socket());
    let mark = socket.display().to_string();
    assert!(!processes_with(&mark).is_empty());
    drop(daemon);
    assert!(!daemon_process.is_alive());
    assert_eq!(processes_with(&mark), Vec::<String>::new());
    until("the end of its directory", || !socket.parent().unwrap().exists());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&mark[..mark.len() - "/socket".len()]), "{mounts}");
}

#[test]
fn a_stopped_daemon_ends_with_its_fixture_too() {
    if skipped("docker") {
        return;
    }
    let daemon = Daemon::start();
    let process: Process = daemon.process();
    process.send(rustix::process::Signal::STOP);
    process.wait_stopped();
    drop(daemon);
    assert!(!process.is_alive());
}

#[test]
fn a_daemon_of_one_s_own_runs_containers_with_limits_and_published_ports() {
    if skipped("docker") {
        return;
    }
    let daemon = Daemon::with(Settings::new().bridged());
    assert_eq!(daemon.cli(&["run", "--rm", "--memory", "64m", IMAGE, "echo", "hi"]), "hi");
    daemon.cli(&["run", "-d", "--name", "open", "-p", "127.0.0.1:8080:80", IMAGE, "sleep", "1000"]);
    assert_eq!(daemon.cli(&["port", "open"]), "80/tcp -> 127.0.0.1:8080");
}

#[test]
fn the_shared_daemon_has_an_image_and_no_network_of_the_machine_s() {
    if skipped("docker") {
        return;
    }
    let daemon = Daemon::shared();
    assert_eq!(daemon.cli(&["images", "--format", "{{.Repository}}:{{.Tag}}", IMAGE]), IMAGE);
    assert_eq!(daemon.cli(&["network", "ls", "-q", "--filter", "driver=bridge"]), "");
}

#[test]
fn a_daemon_takes_tls_clients_with_a_certificate_alone() {
    if skipped("docker") {
        return;
    }
    let daemon = Daemon::with(Settings::new().tls());
    assert_eq!(daemon.cli(&["images", "-q"]).lines().count(), 1);
    let mut without = Command::new(DOCKER);
    without.env_clear().env("HOME", "/nonexistent").args(["-H", &daemon.tls_host(), "--tls", "ps"]);
    assert!(!without.stdin(Stdio::null()).output().unwrap().status.success());
    assert!(daemon.cert_path().join("key.pem").exists());
}

#[test]
fn a_registry_gives_its_images_to_those_with_a_password_alone() {
    if skipped("docker") {
        return;
    }
    let (daemon, registry) = (Daemon::start(), Registry::start());
    registry.push(&daemon, IMAGE, "private:1");
    let name = registry.image("private:1");
    let pull = |password: &str| {
        let config = registry.config(Registry::USER, password);
        daemon.docker().env("DOCKER_CONFIG", config.path()).args(["pull", "-q", &name]).output().unwrap()
    };
    assert!(!daemon.docker().args(["pull", &name]).output().unwrap().status.success());
    assert!(!pull("wrong").status.success());
    assert!(pull(Registry::PASSWORD).status.success());
    daemon.cli(&["rmi", &name, IMAGE]);
    registry.lose_a_layer();
    assert!(!pull(Registry::PASSWORD).status.success());
}

#[test]
fn a_daemon_with_a_small_disk_fills_it() {
    if skipped("docker") {
        return;
    }
    let daemon = Daemon::with(Settings::new().disk(16 << 20).plain());
    assert_eq!(daemon.cli(&["-H", &daemon.plain_host(), "images", "-q"]).lines().count(), 1);
    let full = daemon.docker().args(["run", "--rm", IMAGE, "sh", "-c", "cat /dev/zero > /tmp/all"]).output().unwrap();
    assert!(String::from_utf8_lossy(&full.stderr).contains("No space left"), "{full:?}");
}

/// The command lines of living processes that name this.
fn processes_with(mark: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(mark)).collect()
}
