//! What a command finds around it: descriptors, signals, and nothing of ours.

use std::fs;

use rustix::process::Signal;

use crate::support::example;
use crate::support::process::Process;
use crate::support::running::Running;
use crate::support::scene::Scene;
use crate::support::wait::until;

/// What `script` prints without us: these tests may have inherited descriptors and ignored signals.
fn without_us(scene: &Scene, script: &str) -> String {
    Running::start(scene.program("sh").args(["-c", script])).finish().assert_code(0).out()
}

const WAYS: [&[&str]; 5] = [
    &[],
    &["--once", "k"],
    &["--log", "log"],
    &["--once", "k", "--quiet-success", "--timeout", "1h", "--report", "report"],
    &["--pty"],
];

#[test]
fn the_command_has_the_descriptors_that_were_ours_and_no_more() {
    let scene = Scene::new();
    let list = "ls /proc/self/fd >descriptors; cat descriptors";
    let usual = without_us(&scene, list);
    for flags in WAYS {
        scene.finish_sh(flags, list).assert_code(0);
        assert_eq!(scene.read("descriptors"), usual, "{flags:?}");
    }
}

#[test]
fn signals_are_as_they_would_be_without_us() {
    let scene = Scene::new();
    let list = "exec grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status";
    let usual = without_us(&scene, list);
    assert_eq!(usual.lines().count(), 3);
    for flags in WAYS {
        scene.finish_sh(flags, &format!("{list} >signals")).assert_code(0);
        assert_eq!(scene.read("signals"), usual, "{flags:?}");
    }
}

#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    let scene = Scene::new();
    let run = scene.run_line("-- sh -c 'echo $$ >command; exec sleep 1000'");
    let nohup = Running::start(scene.program("sh").args(["-c", &format!("exec nohup {run}")]));
    let command = scene.process_in("command");
    assert_eq!(u64::from_str_radix(&command.status("SigIgn"), 16).unwrap() & 1, 1, "HUP is signal 1");
    // Neither ends the run.
    nohup.send(Signal::HUP);
    command.parent().send(Signal::HUP);
    command.send(Signal::HUP);
    nohup.send(Signal::USR1);
    let finished = nohup.finish();
    // It was USR1 that ended it.
    finished.assert_code(138);
}

#[test]
fn a_broken_pipe_is_the_commands_own_affair() {
    let scene = Scene::new();
    // Rust programs start with SIGPIPE ignored; ours must not pass that on.
    let finished = scene.finish_sh(&[], "(sleep 0.1; yes) | true; kill -PIPE $$; echo it is ignored");
    finished.assert_code(141).assert_silent();
}

#[test]
fn signals_that_mean_no_end_are_passed_on() {
    let scene = Scene::new();
    let script =
        "for s in USR1 USR2 WINCH; do trap \"echo got $s\" $s; done; echo on; while [ ! -e end ]; do sleep 0.05; done";
    for flags in [&[][..], &["--log", "/dev/null"]] {
        let run = scene.start_sh(flags, script);
        run.wait_out("on");
        for (signal, text) in [(Signal::USR1, "got USR1"), (Signal::USR2, "got USR2"), (Signal::WINCH, "got WINCH")] {
            run.send(signal);
            run.wait_out(text);
        }
        fs::write(scene.path("end"), "").unwrap();
        run.finish().assert_code(0);
        fs::remove_file(scene.path("end")).unwrap();
    }
}

#[test]
fn a_stop_and_its_end_reach_the_command() {
    let scene = Scene::new();
    for flags in [&[][..], &["--log", "/dev/null"]] {
        let run = scene.start_sh(flags, "echo $$ >command; echo on; exec sleep 1000");
        run.wait_out("on");
        let command = scene.process_in("command");
        let towpath = run.process();
        for _ in 0..3 {
            run.send(Signal::TSTP);
            command.wait_stopped();
            towpath.wait_stopped();
            run.send(Signal::CONT);
            until("both to go on", || !command.is_stopped() && !towpath.is_stopped());
        }
        run.send(Signal::TERM);
        run.finish().assert_code(143);
        fs::remove_file(scene.path("command")).unwrap();
    }
}

#[test]
fn a_stop_that_follows_a_continuation_at_once_is_a_stop() {
    let scene = Scene::new();
    let run = scene.start_sh(&[], "echo $$ >command; exec sleep 1000");
    let command = scene.process_in("command");
    for _ in 0..10 {
        run.send(Signal::TSTP);
        until("both to stop", || command.is_stopped() && run.process().is_stopped());
        run.send(Signal::CONT);
        run.send(Signal::TSTP);
        until("both to stop again", || command.is_stopped() && run.process().is_stopped());
        run.send(Signal::CONT);
        until("both to go on", || !command.is_stopped() && !run.process().is_stopped());
    }
    run.send(Signal::TERM);
    run.finish().assert_code(143);
}

#[test]
fn a_suspended_run_does_not_outlive_its_limit() {
    let scene = Scene::new();
    let run =
        scene.start_sh(&["--timeout", "3s", "--kill-after", "200ms"], "echo $$ >command; echo on; exec sleep 1000");
    run.wait_out("on");
    let command = scene.process_in("command");
    run.send(Signal::TSTP);
    run.process().wait_stopped();
    command.wait_gone();
    run.send(Signal::CONT);
    run.finish().assert_code(124);
}

#[test]
fn a_command_that_stops_itself_goes_on_when_told() {
    let scene = Scene::new();
    let run = scene.start_sh(&[], "echo $$ >command; kill -STOP $$; echo went on; exit 6");
    let command = scene.process_in("command");
    command.wait_stopped();
    command.send(Signal::CONT);
    assert_eq!(run.finish().assert_code(6).out(), "went on\n");
}

#[test]
fn the_command_is_the_leader_of_a_group_of_its_own() {
    let scene = Scene::new();
    let run = scene.start_sh(&[], "echo $$ >command; echo on; exec sleep 1000");
    run.wait_out("on");
    let command = scene.process_in("command");
    let groups = fs::read_to_string(format!("/proc/{}/stat", command.pid)).unwrap();
    let group: i32 = groups.rsplit_once(')').unwrap().1.split_whitespace().nth(2).unwrap().parse().unwrap();
    assert_eq!(group, command.pid);
    // Towpath, its keeper, the command, and nobody else.
    assert_eq!(run.process().children(), [command.parent()]);
    assert_eq!(command.parent().children(), [command]);
    assert_eq!(scene.processes().len(), 3);
}

#[test]
fn arguments_and_environment_of_any_kind_arrive() {
    use std::os::unix::ffi::OsStrExt;
    let scene = Scene::new();
    let odd = std::ffi::OsStr::from_bytes(b"a\xff\n \"'\\$");
    let long = "x".repeat(100_000);
    let mut command = scene.run(&["--", "sh", "-c", "printf '%s|' \"$@\" \"$ODD\"", "sh", "", &long]);
    let finished = Running::start(command.arg(odd).env("ODD", odd)).finish();
    finished.assert_code(0);
    let want = [b"|", long.as_bytes(), b"|", odd.as_bytes(), b"|", odd.as_bytes(), b"|"].concat();
    assert!(finished.out == want);
}

#[test]
fn a_program_that_forgot_to_be_a_keeper_is_told_and_starts_no_chain_of_them() {
    let scene = Scene::new();
    let finished = Running::start(&mut scene.program(example("forgetful"))).finish();
    finished.assert_code(125);
    // What the keeper that it should have been said, then what it made of that.
    let told = "not started: this program must call process::keeper_entry() first thing in main\n";
    assert_eq!((finished.out().as_str(), finished.err()), ("", format!("{told}it was keeper-died\n")));
}

#[test]
fn the_keeper_holds_no_directory() {
    let scene = Scene::new();
    let run = scene.start_sh(&[], "echo $$ >command; echo on; exec sleep 1000");
    run.wait_out("on");
    let keeper: Process = scene.process_in("command").parent();
    until("the keeper at the root", || fs::read_link(format!("/proc/{}/cwd", keeper.pid)).unwrap().as_os_str() == "/");
}
