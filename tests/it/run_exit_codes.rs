//! What `towpath run` exits with, and the one line that says why.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::support::left_out;
use crate::support::scene::Scene;

#[test]
fn the_commands_own_code_is_ours() {
    let scene = Scene::new();
    for code in [0, 1, 3, 75, 124, 255] {
        scene.finish_sh(&[], &format!("exit {code}")).assert_code(code).assert_silent();
    }
}

#[test]
fn a_command_that_a_signal_ended_gives_128_and_its_number() {
    let scene = Scene::new();
    for (name, code) in [("HUP", 129), ("INT", 130), ("KILL", 137), ("USR1", 138), ("SEGV", 139), ("TERM", 143)] {
        // A core dump in the scene's directory would do no harm, but take time.
        scene.finish_sh(&[], &format!("ulimit -c 0; kill -{name} $$")).assert_code(code).assert_silent();
    }
}

#[test]
fn a_command_that_does_not_exist_is_127() {
    let scene = Scene::new();
    scene.finish(&[], &["no-such-command"]).assert_code(127).assert_one_line(&["no-such-command", "not found"]);
    scene.finish(&[], &["/no/such/command"]).assert_code(127).assert_one_line(&["/no/such/command", "not found"]);
    scene.finish(&[], &["./no-such"]).assert_code(127).assert_one_line(&["./no-such"]);
    scene.finish(&[], &[""]).assert_code(127);
}

#[test]
fn a_command_that_cannot_be_executed_is_126() {
    let scene = Scene::new();
    fs::write(scene.path("plain"), "#!/bin/sh\n").unwrap();
    fs::create_dir(scene.path("directory")).unwrap();
    for command in ["./plain", "./directory", "/"] {
        let finished = scene.finish(&[], &[command]);
        finished.assert_code(126).assert_one_line(&[command, "can't be executed"]);
    }
}

#[test]
fn a_script_without_an_interpreter_line_is_run_by_sh_as_env_and_timeout_do() {
    let scene = Scene::new();
    scene.script("script", "echo it ran; exit 4\n");
    let by_env = scene.program("env").arg("./script").output().unwrap();
    let by_us = scene.finish(&[], &["./script"]);
    assert_eq!((by_us.code, &by_us.out), (by_env.status.code(), &by_env.stdout));
    assert_eq!(by_us.assert_code(4).out(), "it ran\n");
}

#[test]
fn a_script_whose_interpreter_is_missing_is_127() {
    let scene = Scene::new();
    scene.script("script", "#!/no/such/interpreter\n");
    scene.finish(&[], &["./script"]).assert_code(127).assert_one_line(&["./script"]);
}

#[test]
fn the_command_is_looked_for_in_our_path() {
    let scene = Scene::new();
    fs::create_dir(scene.path("bin")).unwrap();
    scene.script("bin/only-here", "#!/bin/sh\nexit 9\n");
    let mut command = scene.run(&["--", "only-here"]);
    command.env("PATH", format!("{}:/usr/bin:/bin", scene.name("bin")));
    crate::support::running::Running::start(&mut command).finish().assert_code(9).assert_silent();
}

#[test]
fn wrong_usage_is_2_and_one_line_that_names_the_right_flag() {
    let scene = Scene::new();
    let cases: &[(&[&str], &[&str])] = &[
        (&["run"], &["CMD", "towpath run --help"]),
        (&["run", "--timout", "5s", "--", "true"], &["--timout", "--timeout"]),
        (&["run", "--quiet", "--", "true"], &["--quiet", "--quiet-success"]),
        (&["run", "--timeout", "5", "--", "true"], &["--timeout", "90s"]),
        (&["run", "--timeout=-1s", "--", "true"], &["--timeout"]),
        (&["run", "--wait", "5s", "--", "true"], &["--wait", "--once"]),
        (&["run", "--hold-at-least", "5s", "--", "true"], &["--hold-at-least", "--once"]),
        // Without a lock it would run all the same, and nobody would know.
        (&["run", "--store", "file:/nowhere", "--", "true"], &["--store", "--once"]),
        #[cfg(feature = "http")]
        (&["run", "--token-file", "token", "--", "true"], &["--token-file", "--listen"]),
        #[cfg(feature = "tls")]
        (&["run", "--ca", "ca.pem", "--", "true"], &["--ca", "--ping"]),
        #[cfg(feature = "http")]
        (&["logs", "--folow", "a.log"], &["--folow", "towpath logs --help"]),
        #[cfg(feature = "http")]
        (&["watch"], &["URL", "towpath watch --help"]),
        (&["run", "--once"], &["--once"]),
        (&["run", "--once", "", "--", "true"], &["--once"]),
        (&["run", "--once", "k", "--store", "redsi://h", "--", "true"], &["--store", "redsi", "file:DIR"]),
        (&["run", "--once", "k", "--store", "file:relative", "--", "true"], &["--store", "file:/DIR"]),
        (&["run", "--once", "k", "--busy-exit", "256", "--", "true"], &["--busy-exit"]),
        (&["run", "--if-unreachable", "skip", "--", "true"], &["--if-unreachable", "--once"]),
        (&["run", "--once", "k", "--if-unreachable", "wait", "--", "true"], &["--if-unreachable", "wait"]),
        (&["run", "--include", "(", "--", "true"], &["--include", "("]),
        (&["run", "--exclude", "[z-a]", "--", "true"], &["--exclude", "[z-a]"]),
        (&["run", "--ping", "ftp://host", "--", "true"], &["--ping", "http"]),
        (&["run", "--config", "/no/such.conf", "--", "true"], &["/no/such.conf"]),
        (&["rum", "--", "true"], &["rum", "run"]),
        (&["run", "--timeout", "1s", "--timeout", "2s", "--", "true"], &["--timeout"]),
        (&[], &["towpath run"]),
    ];
    for (arguments, parts) in cases {
        let mut command = scene.towpath();
        let finished = crate::support::running::Running::start(command.args(*arguments)).finish();
        assert_eq!(finished.code, Some(2), "{arguments:?}: {}{}", finished.out(), finished.err());
        finished.assert_one_line(parts);
        assert_eq!(finished.out(), "", "{arguments:?}");
    }
}

#[cfg(feature = "redis")]
#[test]
fn what_does_not_fit_a_lock_in_redis_is_2_before_anybody_is_asked() {
    let scene = Scene::new();
    // Nobody listens there: who asked would get 69.
    let redis = ["--once", "k", "--store", "redis://127.0.0.1:1"];
    let cases: &[(&[&str], &[&str])] = &[
        (&["--ttl", "999ms"], &["--ttl", "1s"]),
        (&["--ttl", "10s", "--kill-after", "5001ms"], &["--kill-after", "10s", "5s"]),
        (&["--kill-after", "16s"], &["--kill-after", "30s", "15s"]),
    ];
    for (flags, parts) in cases {
        let finished = scene.finish(&[&redis[..], flags].concat(), &["touch", "ran"]);
        finished.assert_code(2).assert_one_line(parts);
        assert!(!scene.path("ran").exists());
    }
    for flags in [&["--ttl", "5s"][..], &["--store-password-file", "/etc/hostname"]] {
        let mut command = scene.towpath();
        command.args(["run", "--config", &scene.name("towpath.conf")]).args(flags).args(["--", "true"]);
        let finished = crate::support::running::Running::start(&mut command).finish();
        finished.assert_code(2).assert_one_line(&[flags[0], "does nothing without"]);
    }
    // A lock in a directory doesn't lapse, so there is nothing that a grace could outlast.
    scene.finish(&["--once", "k", "--kill-after", "16s"], &["true"]).assert_code(0).assert_silent();
}

#[test]
fn a_store_that_cannot_be_used_is_skipped_or_done_without_if_that_was_asked_for() {
    let scene = Scene::new();
    let flags = ["--store", "file:/no/such/place", "--once", "k", "--if-unreachable"];
    let with = |choice: &[&str], script: &str| scene.finish_sh(&[&flags[..], choice].concat(), script);
    with(&["fail"], "touch ran").assert_code(69).assert_one_line(&["/no/such/place", "nothing was run"]);
    with(&["skip"], "touch ran").assert_code(0).assert_silent();
    with(&["skip", "-v"], "touch ran").assert_code(0).assert_one_line(&["/no/such/place", "skipped"]);
    assert!(!scene.path("ran").exists());
    let report = scene.name("report");
    let finished = with(&["run", "-v", "--report", &report], "touch ran; echo \"fence <$TOWPATH_FENCE>\"; exit 3");
    assert_eq!(finished.assert_code(3).assert_one_line(&["/no/such/place", "without its lock"]).out(), "fence <>\n");
    let report = scene.report("report");
    assert_eq!((&report["outcome"], &report["fence"]), (&"exited".into(), &serde_json::Value::Null));
    assert!(report["ran_without_lock"].as_str().unwrap().contains("/no/such/place"));
}

#[test]
fn nothing_of_the_commands_own_flags_is_ours() {
    let scene = Scene::new();
    let mut command = scene.run(&["sh", "-c", "echo $*", "sh", "--help", "--timeout", "-v", "--", "--"]);
    let finished = crate::support::running::Running::start(&mut command).finish();
    assert_eq!(finished.assert_code(0).out(), "--help --timeout -v -- --\n");
}

#[test]
fn the_longest_durations_are_for_ever() {
    let scene = Scene::new();
    let longest = "18446744073709551615s";
    let run = scene.start_sh(&["--kill-after", longest, "--timeout", longest], "echo on; exec sleep 1000");
    run.wait_out("on\n");
    run.send(Signal::TERM);
    assert_eq!(run.finish().assert_code(143).err(), "");
}

#[test]
fn what_others_named_gives_a_terminal_no_orders() {
    let scene = Scene::new();
    let finished = scene.finish(&[], &["./no\u{1b}]0;title\u{7}\u{9b}31m\nsuch"]);
    finished.assert_code(127).assert_one_line(&[r"./no\u{1b}]0;title\u{7}\u{9b}31m such"]);
}

#[test]
fn a_time_limit_that_passes_is_124() {
    let scene = Scene::new();
    let finished = scene.finish(&["--timeout", "200ms"], &["sleep", "1000"]);
    finished.assert_code(124).assert_one_line(&["sleep", "200ms"]);
    // Also for a command that makes something of the signal.
    let finished = scene.finish_sh(&["--timeout", "200ms"], "trap 'exit 0' TERM; while :; do sleep 0.05; done");
    finished.assert_code(124);
}

#[test]
fn a_log_or_report_that_cannot_be_written_is_74_before_the_command_starts() {
    let scene = Scene::new();
    fs::create_dir(scene.path("directory")).unwrap();
    for flag in ["--log", "--report"] {
        for path in ["/no/such/dir/file", &scene.name("directory"), "/proc/self/nothing"] {
            let finished = scene.finish(&[flag, path], &["touch", "ran"]);
            finished.assert_code(74).assert_one_line(&[path, "nothing was run"]);
            assert!(!scene.path("ran").exists(), "{flag} {path}");
        }
    }
}

/// One line that names the directory and has `parts`; nothing was run.
#[track_caller]
fn assert_store_refused(scene: &Scene, store: &str, parts: &[&str]) {
    let finished = scene.finish(&["--store", &format!("file:{store}"), "--once", "k"], &["touch", "ran"]);
    finished.assert_code(69).assert_one_line(&[store, "nothing was run"]).assert_one_line(parts);
    assert!(!scene.path("ran").exists());
    let report = scene.name("report.json");
    let flags = ["--store", &format!("file:{store}"), "--once", "k", "--report", &report];
    scene.finish(&flags, &["touch", "ran"]).assert_code(69);
    let report = scene.report("report.json");
    assert_eq!((report["outcome"].as_str(), report["exit_code"].as_i64()), (Some("store-unreachable"), Some(69)));
}

#[test]
fn a_store_directory_that_others_may_write_is_69() {
    let scene = Scene::new();
    fs::create_dir(scene.path("open")).unwrap();
    fs::set_permissions(scene.path("open"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_store_refused(&scene, &scene.name("open"), &["0777", "chmod 700"]);
}

#[test]
fn a_store_directory_of_somebody_else_is_69() {
    let scene = Scene::new();
    let store = if rustix::process::geteuid().is_root() {
        fs::create_dir(scene.path("theirs")).unwrap();
        std::os::unix::fs::chown(scene.path("theirs"), Some(12_345), None).unwrap();
        scene.name("theirs")
    } else {
        "/usr".to_owned()
    };
    assert_store_refused(&scene, &store, &["belongs to user"]);
}

#[test]
fn a_store_that_is_a_file_a_link_or_nowhere_is_69() {
    let scene = Scene::new();
    fs::write(scene.path("file"), "").unwrap();
    fs::create_dir(scene.path("real")).unwrap();
    std::os::unix::fs::symlink(scene.path("real"), scene.path("link")).unwrap();
    assert_store_refused(&scene, &scene.name("file"), &["no directory"]);
    assert_store_refused(&scene, &scene.name("link"), &["symbolic link"]);
    assert_store_refused(&scene, &scene.name("no/such/place"), &["create the directory above"]);
}

#[test]
fn a_read_only_or_full_store_is_69() {
    let scene = Scene::new();
    let run = scene.run_line("--once k -- touch ran").replace(&scene.store(), "file:disk/s");
    let run = run.replace("file:disk/s", &format!("file:{}", scene.name("disk/s")));
    let script = format!(
        "mkdir disk && mount -t tmpfs -o size=64k,mode=700 none disk && mkdir -m 700 disk/s && cd {dir} || exit 99
         mount -o remount,bind,ro disk || exit 99
         {run}; echo $?
         mount -o remount,bind,rw disk; cat /dev/zero >disk/ballast 2>/dev/null
         {run}; echo $?
         rm disk/ballast
         {run}; echo $?",
        dir = scene.name(""),
    );
    let finished = in_own_mounts(&scene, &script);
    let Some(finished) = finished else { return };
    let lines: Vec<String> = finished.err().lines().map(str::to_owned).collect();
    assert_eq!(finished.out(), "69\n69\n0\n", "{lines:?}");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("read-only") && lines[0].contains("disk/s"), "{lines:?}");
    assert!(lines[1].contains("full") && lines[1].contains("disk/s"), "{lines:?}");
    assert!(scene.path("ran").exists());
}

/// Runs a script with mounts of its own, which end with it; `None`, said, where that isn't allowed.
pub(crate) fn in_own_mounts(scene: &Scene, script: &str) -> Option<crate::support::running::Finished> {
    for way in ["-m", "-rm"] {
        let can = scene.program("unshare").args([way, "mount", "-t", "tmpfs", "none", "/mnt"]).output();
        if can.is_ok_and(|can| can.status.success()) {
            let mut command = scene.program("unshare");
            command.args([way, "sh", "-c", script]);
            return Some(crate::support::running::Running::start(&mut command).finish());
        }
    }
    left_out("mount", "nothing can be mounted here, not even in a namespace of our own");
    None
}
