//! A run whose command has ended, and nobody takes the last of its output:
//! it can be ended, and says how the command ended all the same.

use rustix::process::Signal;

use crate::support::live::events;
use crate::support::process::Process;
use crate::support::running::Running;
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::terminal::Terminal;
use crate::support::wait::{eventually, until};

/// More than fits into a pipe, less than into two.
const MUCH: &str = "yes | head -c 100000; : >done; exit 3";

/// Waits until the command has run, and everything below towpath has ended.
fn wait_childless(scene: &Scene, run: &Running) {
    scene.wait_file("done");
    until("the command's end", || !run.process().children().iter().any(Process::is_alive));
}

#[test]
fn the_first_signal_after_the_commands_end_gives_the_readers_kill_after_and_the_report_is_written() {
    let scene = Scene::new();
    for flags in [&["--log", "log"][..], &["--quiet-success"]] {
        let flags = [&["--kill-after", "200ms", "--report", "report"], flags].concat();
        let (run, unread) = Running::start_unread(scene.run(&flags).args(["--", "sh", "-c", MUCH]));
        wait_childless(&scene, &run);
        run.send(Signal::TERM);
        run.finish().assert_code(3);
        let report = scene.report("report");
        assert_eq!((&report["outcome"], &report["exit_code"]), (&"exited".into(), &3.into()), "{report}");
        assert_eq!((&report["output_undelivered"], &report["asked_to_end_by_signal"]), (&true.into(), &15.into()));
        drop(unread);
        std::fs::remove_file(scene.path("done")).unwrap();
    }
}

#[test]
fn the_second_signal_after_the_commands_end_ends_it_at_once() {
    let scene = Scene::new();
    let (run, unread) =
        Running::start_unread(scene.run(&["--log", "log", "--kill-after", "1h"]).args(["--", "sh", "-c", MUCH]));
    wait_childless(&scene, &run);
    run.send(Signal::TERM);
    // Two of one kind that wait together are one.
    until("the first to be taken", || run.process().status("ShdPnd") == format!("{:016x}", 0));
    run.send(Signal::HUP);
    assert!(matches!(run.finish().signal, Some(1 | 15)));
    drop(unread);
}

#[test]
fn live_readers_get_a_gap_and_the_end_though_nobody_takes_standard_output() {
    let scene = Scene::new();
    let flags = ["-v", "--listen", "127.0.0.1:0", "--kill-after", "200ms"];
    let (run, unread) = Running::start_unread(scene.run(&flags).args(["--", "sh", "-c", MUCH]));
    let url = eventually("the address of the live view", || {
        let err = run.err();
        err.split_once("live at ").and_then(|(_, told)| told.split_once('\n')).map(|(url, _)| url.to_owned())
    });
    let (watch, reader) = (scene.watch(&[&url]), scene.curl(&[&format!("{url}/events")]));
    watch.wait_out("y\n");
    reader.wait_out("\"y\"");
    wait_childless(&scene, &run);
    run.send(Signal::TERM);
    run.finish().assert_code(3);
    watch.finish().assert_code(3).assert_one_line(&["gap", "not read to the end"]);
    let seen = events(&reader.finish().out());
    let last: Vec<&str> = seen.iter().rev().take(2).map(|event| event.name.as_str()).collect();
    assert_eq!(last, ["end", "gap"]);
    drop(unread);
}

#[test]
fn the_terminal_is_itself_again_while_the_last_output_waits() {
    if skipped("terminal") {
        return;
    }
    let scene = Scene::new();
    let terminal = Terminal::open(&scene);
    let run = scene.run_line("--pty -- sh -c 'echo $$ >command; await() { until [ -e $1 ]; do sleep 0.02; done; }; await go; yes | head -c 44000'");
    // Its output is more than the pipe takes, as it ends in CR LF.
    terminal.enter(&format!("{run} | sh -c 'trap : INT; sleep 1000'"));
    let command = scene.process_in("command");
    scene.touch("go");
    command.wait_gone();
    // Until then a key may still be the command's.
    until("Ctrl-C to be a signal again", || {
        terminal.key("C-c");
        terminal.screen().trim_end().ends_with("READY>")
    });
}
