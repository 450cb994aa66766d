//! Other people's lock clients, each a process that holds a lock until it is
//! told to release it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use super::super::groups::{left_out, skipped};
use super::super::running::{Finished, Running};
use super::super::scene::Scene;
use super::super::wait::until;

/// Debian's Python, for which the package python3-redis is.
const PYTHON: &str = "/usr/bin/python3";
/// A `node_modules` with redlock and ioredis; `tests/run` makes one.
const NODE_MODULES: &str = "TOWPATH_NODE_MODULES";

/// A program of tests/peers. Its scene ends it if nobody does.
pub(crate) struct Peer {
    running: Running,
}

impl Peer {
    /// redis-py's `Lock`: tries for the lock, as long as `wait`, and holds it.
    pub(crate) fn redis_py(scene: &Scene, url: &str, key: &str, ttl: Duration, wait: Duration) -> Peer {
        Peer::start(scene, PYTHON, "redis_py.py", [url, key], [ttl, wait])
    }

    /// node-redlock, of one URL or several with commas between; see [`has_redlock`].
    pub(crate) fn redlock(scene: &Scene, urls: &str, key: &str, ttl: Duration, wait: Duration) -> Peer {
        Peer::start(scene, "node", "redlock.js", [urls, key], [ttl, wait])
    }

    fn start(scene: &Scene, program: &str, peer: &str, of: [&str; 2], times: [Duration; 2]) -> Peer {
        let peers = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
        let mut command = scene.program(program);
        if let Some(modules) = std::env::var_os(NODE_MODULES) {
            command.env("NODE_PATH", modules);
        }
        command.arg(peers.join(peer)).args(of).args(times.map(|time| time.as_millis().to_string()));
        Peer { running: Running::start(command.stdin(Stdio::piped())) }
    }

    /// Waits until it has the lock.
    #[track_caller]
    pub(crate) fn wait_held(&self) {
        assert!(self.holds(), "held by another");
    }

    /// Whether it has got the lock, once it knows.
    #[track_caller]
    pub(crate) fn holds(&self) -> bool {
        until(format!("held or busy: {}", self.running.err()), || self.running.out().contains('\n'));
        self.running.out() == "held\n"
    }

    /// Has it release its lock; whether that still was its own.
    #[track_caller]
    pub(crate) fn release(mut self) -> bool {
        self.wait_held();
        drop(self.running.stdin());
        let finished: Finished = self.running.finish();
        match finished.assert_code(0).out().as_str() {
            "held\nreleased\n" => true,
            "held\nlost\n" => false,
            other => panic!("{other:?}"),
        }
    }
}

/// Whether node-redlock is there; says so if it isn't.
pub(crate) fn has_redlock() -> bool {
    if skipped("redlock") {
        return false;
    }
    let has = std::env::var_os(NODE_MODULES).is_some();
    if !has {
        left_out("redlock", &format!("{NODE_MODULES} names no node_modules with it; tests/run makes one where npm is"));
    }
    has
}
