//! On a real terminal: the keys reach the command, and the shell gets its terminal back.

use rustix::process::Signal;

use crate::support::scene::Scene;
use crate::support::terminal::Terminal;
use crate::support::wait::until;
use crate::support::{left_out, skipped};

#[test]
fn an_editor_can_edit_and_quit() {
    if skipped("terminal") {
        return;
    }
    for flags in ["", "--pty", "--once k --timeout 1h"] {
        let scene = Scene::new();
        let terminal = Terminal::open(&scene);
        terminal.enter(&format!("{}; echo \"code $?\"", scene.run_line(&format!("{flags} -- vi -u NONE file"))));
        terminal.wait_text("~");
        terminal.key("i");
        terminal.type_line("written in vi");
        terminal.key("Escape");
        terminal.type_line(":wq");
        terminal.wait_line("code 0");
        terminal.wait_prompt();
        assert!(scene.read("file").contains("written in vi"), "{flags}");
    }
}

#[test]
fn ctrl_c_ends_the_command_with_130_and_the_shells_loop_with_it() {
    if skipped("terminal") {
        return;
    }
    let scene = Scene::new();
    let terminal = Terminal::open(&scene);
    for flags in ["", "--log log", "--once k"] {
        terminal.enter(&format!(
            "for i in 1 2 3; do echo \"turn $i\"; {}; done",
            scene.run_line(&format!("{flags} -- sh -c 'echo on; exec sleep 1000'"))
        ));
        terminal.wait_line("on");
        terminal.key("C-c");
        terminal.wait_prompt();
        assert!(!terminal.screen().contains("turn 2\n"), "{flags}: {}", terminal.screen());
        terminal.enter("echo \"code $?\"");
        terminal.wait_line("code 130");
    }
}

#[test]
fn a_command_that_handles_ctrl_c_goes_on() {
    if skipped("terminal") {
        return;
    }
    let scene = Scene::new();
    let terminal = Terminal::open(&scene);
    let script = scene
        .script("handles", "#!/bin/sh\ntrap 'echo not yet' INT\necho on\nread line\necho \"read $line\"\nexit 4\n");
    for flags in ["", "--pty", "--log log"] {
        terminal.enter(&format!("{}; echo \"code $?\"", scene.run_line(&format!("{flags} -- bash {script}"))));
        terminal.wait_line("on");
        terminal.key("C-c");
        terminal.wait_text("not yet");
        terminal.type_line("more");
        terminal.wait_line("read more");
        terminal.wait_line("code 4");
    }
}

/// The keeper is nobody's foreground, and writing from the background stops who doesn't know better.
#[test]
fn the_keepers_last_words_are_seen_on_a_terminal_that_stops_writers() {
    if skipped("terminal") {
        return;
    }
    let scene = Scene::new();
    let terminal = Terminal::open(&scene);
    terminal.enter("stty tostop");
    terminal.enter(&scene.run_line("-- sh -c 'echo $$ >command; exec sleep 1000'"));
    let command = scene.process_in("command");
    command.parent().parent().send(Signal::KILL);
    command.wait_gone();
    terminal.wait_text("towpath itself was killed");
}

#[test]
fn ctrl_z_and_fg_work() {
    if skipped("terminal") {
        return;
    }
    let script = "#!/bin/sh\necho $$ >command; echo on\nread line\necho \"read $line\"\nexit 5\n";
    for flags in ["", "--log log", "--pty", "--once k --timeout 1h"] {
        let scene = Scene::new();
        let terminal = Terminal::open(&scene);
        let script = scene.script("reads", script);
        terminal.enter(&scene.run_line(&format!("{flags} -- {script}")));
        terminal.wait_line("on");
        let command = scene.process_in("command");
        let towpath = command.parent().parent();
        for _ in 0..3 {
            // A key that comes while the terminal changes hands is lost, as with any shell.
            until("the command to have the terminal", || command.has_terminal() && !towpath.is_stopped());
            terminal.key("C-z");
            terminal.wait_text("Stopped");
            terminal.wait_prompt();
            terminal.enter("jobs -s | wc -l");
            terminal.wait_line("1");
            terminal.enter("fg >fg.out; echo \"code $?\"");
            // It is there when the shell says what it took to the foreground.
            scene.wait_file("fg.out");
            assert!(scene.line_of("fg.out").contains("towpath"));
            std::fs::remove_file(scene.path("fg.out")).unwrap();
        }
        terminal.type_line("a line");
        terminal.wait_line("read a line");
        terminal.wait_line("code 5");
        terminal.wait_prompt();
    }
}

/// The command stops at the terminal, which its shell has, while nobody can tell us.
#[test]
fn fg_brings_back_a_run_that_was_stopped_without_a_word() {
    if skipped("terminal") {
        return;
    }
    let scene = Scene::new();
    let terminal = Terminal::open(&scene);
    // Setting the terminal from its background stops the whole group, as reading does.
    let script = "#!/bin/sh\necho $$ >command; echo on\nuntil [ -e end ]; do stty echo; sleep 0.1; done\nexit 5\n";
    let script = scene.script("reads", script);
    terminal.enter(&scene.run_line(&format!("-- {script}")));
    terminal.wait_line("on");
    let command = scene.process_in("command");
    let towpath = command.parent().parent();
    for _ in 0..6 {
        until("the command to have the terminal", || command.has_terminal() && !towpath.is_stopped());
        towpath.send(Signal::STOP);
        terminal.wait_text("Stopped");
        terminal.wait_prompt();
        command.wait_stopped();
        terminal.enter("fg >fg.out; echo \"code $?\"");
        scene.line_of("fg.out");
        std::fs::remove_file(scene.path("fg.out")).unwrap();
    }
    std::fs::write(scene.path("end"), "").unwrap();
    terminal.wait_line("code 5");
}

#[test]
fn a_stopped_run_goes_on_in_the_background() {
    if skipped("terminal") {
        return;
    }
    let scene = Scene::new();
    let terminal = Terminal::open(&scene);
    assert!(scene.program("mkfifo").arg("fifo").status().unwrap().success());
    // Nothing that forks: a shell that vforks just then can't be stopped.
    terminal.enter(&scene.run_line("-- sh -c 'echo on; read line <fifo; : >ended'"));
    terminal.wait_line("on");
    terminal.key("C-z");
    terminal.wait_text("Stopped");
    terminal.enter("bg; echo >fifo; wait; echo \"code $?\"");
    terminal.wait_text("code 0");
    scene.wait_file("ended");
}

#[test]
fn ctrl_c_ends_a_pipeline_with_us_in_it() {
    if skipped("terminal") {
        return;
    }
    let scene = Scene::new();
    let terminal = Terminal::open(&scene);
    let lines = [
        format!("sleep 1000 | {}", scene.run_line("-- sh -c 'echo on >&2; exec cat'")),
        format!("{} | cat", scene.run_line("-- sh -c 'echo on >&2; exec cat'")),
    ];
    for line in lines {
        terminal.enter(&line);
        terminal.wait_line("on");
        terminal.key("C-c");
        terminal.wait_prompt();
        terminal.enter("echo \"codes ${PIPESTATUS[*]}\"");
        // Whether the other one saw the signal or its neighbour's end first is a race without us, too.
        terminal.wait_text("codes 130 ");
    }
}

/// bash goes on with its list if what it waited for exits instead of dying by
/// the SIGINT, whatever the code.
#[test]
fn ctrl_c_ends_the_shells_loop_when_it_came_to_us_alone_too() {
    if skipped("terminal") {
        return;
    }
    let scene = Scene::new();
    let holder = scene.start_sh(&["--once", "held"], "echo on; exec sleep 1000");
    holder.wait_out("on");
    let terminal = Terminal::open(&scene);
    for run in ["--no-stdin -- sh -c 'echo on; exec sleep 1000'", "--once held --wait 1h --report report -- true"] {
        terminal.enter(&format!("for i in 1 2 3; do echo \"turn $i\"; {}; done", scene.run_line(run)));
        if run.contains("held") {
            terminal.wait_line("turn 1");
            scene.wait_file("report");
        } else {
            terminal.wait_line("on");
        }
        terminal.key("C-c");
        terminal.wait_text("^C");
        until("an end or a next turn", || {
            terminal.screen().contains("turn 2\n") || terminal.screen().lines().last() == Some("READY>")
        });
        assert!(!terminal.screen().contains("turn 2\n"), "{run}: {}", terminal.screen());
    }
}

#[test]
fn a_pipeline_passes_what_is_typed() {
    if skipped("terminal") {
        return;
    }
    let scene = Scene::new();
    let terminal = Terminal::open(&scene);
    terminal.enter(&format!(
        "{} | sed -u 's/^/got /'; echo \"codes ${{PIPESTATUS[*]}}\"",
        scene.run_line("-- sh -c 'echo on >&2; exec cat'")
    ));
    terminal.wait_line("on");
    terminal.type_line("a line");
    terminal.wait_line("got a line");
    terminal.key("C-d");
    terminal.wait_line("codes 0 0");
}

#[test]
fn in_the_background_it_stops_when_it_wants_to_read_and_fg_lets_it() {
    if skipped("terminal") {
        return;
    }
    let scene = Scene::new();
    let terminal = Terminal::open(&scene);
    terminal.enter(&format!("{} &", scene.run_line("-- cat")));
    // Bash tells of it at the next prompt only.
    terminal.type_line("until jobs -s | grep -q towpath; do sleep 0.1; done; echo \"it stopped\"");
    terminal.wait_line("it stopped");
    terminal.wait_prompt();
    terminal.type_line("fg >fg.out; echo \"code $?\"");
    // When the shell has said what it takes to the foreground, its line editor has let go of the terminal.
    scene.line_of("fg.out");
    terminal.type_line("a line");
    terminal
        .wait("both lines, typed and by cat", |screen| screen.lines().filter(|line| *line == "a line").count() == 2);
    terminal.key("C-d");
    terminal.wait_line("code 0");
}

#[test]
fn a_terminal_stays_a_terminal_for_the_command() {
    if skipped("terminal") {
        return;
    }
    let scene = Scene::new();
    let terminal = Terminal::open(&scene);
    let tells = scene.script(
        "tells",
        "#!/bin/sh\nfor n in 0 1 2; do test -t $n && printf 'yes ' || printf 'no '; done; stty size\n",
    );
    for (flags, want) in [
        ("", "yes yes yes 24 80"),
        ("--pty", "yes yes yes 24 80"),
        ("--log log", "yes no no 24 80"),
        ("--once k", "yes yes yes 24 80"),
    ] {
        terminal.enter(&scene.run_line(&format!("{flags} -- {tells}")));
        terminal.wait_line(want);
    }
}

#[test]
fn a_pty_follows_the_windows_size() {
    if skipped("terminal") {
        return;
    }
    let scene = Scene::new();
    let terminal = Terminal::open(&scene);
    for flags in ["", "--pty"] {
        terminal.resize(80, 24);
        let script = scene
            .script("watch", "#!/bin/bash\ntrap 'stty size' WINCH\necho on\nuntil [ -e end ]; do sleep 0.1; done\n");
        terminal.enter(&scene.run_line(&format!("{flags} -- {script}")));
        terminal.wait_line("on");
        terminal.resize(91, 23);
        terminal.wait_line("23 91");
        std::fs::write(scene.path("end"), "").unwrap();
        terminal.wait_prompt();
        std::fs::remove_file(scene.path("end")).unwrap();
    }
}

#[test]
fn ctrl_c_in_a_pty_is_the_commands() {
    if skipped("terminal") {
        return;
    }
    let scene = Scene::new();
    let terminal = Terminal::open(&scene);
    terminal.enter(&format!("{}; echo \"code $?\"", scene.run_line("--pty -- sh -c 'echo on; exec sleep 1000'")));
    terminal.wait_line("on");
    terminal.key("C-c");
    terminal.wait_text("code 130");
    terminal.wait_prompt();
}

#[test]
fn the_terminals_settings_come_back_when_the_command_is_killed() {
    if skipped("terminal") {
        return;
    }
    let scene = Scene::new();
    let terminal = Terminal::open(&scene);
    let script = scene.script("raw", "#!/bin/sh\nstty raw -echo\necho $$ >command\nexec sleep 1000\n");
    for flags in ["", "--pty"] {
        terminal.enter("stty -a >before");
        terminal.wait_prompt();
        terminal.type_line(&format!(
            "{}; stty -a >after; echo \"code $?\"",
            scene.run_line(&format!("{flags} -- {script}"))
        ));
        scene.process_in("command").send(Signal::KILL);
        terminal.wait_line("code 0");
        assert_eq!(scene.read("before"), scene.read("after"), "{flags}");
        std::fs::remove_file(scene.path("command")).unwrap();
    }
}

#[test]
fn a_wait_for_the_lock_is_ended_by_ctrl_c() {
    if skipped("terminal") {
        return;
    }
    let scene = Scene::new();
    let holder = scene.start_sh(&["--once", "k"], "echo on; exec sleep 1000");
    holder.wait_out("on");
    let terminal = Terminal::open(&scene);
    let run = scene.run_line("--once k --wait 1h --report report -- true");
    terminal.enter(&format!("{run} || echo \"code $?\""));
    scene.wait_file("report");
    terminal.key("C-c");
    terminal.wait_prompt();
    // Who looks on is told who holds it, without -v.
    terminal.enter(&scene.run_line("--once k -- true"));
    terminal.wait_text("k is held by");
}

#[test]
fn sudo_does_not_hang() {
    if skipped("sudo") || skipped("terminal") {
        return;
    }
    let scene = Scene::new();
    if !scene.program("sudo").args(["-n", "true"]).output().is_ok_and(|tried| tried.status.success()) {
        left_out("sudo", "sudo asks for a password here, or isn't there");
        return;
    }
    scene.finish(&["--once", "k", "--log", "/dev/null"], &["sudo", "-n", "sh", "-c", "exit 7"]).assert_code(7);
    let terminal = Terminal::open(&scene);
    for flags in ["", "--pty", "--log log"] {
        terminal.enter(&format!(
            "{}; echo \"code $?\"",
            scene.run_line(&format!("{flags} -- sudo -n sh -c 'echo as root; exit 7'"))
        ));
        terminal.wait_line("code 7");
        terminal.enter(&format!(
            "{}; echo \"code $?\"",
            scene.run_line(&format!("{flags} -- sudo -n sh -c 'echo on; exec sleep 1000'"))
        ));
        terminal.wait_line("on");
        terminal.key("C-c");
        terminal.wait_prompt();
    }
}
