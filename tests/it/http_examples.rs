//! The two documented examples: a flushed stream, and a long task whose
//! failure must be noticed.

#[path = "../examples/flushed.rs"]
mod flushed;
#[path = "../examples/long_task.rs"]
mod long_task;

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam_channel::{bounded, unbounded};
use towpath::http::{Config, Reply, Request};

use super::http_raw::{PATIENCE, Running};

#[test]
fn each_line_is_seen_before_the_next_is_written() {
    let (next, may_go_on) = bounded::<()>(0);
    let server = Running::start(Config::new(), move |_: &mut Request<'_>, reply: Reply<'_>| {
        flushed::tell_the_time(reply, |_| may_go_on.recv_timeout(PATIENCE).map_err(io::Error::other))
    });
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.head().status, 200);
    for line in 0..flushed::LINES {
        if line > 0 {
            // Only now is the next one written: the one before has been read.
            next.send_timeout((), PATIENCE).unwrap();
        }
        let text = String::from_utf8(client.chunk().unwrap()).unwrap();
        assert!(text.ends_with("Z\n") && text.matches('\n').count() == 1, "{text}");
    }
    assert_eq!(client.chunk(), None);
}

#[test]
fn the_program_tells_the_time_at_its_own_pace() {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("examples/flushed");
    assert!(path.exists(), "build it first: cargo build --example flushed");
    let mut program = std::process::Command::new(path);
    let mut child = program.args(["127.0.0.1:0", "10ms"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    io::BufRead::read_line(&mut io::BufReader::new(child.stdout.take().unwrap()), &mut first).unwrap();
    let text = ureq::get(first.trim()).call().and_then(|mut response| response.body_mut().read_to_string());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(text.unwrap().lines().count(), 10);
}

#[test]
fn a_task_that_fails_midway_is_noticed_in_each_way_it_can_fail() {
    let steps = AtomicU32::new(0);
    let server = Running::start(Config::new(), move |request: &mut Request<'_>, reply: Reply<'_>| {
        long_task::run_task(request, reply, |_| {
            steps.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
    });
    let follow = |path: &str| {
        let mut seen = 0;
        let outcome = long_task::follow(&format!("http://{}{path}", server.address()), |_| seen += 1);
        (outcome.map_err(|e| e.to_string()), seen)
    };
    assert_eq!(follow("/pull"), (Ok(()), long_task::STEPS + 1));
    assert_eq!(follow("/broken"), (Err("the task failed: no space left on device".to_owned()), 2));
    let (outcome, seen) = follow("/cut");
    assert!(outcome.is_err() && seen == 2, "{outcome:?} after {seen}");
}

#[test]
fn the_status_is_there_long_before_the_task_is_done() {
    let (begin, may_begin) = unbounded();
    let server = Running::start(Config::new(), move |request: &mut Request<'_>, reply: Reply<'_>| {
        long_task::run_task(request, reply, |_| may_begin.recv_timeout(PATIENCE).map_err(io::Error::other))
    });
    let mut client = server.connect();
    client.send("GET /broken HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.head().status, 200);
    for done in 1..=2 {
        begin.send(()).unwrap();
        assert_eq!(client.chunk().unwrap(), format!("{{\"done\":{done},\"of\":5}}\n").as_bytes());
    }
    begin.send(()).unwrap();
    assert_eq!(client.chunk().unwrap(), b"{\"error\":\"no space left on device\"}\n");
    client.assert_closed();
}
