//! The static binary in an otherwise empty root directory: no `/proc`, no
//! `/dev`, no `/tmp`, no dynamic linker, nothing to fall back on.
//!
//! `tests/run` builds it and says where it is in `TOWPATH_STATIC_BIN`; going
//! into a root directory of one's own takes root.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{left_out, skipped};

#[test]
fn a_run_in_an_empty_root_directory_passes_output_and_code_through() {
    let Some(root) = Root::with_towpath() else { return };
    let direct = root.run(&["/towpath", "--version"]);
    assert_ended(&direct, 0);
    assert!(text(&direct.stdout).starts_with("towpath "), "{direct:?}");

    let inside = root.run(&["/towpath", "run", "--", "/towpath", "--version"]);
    assert_ended(&inside, 0);
    assert_eq!(inside.stdout, direct.stdout);

    let wrong_use = root.run(&["/towpath", "run", "--", "/towpath", "--no-such-flag"]);
    assert_ended(&wrong_use, 2);
    let missing = root.run(&["/towpath", "run", "--", "/no/such/command"]);
    assert_ended(&missing, 127);
    assert_eq!(root.entries(), ["towpath"], "a run left something behind");
}

#[test]
fn a_lock_in_an_empty_root_directory_needs_a_store_that_can_be_made() {
    let Some(root) = Root::with_towpath() else { return };
    let without = root.run(&["/towpath", "run", "--once", "demo", "--", "/towpath", "--version"]);
    assert_ended(&without, 69);
    assert!(!without.stderr.is_empty(), "it doesn't say that there is no place for the lock");
    assert!(without.stdout.is_empty(), "the command ran without its lock");

    let with = ["/towpath", "run", "--once", "demo", "--store", "file:/locks", "--", "/towpath", "--version"];
    for _ in 0..2 {
        assert_ended(&root.run(&with), 0);
    }
    assert_eq!(root.entries(), ["locks", "towpath"]);
}

#[test]
fn it_is_no_larger_than_it_may_be() {
    let Some(root) = Root::with_towpath() else { return };
    // The host's own libc, where musl's can't be had, has no limit here.
    let is_musl = std::env::var("TOWPATH_STATIC_BIN").is_ok_and(|path| path.contains("-musl/"));
    let bytes = std::fs::metadata(root.0.path().join("towpath")).unwrap().len();
    assert!(!is_musl || bytes <= 6 << 20, "{bytes} bytes");
}

/// The other tests run a debug build, in which clap checks more.
#[test]
fn a_release_build_takes_every_commands_own_flags() {
    let Some(root) = Root::with_towpath() else { return };
    let store = ["--store", "file:/locks"];
    let status = root.run(&[&["/towpath", "lock", "status", "demo"][..], &store].concat());
    assert_ended(&status, 0);
    assert!(text(&status.stdout).ends_with(": free\n"), "{status:?}");
    let lead = [&["/towpath", "lead", "demo", "--on-exit", "end"][..], &store, &["--", "/towpath", "--version"]];
    assert_ended(&root.run(&lead.concat()), 0);
    let watch = root.run(&["/towpath", "watch", "--retry", "0s", "--ca", "/none", "http://127.0.0.1:1"]);
    assert!(text(&watch.stderr).contains("--ca /none"), "{watch:?}");
    #[cfg(feature = "redis")]
    for action in [&["watch", "--match", "a*"][..], &["set", "demo", "--in", "1s"], &["cancel", "demo"], &["pending"]] {
        let expiry = root.run(&[&["/towpath", "expiry"][..], action, &["--group", "g"], &store].concat());
        assert_ended(&expiry, 2);
        assert!(text(&expiry.stderr).contains("no keys that expire"), "{expiry:?}");
    }
    let serve =
        ["/towpath", "serve", "/none", "--listen", "127.0.0.1:0", "--keep-free", "5%", "--on-conflict", "rename"];
    let serve = root.run(&serve);
    assert_ended(&serve, 74);
    assert!(text(&serve.stderr).contains("/none"), "{serve:?}");
    let send = root.run(&[
        "/towpath",
        "send",
        "--put",
        "--buffer",
        "1KiB",
        "--ca",
        "/none",
        "/towpath",
        "http://127.0.0.1:1/",
    ]);
    assert!(text(&send.stderr).contains("--ca /none"), "{send:?}");
    let get =
        ["/towpath", "get", "--on-conflict", "rename", "--max-size", "1GiB", "--retries", "0", "http://127.0.0.1:1/"];
    assert_ended(&root.run(&get), 69);
    let ship = root.run(&["/towpath", "run", "--ship", "/none=http://127.0.0.1:1/", "--", "/towpath", "--version"]);
    assert_ended(&ship, 74);
    let ps =
        root.run(&["/towpath", "docker", "-H", "unix:///none", "ps", "-a", "--filter", "status=exited", "--no-trunc"]);
    assert_ended(&ps, 1);
    assert!(text(&ps.stderr).contains("/none"), "{ps:?}");
    let run = ["docker", "run", "--rm", "-e", "A=1", "-p", "80:80", "--timeout", "1s", "--host", "unix:///none"];
    let ran = root.run(&[&["/towpath"], &run[..], &["--memory", "64m", "image", "cmd", "-x"]].concat());
    assert_ended(&ran, 125);
    assert!(text(&ran.stderr).contains("/none"), "{ran:?}");
    assert_ended(&root.run(&["/towpath", "docker", "stop", "--dry-run", "x"]), 2);
    let relayed = ["--store", "redis://127.0.0.1:1", "--retry", "0s", "--wait", "0s", "--tail", "1", "demo"];
    assert_ended(&root.run(&[&["/towpath", "watch"][..], &relayed].concat()), 69);
    let relayed = root.run(&["/towpath", "logs", "--store", "file:/locks", "--relay", "demo"]);
    assert_ended(&relayed, 2);
    assert!(text(&relayed.stderr).contains("a relay can't be kept in file:/locks"), "{relayed:?}");
    let useless = root.run(&["/towpath", "run", "--wait", "1s", "--", "/towpath", "--version"]);
    assert_ended(&useless, 2);
    assert!(text(&useless.stderr).contains("--wait does nothing without --once"), "{useless:?}");
    // There is no daemon in an empty root directory, which is what it says.
    for command in [&["run", "--image", "x", "--image-pull", "never"][..], &["logs", "--docker", "x"]] {
        let away = root.run(&[&["/towpath"][..], command].concat());
        assert_ended(&away, 125);
        assert!(text(&away.stderr).contains("no Docker daemon at unix:///var/run/docker.sock"), "{away:?}");
    }
}

#[test]
fn a_timeout_ends_the_whole_tree_where_there_is_no_proc() {
    let Some(root) = Root::with_towpath() else { return };
    if skipped("busybox") {
        return;
    }
    root.bring("busybox", &on_path("busybox"));
    // The one asked to end ignores it; the other has gone off into a session of its own.
    let script = "trap '' TERM; /busybox setsid /busybox sleep 1000 & echo up; while :; do /busybox sleep 1000; done";
    let run = ["/towpath", "run", "--timeout", "1s", "--kill-after", "1s", "--", "/busybox", "sh", "-c", script];
    let out = root.run(&run);
    assert_ended(&out, 124);
    assert_eq!(text(&out.stdout), "up\n");
    assert_eq!(root.processes(), Vec::<PathBuf>::new(), "processes outlive their run");
}

/// A root directory with what was brought into it and nothing else.
struct Root(TempDir);

impl Root {
    /// None, and said so, where the test can't be had.
    fn with_towpath() -> Option<Self> {
        if skipped("static") {
            return None;
        }
        let Some(binary) = std::env::var_os("TOWPATH_STATIC_BIN") else {
            left_out("static", "TOWPATH_STATIC_BIN names no static binary; tests/run builds one");
            return None;
        };
        if !rustix::process::geteuid().is_root() {
            left_out("static", "chroot needs root");
            return None;
        }
        let root = Self(tempfile::tempdir().unwrap());
        root.bring("towpath", Path::new(&binary));
        Some(root)
    }

    fn bring(&self, name: &str, from: &Path) {
        std::fs::copy(from, self.0.path().join(name)).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }

    /// Runs a command inside, with an empty environment; one that doesn't end
    /// within a minute is ended, and its code is 137.
    fn run(&self, command: &[&str]) -> Output {
        let mut chroot = Command::new("timeout");
        chroot.args(["--signal=KILL", "60", "chroot"]).arg(self.0.path()).args(command);
        let path = std::env::var_os("PATH").unwrap_or_default();
        chroot.env_clear().env("PATH", path).stdin(Stdio::null()).output().unwrap()
    }

    fn entries(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The processes that live inside, as seen from outside.
    fn processes(&self) -> Vec<PathBuf> {
        let inside = self.0.path().canonicalize().unwrap();
        let all = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        all.filter(|process| std::fs::read_link(process.join("root")).is_ok_and(|root| root == inside)).collect()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // A failed test's processes would keep the directory, and themselves, for good.
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            let pids = left.iter().filter_map(|process| process.file_name());
            let _ = Command::new("kill").arg("-KILL").args(pids).stderr(Stdio::null()).status();
        }
    }
}

fn on_path(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(OsStr::new(name))).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("no {name} on PATH; tests/run installs it"))
}

#[track_caller]
fn assert_ended(out: &Output, code: i32) {
    assert_eq!(out.status.code(), Some(code), "stdout {:?}, stderr {:?}", text(&out.stdout), text(&out.stderr));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
