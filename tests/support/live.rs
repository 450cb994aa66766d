//! A run with a live view, and who reads it: curl, `towpath watch`, and one
//! that sends what it is told to.

use std::net::SocketAddr;

use rustix::process::Signal;

use super::running::Running;
use super::scene::Scene;
use super::wait::{eventually, until};

/// What a script needs to wait for the test: `await FILE`, see [`Scene::touch`].
const AWAIT: &str = "await() { until [ -e \"$1\" ]; do sleep 0.02; done; }\n";

/// For a run that is to stay until [`Live::dismiss`].
pub(crate) const LINGER: &[&str] = &["--linger", "1h"];

/// A run that is served.
pub(crate) struct Live {
    pub(crate) run: Running,
    /// What it told: `http://127.0.0.1:40000`.
    pub(crate) url: String,
}

impl Scene {
    /// Starts `towpath run -v --listen 127.0.0.1:0 FLAGS -- sh -c SCRIPT`, and
    /// waits until it tells its address. The script has `await FILE`.
    #[track_caller]
    pub(crate) fn serve(&self, flags: &[&str], script: &str) -> Live {
        self.serve_at("127.0.0.1:0", flags, script)
    }

    /// The same at another address.
    #[track_caller]
    pub(crate) fn serve_at(&self, address: &str, flags: &[&str], script: &str) -> Live {
        let flags = [&["-v", "--listen", address], flags].concat();
        let run = self.start_sh(&flags, &format!("{AWAIT}{script}"));
        let url = eventually("the address of the live view", || {
            let err = run.err();
            let (_, told) = err.split_once("towpath: live at ")?;
            told.split_once('\n').map(|(url, _)| url.to_owned())
        });
        Live { run, url }
    }

    /// Makes a file that a script waits for.
    pub(crate) fn touch(&self, name: &str) {
        std::fs::write(self.path(name), "").unwrap();
    }

    /// Starts curl, unbuffered and silent.
    pub(crate) fn curl(&self, arguments: &[&str]) -> Running {
        Running::start(self.program("curl").args(["-sN"]).args(arguments))
    }

    /// Starts `towpath watch`.
    pub(crate) fn watch(&self, arguments: &[&str]) -> Running {
        Running::start(self.towpath().args(["watch", "--config", &self.name("towpath.conf")]).args(arguments))
    }
}

impl Live {
    /// The URL of a path.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Waits until the run is over.
    #[track_caller]
    pub(crate) fn wait_ended(&self, scene: &Scene) {
        let over = || scene.curl(&[&self.at("/status")]).finish().out().contains("\"state\": \"ended\"");
        until("the run's end", over);
    }

    /// Waits until the run is over, ends its lingering, and gives its code.
    #[track_caller]
    pub(crate) fn dismiss(self, scene: &Scene) -> Option<i32> {
        self.wait_ended(scene);
        self.run.send(Signal::TERM);
        self.run.finish().code
    }

    /// Where it listens.
    #[track_caller]
    pub(crate) fn address(&self) -> SocketAddr {
        let (_, rest) = self.url.split_once("://").unwrap();
        rest.parse().unwrap()
    }
}

/// An event of `/events`, as it was sent.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) data: serde_json::Value,
}

/// The events in what a reader got; comments are left out.
#[track_caller]
pub(crate) fn events(text: &str) -> Vec<Event> {
    let blocks = text.split("\n\n").filter(|block| !block.is_empty() && !block.starts_with(':'));
    blocks
        .map(|block| {
            let field = |name: &str| {
                block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
            };
            let data = field("data").unwrap_or_else(|| panic!("no data in {block:?}"));
            Event { id: field("id"), name: field("event").unwrap(), data: serde_json::from_str(&data).unwrap() }
        })
        .collect()
}

/// The texts of the lines in it.
#[track_caller]
pub(crate) fn texts(text: &str) -> Vec<String> {
    let events = events(text);
    let lines = events.iter().filter(|event| event.name == "line");
    lines.map(|event| event.data["text"].as_str().unwrap().to_owned()).collect()
}
