//! A server that ends with the tests, also when they are killed: with all that
//! it has started, and with its directory.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use super::super::process::Process;
use super::super::wait::until;

/// A program under `guard.sh`.
pub(super) struct Guard {
    dir: PathBuf,
    shell: Child,
    /// The guard ends when this is closed, by whatever.
    held: Option<ChildStdin>,
}

impl Guard {
    /// Starts a program, whose output goes to the file `log` in `dir`. The
    /// directory goes with it.
    ///
    /// It is asked to end, and has so many tenths of a second for that.
    #[track_caller]
    pub(super) fn start(dir: &Path, program: &[String], tenths: u32) -> Guard {
        assert!(rustix::process::geteuid().is_root(), "{}", super::how("it takes root"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/docker/guard.sh");
        let log = File::create(dir.join("log")).unwrap();
        let mut command = Command::new("sh");
        command.arg(script).arg(dir).arg(tenths.to_string()).args(program);
        // A group of its own: a Ctrl-C for the tests isn't one for their servers.
        command.process_group(0).stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        // A proxy of the machine's, or another daemon, is none of its business.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy().to_lowercase();
            if text.ends_with("_proxy") || text.starts_with("docker_") {
                command.env_remove(name);
            }
        }
        let mut shell = command.spawn().unwrap();
        let held = shell.stdin.take();
        Guard { dir: dir.to_owned(), shell, held }
    }

    /// Waits until it answers; panics with its log if it has ended.
    #[track_caller]
    pub(super) fn wait_ready(&mut self, what: &str, mut ready: impl FnMut() -> bool) {
        until(what, || {
            // Its directory goes with it, so the log is read first.
            let log = self.log();
            let has_ended = self.shell.try_wait().unwrap().is_some() || !self.runs(&log);
            assert!(!has_ended, "{}", super::how(&format!("{what} does not start: {log}")));
            ready()
        });
    }

    /// What it has printed.
    pub(super) fn log(&self) -> String {
        let mut log = Vec::new();
        if let Ok(mut file) = File::open(self.dir.join("log")) {
            let _ = file.read_to_end(&mut log);
        }
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The program itself: the guard's first child inside.
    pub(super) fn program(&self) -> Option<Process> {
        let shell = Process::find(i32::try_from(self.shell.id()).unwrap())?;
        let inside = shell.children().into_iter().flat_map(|unshare| unshare.children());
        inside.flat_map(|sh| sh.children()).min_by_key(|child| child.pid)
    }

    /// Whether the program runs, or hasn't been started yet.
    fn runs(&self, log: &str) -> bool {
        log.is_empty() || self.program().is_none_or(|program| program.is_alive())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.held.take());
        // It bounds its own time.
        let _ = self.shell.wait();
    }
}
