//! One Docker daemon.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::super::process::Process;
use super::super::scene::Scene;
use super::guard::Guard;
use super::settings::Settings;
use super::{DOCKER, how};

/// The image that every daemon has from the start: busybox, with `sh` and what else it can do.
pub(crate) const IMAGE: &str = "towpath-busybox:1";

/// What busybox is called by in the image.
const APPLETS: [&str; 20] = [
    "cat", "echo", "env", "false", "head", "id", "kill", "ls", "mkdir", "printf", "ps", "pwd", "seq", "sh", "sleep",
    "stty", "touch", "true", "tty", "wc",
];

/// How long a daemon may take to end, in tenths of a second.
const ENDING_TENTHS: u32 = 100;

/// A `dockerd` with directories and a socket of its own, and [`IMAGE`].
pub(crate) struct Daemon {
    dir: PathBuf,
    settings: Settings,
    guard: Guard,
}

impl Daemon {
    /// The one that all tests of this process share, who leave it as it was but
    /// for containers and images that they name themselves.
    #[track_caller]
    pub(crate) fn shared() -> &'static Daemon {
        static SHARED: OnceLock<Daemon> = OnceLock::new();
        SHARED.get_or_init(Daemon::start)
    }

    /// One of a test's own.
    #[track_caller]
    pub(crate) fn start() -> Daemon {
        Daemon::with(Settings::new())
    }

    /// One of a test's own, with settings.
    #[track_caller]
    pub(crate) fn with(settings: Settings) -> Daemon {
        let mut daemon = Daemon::empty(settings);
        daemon.guard.wait_ready("dockerd", || daemon.dir.join("socket").exists());
        daemon.import(IMAGE);
        daemon
    }

    /// Starts one without an image, which may not answer yet.
    fn empty(settings: Settings) -> Daemon {
        for program in [DOCKER, "/usr/sbin/dockerd"] {
            assert!(Path::new(program).exists(), "{}", how(&format!("{program} is missing (package docker.io)")));
        }
        // Kept: the guard removes it.
        let dir = tempfile::Builder::new().prefix("towpath-docker-").tempdir().unwrap().keep();
        fs::create_dir(dir.join("data")).unwrap();
        let docker = format!("{DOCKER} -H unix://{}/socket", dir.display());
        // A daemon that ends asks its containers first, and then waits 10 s for each.
        let before_end = format!("#!/bin/sh\n{docker} ps -q | xargs -r {docker} kill\n");
        fs::write(dir.join("before-end"), before_end).unwrap();
        fs::set_permissions(dir.join("before-end"), fs::Permissions::from_mode(0o755)).unwrap();
        let guard = Guard::start(&dir, &settings.command(&dir), ENDING_TENTHS);
        Daemon { dir, settings, guard }
    }

    /// Its Unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    /// Its Unix socket, as `DOCKER_HOST` names it.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Its port with TLS, as `DOCKER_HOST` names it.
    #[track_caller]
    pub(crate) fn tls_host(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.settings.tls_port().expect("settings with TLS").port.number())
    }

    /// Its plain port, as `DOCKER_HOST` names it.
    #[track_caller]
    pub(crate) fn plain_host(&self) -> String {
        self.settings.plain_host().expect("settings with a plain port")
    }

    /// A client's certificates, as `DOCKER_CERT_PATH` wants them.
    #[track_caller]
    pub(crate) fn cert_path(&self) -> PathBuf {
        self.settings.tls_port().expect("settings with TLS").client.clone()
    }

    /// The environment of a client of it: by TLS where it has that.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        match self.settings.tls_port() {
            Some(tls) => vec![
                ("DOCKER_HOST", self.tls_host().into()),
                ("DOCKER_TLS_VERIFY", "1".into()),
                ("DOCKER_CERT_PATH", tls.client.clone().into()),
            ],
            None => vec![("DOCKER_HOST", self.host().into())],
        }
    }

    /// The `docker` command for it, with an empty configuration.
    pub(crate) fn docker(&self) -> Command {
        let mut command = Command::new(DOCKER);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("DOCKER_CONFIG", self.dir.join("no-config")).env("HOME", &self.dir);
        command.envs(self.environment()).stdin(Stdio::null());
        command
    }

    /// `towpath docker WORDS` for it, with an empty configuration.
    pub(crate) fn ours(&self, scene: &Scene, words: &[&str]) -> Command {
        let mut command = scene.towpath();
        command.env("DOCKER_CONFIG", self.dir.join("no-config")).envs(self.environment());
        command.arg("docker").args(words);
        command
    }

    /// `docker WORDS` of a test's own: with its mark, and ended with it.
    pub(crate) fn theirs(&self, scene: &Scene, words: &[&str]) -> Command {
        let mut command = scene.program(DOCKER);
        command.env("DOCKER_CONFIG", self.dir.join("no-config")).envs(self.environment());
        command.args(words);
        command
    }

    /// What `docker WORDS` prints, without the last line's end; panics if it fails.
    #[track_caller]
    pub(crate) fn cli(&self, words: &[&str]) -> String {
        let out = self.docker().args(words).output().unwrap();
        assert!(out.status.success(), "docker {words:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim_end_matches('\n').to_owned()
    }

    /// A container, an image or something else as the daemon describes it.
    #[track_caller]
    pub(crate) fn inspect(&self, name: &str) -> serde_json::Value {
        let text = self.cli(&["inspect", name]);
        let mut all: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        all.remove(0)
    }

    /// Makes an image of busybox under another name.
    #[track_caller]
    pub(crate) fn import(&self, name: &str) {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::create_dir(root.path().join("tmp")).unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        let busybox = busybox.unwrap_or_else(|| panic!("{}", how("busybox is missing (package busybox-static)")));
        fs::copy(busybox, bin.join("busybox")).unwrap();
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
        }
        let tar = root.path().with_extension("tar");
        let made = Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&tar).arg(".").status().unwrap();
        assert!(made.success(), "tar");
        self.cli(&["import", "--change", "CMD [\"sh\"]", tar.to_str().unwrap(), name]);
        fs::remove_file(tar).unwrap();
    }

    /// The daemon's process.
    pub(crate) fn process(&self) -> Process {
        self.guard.program().expect("a daemon that runs")
    }
}
