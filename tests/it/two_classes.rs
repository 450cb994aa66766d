//! `tests/examples/two_classes.rs`, a whole program on the two classes of
//! threads: its exit codes, its evidence, and its signals.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use rustix::process::{Pid, Signal, kill_process};
use towpath::thread::ESSENTIAL_EXIT_CODE;
use towpath::thread::signals::SIGTERM;

use crate::support::example;

/// For what must come: far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_death_of_an_essential_thread_exits_with_70_and_its_evidence() {
    for (mode, evidence) in [
        ("essential-panics", "the listener is gone thread=intake location=tests/examples/two_classes.rs:"),
        ("essential-returns", "essential thread \"intake\" ended before it was asked to thread=intake"),
    ] {
        let mut program = Program::start(two_classes(mode));
        let (lines, stderr, status) = program.finish();
        assert_eq!(status.code(), Some(i32::from(ESSENTIAL_EXIT_CODE)), "{mode}: {stderr}");
        assert!(stderr.contains(evidence), "{mode}: {stderr}");
        assert_eq!(stderr.matches("thread=intake").count(), 1, "{mode}: {stderr}");
        // The isolated ones: one record each, and the requests behind the poison were served.
        assert_eq!(stderr.matches("job=sweep").count(), 1, "{stderr}");
        assert_eq!(stderr.matches("peer=192.0.2.7:4711 request=3").count(), 1, "{stderr}");
        assert!(lines.contains(&"served 4".to_owned()) && lines.contains(&"stopped".to_owned()), "{lines:?}");
    }
}

#[test]
fn the_first_signal_stops_in_order() {
    let mut program = Program::start(two_classes(""));
    program.wait_for("served 4");
    program.signal(Signal::TERM);
    let (lines, stderr, status) = program.finish();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert_eq!(lines.last().unwrap(), "stopped by signal 15");
}

#[test]
fn the_second_signal_ends_at_once_what_does_not_stop() {
    let mut program = Program::start(two_classes("stubborn"));
    program.wait_for("served 1");
    program.signal(Signal::INT);
    program.wait_for("still here");
    program.signal(Signal::TERM);
    let (_, stderr, status) = program.finish();
    assert_eq!(status.signal(), Some(SIGTERM), "{stderr}");
}

#[test]
fn a_signal_ignored_at_start_stays_ignored() {
    for (prelude, signals, last) in [
        ("", vec![Signal::HUP], "stopped by signal 1"),
        ("trap '' HUP; ", vec![Signal::HUP, Signal::TERM], "stopped by signal 15"),
    ] {
        let program = two_classes("");
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{prelude}exec \"$0\" \"$@\"")).arg(program.get_program()).args(program.get_args());
        let mut program = Program::start(shell);
        program.wait_for("served 1");
        signals.into_iter().for_each(|signal| program.signal(signal));
        let (lines, stderr, status) = program.finish();
        assert_eq!((status.code(), lines.last().map(String::as_str)), (Some(0), Some(last)), "{stderr}");
    }
}

/// The example, which `cargo test` builds beside the tests.
fn two_classes(mode: &str) -> Command {
    let mut command = Command::new(example("two_classes"));
    command.arg(mode);
    command
}

/// A program under test, ended with this.
struct Program {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Program {
    fn start(mut command: Command) -> Program {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (line, lines) = unbounded();
        // Ends with the program's output; nobody has to join it.
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|l| line.send(l)));
        Program { child, lines, seen: Vec::new() }
    }

    fn wait_for(&mut self, line: &str) {
        while !self.seen.iter().any(|seen| seen == line) {
            self.seen.push(self.lines.recv_timeout(PATIENCE).unwrap());
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its lines, its stderr (less than a pipe holds), and its status, at its end.
    fn finish(&mut self) -> (Vec<String>, String, ExitStatus) {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.seen.push(line);
        }
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.seen.clone(), stderr, self.child.wait().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
