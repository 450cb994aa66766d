//! One stream of lines, and the answers to requests for it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::query::Query;
use super::record::{Record, Run};
use super::{events, plain};
use crate::clock::Moment;
use crate::flow::tail::{Ending, Feed, Tail, tail};
use crate::http::{Reply, Request, Sent};

/// What is written to a reader at a time, at most.
pub(super) const BATCH_LINES: usize = 1_000;
/// The same in bytes.
pub(super) const BATCH_BYTES: usize = 64 * 1024;

/// The page, one file without anything from elsewhere.
const PAGE: &str = include_str!("page.html");

/// What a broadcast answers to.
pub const PATHS: [&str; 5] = ["/", "/log", "/events", "/status", "/healthz"];

/// A run, or merged logs, as it is served. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Broadcast {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) run: Run,
    /// The names of the lines' tags.
    pub(super) sources: Vec<String>,
    /// For readers whose clock differs from ours.
    pub(super) began: Moment,
    pub(super) tail: Tail<Record>,
    /// What else `/status` says, by name.
    told: Mutex<Map<String, Value>>,
}

impl Broadcast {
    /// A broadcast that keeps up to `keep_bytes` of lines for late readers, and
    /// the side that feeds it. A line's tag is the index of its name in `sources`.
    pub fn new(run: Run, sources: Vec<String>, keep_bytes: usize) -> (Broadcast, Feed<Record>) {
        let (feed, tail) = tail(keep_bytes);
        (
            Broadcast { shared: Arc::new(Shared { run, sources, began: Moment::now(), tail, told: Mutex::default() }) },
            feed,
        )
    }

    /// Has `/status` say `value` under this name from now on.
    pub fn tell(&self, name: &str, value: Value) {
        self.told().insert(name.to_owned(), value);
    }

    /// A map is whole whatever panics.
    fn told(&self) -> MutexGuard<'_, Map<String, Value>> {
        self.shared.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which run it is.
    pub fn run(&self) -> &Run {
        &self.shared.run
    }

    /// How many readers it has at this moment.
    pub fn readers(&self) -> usize {
        self.shared.tail.status().readers
    }

    /// Answers one request: the handler for a [`Server`](crate::http::Server).
    /// Streams until the end, the reader's going or the server's stop.
    ///
    /// # Errors
    /// The reader is gone or too slow.
    pub fn answer(&self, request: &Request<'_>, reply: Reply<'_>) -> io::Result<Sent> {
        let method = request.method().as_str();
        if !PATHS.contains(&request.path()) {
            return line(reply.status(404), "not here; there are / /log /events /status /healthz");
        }
        if !matches!(method, "GET" | "HEAD") {
            return line(reply.status(405).header("Allow", "GET, HEAD"), "only GET and HEAD");
        }
        let shared = &*self.shared;
        match request.path() {
            "/" => page(reply),
            "/healthz" => line(reply, "ok"),
            "/status" => json_reply(reply, &self.status()),
            path => match Query::of(request, &shared.run) {
                Err(mistake) => line(reply.status(400), &mistake),
                Ok(query) if path == "/log" => plain::serve(reply, &query, &shared.tail),
                Ok(query) => events::serve(reply, &query, shared),
            },
        }
    }

    fn status(&self) -> Value {
        let status = self.shared.tail.status();
        let mut value = self.shared.run.to_json();
        let (state, end) = match &status.end {
            None => ("running", None),
            Some(Ending::Finished(Record::End(end))) => ("ended", Some(end.to_json())),
            Some(Ending::Finished(Record::Gap(_)) | Ending::Cut) => ("cut", None),
        };
        value["state"] = state.into();
        value["end"] = end.into();
        for (name, number) in [("lines", status.lines), ("bytes", status.bytes), ("readers", status.readers as u64)] {
            value[name] = json!(number);
        }
        for (name, told) in &*self.told() {
            value[name] = told.clone();
        }
        value
    }
}

fn page(reply: Reply<'_>) -> io::Result<Sent> {
    static POLICY: OnceLock<String> = OnceLock::new();
    reply
        .header("Content-Type", "text/html; charset=utf-8")
        .header("Content-Security-Policy", POLICY.get_or_init(|| policy_of(PAGE)))
        .header("X-Content-Type-Options", "nosniff")
        .header("Referrer-Policy", "no-referrer")
        .header("Cache-Control", "no-store")
        .send(PAGE)
}

/// What a page may do (CSP Level 3): run the one script and the one style that
/// are in it, known by their hashes, and talk to where it came from.
fn policy_of(page: &str) -> String {
    let hash_of = |element: &str| {
        let (_, rest) = page.split_once(&format!("<{element}>")).unwrap_or_default();
        let (text, _) = rest.split_once(&format!("</{element}>")).unwrap_or_default();
        STANDARD.encode(Sha256::digest(text))
    };
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        hash_of("script"),
        hash_of("style")
    )
}

fn line(reply: Reply<'_>, text: &str) -> io::Result<Sent> {
    reply
        .header("Content-Type", "text/plain; charset=utf-8")
        .header("Cache-Control", "no-store")
        .send(format!("{text}\n"))
}

fn json_reply(reply: Reply<'_>, value: &Value) -> io::Result<Sent> {
    reply.header("Content-Type", "application/json").header("Cache-Control", "no-store").send(format!("{value:#}\n"))
}
