//! One Redis server.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Signal;
use tempfile::TempDir;

use super::super::port::Port;
use super::super::process::Process;
use super::super::wait::until;
use super::resp;
use super::settings::{OURS, Settings};

/// A `redis-server`, or a sentinel, with a directory and a port for life.
///
/// It can be stopped and killed from any thread while others use it.
pub(crate) struct Redis {
    dir: TempDir,
    port: Port,
    settings: Settings,
    /// None: it was killed.
    child: Mutex<Option<Child>>,
    is_sentinel: bool,
}

impl Redis {
    /// A plain server that answers.
    #[track_caller]
    pub(crate) fn start() -> Redis {
        Redis::with(Settings::new())
    }

    /// A server with settings that answers.
    #[track_caller]
    pub(crate) fn with(settings: Settings) -> Redis {
        let server = Redis::launch(settings);
        server.wait_ready();
        server
    }

    /// A server that may not answer yet.
    pub(super) fn launch(settings: Settings) -> Redis {
        let settings = settings
            .line("save \"\"")
            .line(format!("masteruser {OURS}"))
            .line("masterauth any")
            // Replicas are there at once; a master that was one before starts empty.
            .line("repl-diskless-sync-delay 0")
            .line("rdb-del-sync-files yes")
            .line("enable-debug-command local");
        Redis::new(settings, false)
    }

    /// A sentinel that may not answer yet.
    pub(super) fn launch_sentinel(settings: Settings) -> Redis {
        Redis::new(settings, true)
    }

    fn new(settings: Settings, is_sentinel: bool) -> Redis {
        let dir = tempfile::Builder::new().prefix("towpath-redis-").tempdir().unwrap();
        let server = Redis { dir, port: Port::keep(), settings, child: Mutex::new(None), is_sentinel };
        let mut lines = server.settings.lines(server.port());
        lines.push("bind 127.0.0.1".to_owned());
        lines.push(format!("dir {}", server.dir.path().display()));
        lines.push(format!("unixsocket {}", server.socket().display()));
        fs::write(server.dir.path().join("redis.conf"), lines.join("\n") + "\n").unwrap();
        server.spawn();
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// Where it listens, for a proxy.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// `HOST:PORT`, as a part of a URL.
    pub(crate) fn host(&self) -> String {
        format!("{}:{}", self.settings.host(), self.port())
    }

    /// Its URL, with the default user's password.
    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.settings.url_start(""), self.host())
    }

    /// Its Unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// What it has logged, since the first start.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Runs a command; the answer as [`Redis::try_cli`] gives it. Panics at an error.
    #[track_caller]
    pub(crate) fn cli(&self, words: &[&str]) -> String {
        self.try_cli(words).unwrap_or_else(|error| panic!("{words:?} on port {}: {error}", self.port()))
    }

    /// Runs a command, with every right there is.
    ///
    /// The answer as text: an array has a line for each of its parts, nothing
    /// is `(nil)`. Or the error: the server's, or `io: ...`.
    pub(crate) fn try_cli(&self, words: &[&str]) -> Result<String, String> {
        resp::run(&self.socket(), OURS, words)
    }

    /// A value of `INFO`.
    pub(crate) fn info(&self, name: &str) -> Option<String> {
        let info = self.try_cli(&["INFO", "all"]).ok()?;
        info.lines().find_map(|line| Some(line.trim().strip_prefix(name)?.strip_prefix(':')?.to_owned()))
    }

    /// Waits until a replica has all that was written so far. (`WAIT` is for what its own
    /// connection has written, and each command here has one of its own.)
    #[track_caller]
    pub(crate) fn wait_replicated(&self) {
        let number = |text: &str| text.parse::<u64>().ok();
        let written = self.info("master_repl_offset").and_then(|offset| number(&offset)).unwrap();
        until("a replica to have it", || {
            let replica = self.info("slave0").unwrap_or_default();
            let offset = replica.split(',').find_map(|part| number(part.strip_prefix("offset=")?));
            offset.is_some_and(|offset| offset >= written)
        });
    }

    /// Its process, unless it was killed.
    pub(crate) fn process(&self) -> Option<Process> {
        self.child().as_ref().map(|child| Process::of(i32::try_from(child.id()).unwrap()))
    }

    /// Whether it can answer: it was neither killed nor stopped.
    pub(crate) fn runs(&self) -> bool {
        self.process().is_some_and(|process| process.is_alive() && !process.is_stopped())
    }

    /// Freezes it: it takes connections, by the kernel, and answers nothing.
    #[track_caller]
    pub(crate) fn stop(&self) {
        let process = self.process().expect("a server that wasn't killed");
        process.send(Signal::STOP);
        process.wait_stopped();
    }

    /// Lets it go on after a stop.
    pub(crate) fn go_on(&self) {
        if let Some(process) = self.process() {
            process.send(Signal::CONT);
        }
    }

    /// Ends it by kill -9; connections are refused until it is started again.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again on its port, killing it first if need be: with its data
    /// if it is persistent, else empty.
    #[track_caller]
    pub(crate) fn restart(&self) {
        self.kill();
        self.spawn();
        self.wait_ready();
    }

    /// Waits until it answers, having loaded its data.
    #[track_caller]
    pub(super) fn wait_ready(&self) {
        until(format!("redis-server on port {}", self.port()), || {
            let has_ended = self.child().as_mut().is_none_or(|child| child.try_wait().unwrap().is_some());
            assert!(!has_ended, "redis-server does not start: {}", self.log());
            self.try_cli(&["PING"]).as_deref() == Ok("PONG")
        });
    }

    fn spawn(&self) {
        let log = File::options().append(true).create(true).open(self.dir.path().join("log")).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(self.dir.path().join("redis.conf")).args(self.is_sentinel.then_some("--sentinel"));
        command.stdin(Stdio::null()).stderr(log.try_clone().unwrap()).stdout(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("redis-server: {error}; tests/run installs it"));
        *self.child() = Some(child);
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.child().take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
