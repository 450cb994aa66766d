//! `run --image`: a command in a container is like any other, and whoever is killed,
//! stopped or cut off, the container is gone before the lock is free.

use rustix::process::Signal;

use crate::support::docker::{DOCKER, Daemon, IMAGE};
use crate::support::process::Process;
use crate::support::running::{Finished, Running};
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::wait::until;

/// Heeds no request to end, and says that it runs.
const DEAF: &str = "trap '' TERM INT; touch /w/up; while :; do sleep 0.1; done";

/// Runs that share a directory and a daemon of their own.
struct Stage {
    scene: Scene,
    daemon: Daemon,
}

impl Stage {
    fn new() -> Stage {
        Stage { scene: Scene::new(), daemon: Daemon::start() }
    }

    fn start(&self, flags: &[&str], command: &[&str]) -> Running {
        let volume = format!("{}:/w", self.scene.dir().display());
        let mut towpath = self.scene.run(&[&["--image", IMAGE, "--image-volume", &volume], flags].concat());
        towpath.envs(self.daemon.environment()).env("DOCKER_CONFIG", self.scene.path("none"));
        Running::start(towpath.arg("--").args(command))
    }

    fn sh(&self, flags: &[&str], script: &str) -> Running {
        self.start(flags, &["sh", "-c", script])
    }

    fn finish(&self, flags: &[&str], script: &str) -> Finished {
        self.sh(flags, script).finish()
    }

    /// Waits until the container of [`DEAF`] runs.
    fn wait_up(&self) {
        self.scene.wait_file("up");
    }

    /// Whoever has the lock next, and looks for containers that run.
    fn next(&self, flags: &[&str]) -> Running {
        let script = format!("[ -z \"$({DOCKER} -H {} ps -q)\" ] && echo alone || echo both", self.daemon.host());
        self.scene.start_sh(&[flags, &["--wait", "5m"]].concat(), &script)
    }

    #[track_caller]
    fn assert_nothing_left(&self) {
        assert_eq!(self.daemon.cli(&["ps", "-aq"]), "");
    }

    /// Keeper and attendant of a run.
    fn servants(first: &Running) -> (Process, Process) {
        let keeper = first.process().children().remove(0);
        let attendant = keeper.children().remove(0);
        (keeper, attendant)
    }
}

#[track_caller]
fn assert_alone(next: Running) {
    assert_eq!(next.finish().assert_code(0).out(), "alone\n");
}

#[test]
fn a_command_in_a_container_is_like_any_other() {
    if skipped("docker") {
        return;
    }
    let stage = Stage::new();
    let ended = stage.finish(&[], "echo out; echo err >&2; exit 3");
    assert_eq!((ended.assert_code(3).out().as_str(), ended.err().as_str()), ("out\n", "err\n"));
    let flags = ["--image-env", "A=b c", "--image-user", "7", "--image-workdir", "/tmp", "--image-network", "none"];
    let told = stage.finish(
        &[&flags[..], &["--once", "k", "--timeout", "1h"]].concat(),
        "echo $A; id -u; pwd; echo $TOWPATH_KEY; [ -n \"$TOWPATH_FENCE$TOWPATH_DEADLINE\" ] && cat",
    );
    assert_eq!(told.assert_code(0).out(), "b c\n7\n/tmp\nk\n");
    // Its lines go where a command's do, and the report is a command's.
    let (log, report) = (stage.scene.name("log"), stage.scene.name("report"));
    let ended = stage.finish(&["--log", &log, "--include", "two", "--report", &report], "echo one; echo two; exit 9");
    assert_eq!(ended.assert_code(9).out(), "two\n");
    assert_eq!(stage.scene.read("log"), "one\ntwo\n");
    assert_eq!(stage.scene.report("report")["command_exit_code"], 9);
    stage.assert_nothing_left();
}

#[test]
fn what_cannot_be_started_has_the_code_of_a_command_and_one_line() {
    if skipped("docker") {
        return;
    }
    let stage = Stage::new();
    for (command, code) in [("no-such-program", 127), ("/tmp", 126)] {
        stage.start(&[], &[command]).finish().assert_code(code).assert_one_line(&["can't start"]);
    }
    let run = |image: &str, flags: &[&str], host: &str| {
        let mut towpath = stage.scene.run(&[&["--image", image], flags].concat());
        Running::start(towpath.env("DOCKER_HOST", host).args(["--", "true"])).finish()
    };
    let host = stage.daemon.host();
    run("towpath-no-such:1", &["--image-pull", "never"], &host)
        .assert_code(125)
        .assert_one_line(&["towpath-no-such:1"]);
    run("Not An Image", &[], &host).assert_code(125).assert_one_line(&["Not An Image"]);
    run(IMAGE, &[], "unix:///no/such.sock")
        .assert_code(125)
        .assert_one_line(&["no Docker daemon at unix:///no/such.sock"]);
    run(IMAGE, &[], "tcp://192.0.2.1:1").assert_code(125).assert_one_line(&["DOCKER_TLS_VERIFY"]);
    run(IMAGE, &["--pty"], &host).assert_code(2).assert_one_line(&["terminal"]);
    stage.assert_nothing_left();
}

#[test]
fn a_time_limit_asks_the_container_and_then_kills_it() {
    if skipped("docker") {
        return;
    }
    let stage = Stage::new();
    let polite = "trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.1; done";
    let ended = stage.finish(&["--timeout", "3s", "--kill-after", "1m"], polite);
    assert_eq!(ended.assert_code(124).out(), "up\nasked\n");
    let ended = stage.finish(&["--timeout", "3s", "--kill-after", "2s"], DEAF);
    ended.assert_code(124).assert_one_line(&["longer than 3s"]);
    stage.assert_nothing_left();
}

#[test]
fn a_second_request_to_end_does_not_wait_for_the_container() {
    if skipped("docker") {
        return;
    }
    let stage = Stage::new();
    let first = stage.sh(&["--kill-after", "10m"], DEAF);
    stage.wait_up();
    first.send(Signal::TERM);
    first.send(Signal::INT);
    let ended = first.finish();
    assert!([130, 137, 143].contains(&ended.code.unwrap()), "{:?}", ended.code);
    stage.assert_nothing_left();
}

#[test]
fn the_lock_is_free_only_when_the_container_of_a_killed_attendant_is_gone() {
    if skipped("docker") {
        return;
    }
    let stage = Stage::new();
    let first = stage.sh(&["--once", "k"], DEAF);
    stage.wait_up();
    let next = stage.next(&["--once", "k"]);
    Stage::servants(&first).1.send(Signal::KILL);
    first.finish().assert_code(137);
    assert_alone(next);
    stage.assert_nothing_left();
}

#[test]
fn the_lock_is_free_only_when_the_container_of_a_killed_towpath_is_gone() {
    if skipped("docker") {
        return;
    }
    let stage = Stage::new();
    let first = stage.sh(&["--once", "k", "--kill-after", "500ms"], DEAF);
    stage.wait_up();
    let next = stage.next(&["--once", "k"]);
    first.send(Signal::KILL);
    assert_eq!(first.finish().signal, Some(9));
    assert_alone(next);
    until("no container", || stage.daemon.cli(&["ps", "-aq"]).is_empty());
}

#[test]
fn the_lock_is_free_only_when_the_container_of_a_killed_keeper_is_gone() {
    if skipped("docker") {
        return;
    }
    let stage = Stage::new();
    let first = stage.sh(&["--once", "k"], DEAF);
    stage.wait_up();
    Stage::servants(&first).0.send(Signal::KILL);
    first.finish().assert_code(125).assert_one_line(&["killed its keeper"]);
    stage.assert_nothing_left();
}

#[test]
fn a_daemon_that_hangs_keeps_the_lock_until_it_can_say_that_the_container_is_gone() {
    if skipped("docker") {
        return;
    }
    let stage = Stage::new();
    let mut first = stage.sh(&["--once", "k"], DEAF);
    stage.wait_up();
    stage.daemon.process().send(Signal::STOP);
    Stage::servants(&first).1.send(Signal::KILL);
    // It is reported as one that doesn't end, and the keeper stays with the lock.
    until("towpath's end", || first.has_ended());
    assert!(stage.scene.is_locked("k"));
    stage.daemon.process().send(Signal::CONT);
    first.finish().assert_code(125).assert_one_line(&["sweeper"]);
    until("the lock is free", || !stage.scene.is_locked("k"));
    stage.assert_nothing_left();
}

#[cfg(feature = "redis")]
mod on_redis {
    use super::*;
    use crate::support::redis::Redis;

    /// A container that is up under a lease of a Redis.
    struct Leased {
        stage: Stage,
        server: Redis,
        flags: Vec<String>,
        first: Running,
    }

    impl Leased {
        fn start() -> Leased {
            let (stage, server) = (Stage::new(), Redis::start());
            let flags = ["--store", &server.url(), "--once", "job", "--ttl", "10s"].map(str::to_owned).to_vec();
            let first = stage.sh(&strs(&flags), DEAF);
            stage.wait_up();
            Leased { stage, server, flags, first }
        }

        /// A run that waits for the lease.
        fn next(&self) -> Running {
            self.stage.next(&strs(&self.flags))
        }
    }

    fn strs(flags: &[String]) -> Vec<&str> {
        flags.iter().map(String::as_str).collect()
    }

    #[test]
    fn the_container_of_a_frozen_towpath_is_gone_before_the_next_one_runs() {
        if skipped("docker") || skipped("redis") {
            return;
        }
        let leased = Leased::start();
        let next = leased.next();
        let Leased { stage, server: _server, first, .. } = leased;
        first.send(Signal::STOP);
        assert_alone(next);
        first.send(Signal::CONT);
        first.finish().assert_code(79);
        stage.assert_nothing_left();
    }

    #[test]
    fn a_frozen_attendant_is_killed_and_its_container_gone_before_the_next_one_runs() {
        if skipped("docker") || skipped("redis") {
            return;
        }
        let leased = Leased::start();
        let next = leased.next();
        let Leased { stage, server: _server, first, .. } = leased;
        let attendant = Stage::servants(&first).1;
        first.send(Signal::STOP);
        // Whoever wakes it, it is stopped again: it can do nothing.
        while attendant.is_alive() {
            attendant.send(Signal::STOP);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_alone(next);
        first.send(Signal::CONT);
        first.finish().assert_code(79);
        stage.assert_nothing_left();
    }

    #[test]
    fn a_lock_that_is_lost_ends_the_container() {
        if skipped("docker") || skipped("redis") {
            return;
        }
        let Leased { stage, server, first, .. } = Leased::start();
        server.cli(&["DEL", "job"]);
        first.finish().assert_code(79);
        stage.assert_nothing_left();
    }
}
