//! What serves a stream to its readers: `towpath run --listen`, or a hub
//! written in Go. Both are fed through a `cat`, and found by the address that
//! they print.

use std::cell::OnceCell;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::programs::{command, towpath};

/// A server in the course of one round. Dropped, it ends.
pub(crate) struct Hub {
    pub(crate) address: SocketAddr,
    /// The process that serves.
    pub(crate) pid: u32,
    /// What is written here goes to every reader.
    pub(crate) input: Option<ChildStdin>,
    /// Open until the end, for what else it says.
    said: Option<Box<dyn BufRead>>,
    children: Vec<Child>,
}

impl Hub {
    pub(crate) fn towpath(readers: usize) -> Result<Hub, String> {
        let connections = (readers + 8).to_string();
        let run = [towpath(), "run", "-v", "--listen", "127.0.0.1:0", "--max-connections", &connections, "--", "cat"];
        let mut child = command(&run)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", run[0]))?;
        let input = child.stdin.take();
        let stderr = child.stderr.take();
        let mut hub = Hub::new(input, vec![child]);
        hub.find(stderr)?;
        Ok(hub)
    }

    pub(crate) fn go(program: &Path) -> Result<Hub, String> {
        let say = |error: std::io::Error| format!("{}: {error}", program.display());
        let mut cat = command(&["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(say)?;
        let (input, feed) = (cat.stdin.take(), cat.stdout.take().map_or_else(Stdio::null, Stdio::from));
        let mut hub = Hub::new(input, vec![cat]);
        let mut child = Command::new(program).stdin(feed).stdout(Stdio::piped()).spawn().map_err(say)?;
        let stdout = child.stdout.take();
        hub.children.push(child);
        hub.find(stdout)?;
        Ok(hub)
    }

    fn new(input: Option<ChildStdin>, children: Vec<Child>) -> Hub {
        Hub { address: SocketAddr::from(([127, 0, 0, 1], 0)), pid: 0, input, said: None, children }
    }

    /// Reads what it prints, until that names the address.
    fn find(&mut self, said: Option<impl Read + 'static>) -> Result<(), String> {
        self.pid = self.children.last().map_or(0, Child::id);
        let said = self.said.insert(Box::new(BufReader::new(said.ok_or("a server without a voice")?)));
        let mut lines = said.lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.split_once("http://")?.1.split('/').next()?.parse().ok());
        self.address = address.ok_or("the server doesn't say its address")?;
        Ok(())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // Without input, both end by themselves.
        self.input = None;
        let deadline = Instant::now() + Duration::from_secs(20);
        for child in &mut self.children {
            while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
                // A wait with a deadline isn't in std.
                std::thread::sleep(Duration::from_millis(2));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A peer in Go, built when it is first asked for.
pub(crate) struct GoProgram {
    source: &'static str,
    name: &'static str,
    built: OnceCell<Result<PathBuf, String>>,
}

impl GoProgram {
    /// From a file beside the bench, and as what it is built.
    pub(crate) fn new(source: &'static str, name: &'static str) -> GoProgram {
        GoProgram { source, name, built: OnceCell::new() }
    }

    pub(crate) fn program(&self) -> Result<&Path, String> {
        self.built.get_or_init(|| build(self.source, self.name)).as_deref().map_err(Clone::clone)
    }
}

fn build(source: &str, name: &str) -> Result<PathBuf, String> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = place.join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench").join(source);
    let out = Command::new("go")
        .args(["build", "-o"])
        .args([&program, &source])
        // It needs nothing but Go itself: no C compiler, no module, no newer Go.
        .envs([("CGO_ENABLED", "0"), ("GO111MODULE", "off"), ("GOTOOLCHAIN", "local")])
        .env("GOCACHE", place.join("go-cache"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("go: {error}"))?;
    let said = String::from_utf8_lossy(&out.stderr);
    if out.status.success() { Ok(program) } else { Err(format!("go build: {}", said.trim().replace('\n', "; "))) }
}
