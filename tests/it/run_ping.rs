//! Monitoring pings: told at the start and at the end, and never in the way.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::support::scene::Scene;
use crate::support::wait::until;

/// What the server makes of a request, by its number, from 0.
type Answer = fn(usize) -> Option<u16>;

/// A server that notes what it was asked; `None` for an answer is none, for ever.
struct Monitor {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What no output may show.
const SECRET: &str = "a-secret-uuid";

impl Monitor {
    fn start(answer: Answer) -> Monitor {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/{SECRET}", listener.local_addr().unwrap());
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (notes, stopped) = (asked.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut unanswered = Vec::new();
            for connection in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let mut connection = connection.unwrap();
                let number = notes.lock().unwrap().len();
                notes.lock().unwrap().push(request_line(&connection));
                match answer(number) {
                    Some(status) => {
                        // The client may have gone; that is its own affair.
                        let _ = write!(
                            connection,
                            "HTTP/1.1 {status} Any\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                        );
                    }
                    None => unanswered.push(connection),
                }
            }
        });
        Monitor { url, asked, stop, thread: Some(thread) }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let address = self.url.trim_start_matches("http://").split('/').next().unwrap();
        let _ = TcpStream::connect(address);
        let _ = self.thread.take().unwrap().join();
    }
}

/// Reads a request, and gives its method and path.
fn request_line(connection: &TcpStream) -> String {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    lines.find(String::is_empty);
    first.trim_end_matches(" HTTP/1.1").to_owned()
}

fn path(rest: &str) -> String {
    format!("GET /{SECRET}{rest}")
}

#[test]
fn the_start_comes_first_then_the_end_as_it_was() {
    let scene = Scene::new();
    for (script, code, end) in [("exit 0", 0, ""), ("exit 3", 3, "/fail"), ("kill -KILL $$", 137, "/fail")] {
        let monitor = Monitor::start(|_| Some(200));
        let flags = ["--ping", &monitor.url, "--report", &scene.name("report")];
        scene.finish_sh(&flags, script).assert_code(code).assert_silent();
        assert_eq!(monitor.asked(), [path("/start"), path(end)]);
        assert_eq!(scene.report("report")["ping"], serde_json::json!({"start": "ok", "end": "ok"}));
    }
    let monitor = Monitor::start(|_| Some(200));
    scene.finish(&["--ping", &monitor.url, "--timeout", "100ms"], &["sleep", "1000"]).assert_code(124);
    assert_eq!(monitor.asked(), [path("/start"), path("/fail")]);
    let monitor = Monitor::start(|_| Some(200));
    scene.finish(&["--ping", &monitor.url], &["no-such-command"]).assert_code(127);
    assert_eq!(monitor.asked().last(), Some(&path("/fail")));
}

#[test]
fn the_query_stays_at_the_end() {
    let scene = Scene::new();
    let monitor = Monitor::start(|_| Some(200));
    scene.finish(&["--ping", &format!("{}?rid=7", monitor.url)], &["false"]).assert_code(1);
    assert_eq!(monitor.asked(), [path("/start?rid=7"), path("/fail?rid=7")]);
}

#[test]
fn a_run_that_is_held_tells_nobody_and_one_that_cannot_start_has_failed() {
    let scene = Scene::new();
    let monitor = Monitor::start(|_| Some(200));
    let holder = scene.start_sh(&["--once", "k"], "echo on; exec sleep 1000");
    holder.wait_out("on");
    scene.finish(&["--once", "k", "--ping", &monitor.url], &["true"]).assert_code(75).assert_silent();
    assert!(monitor.asked().is_empty());
    scene.finish(&["--once", "k", "--store", "file:/no/such/place", "--ping", &monitor.url], &["true"]).assert_code(69);
    assert_eq!(monitor.asked(), [path("/fail")]);
}

#[test]
fn a_server_that_hangs_neither_delays_the_command_nor_changes_its_outcome() {
    let scene = Scene::new();
    let monitor = Monitor::start(|_| None);
    let flags = ["--ping", &monitor.url, "--once", "k", "--report", &scene.name("report"), "-v"];
    let mut run = scene.start_sh(&flags, "echo ran; exit 3");
    run.wait_out("ran");
    until("an end in the report", || scene.report("report")["outcome"] == "exited");
    // The end is told and the key free while it still waits for its pings.
    assert!(!scene.is_locked("k"));
    assert!(!run.has_ended(), "the pings were waited for");
    let finished = run.finish();
    finished.assert_code(3);
    let err = finished.err();
    assert_eq!(err.matches("a ping didn't arrive").count(), 2, "{err:?}");
    assert!(!err.contains(SECRET), "{err:?}");
    assert!(!scene.read("report").contains(SECRET));
    assert!(scene.report("report")["ping"]["end"].as_str().unwrap().contains("no answer"));
}

#[test]
fn an_error_of_the_servers_is_tried_again() {
    let scene = Scene::new();
    let monitor = Monitor::start(|number| Some(if number % 2 == 0 { 500 } else { 200 }));
    let flags = ["--ping", &monitor.url, "--report", &scene.name("report")];
    scene.finish(&flags, &["true"]).assert_code(0).assert_silent();
    assert_eq!(monitor.asked(), [path("/start"), path("/start"), path(""), path("")]);
    assert_eq!(scene.report("report")["ping"], serde_json::json!({"start": "ok", "end": "ok"}));
}

#[test]
fn a_server_that_is_not_there_or_always_fails_changes_nothing() {
    let scene = Scene::new();
    let gone = Monitor::start(|_| Some(200)).url.clone();
    let failing = Monitor::start(|_| Some(500));
    for url in [&gone, &failing.url] {
        let flags = ["--ping", url, "--report", &scene.name("report")];
        scene.finish(&flags, &["true"]).assert_code(0).assert_silent();
        let told = scene.finish(&["--ping", url, "-v"], &["true"]);
        assert!(told.assert_code(0).err().contains("a ping didn't arrive"), "{}", told.err());
        assert!(!told.err().contains(SECRET) && !scene.read("report").contains(SECRET));
        assert_ne!(scene.report("report")["ping"]["end"], "ok");
    }
}

#[test]
fn the_url_is_shown_to_nobody() {
    let scene = Scene::new();
    let monitor = Monitor::start(|_| Some(404));
    let told = scene.finish(&["--ping", &monitor.url, "-v"], &["true"]);
    assert!(!told.assert_code(0).err().contains(SECRET), "{}", told.err());
    // Nor does a URL that is none.
    let bad = scene.finish(&["--ping", &format!("http:/{SECRET}")], &["true"]);
    assert!(!bad.assert_code(2).err().contains(SECRET), "{}", bad.err());
    // The command doesn't see it either.
    let mut command = scene.run(&["--", "env"]);
    let out = crate::support::running::Running::start(command.env("TOWPATH_PING", &monitor.url)).finish().out();
    assert!(!out.contains(SECRET), "{out}");
}
