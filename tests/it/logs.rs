//! `towpath logs`: sources merged, filtered, printed, served; and how it ends.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::running::{Finished, Running};
use crate::support::scene::Scene;
use crate::support::wait::until;

fn logs(scene: &Scene, arguments: &[&str]) -> Command {
    let mut command = scene.towpath();
    command.args(["logs", "--config", &scene.name("towpath.conf")]).args(arguments);
    command
}

#[track_caller]
fn finish(scene: &Scene, arguments: &[&str]) -> Finished {
    Running::start(&mut logs(scene, arguments)).finish()
}

fn write(scene: &Scene, name: &str, text: &str) {
    fs::write(scene.path(name), text).unwrap();
}

fn append(scene: &Scene, name: &str, text: &str) {
    OpenOptions::new().append(true).create(true).open(scene.path(name)).unwrap().write_all(text.as_bytes()).unwrap();
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn files_are_merged_and_each_keeps_its_order() {
    let scene = Scene::new();
    let many = |name: &str| (0..5_000).map(|n| format!("{name} {n:05}\n")).collect::<String>();
    write(&scene, "a.log", &many("a"));
    write(&scene, "b.log", &many("b"));
    let end = finish(&scene, &["a.log", "b.log"]);
    end.assert_code(0);
    assert_eq!(end.err(), "");
    for name in ["a", "b"] {
        let of_one: String = end.out().split_inclusive('\n').filter(|line| line.starts_with(name)).collect();
        assert!(of_one == many(name), "{name}");
    }
    assert_eq!(end.out().lines().count(), 10_000);
}

#[test]
fn a_file_alone_is_given_byte_for_byte_also_without_a_last_end() {
    let scene = Scene::new();
    let bytes = [&b"\xff\x00 no text\r\n\n"[..], &vec![b'x'; 200_000], b"\nlast"].concat();
    fs::write(scene.path("a.log"), &bytes).unwrap();
    let end = finish(&scene, &["a.log"]);
    assert!(end.assert_code(0).out == bytes);
}

#[test]
fn a_last_line_without_an_end_stays_a_line_of_its_own() {
    let scene = Scene::new();
    write(&scene, "a.log", "one\ntwo");
    write(&scene, "b.log", "three\nfour");
    let end = finish(&scene, &["--prefix", "a.log", "b.log"]);
    end.assert_code(0);
    assert_eq!(sorted(&end.out()), ["a.log: one", "a.log: two", "b.log: four", "b.log: three"]);
}

#[test]
fn standard_input_is_a_source_beside_files() {
    let scene = Scene::new();
    write(&scene, "a.log", "from a\n");
    let mut running = Running::start(logs(&scene, &["--prefix", "-", "a.log"]).stdin(Stdio::piped()));
    let mut stdin = running.stdin();
    stdin.write_all(b"from stdin\n").unwrap();
    running.wait_out("-: from stdin\n");
    running.wait_out("a.log: from a\n");
    assert!(!running.has_ended());
    drop(stdin);
    running.finish().assert_code(0);
}

#[test]
fn lines_are_chosen_by_patterns_and_tail_starts_with_the_last() {
    let scene = Scene::new();
    write(&scene, "a.log", "error 1\nfine\nerror 2\nerror ignored\nwarning 3\n");
    let end = finish(&scene, &["--include", "error", "--include", "warn", "--exclude", "ignored", "a.log"]);
    assert_eq!(end.assert_code(0).out(), "error 1\nerror 2\nwarning 3\n");
    let end = finish(&scene, &["--tail", "2", "--include", "ignored|fine", "a.log"]);
    assert_eq!(end.assert_code(0).out(), "error ignored\n");
}

#[test]
fn what_makes_no_sense_is_said_in_one_line() {
    let scene = Scene::new();
    write(&scene, "a.log", "");
    finish(&scene, &[]).assert_code(2).assert_one_line(&["nothing to read", "--help"]);
    finish(&scene, &["--include", "(", "a.log"]).assert_code(2).assert_one_line(&["--include", "`(`"]);
    finish(&scene, &["-", "-"]).assert_code(2).assert_one_line(&["standard input", "once"]);
    finish(&scene, &["--linger", "1s", "a.log"]).assert_code(2).assert_one_line(&["--linger", "--listen"]);
}

#[test]
fn a_source_that_cannot_be_read_is_named_and_the_others_go_on() {
    let scene = Scene::new();
    write(&scene, "a.log", "from a\n");
    let end = finish(&scene, &["missing.log", "a.log"]);
    end.assert_code(125).assert_one_line(&["missing.log", "No such file"]);
    assert_eq!(end.out(), "from a\n");
    finish(&scene, &[scene.dir().to_str().unwrap()]).assert_code(125).assert_one_line(&["directory"]);
}

#[test]
fn a_followed_file_is_read_on_through_rename_and_truncation() {
    let scene = Scene::new();
    let running = Running::start(&mut logs(&scene, &["-f", "app.log"]));
    append(&scene, "app.log", "one\n");
    running.wait_out("one\n");
    fs::rename(scene.path("app.log"), scene.path("app.log.1")).unwrap();
    append(&scene, "app.log", "two, in the new file\n");
    running.wait_out("two, in the new file\n");
    File::create(scene.path("app.log")).unwrap();
    running.wait_out("[towpath] gap: unknown lines, unknown bytes lost (file truncated)\n");
    append(&scene, "app.log", "three\nfour");
    running.wait_out("three\n");
    running.send(Signal::TERM);
    let end = running.finish();
    end.assert_code(143);
    let gap = "[towpath] gap: unknown lines, unknown bytes lost (file truncated)";
    assert_eq!(end.out(), format!("one\ntwo, in the new file\n{gap}\nthree\nfour"));
}

#[test]
fn a_command_is_a_source_and_its_code_is_ours() {
    let scene = Scene::new();
    write(&scene, "a.log", "from a\n");
    let end = finish(&scene, &["--prefix", "a.log", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    end.assert_code(3);
    assert_eq!(end.err(), "");
    assert_eq!(sorted(&end.out()), ["a.log: from a", "stderr: err", "stdout: out"]);
    finish(&scene, &["--", "./missing"]).assert_code(127).assert_one_line(&["./missing", "not found"]);
    finish(&scene, &["none.log", "--", "true"]).assert_code(125).assert_one_line(&["none.log"]);
    scene.wait_empty();
}

#[test]
fn all_that_a_command_wrote_is_read_and_its_own_log_too() {
    let scene = Scene::new();
    let script = "i=0; while [ $i -lt 3000 ]; do echo line $i of many; i=$((i+1)); done; echo last words >> app.log";
    append(&scene, "app.log", "first\n");
    let end = finish(&scene, &["-f", "app.log", "--", "sh", "-c", script]);
    end.assert_code(0);
    assert_eq!(end.out().lines().filter(|line| line.starts_with("line ")).count(), 3000);
    assert!(end.out().contains("last words\n"), "{}", end.err());
}

#[test]
fn a_signal_ends_command_and_sources_in_order() {
    let scene = Scene::new();
    append(&scene, "app.log", "");
    let script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let running = Running::start(&mut logs(&scene, &["-f", "app.log", "--", "sh", "-c", script]));
    running.wait_out("ready\n");
    running.send(Signal::TERM);
    let end = running.finish();
    end.assert_code(7);
    // The shell may say on stderr that its sleep was ended; two sources have no order.
    let of_command: Vec<String> = end.out().lines().filter(|line| *line != "Terminated").map(str::to_owned).collect();
    assert_eq!(of_command, ["ready", "bye"]);
    scene.wait_empty();
}

#[test]
fn the_command_has_our_input_unless_that_is_a_source() {
    let scene = Scene::new();
    let with_input = |arguments: &[&str]| {
        let mut running = Running::start(logs(&scene, arguments).stdin(Stdio::piped()));
        running.stdin().write_all(b"typed\n").unwrap();
        running.finish()
    };
    assert_eq!(with_input(&["--", "cat"]).assert_code(0).out(), "typed\n");
    assert_eq!(with_input(&["--prefix", "-", "--", "cat"]).assert_code(0).out(), "-: typed\n");
}

#[test]
fn a_reader_of_stdout_who_has_enough_ends_it_silently() {
    let scene = Scene::new();
    for arguments in [&["-f", "app.log"][..], &["-f", "app.log", "--", "sleep", "1000"]] {
        append(&scene, "app.log", "one\n");
        let mut child = logs(&scene, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "one\n");
        drop(out);
        append(&scene, "app.log", "two\n");
        let end = child.wait_with_output().unwrap();
        assert_eq!((end.status.code(), String::from_utf8_lossy(&end.stderr).as_ref()), (Some(141), ""));
        scene.wait_empty();
    }
}

/// The address that a `-v --listen` run says it is at.
#[track_caller]
fn listening(scene: &Scene, arguments: &[&str]) -> (Running, String) {
    let mut command = logs(scene, &["-v", "--listen", "127.0.0.1:0"]);
    command.args(arguments);
    let mut through = scene.program("sh");
    through.args(["-c", "exec \"$0\" \"$@\" 2>err"]).arg(command.get_program()).args(command.get_args());
    let running = Running::start(&mut through);
    let line = scene.line_of("err");
    let address = line.strip_prefix("towpath: live at http://").unwrap_or_else(|| panic!("{line}")).to_owned();
    (running, address)
}

fn get(address: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    // HTTP/1.0: the body ends with the connection, without chunks in it.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    stream
}

#[test]
fn live_readers_see_every_line_the_gap_and_the_end() {
    let scene = Scene::new();
    append(&scene, "app.log", "one\nnot printed\n");
    let (running, address) = listening(&scene, &["-f", "--exclude", "not", "app.log"]);
    running.wait_out("one\n");
    let mut plain = get(&address, "/log");
    let mut events = get(&address, "/events");
    File::create(scene.path("app.log")).unwrap();
    running.wait_out("gap: ");
    append(&scene, "app.log", "two\n");
    running.wait_out("two\n");
    running.send(Signal::TERM);
    let (mut text, mut records) = (String::new(), String::new());
    plain.read_to_string(&mut text).unwrap();
    events.read_to_string(&mut records).unwrap();
    running.finish().assert_code(143);
    let gap = "[towpath] gap: unknown lines, unknown bytes lost (file truncated)\n";
    assert!(text.contains(&format!("\r\n\r\none\nnot printed\n{gap}two\n[towpath] end: interrupted")), "{text}");
    let place = |what: &str| records.find(what).unwrap_or_else(|| panic!("no {what} in {records}"));
    let order = [place("not printed"), place("event: gap"), place("\"two\""), place("event: end")];
    assert!(order.is_sorted(), "{records}");
    assert!(records.contains("\"exit_code\":143") && records.contains("\"stream\":\"app.log\""), "{records}");
}

#[test]
fn without_a_reader_of_stdout_it_goes_on_serving() {
    let scene = Scene::new();
    append(&scene, "app.log", "one\n");
    let mut through = scene.program("sh");
    let towpath = logs(&scene, &["-v", "--listen", "127.0.0.1:0", "-f", "app.log"]);
    through.args(["-c", "\"$0\" \"$@\" 2>err | read line; exec sleep 1000"]);
    through.arg(towpath.get_program()).args(towpath.get_args());
    let _running = Running::start(&mut through);
    let address = scene.line_of("err").rsplit_once('/').unwrap().1.to_owned();
    append(&scene, "app.log", "two\n");
    let mut reader = BufReader::new(get(&address, "/log"));
    let mut seen = String::new();
    until("line two", || reader.read_line(&mut seen).unwrap() > 0 && seen.contains("two\n"));
    append(&scene, "app.log", "three\n");
    until("line three", || reader.read_line(&mut seen).unwrap() > 0 && seen.contains("three\n"));
}

#[test]
fn a_port_in_use_is_an_error_before_anything_is_read() {
    let scene = Scene::new();
    write(&scene, "a.log", "from a\n");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let end = finish(&scene, &["--listen", &address, "a.log", "--", "touch", "started"]);
    end.assert_code(125).assert_one_line(&[&address, "in use"]);
    assert_eq!(end.out(), "");
    assert!(!scene.path("started").exists());
}
