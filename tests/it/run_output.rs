//! Where a run's output goes: apart, in order, byte for byte, and what is lost is said.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::run_exit_codes::in_own_mounts;
use crate::support::running::Running;
use crate::support::scene::Scene;
use crate::support::wait::until;

/// Writes alternately, each line far from the next in time for the kernel, near for a clock.
const ALTERNATING: &str = "for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done";

fn lines(name: &str) -> String {
    (1..=5).map(|n| format!("{name} {n}\n")).collect()
}

/// Every byte there is, no line end at the end.
fn binary() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    bytes.push(0xff);
    bytes
}

#[test]
fn stdout_and_stderr_stay_apart_however_they_pass() {
    let scene = Scene::new();
    let log = scene.name("log");
    for flags in [&[][..], &["--log", &log], &["--include", "."], &["--exclude", "nothing", "--log", &log]] {
        let finished = scene.finish_sh(flags, ALTERNATING);
        finished.assert_code(0);
        assert_eq!((finished.out(), finished.err()), (lines("out"), lines("err")), "{flags:?}");
    }
}

#[test]
fn bytes_of_any_kind_pass_unchanged() {
    let scene = Scene::new();
    fs::write(scene.path("data"), binary()).unwrap();
    let log = scene.name("log");
    for flags in [&[][..], &["--log", &log], &["--exclude", "no such thing in it"]] {
        let finished = scene.finish_sh(flags, "cat data; cat data >&2");
        finished.assert_code(0);
        assert!(finished.out == binary() && finished.err == binary(), "{flags:?}");
    }
    let finished = scene.finish_sh(&["--quiet-success"], "cat data; cat data >&2; exit 1");
    finished.assert_code(1);
    let said = b"towpath: sh exited with code 1\n";
    assert!(finished.out == binary() && finished.err == [binary(), said.to_vec()].concat());
}

#[test]
fn the_log_has_whole_lines_of_both_streams_and_is_appended_to() {
    let scene = Scene::new();
    let log = scene.name("log");
    let mixed = "for i in 1 2 3 4 5; do printf 'out '; printf 'err ' >&2; echo $i; echo $i >&2; done";
    scene.finish_sh(&["--log", &log], mixed).assert_code(0);
    scene.finish_sh(&["--log", &log], "printf 'no end'").assert_code(0);
    scene.finish_sh(&["--log", &log], "echo last").assert_code(0);
    let text = scene.read("log");
    for name in ["out", "err"] {
        let of_stream: String =
            text.lines().filter(|line| line.starts_with(name)).map(|line| format!("{line}\n")).collect();
        assert_eq!(of_stream, lines(name));
    }
    assert!(text.ends_with("no end\nlast\n"), "{text:?}");
    assert_eq!(text.lines().count(), 12, "{text:?}");
}

#[test]
fn the_log_has_a_last_line_without_its_end() {
    let scene = Scene::new();
    let finished = scene.finish_sh(&["--log", &scene.name("log")], "echo one; printf two");
    assert_eq!(finished.assert_code(0).out(), "one\ntwo");
    assert_eq!(scene.read("log"), "one\ntwo");
}

#[test]
fn a_logged_line_is_there_while_the_run_goes_on() {
    let scene = Scene::new();
    let run = scene.start_sh(&["--log", &scene.name("log")], "echo early; exec sleep 1000");
    assert_eq!(scene.line_of("log"), "early");
    run.wait_out("early");
}

#[test]
fn a_quiet_run_that_succeeds_prints_nothing() {
    let scene = Scene::new();
    let log = scene.name("log");
    scene.finish_sh(&["--quiet-success", "--log", &log], ALTERNATING).assert_code(0).assert_silent();
    assert_eq!(scene.read("log").lines().count(), 10, "the log has it all the same");
}

#[test]
fn a_quiet_run_that_fails_prints_all_of_it_in_order_to_the_right_streams() {
    let scene = Scene::new();
    let finished = scene.finish_sh(&["--quiet-success"], &format!("{ALTERNATING}; exit 3"));
    finished.assert_code(3);
    let said = format!("{}towpath: sh exited with code 3\n", lines("err"));
    assert_eq!((finished.out(), finished.err()), (lines("out"), said));
    // Both to one pipe, as under cron. Paced, so that the two pipes' order is known to us.
    let line = scene.run_line(
        "--quiet-success -- sh -c 'for i in 1 2 3; do echo out $i; sleep 0.2; echo err $i >&2; sleep 0.2; done; exit 3' 2>&1",
    );
    let finished = Running::start(scene.program("sh").args(["-c", &line])).finish();
    assert_eq!(
        finished.assert_code(3).out(),
        "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\ntowpath: sh exited with code 3\n"
    );
}

#[test]
fn a_quiet_run_that_is_ended_prints_what_it_had_said() {
    let scene = Scene::new();
    let finished = scene.finish_sh(&["--quiet-success", "--timeout", "1s"], "echo said; exec sleep 1000");
    finished.assert_code(124).assert_one_line(&["1s"]);
    assert_eq!(finished.out(), "said\n");
}

#[test]
fn only_lines_that_pass_are_printed_and_the_log_has_all() {
    let scene = Scene::new();
    let script = "echo error: a; echo debug error; echo info; echo ERROR: b >&2; printf 'error at the end'";
    let flags = ["--include", "(?i)error", "--exclude", "^debug", "--log", &scene.name("log")];
    let finished = scene.finish_sh(&flags, script);
    finished.assert_code(0);
    assert_eq!((finished.out(), finished.err()), ("error: a\nerror at the end".into(), "ERROR: b\n".into()));
    assert_eq!(scene.read("log").lines().count(), 5);
}

#[test]
fn a_line_over_the_limit_is_judged_by_its_beginning_and_said_to_be() {
    let scene = Scene::new();
    let script =
        "printf 'keep '; head -c 100000 /dev/zero | tr '\\0' x; echo; head -c 100000 /dev/zero | tr '\\0' y; echo keep";
    let flags = ["--include", "keep", "-v", "--report", &scene.name("report")];
    let finished = scene.finish_sh(&flags, script);
    assert_eq!(finished.assert_code(0).out.len(), "keep \n".len() + 100_000);
    finished.assert_one_line(&["2 lines", "64 KiB"]);
    assert_eq!(scene.report("report")["output"]["long_lines"], 2);
}

#[test]
fn a_command_that_closes_its_output_and_lives_on_is_waited_for() {
    let scene = Scene::new();
    let log = scene.name("log");
    for flags in [&[][..], &["--log", &log], &["--quiet-success"], &["--pty"]] {
        let script = "echo before; exec >&- 2>&- <&-; sleep 1; : >lived-on; exit 5";
        scene.finish_sh(flags, script).assert_code(5);
        assert!(scene.path("lived-on").exists(), "{flags:?}");
        fs::remove_file(scene.path("lived-on")).unwrap();
    }
}

/// `yes` ends by SIGPIPE, as without us; its writer says so in the shell.
#[test]
fn one_that_writes_without_end_ends_when_its_reader_has_gone() {
    let scene = Scene::new();
    for flags in ["", "--include y", "--quiet-success --timeout 1s"] {
        let run = scene.run_line(&format!("{flags} -- yes"));
        let line = format!("{{ {run}; echo $? >code; }} | head -n 2");
        let finished = Running::start(scene.program("sh").args(["-c", &line])).finish();
        assert_eq!(finished.assert_code(0).out(), "y\ny\n", "{flags}");
        let code = if flags.contains("timeout") { "124" } else { "141" };
        assert_eq!(scene.line_of("code"), code, "{flags}: {}", finished.err());
    }
}

#[test]
fn a_log_is_written_on_when_nobody_reads_the_output() {
    let scene = Scene::new();
    let script = "for i in 1 2 3; do echo $i; while [ ! -e gone ]; do sleep 0.05; done; done";
    let run = scene.run_line(&format!("--log {} -- sh -c '{script}'", scene.name("log")));
    let line = format!("{{ {run}; echo $? >code; }} | {{ head -n 1; exec </dev/null; : >gone; }}");
    let finished = Running::start(scene.program("sh").args(["-c", &line])).finish();
    assert_eq!(finished.assert_code(0).out(), "1\n");
    assert_eq!(finished.err(), "");
    assert_eq!(scene.line_of("code"), "0");
    assert_eq!(scene.read("log"), "1\n2\n3\n");
}

#[test]
fn memory_stays_flat_while_two_hundred_megabytes_without_a_newline_pass() {
    let scene = Scene::new();
    let mut command = scene.run(&["--log", "/dev/null", "--exclude", "^y", "--", "sh", "-c"]);
    command.arg("head -c 200000000 /dev/zero; : >done; read wait_for_ever <fifo");
    Running::start(scene.program("mkfifo").arg("fifo")).finish().assert_code(0);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let reading = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()).unwrap());
    scene.wait_file("done");
    let process = crate::support::process::Process::of(i32::try_from(child.id()).unwrap());
    let peak_kib: u64 = process.status("VmHWM").trim_end_matches(" kB").parse().unwrap();
    fs::write(scene.path("fifo"), "\n").unwrap();
    child.wait().unwrap();
    assert_eq!(reading.join().unwrap(), 200_000_000);
    // What the whole program has in memory, its code included, in a debug build.
    assert!(peak_kib < 64 * 1024, "{peak_kib} KiB");
}

#[test]
fn a_quiet_run_keeps_the_beginning_and_the_end_and_says_what_it_left_out() {
    let scene = Scene::new();
    let finished = scene.finish_sh(&["--quiet-success"], "echo first; seq 10000000; echo last; exit 1");
    let out = finished.assert_code(1).out();
    assert!(out.starts_with("first\n1\n2\n") && out.ends_with("\n10000000\nlast\n"));
    let gaps: Vec<&str> = out.lines().filter(|line| line.starts_with("[towpath] gap: ")).collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let left_out: usize = gaps[0].split(' ').nth(2).unwrap().parse().unwrap();
    assert!(out.len() < 40_000_000);
    // The gap's own line is one more; lines cut at its edges count on both sides or on neither.
    let kept = out.lines().count() - 1;
    assert!((kept + left_out).abs_diff(10_000_002) <= 2, "{kept} kept, {left_out} left out");
}

#[test]
fn a_full_disk_for_the_log_is_74_after_a_success_and_the_loss_is_said() {
    let scene = Scene::new();
    let run = |report: &str, script: &str| {
        let flags = format!("--log {0} --report {1} -- sh -c '{script}'", scene.name("disk/log"), scene.name(report));
        scene.run_line(&flags)
    };
    let script = format!(
        "mkdir disk && mount -t tmpfs -o size=64k none disk || exit 99
         {}; echo $? >>codes
         rm disk/log; {}; echo $? >>codes",
        run("report", "seq 100000; : >lived-on"),
        run("report-2", "seq 100000; exit 3"),
    );
    let Some(finished) = in_own_mounts(&scene, &script) else { return };
    assert_eq!(scene.read("codes"), "74\n3\n", "the command's own failure counts more");
    assert!(scene.path("lived-on").exists());
    let all: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert!(finished.out() == format!("{all}{all}"), "all of it was printed");
    let err = finished.err();
    assert_eq!(err.lines().count(), 2, "{err:?}");
    assert!(
        err.lines().all(|line| line.contains("disk/log") && line.contains("lost") && line.contains("No space")),
        "{err:?}"
    );
    for (name, code) in [("report", 74), ("report-2", 3)] {
        let report = scene.report(name);
        assert_eq!((&report["exit_code"], &report["outcome"]), (&code.into(), &"exited".into()));
        let log = &report["output"]["log"];
        assert!(log["lost_lines"].as_u64().unwrap() > 80_000, "{log}");
        assert_eq!(log["lost_bytes"].as_u64().unwrap() + log["bytes"].as_u64().unwrap(), all.len() as u64);
    }
}

#[test]
fn what_the_log_of_a_quiet_run_lost_is_printed() {
    let scene = Scene::new();
    let finished = scene.finish(&["--quiet-success", "--log", "/dev/full"], &["echo", "kept"]);
    assert_eq!(finished.assert_code(74).out(), "kept\n");
    assert!(finished.err().contains("/dev/full lost 1 lines"), "{}", finished.err());
}

#[test]
fn a_full_disk_on_standard_output_after_a_success_is_74() {
    let scene = Scene::new();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = scene.run(&["--log", &scene.name("log"), "--", "echo", "on"]);
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(74));
}

#[test]
fn a_full_disk_on_standard_output_does_not_stop_the_run() {
    let scene = Scene::new();
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = scene.run(&["--log", &scene.name("log"), "--report", &scene.name("report"), "--", "sh", "-c"]);
    let output = command.arg("seq 1000; exit 3").stdout(full()).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("couldn't be printed"), "{output:?}");
    assert_eq!(scene.read("log").lines().count(), 1000);
    assert_eq!(scene.report("report")["output"]["not_printed_bytes"], 3893);
}

#[test]
fn standard_input_passes_through_to_its_end() {
    let scene = Scene::new();
    let log = scene.name("log");
    for flags in [&[][..], &["--log", &log], &["--pty"]] {
        let mut run = Running::start(scene.run(flags).args(["--", "cat"]).stdin(Stdio::piped()));
        let mut stdin = run.stdin();
        stdin.write_all(b"one\n").unwrap();
        run.wait_out("one");
        stdin.write_all(b"two\n").unwrap();
        drop(stdin);
        let finished = run.finish();
        assert_eq!(finished.assert_code(0).out().replace('\r', ""), "one\ntwo\n", "{flags:?}");
    }
}

#[test]
fn no_stdin_is_an_empty_one() {
    let scene = Scene::new();
    for flags in [&["--no-stdin"][..], &["--no-stdin", "--log", "/dev/null"]] {
        // Ours stays open meanwhile.
        let run = Running::start(scene.run(flags).args(["--", "cat"]).stdin(Stdio::piped()));
        let finished = run.finish();
        finished.assert_code(0).assert_silent();
    }
}

#[test]
fn closed_standard_streams_do_no_harm() {
    let scene = Scene::new();
    let log = scene.name("log");
    for flags in ["", "--log LOG", "--once k", "--quiet-success"] {
        let flags = flags.replace("LOG", &log);
        let run = scene.run_line(&format!("{flags} -- sh -c 'echo said; echo said >&2; : >ran; exit 6'"));
        let line = format!("{run} <&- >&- 2>&-");
        Running::start(scene.program("sh").args(["-c", &line])).finish().assert_code(6);
        assert!(scene.path("ran").exists(), "{flags}");
        fs::remove_file(scene.path("ran")).unwrap();
    }
    until("an untouched log", || scene.read("log") == "said\nsaid\n");
}
