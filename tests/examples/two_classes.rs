//! The two classes of threads, in a program like a server.
//!
//! An essential thread takes in requests (made up here: numbers), isolated
//! ones serve them. Request 3 is poison: its panic is logged with its evidence
//! and harms nothing else. The death of the essential thread stops everything
//! in order, and the program exits with 70. The first SIGINT, SIGTERM or
//! SIGHUP stops in order, the second ends it at once.
//!
//! ```sh
//! cargo run --example two_classes                      # until Ctrl-C
//! cargo run --example two_classes -- essential-panics  # exits with 70
//! cargo run --example two_classes -- essential-returns # exits with 70
//! cargo run --example two_classes -- stubborn          # needs a second Ctrl-C
//! ```

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use towpath::thread::signals::{SIGHUP, SIGINT, SIGTERM, stop_on_signals};
use towpath::thread::{Stop, Supervisor, catch, context};

/// How long the threads may take to come when a stop was asked for.
const GRACE: Duration = Duration::from_secs(60);
/// The request at which the essential thread dies, if it is told to.
const LAST_REQUEST: u32 = 20;

fn main() -> ExitCode {
    log::set_logger(&Stderr).expect("it is the first");
    log::set_max_level(log::LevelFilter::Info);
    match serve(std::env::args().nth(1).unwrap_or_default()) {
        Ok(code) => code,
        Err(error) => {
            log::error!("can't serve: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(mode: String) -> std::io::Result<ExitCode> {
    let supervisor = Supervisor::new();
    let signals = stop_on_signals(&[SIGINT, SIGTERM, SIGHUP], supervisor.stopper())?;
    let (queue, requests) = bounded(4);
    for number in 1..=2 {
        let requests = requests.clone();
        supervisor.isolated(&format!("server-{number}"), move |stop| serve_requests(stop, &requests))?;
    }
    if mode == "stubborn" {
        supervisor.isolated("stubborn", |stop| {
            stop.wait();
            say("still here");
            loop {
                std::thread::park(); // heeds nothing: that is what it is for
            }
        })?;
    }
    supervisor.isolated("janitor", |_| {
        let _job = context("job", "sweep");
        panic!("the broom is broken");
    })?;
    supervisor.essential("intake", move |stop| take_in_requests(stop, &queue, &mode))?;

    let outcome = supervisor.wait(GRACE);
    match signals.received() {
        Some(signal) => say(&format!("stopped by signal {signal}")),
        None => say("stopped"),
    }
    Ok(outcome.map_or_else(|ended| ended.exit_code(), |()| ExitCode::SUCCESS))
}

/// Each request by itself: a panic in one is evidence, not the end of the thread.
fn serve_requests(stop: &Stop, requests: &Receiver<u32>) {
    loop {
        let request = select! {
            recv(requests) -> request => request,
            recv(stop.receiver()) -> _ => return,
        };
        let Ok(request) = request else { return };
        let served = catch(|| {
            let _peer = context("peer", "192.0.2.7:4711");
            let _request = context("request", request);
            assert!(request != 3, "request 3 is poison");
        });
        match served {
            Ok(()) => say(&format!("served {request}")),
            Err(panic) => panic.log(),
        }
    }
}

fn take_in_requests(stop: &Stop, queue: &Sender<u32>, mode: &str) {
    for request in 1.. {
        select! {
            send(queue, request) -> _ => {}
            recv(stop.receiver()) -> _ => return,
        }
        match mode {
            "essential-panics" if request == LAST_REQUEST => {
                let _listener = context("listener", "127.0.0.1:80");
                panic!("the listener is gone");
            }
            "essential-returns" if request == LAST_REQUEST => return,
            _ => {}
        }
        // The pace at which made-up clients ask.
        if let ControlFlow::Break(()) = stop.sleep(Duration::from_millis(2)) {
            return;
        }
    }
}

/// One line to stdout; whether anybody reads it is not our concern.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A logger as small as it can be: one line a record, key-values behind the
/// message, and the backtrace left to a better one.
struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut line = format!("{} {}", record.level(), record.args());
        let _ = record.key_values().visit(&mut KeyValues(&mut line));
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }

    fn flush(&self) {}
}

struct KeyValues<'a>(&'a mut String);

impl<'kvs> log::kv::VisitSource<'kvs> for KeyValues<'_> {
    fn visit_pair(&mut self, key: log::kv::Key<'kvs>, value: log::kv::Value<'kvs>) -> Result<(), log::kv::Error> {
        if key.as_str() == "backtrace" {
            self.0.push_str(&format!(" backtrace=({} lines)", value.to_string().lines().count()));
        } else {
            self.0.push_str(&format!(" {key}={value}"));
        }
        Ok(())
    }
}
