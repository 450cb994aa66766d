//! One stream of lines, and the answers to requests for it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::query::Query;
use super::record::{Record, Run};
use super::{events, plain};
use crate::clock::Moment;
use crate::flow::tail::{Ending, Feed, Tail, tail};
use crate::http::{Bell, Reply, Request, Sent, page_policy};

/// What is written to a reader at a time, at most.
pub(super) const BATCH_LINES: usize = 1_000;
/// The same in bytes.
pub(super) const BATCH_BYTES: usize = 64 * 1024;

/// Between two signs of life of a stream that has nothing else to say: proxies close quiet ones.
const HEARTBEAT: Duration = Duration::from_secs(15);

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
    pub(super) heartbeat: Duration,
    /// What else `/status` says, by name.
    told: Mutex<Map<String, Value>>,
    /// Of the servers that hold readers of this without a thread: one, as a rule.
    bells: Mutex<Vec<Bell>>,
}

impl Shared {
    /// Has lines ring this bell from now on.
    pub(super) fn rung_by(&self, bell: Bell) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if !bells.contains(&bell) {
            bells.push(bell.clone());
            self.tail.on_news(move || bell.ring());
        }
    }
}

impl Broadcast {
    /// A broadcast that keeps up to `keep_bytes` of lines for late readers, and
    /// the side that feeds it. A line's tag is the index of its name in `sources`.
    pub fn new(run: Run, sources: Vec<String>, keep_bytes: usize) -> (Broadcast, Feed<Record>) {
        Broadcast::with_heartbeat(run, sources, keep_bytes, HEARTBEAT)
    }

    /// As [`new`](Broadcast::new), with so much time between two signs of life.
    fn with_heartbeat(
        run: Run,
        sources: Vec<String>,
        keep_bytes: usize,
        heartbeat: Duration,
    ) -> (Broadcast, Feed<Record>) {
        let (feed, tail) = tail(keep_bytes);
        let (told, bells) = (Mutex::default(), Mutex::default());
        let shared = Shared { run, sources, began: Moment::now(), tail, heartbeat, told, bells };
        (Broadcast { shared: Arc::new(shared) }, feed)
    }

    /// Has `/status` say `value` under this name from now on.
    pub fn tell(&self, name: &str, value: Value) {
        self.told().insert(name.to_owned(), value);
    }

    /// A map is whole whatever panics.
    fn told(&self) -> MutexGuard<'_, Map<String, Value>> {
        self.shared.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it consists of, for who carries it elsewhere: the run, the names of
    /// the lines' tags, the lines.
    #[cfg(feature = "redis")]
    pub(super) fn parts(&self) -> (&Run, &[String], &Tail<Record>) {
        (&self.shared.run, &self.shared.sources, &self.shared.tail)
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
        let shared = &self.shared;
        match request.path() {
            "/" => page(reply),
            "/healthz" => line(reply, "ok"),
            "/status" => json_reply(reply, &self.status()),
            path => match Query::of(request, &shared.run) {
                Err(mistake) => line(reply.status(400), &mistake),
                Ok(query) if path == "/log" => plain::serve(reply, query, shared),
                Ok(query) => events::serve(reply, query, shared),
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
        .header("Content-Security-Policy", POLICY.get_or_init(|| page_policy(PAGE, false)))
        .header("X-Content-Type-Options", "nosniff")
        .header("Referrer-Policy", "no-referrer")
        .header("Cache-Control", "no-store")
        .send(PAGE)
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

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::client::{Agent, Body, Target, Trust};
    use crate::flow::{MAX_LINE_BYTES, Piece};
    use crate::http::{Config, Limits, Server, Stopper};
    use crate::live::End;
    use crate::thread::{Worker, spawn};

    /// For what must come.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// The broadcast of a run `r1`, served.
    struct Served {
        shared: Arc<Shared>,
        url: String,
        stopper: Stopper,
        _server: Worker<io::Result<()>>,
    }

    fn serve(heartbeat: Duration) -> (Served, Feed<Record>) {
        let run = Run { run: "r1".into(), ..Run::default() };
        let (broadcast, feed) = Broadcast::with_heartbeat(run, Vec::new(), 1 << 20, heartbeat);
        let limits = Limits { gone_time: Duration::from_millis(10), ..Limits::default() };
        let server = Server::bind(&"127.0.0.1:0".parse().unwrap(), Config::new().limits(limits)).unwrap();
        let (url, stopper) = (format!("http://{}/", server.local_address()), server.stopper());
        let shared = Arc::clone(&broadcast.shared);
        let serving = move |_: &_| server.serve(move |request, reply| broadcast.answer(request, reply));
        (Served { shared, url, stopper, _server: spawn("server", serving).unwrap() }, feed)
    }

    impl Drop for Served {
        fn drop(&mut self) {
            self.stopper.stop();
        }
    }

    impl Served {
        fn open(&self, path: &str) -> Body {
            let agent = Agent::for_streams(PATIENCE, PATIENCE, &Trust::default(), None);
            agent.open(&Target::parse(&format!("{}{path}", self.url)).unwrap(), &[]).unwrap()
        }

        fn get(&self, path: &str) -> String {
            let mut text = String::new();
            self.open(path).read_to_string(&mut text).unwrap();
            text
        }
    }

    /// Reads until the text is there, and gives everything so far.
    #[track_caller]
    fn read_until(body: &mut Body, wanted: &str) -> String {
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains(wanted) {
            let mut piece = [0; 4096];
            let read = body.read(&mut piece).unwrap();
            assert!(read > 0, "no {wanted:?} in {}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&piece[..read]);
        }
        String::from_utf8(text).unwrap()
    }

    fn whole(bytes: &[u8]) -> Piece<'_> {
        Piece { bytes, start: true, end: true }
    }

    fn end() -> Record {
        let outcome = "exited".to_owned();
        let (command_exit_code, signal, duration_ms) = (Some(0), None, 1);
        Record::End(End { run: "r1".into(), outcome, exit_code: 0, command_exit_code, signal, duration_ms })
    }

    /// Has a line come every moment while `then` is at work.
    fn while_lines_flow<T>(feed: &Feed<Record>, then: impl FnOnce() -> T) -> T {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    feed.push(whole(b"unwanted\n"));
                    // Lines flow, and leave the machine to others.
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(then));
            over.store(true, Ordering::SeqCst);
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    #[test]
    fn a_stream_whose_lines_are_filtered_out_has_heartbeats_that_tell_how_far_it_came() {
        let (served, feed) = serve(Duration::from_millis(20));
        let mut body = served.open("events?include=%5Ewanted");
        let mut seqs = vec![0];
        while_lines_flow(&feed, || {
            while seqs.len() < 4 {
                let text = read_until(&mut body, ": still here\n\n");
                let ids = text.lines().filter_map(|line| line.strip_prefix("id: r1-"));
                seqs.extend(ids.map(|seq| seq.parse::<u64>().unwrap()));
            }
        });
        assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
        feed.push(whole(b"wanted\n"));
        feed.finish(end());
        let since = format!("events?include=%5Ewanted&since=r1-{}", seqs.last().unwrap());
        for text in [read_until(&mut body, "event: end"), served.get(&since)] {
            assert!(text.contains(r#"data: {"text":"wanted"}"#) && !text.contains("event: gap"), "{text}");
        }
    }

    #[test]
    fn a_reader_whose_lines_are_filtered_out_is_missed_when_it_leaves_and_told_of_a_stop() {
        let (served, feed) = serve(PATIENCE);
        while_lines_flow(&feed, || {
            for path in ["log", "events"] {
                let readers = || served.shared.tail.status().readers;
                let wait_for = |count| {
                    let began = Moment::now();
                    while readers() != count {
                        assert!(began.elapsed() < PATIENCE, "{path}: {} readers", readers());
                        std::thread::sleep(Duration::from_millis(1));
                    }
                };
                let body = served.open(&format!("{path}?include=%5Ewanted"));
                wait_for(1);
                drop(body);
                wait_for(0);
            }
            let mut bodies = ["log", "events"].map(|path| served.open(&format!("{path}?include=%5Ewanted")));
            served.stopper.stop();
            for body in &mut bodies {
                read_until(body, "the server stops\n");
            }
        });
    }

    #[test]
    fn a_cut_is_told_on_a_line_of_its_own() {
        for (path, open) in [("log", "half"), ("log?include=half", ""), ("log?include=none", "")] {
            let (served, feed) = serve(PATIENCE);
            let mut body = served.open(path);
            feed.push(Piece { bytes: b"half", start: true, end: false });
            let before = if open.is_empty() { String::new() } else { read_until(&mut body, open) };
            drop(feed);
            let text = format!("{before}{}", read_until(&mut body, "died\n"));
            let half = if path.ends_with("none") { "" } else { "half\n" };
            assert_eq!(text, format!("{half}[towpath] cut: the run's towpath died\n"), "{path}");
        }
    }

    #[test]
    fn who_comes_within_a_line_gets_the_rest_of_one_that_passed_and_of_others_what_passes() {
        let (served, feed) = serve(PATIENCE);
        // A line's first piece has 64 KiB, if there is another.
        let long = |word: &str| format!("{word}{}", " ".repeat(MAX_LINE_BYTES - word.len()));
        for (text, start, end) in [
            ("keep x\n", true, true),
            (&long("keep"), true, false),
            ("drop\n", false, true),
            (&long("drop"), true, false),
            ("keep it\n", false, true),
            ("drop\n", true, true),
        ] {
            feed.push(Piece { bytes: text.as_bytes(), start, end });
        }
        feed.finish(end());
        for (query, want) in [
            ("include=keep", "keep x,keep,drop"),
            ("include=keep&since=r1-1", "keep,drop"),
            // Behind the id of a line's first piece, which passed.
            ("include=keep&since=r1-2", "drop"),
            ("include=keep&since=r1-3", ""),
            ("include=drop&since=r1-3", "drop,keep it,drop"),
        ] {
            let log = served.get(&format!("log?{query}"));
            let words = |text: &str| text.replace("\n", " ").replace(',', " ").split_whitespace().collect::<String>();
            assert_eq!(words(log.split_once("[towpath] end").unwrap().0), words(want), "{query}");
            let events = served.get(&format!("events?{query}"));
            let lines = events.lines().filter_map(|line| line.strip_prefix("data: {"));
            let texts = lines.filter_map(|data| data.split_once(r#""text":""#)?.1.split('"').next().map(str::trim_end));
            assert_eq!(texts.collect::<Vec<_>>().join(","), want, "{query}");
        }
    }
}
