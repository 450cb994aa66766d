//! A private registry on the loopback.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::port::Port;
use super::daemon::Daemon;
use super::guard::Guard;
use super::how;

/// A `docker-registry` that demands a user and a password.
pub(crate) struct Registry {
    dir: PathBuf,
    port: Port,
    _guard: Guard,
}

impl Registry {
    /// Who may use it: names of three lengths, as base64 knows three.
    pub(crate) const USERS: [&str; 3] = ["bargee", "bargee2", "bargee33"];
    /// One of them.
    pub(crate) const USER: &str = Registry::USERS[0];
    /// Their password, which is on no command line.
    pub(crate) const PASSWORD: &str = "lock-keeper?~>secret";

    /// Starts one with nothing in it.
    #[track_caller]
    pub(crate) fn start() -> Registry {
        assert!(
            Path::new("/usr/bin/docker-registry").exists(),
            "{}",
            how("docker-registry is missing (package docker-registry)")
        );
        let dir = tempfile::Builder::new().prefix("towpath-registry-").tempdir().unwrap().keep();
        let port = Port::keep();
        fs::write(dir.join("htpasswd"), htpasswd()).unwrap();
        let config = serde_json::json!({
            "version": "0.1",
            "storage": { "filesystem": { "rootdirectory": dir.join("store") } },
            "http": { "addr": format!("127.0.0.1:{}", port.number()) },
            "auth": { "htpasswd": { "realm": "towpath", "path": dir.join("htpasswd") } },
        });
        // JSON is YAML.
        fs::write(dir.join("config.yml"), config.to_string()).unwrap();
        let program = ["docker-registry".to_owned(), "serve".to_owned(), dir.join("config.yml").display().to_string()];
        let mut guard = Guard::start(&dir, &program, 50);
        guard.wait_ready("docker-registry", || TcpStream::connect(("127.0.0.1", port.number())).is_ok());
        Registry { dir, port, _guard: guard }
    }

    /// `127.0.0.1:PORT`: what begins the names of its images.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    /// An image's whole name.
    pub(crate) fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    /// Puts an image of a daemon's into it under this name, and takes the name from the daemon.
    #[track_caller]
    pub(crate) fn push(&self, daemon: &Daemon, image: &str, name: &str) {
        let name = self.image(name);
        daemon.cli(&["tag", image, &name]);
        let config = self.config(Registry::USER, Registry::PASSWORD);
        let pushed = daemon.docker().env("DOCKER_CONFIG", config.path()).args(["push", "-q", &name]).output().unwrap();
        assert!(pushed.status.success(), "docker push {name}: {}", String::from_utf8_lossy(&pushed.stderr));
        daemon.cli(&["rmi", &name]);
    }

    /// A `DOCKER_CONFIG` with credentials for it, as `docker login` leaves one.
    pub(crate) fn config(&self, user: &str, password: &str) -> tempfile::TempDir {
        use base64::Engine;
        let dir = tempfile::tempdir().unwrap();
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let config = serde_json::json!({ "auths": { self.host(): { "auth": auth } } });
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        dir
    }

    /// Removes the largest blob from its store: the manifest is there, a layer isn't.
    #[track_caller]
    pub(crate) fn lose_a_layer(&self) {
        let blobs = self.dir.join("store/docker/registry/v2/blobs/sha256");
        let found = Command::new("find").arg(blobs).args(["-name", "data", "-printf", "%s %p\\n"]).output().unwrap();
        let found = String::from_utf8(found.stdout).unwrap();
        let sized = found.lines().filter_map(|line| line.split_once(' '));
        let largest = sized.max_by_key(|(size, _)| size.parse::<u64>().unwrap()).expect("a blob");
        fs::remove_file(largest.1).unwrap();
    }
}

/// The lines of a password file; the password goes in by standard input.
fn htpasswd() -> Vec<u8> {
    Registry::USERS.iter().flat_map(|user| line_of(user)).collect()
}

fn line_of(user: &str) -> Vec<u8> {
    let mut command = Command::new("htpasswd");
    command.args(["-niB", user]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("{}", how(&format!("htpasswd: {error} (apache2-utils)"))));
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), Registry::PASSWORD.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "htpasswd: {}", String::from_utf8_lossy(&out.stderr));
    let line = String::from_utf8(out.stdout).unwrap();
    format!("{}\n", line.trim()).into_bytes()
}
