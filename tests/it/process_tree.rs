//! The whole tree ends with the run, and the lock is taken until it has.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::support::left_out;
use crate::support::process::Process;
use crate::support::running::Running;
use crate::support::scene::Scene;
use crate::support::wait::until;

/// A tree that doesn't end by itself, nor by TERM, of every kind that leaves a
/// parent: each process writes its id into a file.
const STUBBORN: &str = "trap '' TERM HUP INT
    spin='trap \"\" TERM HUP INT; echo $$ >$0; while :; do sleep 1; done'
    sh -c \"$spin\" child &
    setsid sh -c \"$spin\" session &
    (setsid sh -c '(sh -c \"$0\" daemon &) &' \"$spin\" &)
    (nohup setsid sh -c \"$spin\" nohup >/dev/null 2>&1 </dev/null &)
    echo $$ >command
    while :; do sleep 1; done";

const NAMES: [&str; 5] = ["command", "child", "session", "daemon", "nohup"];

/// A run of [`STUBBORN`], once all of it is there.
struct Stubborn {
    run: Running,
    tree: Vec<Process>,
    keeper: Process,
}

impl Stubborn {
    #[track_caller]
    fn start(scene: &Scene, flags: &[&str]) -> Stubborn {
        let run = scene.start_sh(flags, STUBBORN);
        let tree: Vec<Process> = NAMES.iter().map(|name| scene.process_in(name)).collect();
        let keeper = tree[0].parent();
        assert_eq!(keeper.status("Name"), "towpath-keeper");
        assert_eq!(keeper.parent(), run.process());
        Stubborn { run, tree, keeper }
    }

    #[track_caller]
    fn assert_gone(&self) {
        for (name, process) in NAMES.iter().zip(&self.tree) {
            assert!(!process.is_alive(), "{name} is alive");
        }
    }
}

#[test]
fn term_asks_the_whole_tree_and_the_grace_ends_it() {
    let scene = Scene::new();
    let stubborn = Stubborn::start(&scene, &["--kill-after", "300ms", "--report", &scene.name("report")]);
    stubborn.run.send(Signal::TERM);
    let Stubborn { run, tree, keeper } = stubborn;
    run.finish().assert_code(137).assert_silent();
    assert!(tree.iter().all(|process| !process.is_alive()));
    assert!(!keeper.is_alive());
    let report = scene.report("report");
    assert_eq!((&report["asked_to_end_by_signal"], &report["command_signal"]), (&15.into(), &9.into()));
}

#[test]
fn a_command_that_obeys_ends_in_its_own_way() {
    let scene = Scene::new();
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP"), (Signal::QUIT, "QUIT")] {
        let script = format!("trap 'echo got {name}; exit 7' {name}; echo on; while :; do sleep 0.05; done");
        // A QUIT that nobody caught would dump core, in the scene.
        let run = scene.start_sh(&["--kill-after", "10m"], &format!("ulimit -c 0; {script}"));
        run.wait_out("on");
        run.send(signal);
        // Its children got the signal too, and its shell may say so.
        assert_eq!(run.finish().assert_code(7).out(), format!("on\ngot {name}\n"));
    }
}

#[test]
fn the_second_term_kills_at_once() {
    let scene = Scene::new();
    let script = "trap 'echo got it' TERM; echo on; while :; do sleep 0.05; done";
    let run = scene.start_sh(&["--kill-after", "1h"], script);
    run.wait_out("on");
    run.send(Signal::TERM);
    run.wait_out("got it");
    run.send(Signal::TERM);
    run.finish().assert_code(137);
}

#[test]
fn a_time_limit_ends_the_whole_tree() {
    let scene = Scene::new();
    let flags = ["--timeout", "3s", "--kill-after", "200ms", "--once", "k", "--report", &scene.name("report")];
    let stubborn = Stubborn::start(&scene, &flags);
    let tree = stubborn.tree;
    stubborn.run.finish().assert_code(124).assert_one_line(&["sh", "3s"]);
    assert!(tree.iter().all(|process| !process.is_alive()));
    assert!(!scene.is_locked("k"));
    let report = scene.report("report");
    assert_eq!((&report["outcome"], &report["command_signal"]), (&"timed-out".into(), &9.into()));
}

#[test]
fn what_a_command_leaves_behind_ends_with_it_and_is_counted() {
    let scene = Scene::new();
    let there = "for n in child session daemon nohup; do while [ ! -s $n ]; do sleep 0.05; done; done; exit 4";
    let script = format!("{}{there}", STUBBORN.strip_suffix("while :; do sleep 1; done").unwrap());
    let flags = ["--kill-after", "200ms", "-v", "--report", &scene.name("report")];
    let finished = scene.finish_sh(&flags, &script);
    finished.assert_code(4).assert_one_line(&["left", "behind", "ended"]);
    assert!(scene.processes().is_empty());
    assert!(scene.report("report")["left_behind"].as_u64().unwrap() >= 4);
    // Without -v it is nobody's business.
    scene.finish_sh(&["--kill-after", "200ms"], "sleep 1000 & exit 4").assert_code(4).assert_silent();
}

/// A process whose first thread has ended while another goes on: `ps` shows a zombie.
const HEADLESS: &str = r#"
    #include <pthread.h>
    #include <signal.h>
    #include <stdio.h>
    #include <unistd.h>
    static void *stay(void *none) { for (;;) pause(); }
    int main(int count, char **arguments) {
        pthread_t other;
        signal(SIGTERM, SIG_IGN);
        pthread_create(&other, NULL, stay, NULL);
        FILE *file = fopen(arguments[1], "w");
        fprintf(file, "%d\n", getpid());
        fclose(file);
        pthread_exit(NULL);
    }"#;

#[test]
fn a_process_whose_first_thread_has_ended_ends_with_the_run() {
    let scene = Scene::new();
    std::fs::write(scene.path("headless.c"), HEADLESS).unwrap();
    let built = scene.program("cc").args(["-pthread", "-o", "headless", "headless.c"]).status().unwrap();
    assert!(built.success());
    let report = ["--report", &scene.name("report")];
    for (flags, script, code, left_behind) in [
        (["--timeout", "1s", "--kill-after", "100ms"], "exec ./headless it", 124, 0),
        (["--timeout", "1h", "--kill-after", "100ms"], "./headless it & exec sh -c 'echo $$ >command; read end'", 5, 1),
    ] {
        let script = script.replace("read end", "until [ -e end ]; do sleep 0.05; done; exit 5");
        let run = scene.start_sh(&[&flags[..], &report].concat(), &script);
        let it = scene.process_in("it");
        until("the end of its first thread", || matches!(it.state(), None | Some('Z')));
        std::fs::write(scene.path("end"), "").unwrap();
        run.finish().assert_code(code);
        it.wait_gone();
        assert!(it.state().is_none(), "its other thread lives");
        assert_eq!(scene.report("report")["left_behind"], left_behind);
        std::fs::remove_file(scene.path("it")).unwrap();
    }
}

/// Whoever may not be looked at may be hidden: a program that its user can't read, for one.
#[test]
fn a_process_that_proc_hides_ends_with_the_run() {
    let scene = Scene::new();
    let hides = "mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid 65534 --regid 65534 --clear-groups";
    std::fs::set_permissions(scene.dir(), Permissions::from_mode(0o755)).unwrap();
    let may_read = format!("{hides} test -r towpath.conf");
    let can_hide = scene.program("unshare").args(["-m", "sh", "-c", &may_read]).output();
    if !can_hide.is_ok_and(|output| output.status.success()) {
        return left_out("hidepid", "only root can mount a /proc that hides, and not in every container");
    }
    for (program, mode) in [("sleep", 0o111), ("towpath", 0o755)] {
        let found = if program == "sleep" { "sleep" } else { env!("CARGO_BIN_EXE_towpath") };
        let copy = scene.program("sh").args(["-c", &format!("cp \"$(command -v {found})\" {program}")]).status();
        assert!(copy.unwrap().success());
        std::fs::set_permissions(scene.path(program), Permissions::from_mode(mode)).unwrap();
    }
    let run = "./towpath run --config towpath.conf --kill-after 1h";
    for (flags, command, code) in [("--timeout 100ms", "./sleep 1000", 124), ("", "sh -c './sleep 1000 & exit 4'", 4)] {
        let script = format!("{hides} {run} {flags} -- {command}");
        Running::start(scene.program("unshare").args(["-m", "sh", "-c", &script])).finish().assert_code(code);
        assert!(scene.processes().is_empty());
    }
}

#[test]
fn a_fork_storm_ends_with_the_run() {
    let scene = Scene::new();
    // Each starts its successor in a session of its own, and ends: nobody lives long, at most a few hundred at once.
    let script = "echo $$ >>generations; setsid sh \"$0\" & setsid sh -c 'sleep 0.2' & exit 0";
    let storm = scene.script("storm", script);
    let run = scene.start_sh(&["--timeout", "1h", "--kill-after", "100ms"], &format!("sh {storm} & exec sleep 1000"));
    until("the storm to blow", || {
        std::fs::read_to_string(scene.path("generations")).is_ok_and(|text| text.lines().count() > 30)
    });
    run.send(Signal::TERM);
    run.finish().assert_code(143);
    assert!(scene.processes().is_empty());
}

#[test]
fn kill_9_of_towpath_ends_the_tree_and_the_lock_is_taken_until_then() {
    let scene = Scene::new();
    let Stubborn { run, tree, keeper } = Stubborn::start(&scene, &["--once", "k", "--kill-after", "2s"]);
    // Stopped, so that there is time to see what is before it has done its work.
    keeper.send(Signal::STOP);
    keeper.wait_stopped();
    run.send(Signal::KILL);
    run.process().wait_gone();
    assert!(scene.is_locked("k"));
    assert!(tree.iter().all(Process::is_alive));
    keeper.send(Signal::CONT);
    until("the end of the tree", || {
        let free = !scene.is_locked("k");
        let gone = tree.iter().all(|process| !process.is_alive());
        assert!(gone || !free, "free before the end");
        gone
    });
    keeper.wait_gone();
    assert!(!scene.is_locked("k"));
    let finished = run.finish();
    assert_eq!(finished.signal, Some(9));
    finished.assert_one_line(&["was killed", "keeper"]);
}

#[test]
fn kill_9_of_the_keeper_ends_the_tree_and_is_125() {
    let scene = Scene::new();
    let flags = ["--once", "k", "--report", &scene.name("report")];
    let stubborn = Stubborn::start(&scene, &flags);
    stubborn.keeper.send(Signal::KILL);
    let Stubborn { run, tree, .. } = stubborn;
    run.finish().assert_code(125).assert_one_line(&["keeper", "killed"]);
    assert!(tree.iter().all(|process| !process.is_alive()));
    assert!(scene.processes().is_empty());
    assert!(!scene.is_locked("k"));
    assert_eq!(scene.report("report")["outcome"], "keeper-died");
}

/// What is documented: the command dies by its death signal; what it started lives on, the lock is free.
#[test]
fn kill_9_of_both_ends_the_command_itself_and_frees_the_lock() {
    let scene = Scene::new();
    let stubborn = Stubborn::start(&scene, &["--once", "k"]);
    // Stopped first, so that neither sees the other's end.
    let pair = [stubborn.run.process(), stubborn.keeper];
    pair.iter().for_each(|process| process.send(Signal::STOP));
    pair.iter().for_each(Process::wait_stopped);
    pair.iter().for_each(|process| process.send(Signal::KILL));
    pair.iter().for_each(Process::wait_gone);
    stubborn.tree[0].wait_gone();
    assert!(stubborn.tree[1..].iter().all(Process::is_alive));
    // A process counts as gone while its last thread still closes its files.
    until("the lock to be free", || !scene.is_locked("k"));
}

#[test]
fn a_stopped_towpath_past_its_limit_has_its_tree_ended_by_the_keeper() {
    let scene = Scene::new();
    let flags = ["--once", "k", "--timeout", "4s", "--kill-after", "200ms"];
    let stubborn = Stubborn::start(&scene, &flags);
    let process = stubborn.run.process();
    process.send(Signal::STOP);
    process.wait_stopped();
    until("the end of the tree", || stubborn.tree.iter().all(|process| !process.is_alive()));
    stubborn.assert_gone();
    assert!(process.is_stopped());
    // It couldn't give the lock back: it has it until it goes on.
    assert!(scene.is_locked("k"));
    process.send(Signal::CONT);
    stubborn.run.finish().assert_code(124).assert_one_line(&["4s"]);
    assert!(!scene.is_locked("k"));
}

#[test]
fn a_stopped_keeper_is_woken_when_the_limit_has_passed() {
    let scene = Scene::new();
    let flags = ["--once", "k", "--timeout", "3s", "--kill-after", "200ms"];
    let Stubborn { run, tree, keeper } = Stubborn::start(&scene, &flags);
    keeper.send(Signal::STOP);
    keeper.wait_stopped();
    run.finish().assert_code(124);
    assert!(tree.iter().all(|process| !process.is_alive()));
    assert!(!scene.is_locked("k"));
}

#[test]
fn a_stopped_keeper_is_woken_when_the_end_is_asked_for() {
    let scene = Scene::new();
    let Stubborn { run, tree, keeper } = Stubborn::start(&scene, &["--kill-after", "200ms"]);
    keeper.send(Signal::STOP);
    keeper.wait_stopped();
    run.send(Signal::TERM);
    run.finish().assert_code(137);
    assert!(tree.iter().all(|process| !process.is_alive()));
}

#[test]
fn a_stopped_tree_can_be_ended() {
    let scene = Scene::new();
    let run = scene.start_sh(&["--kill-after", "10m"], "echo $$ >command; exec sleep 1000");
    let command = scene.process_in("command");
    command.send(Signal::STOP);
    command.wait_stopped();
    run.send(Signal::TERM);
    run.finish().assert_code(143);
}

#[test]
fn term_for_the_keeper_ends_the_run_in_order() {
    let scene = Scene::new();
    let run =
        scene.start_sh(&["--kill-after", "10m"], "trap 'exit 8' TERM; echo $$ >command; while :; do sleep 0.05; done");
    let keeper = scene.process_in("command").parent();
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR1, Signal::TSTP, Signal::ALARM] {
        keeper.send(signal);
    }
    keeper.send(Signal::TERM);
    run.finish().assert_code(8);
}

#[test]
fn the_lock_is_taken_while_what_was_left_behind_still_ends() {
    let scene = Scene::new();
    let left = "(trap '' TERM; exec sh -c 'echo $$ >left; while :; do sleep 0.1; done') &";
    let run = scene
        .start_sh(&["--once", "k", "--kill-after", "3s"], &format!("{left} while [ ! -s left ]; do sleep 0.05; done"));
    let left = scene.process_in("left");
    until("its end", || {
        let free = !scene.is_locked("k");
        let gone = !left.is_alive();
        assert!(gone || !free, "free before the end");
        gone
    });
    run.finish().assert_code(0);
    assert!(!scene.is_locked("k"));
}

#[test]
fn a_grandchild_that_keeps_the_output_open_does_not_keep_the_run() {
    let scene = Scene::new();
    for flags in [&["--kill-after", "100ms"][..], &["--kill-after", "100ms", "--log", "/dev/null"]] {
        let finished = scene.finish_sh(flags, "setsid sleep 1000 & echo done");
        assert_eq!(finished.assert_code(0).out(), "done\n");
        assert_eq!(finished.err(), "");
    }
}
