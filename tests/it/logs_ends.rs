//! The ends of `towpath logs` that take longer: slow readers, strangers,
//! signals that come twice, terminals, those who come late.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::process::{ChildStdout, Command};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::live::events;
use crate::support::process::Process;
use crate::support::running::Running;
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::terminal::Terminal;
use crate::support::wait::{eventually, until};

fn logs(scene: &Scene, arguments: &[&str]) -> Command {
    let mut command = scene.towpath();
    command.args(["logs", "--config", &scene.name("towpath.conf")]).args(arguments);
    command
}

/// The URL that a `-v --listen` run says it is at.
fn url_of(running: &Running) -> String {
    eventually("the address of the live view", || {
        let err = running.err();
        err.split_once("live at ").and_then(|(_, told)| told.split_once('\n')).map(|(url, _)| url.to_owned())
    })
}

/// What comes out when the reader has been away for a while, longer than what anybody could have waited for it.
fn read_late(mut unread: ChildStdout, pause: Duration) -> String {
    std::thread::sleep(pause);
    let mut text = String::new();
    unread.read_to_string(&mut text).unwrap();
    text
}

fn wait_childless(scene: &Scene, running: &Running) {
    scene.wait_file("done");
    until("the command's end", || !running.process().children().iter().any(Process::is_alive));
}

/// More than channels and pipes hold.
fn many_lines() -> String {
    (0..400_000).map(|n| format!("{n:07}\n")).collect()
}

#[test]
fn a_followed_file_is_read_to_its_end_though_stdout_is_slow() {
    let scene = Scene::new();
    fs::write(scene.path("app.log"), many_lines()).unwrap();
    let arguments = ["-f", "app.log", "--", "sh", "-c", "echo last words >>app.log; : >done"];
    let (running, unread) = Running::start_unread(&mut logs(&scene, &arguments));
    wait_childless(&scene, &running);
    let text = read_late(unread, Duration::from_millis(2500));
    assert!(text == many_lines() + "last words\n", "{} bytes of {}", text.len(), many_lines().len());
    running.finish().assert_code(0);
}

#[test]
fn a_signal_ends_the_following_with_all_that_was_there() {
    let scene = Scene::new();
    fs::write(scene.path("app.log"), many_lines()).unwrap();
    let (running, unread) = Running::start_unread(&mut logs(&scene, &["-f", "--kill-after", "1h", "app.log"]));
    until("its sources to be open", || running.process().status("Threads").parse::<u32>().unwrap() >= 4);
    running.send(Signal::TERM);
    let text = read_late(unread, Duration::from_millis(2500));
    assert!(text == many_lines(), "{} bytes of {}", text.len(), many_lines().len());
    running.finish().assert_code(143);
}

#[test]
fn a_stranger_who_holds_the_commands_output_costs_none_of_it() {
    let scene = Scene::new();
    let script = "echo $$ >command; until [ -e go ]; do sleep 0.02; done; yes | head -c 100000; : >done";
    let (running, unread) = Running::start_unread(&mut logs(&scene, &["--", "sh", "-c", script]));
    let command = scene.process_in("command");
    let stranger = OpenOptions::new().write(true).open(format!("/proc/{}/fd/2", command.pid)).unwrap();
    scene.touch("go");
    wait_childless(&scene, &running);
    // A silent stranger is looked for every two seconds.
    assert_eq!(read_late(unread, Duration::from_millis(3500)).len(), 100_000);
    running.finish().assert_code(0);
    drop(stranger);
}

#[test]
fn a_second_signal_ends_it_though_nobody_reads() {
    let scene = Scene::new();
    let script = "trap '' TERM HUP; echo $$ >command; yes | head -c 100000; : >done; sleep 1000";
    let arguments = ["--kill-after", "1h", "--", "sh", "-c", script];
    let (running, unread) = Running::start_unread(&mut logs(&scene, &arguments));
    scene.wait_file("done");
    let command = scene.process_in("command");
    running.send(Signal::TERM);
    running.send(Signal::HUP);
    command.wait_gone();
    // The command was killed, and what nobody took is left out.
    running.finish().assert_code(137);
    drop(unread);
    scene.wait_empty();
}

#[test]
fn live_readers_get_the_end_though_nobody_reads_stdout() {
    let scene = Scene::new();
    let arguments = [
        "-v",
        "--listen",
        "127.0.0.1:0",
        "--kill-after",
        "200ms",
        "--",
        "sh",
        "-c",
        "yes | head -c 100000; : >done; exit 3",
    ];
    let (running, unread) = Running::start_unread(&mut logs(&scene, &arguments));
    let watch = scene.watch(&[&url_of(&running)]);
    watch.wait_out("y\n");
    wait_childless(&scene, &running);
    running.send(Signal::TERM);
    running.finish().assert_code(3);
    watch.finish().assert_code(3).assert_one_line(&["gap", "not read to the end"]);
    drop(unread);
}

#[test]
fn it_lingers_for_who_comes_late_until_a_signal() {
    let scene = Scene::new();
    fs::write(scene.path("a.log"), "one\ntwo\n").unwrap();
    let running = Running::start(&mut logs(&scene, &["-v", "--listen", "127.0.0.1:0", "--linger", "1h", "a.log"]));
    let url = url_of(&running);
    running.wait_out("two\n");
    // Two readers, one after the other: it stays.
    for _ in 0..2 {
        assert_eq!(scene.watch(&[&url]).finish().assert_code(0).out(), "one\ntwo\n");
    }
    running.send(Signal::TERM);
    running.finish().assert_code(0);
}

#[test]
fn while_it_lingers_it_can_be_suspended() {
    let scene = Scene::new();
    let arguments = ["-v", "--listen", "127.0.0.1:0", "--linger", "1h", "--", "echo", "on"];
    let running = Running::start(&mut logs(&scene, &arguments));
    let url = url_of(&running);
    scene.watch(&[&url]).finish().assert_code(0);
    running.send(Signal::TSTP);
    running.process().wait_stopped();
    running.send(Signal::CONT);
    scene.watch(&[&url]).finish().assert_code(0);
    running.send(Signal::TERM);
    running.finish().assert_code(0);
}

#[test]
fn a_second_signal_does_not_wait_for_live_readers() {
    let scene = Scene::new();
    let arguments = ["-v", "--listen", "127.0.0.1:0", "--linger", "1h", "--", "sh", "-c", "yes | head -c 20000000"];
    let running = Running::start(&mut logs(&scene, &arguments));
    let url = url_of(&running);
    // It reads nothing but the head.
    let mut stalled = scene.program("sh");
    stalled.args(["-c", "exec curl -sN \"$0\" | { head -c 1; exec sleep 1000; }", &format!("{url}/log")]);
    let stalled = Running::start(&mut stalled);
    stalled.wait_out("y");
    until("the end of the lines", || running.out().len() == 20_000_000);
    running.send(Signal::TERM);
    running.send(Signal::HUP);
    running.finish().assert_code(0);
}

#[test]
fn more_sources_than_tags_are_all_read_and_the_last_share_a_name() {
    let scene = Scene::new();
    let names: Vec<String> = (0..300).map(|n| format!("{n:03}.log")).collect();
    for name in &names {
        fs::write(scene.path(name), format!("line of {name}\n")).unwrap();
    }
    let mut arguments = vec!["-v", "--prefix", "--listen", "127.0.0.1:0", "--linger", "1h"];
    arguments.extend(names.iter().map(String::as_str));
    let running = Running::start(&mut logs(&scene, &arguments));
    let url = url_of(&running);
    until("all lines", || running.out().lines().count() == names.len());
    let seen = events(&scene.curl(&[&format!("{url}/events")]).finish().out());
    running.send(Signal::TERM);
    let end = running.finish();
    end.assert_code(0);
    let lines: Vec<_> = seen.iter().filter(|event| event.name == "line").collect();
    assert_eq!(lines.len(), names.len());
    for (index, name) in names.iter().enumerate() {
        assert!(end.out().contains(&format!("{name}: line of {name}\n")), "{name}");
        let line = lines.iter().find(|event| event.data["text"] == format!("line of {name}")).unwrap();
        let stream = if index < 255 { name.as_str() } else { "others" };
        assert_eq!(line.data["stream"], stream);
    }
}

#[test]
fn what_a_command_writes_at_once_to_a_followed_file_is_read() {
    let scene = Scene::new();
    fs::write(scene.path("app.log"), "before\n".repeat(100_000)).unwrap();
    let arguments = ["-f", "--tail", "0", "app.log", "--", "sh", "-c", "echo first >>app.log; echo out"];
    for _ in 0..20 {
        let end = Running::start(&mut logs(&scene, &arguments)).finish();
        let out = end.assert_code(0).out();
        assert!(out.contains("first\n") && out.contains("out\n") && !out.contains("before"), "{out}");
    }
}

#[test]
fn a_full_file_for_stdout_is_74() {
    let scene = Scene::new();
    fs::write(scene.path("a.log"), "x".repeat(100_000)).unwrap();
    let towpath = logs(&scene, &["a.log"]);
    let mut limited = scene.program("sh");
    limited.args(["-c", "ulimit -f 8; \"$0\" \"$@\" >out"]).arg(towpath.get_program()).args(towpath.get_args());
    Running::start(&mut limited).finish().assert_code(74).assert_one_line(&["couldn't be printed", "too large"]);
}

#[test]
fn ctrl_c_ends_it_and_the_shells_loop_with_it() {
    if skipped("terminal") {
        return;
    }
    let scene = Scene::new();
    fs::write(scene.path("app.log"), "on\n").unwrap();
    Running::start(scene.program("mkfifo").arg("fifo")).finish().assert_code(0);
    let terminal = Terminal::open(&scene);
    let program = logs(&scene, &[]).get_program().to_str().unwrap().to_owned();
    let program = format!("{program} logs --config {}", scene.name("towpath.conf"));
    for rest in [
        "-f app.log",
        "--listen 127.0.0.1:0 --linger 1h -- sh -c 'echo on; exec sleep 1000'",
        "app.log fifo -- sleep 1000",
    ] {
        terminal.enter(&format!("for i in 1 2 3; do echo \"turn $i\"; {program} {rest}; done"));
        terminal.wait_line("on");
        terminal.key("C-c");
        terminal.wait_prompt();
        assert!(!terminal.screen().contains("turn 2\n"), "{rest}: {}", terminal.screen());
        terminal.enter("echo \"code $?\"");
        terminal.wait_line("code 130");
    }
}
