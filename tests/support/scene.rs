//! A place of its own for one test of `towpath`: a directory, a store, an empty
//! settings file, and a mark by which everything started there is found and
//! ended, also when the test panics.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::Process;
use super::running::{Finished, Running};
use super::wait::{eventually, until};

const TOWPATH: &str = env!("CARGO_BIN_EXE_towpath");

/// The variable of the mark; every process below us inherits it.
const MARK: &str = "SCENE_OF_TEST";

/// One test's place.
pub(crate) struct Scene {
    dir: TempDir,
    mark: String,
}

impl Scene {
    /// A new place.
    pub(crate) fn new() -> Scene {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let scene = Scene {
            dir: tempfile::Builder::new().prefix("towpath-test-").tempdir().unwrap(),
            mark: format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)),
        };
        fs::write(scene.path("towpath.conf"), "").unwrap();
        scene
    }

    /// A path in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same as a text.
    pub(crate) fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The store, for `--store`.
    pub(crate) fn store(&self) -> String {
        format!("file:{}", self.name("store"))
    }

    /// Any program, with the mark, without settings of ours from outside, in the directory.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TOWPATH_")) {
            command.env_remove(name);
        }
        command.env(MARK, &self.mark).current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// `towpath` itself.
    pub(crate) fn towpath(&self) -> Command {
        self.program(TOWPATH)
    }

    /// `towpath run`, with this scene's settings and store.
    pub(crate) fn run(&self, flags: &[&str]) -> Command {
        let mut command = self.towpath();
        command.args(["run", "--config", &self.name("towpath.conf")]);
        if flags.contains(&"--once") && !flags.contains(&"--store") {
            command.args(["--store", &self.store()]);
        }
        command.args(flags);
        command
    }

    /// The same as a line for a shell; what needs quoting is for the caller to quote.
    pub(crate) fn run_line(&self, flags: &str) -> String {
        let store = if flags.contains("--once") { format!("--store {}", self.store()) } else { String::new() };
        format!("{TOWPATH} run --config {} {store} {flags}", self.name("towpath.conf"))
    }

    /// Starts `towpath run FLAGS -- COMMAND`.
    pub(crate) fn start(&self, flags: &[&str], command: &[&str]) -> Running {
        Running::start(self.run(flags).arg("--").args(command))
    }

    /// Starts `towpath run FLAGS -- sh -c SCRIPT`.
    pub(crate) fn start_sh(&self, flags: &[&str], script: &str) -> Running {
        self.start(flags, &["sh", "-c", script])
    }

    /// Runs `towpath run FLAGS -- COMMAND` to its end.
    pub(crate) fn finish(&self, flags: &[&str], command: &[&str]) -> Finished {
        self.start(flags, command).finish()
    }

    /// Runs `towpath run FLAGS -- sh -c SCRIPT` to its end.
    pub(crate) fn finish_sh(&self, flags: &[&str], script: &str) -> Finished {
        self.start_sh(flags, script).finish()
    }

    /// The contents of a file, which may be bytes of any kind.
    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until a file has a whole line, and gives the first.
    #[track_caller]
    pub(crate) fn line_of(&self, name: &str) -> String {
        eventually(format!("a line in {name}"), || {
            let text = fs::read_to_string(self.path(name)).ok()?;
            text.split_once('\n').map(|(line, _)| line.to_owned())
        })
    }

    /// Waits until a process has written its id into a file.
    #[track_caller]
    pub(crate) fn process_in(&self, name: &str) -> Process {
        Process::of(self.line_of(name).trim().parse().unwrap())
    }

    /// Waits until a file is there.
    #[track_caller]
    pub(crate) fn wait_file(&self, name: &str) {
        until(format!("the file {name}"), || self.path(name).exists());
    }

    /// The report in a file.
    #[track_caller]
    pub(crate) fn report(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    /// Writes a program.
    pub(crate) fn script(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        self.name(name)
    }

    /// Everything that was started here and lives.
    pub(crate) fn processes(&self) -> Vec<Process> {
        Process::with_environment(&format!("{MARK}={}", self.mark))
    }

    /// Waits until nothing that was started here lives.
    #[track_caller]
    pub(crate) fn wait_empty(&self) {
        until("the end of everything that was started", || self.processes().is_empty());
    }

    /// Whether the lock of `key` is taken, as another run finds it.
    #[track_caller]
    pub(crate) fn is_locked(&self, key: &str) -> bool {
        match self.finish(&["--once", key], &["true"]).code {
            Some(75) => true,
            Some(0) => false,
            other => panic!("asking for the lock ended with {other:?}"),
        }
    }

    /// The variable that marks what was started here.
    pub(crate) fn mark(&self) -> (&'static str, &str) {
        (MARK, &self.mark)
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let began = Instant::now();
        // Frozen first, so that none forks itself away; then again, until none is found.
        while began.elapsed() < Duration::from_secs(20) {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            left.iter().for_each(|process| process.send(Signal::STOP));
            left.iter().for_each(|process| process.send(Signal::KILL));
        }
    }
}
