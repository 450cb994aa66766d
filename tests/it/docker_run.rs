//! `towpath docker run`, `stop`, `logs` and `commit` beside the docker CLI's own: the
//! same output, exit code, and container.

use std::fs;

use serde_json::Value;

use crate::support::docker::{Daemon, IMAGE};
use crate::support::running::{Finished, Running};
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::wait::until;

fn ours(daemon: &Daemon, scene: &Scene, words: &[&str]) -> Finished {
    Running::start(&mut daemon.ours(scene, words)).finish()
}

fn theirs(daemon: &Daemon, scene: &Scene, words: &[&str]) -> Finished {
    Running::start(&mut daemon.theirs(scene, words)).finish()
}

/// What of a container doesn't depend on when it was made.
fn made_of(daemon: &Daemon, name: &str) -> Value {
    let all = daemon.inspect(name);
    let mut config = all["Config"].clone();
    // The CLI asks for stdin without -i as well; a host's name is the container's id.
    for key in ["Hostname", "AttachStdin", "OpenStdin", "StdinOnce", "AttachStdout", "AttachStderr"] {
        config.as_object_mut().unwrap().remove(key);
    }
    let mut labels = config["Labels"].clone();
    if let Some(labels) = labels.as_object_mut() {
        labels.retain(|key, _| !key.starts_with("towpath"));
    }
    config["Labels"] = labels;
    if let Some(env) = config["Env"].as_array_mut() {
        // The daemon puts them together in no order of its own.
        env.sort_by_key(ToString::to_string);
    }
    let host = &all["HostConfig"];
    let keys = [
        "Binds",
        "PortBindings",
        "Memory",
        "NanoCpus",
        "PidsLimit",
        "RestartPolicy",
        "AutoRemove",
        "NetworkMode",
        "Init",
    ];
    let host: Vec<Value> = keys.iter().map(|key| as_unset(&host[*key])).collect();
    serde_json::json!({ "config": config, "host": host, "path": all["Path"], "args": all["Args"], "image": all["Image"] })
}

/// Nothing, in the ways in which it can be written.
fn as_unset(value: &Value) -> Value {
    let is_unset = value.as_object().is_some_and(serde_json::Map::is_empty)
        || value.as_array().is_some_and(Vec::is_empty)
        || *value == 0
        || *value == false;
    if is_unset { Value::Null } else { value.clone() }
}

#[test]
fn a_container_is_made_as_the_docker_cli_makes_it() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::shared(), Scene::new());
    fs::write(scene.path("vars"), "# a comment\nFROM_FILE=1\nIT_IS_HERE\nIT_ISNT\n").unwrap();
    let (dir, vars) = (format!("{}:/there:ro", scene.dir().display()), scene.name("vars"));
    let cases: [&[&str]; 10] = [
        &[IMAGE, "sleep", "1000"],
        &["-p", "18000-18010:80", "-p", "[::1]:18100:82", IMAGE, "sleep", "1000"],
        &["-e", "A=1", "-eIT_IS_HERE", "-e", "NOT_HERE", "-e", "B=", "--env-file", &vars, IMAGE, "sleep", "1000"],
        &["-v", &dir, "-v", "/unnamed", "-w", "/tmp", "-u", "1000:1000", IMAGE, "sleep", "1000"],
        &["-m64m", "--cpus", "0.5", "--pids-limit", "50", "--label", "a=b", "-l", "c", IMAGE, "sleep", "1000"],
        &["-p", "8080:80", "-p", "127.0.0.1::81/udp", "-p", "90-91:92-93", "--network", "none", IMAGE, "sleep", "1000"],
        &["--restart", "on-failure:3", "--network=host", IMAGE, "sleep", "1000"],
        &["--entrypoint", "sleep", IMAGE, "1000"],
        &["--init", "--rm", "--restart=no", IMAGE, "sh", "-c", "while :; do sleep 1; done", "--", "-x"],
        &["--pull", "missing", "--", IMAGE, "sleep", "1000"],
    ];
    for (index, words) in cases.iter().enumerate() {
        let made = ["theirs", "ours"].map(|whose| {
            let name = format!("towpath-case-{index}-{whose}");
            let words = [&["run", "-d", "--name", &name], *words].concat();
            let mut run = if whose == "ours" { daemon.ours(&scene, &words) } else { daemon.theirs(&scene, &words) };
            let id = Running::start(run.env("IT_IS_HERE", "a value")).finish().assert_code(0).out();
            assert_eq!(id.trim_end().len(), 64, "{id:?}");
            let made = made_of(daemon, &name);
            daemon.cli(&["rm", "-f", "-v", &name]);
            made
        });
        assert_eq!(made[1], made[0], "{words:?}");
    }
}

#[test]
fn a_command_s_output_and_code_are_those_of_the_docker_cli() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::shared(), Scene::new());
    let cases: [(&[&str], i32); 8] = [
        (&["sh", "-c", "echo out; echo err >&2; printf 'no end'; exit 3"], 3),
        (&["sh", "-c", "sh -c 'kill -KILL $$'; exit $?"], 137),
        (&["seq", "1", "100000"], 0),
        (&["no-such-command"], 127),
        (&["/no/such/file"], 127),
        (&["/tmp"], 126),
        (&["env", "--", "-x"], 127),
        (&["ls", "-d", "/bin"], 0),
    ];
    for (words, code) in cases {
        let words = [&["run", "--rm", "-e", "HOSTNAME=here", IMAGE], words].concat();
        let (expected, ended) = (theirs(daemon, &scene, &words), ours(daemon, &scene, &words));
        assert_eq!((ended.code, ended.out()), (expected.code, expected.out()), "{words:?}: {}", ended.err());
        assert_eq!(ended.code, Some(code), "{words:?}");
        if expected.err().starts_with("docker: ") {
            ended.assert_one_line(&["can't start", "OCI runtime create failed"]);
        } else {
            assert_eq!(ended.err(), expected.err(), "{words:?}");
        }
    }
}

#[test]
fn what_can_t_be_run_is_one_line_and_125() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::shared(), Scene::new());
    daemon.cli(&["create", "--name", "towpath-taken", IMAGE]);
    let cases: [(&[&str], &str); 5] = [
        (&["--name", "towpath-taken", IMAGE], "already in use"),
        (&["--pull", "never", "towpath-none:1"], "pull it"),
        (&["127.0.0.1:1/none", "true"], "can't pull 127.0.0.1:1/none"),
        (&["--network", "towpath-no-such", IMAGE, "true"], "not found"),
        (&["-v", "/a:/b:nonsense", IMAGE, "true"], "nonsense"),
    ];
    for (words, part) in cases {
        let words = [&["run", "--rm"], words].concat();
        assert_eq!(theirs(daemon, &scene, &words).code, Some(125), "{words:?}");
        ours(daemon, &scene, &words).assert_code(125).assert_one_line(&[part]);
    }
    daemon.cli(&["rm", "towpath-taken"]);
    let wrong: [&[&str]; 10] = [
        &["run"],
        &["run", "--bad", IMAGE],
        &["run", "--memory", "lots", IMAGE],
        &["run", "--cpus", "many", IMAGE],
        &["run", "-p", "x", IMAGE],
        &["run", "-e", "=1", IMAGE],
        &["run", "--restart", "often", IMAGE],
        &["run", "--label", "=x", IMAGE],
        &["run", "--env-file", "/no/such/file", IMAGE],
        &["run", "-d", "--timeout", "1s", IMAGE],
    ];
    for words in wrong {
        ours(daemon, &scene, words).assert_code(2).assert_one_line(&[]);
    }
}

#[test]
fn a_time_limit_ends_and_removes_the_container() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::shared(), Scene::new());
    let script = "trap '' TERM; echo up; while :; do sleep 1; done";
    let limits = ["--timeout", "1s", "--kill-after", "1s", "--name", "towpath-late"];
    let ended = ours(daemon, &scene, &[&["run"], &limits[..], &[IMAGE, "sh", "-c", script]].concat());
    ended.assert_code(124).assert_one_line(&["timed out"]);
    assert_eq!(ended.out(), "up\n");
    assert_eq!(daemon.cli(&["ps", "-aq", "-f", "name=towpath-late"]), "");
}

#[test]
fn a_signal_is_passed_on_and_the_code_is_the_container_s() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::shared(), Scene::new());
    let script = "trap 'echo told; exit 7' TERM INT; echo up; while :; do sleep 1; done";
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let words = ["run", "--rm", "--name", "towpath-told", IMAGE, "sh", "-c", script];
        let running = Running::start(&mut daemon.ours(&scene, &words));
        running.wait_out("up\n");
        running.send(signal);
        let ended = running.finish();
        assert_eq!(ended.assert_code(7).out(), "up\ntold\n");
        assert_eq!(daemon.cli(&["ps", "-aq", "-f", "name=towpath-told"]), "", "the next one may have its name");
    }
}

#[test]
fn a_reader_who_leaves_ends_the_container() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::shared(), Scene::new());
    let words = ["run", "--rm", "--name", "towpath-unread", IMAGE, "sh", "-c", "while :; do seq 1 1000; done"];
    let (running, unread) = Running::start_unread(&mut daemon.ours(&scene, &words));
    drop(unread);
    running.finish();
    until("the end", || daemon.cli(&["ps", "-aq", "-f", "name=towpath-unread"]).is_empty());
}

#[test]
fn containers_are_stopped_by_name_with_a_result_for_each() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::shared(), Scene::new());
    let run = |name: &str| daemon.cli(&["run", "-d", "--init", "--name", name, IMAGE, "sleep", "1000"]);
    run("towpath-stop-a");
    run("towpath-stop-b");
    let words = ["stop", "-t", "5", "towpath-stop-a", "towpath-stop-none", "towpath-stop-b"];
    let ended = ours(daemon, &scene, &words);
    ended.assert_code(1).assert_one_line(&["towpath-stop-none", "No such container"]);
    let expected = theirs(daemon, &scene, &words);
    assert_eq!((ended.out(), ended.code), (expected.out(), expected.code));
    assert_eq!(daemon.inspect("towpath-stop-b")["State"]["Running"], false);
    // One that doesn't run is as good as stopped; the daemon's own lists have a slash before names.
    for words in [["stop", "towpath-stop-a"], ["stop", "/towpath-stop-a"], ["logs", "/towpath-stop-a"]] {
        let (expected, ended) = (theirs(daemon, &scene, &words), ours(daemon, &scene, &words));
        assert_eq!((ended.out(), ended.code), (expected.out(), Some(0)), "{words:?}: {}", ended.err());
    }
    for name in ["", "..", "a/b"] {
        ours(daemon, &scene, &["stop", name]).assert_code(1).assert_one_line(&["can't stop"]);
    }
    daemon.cli(&["rm", "towpath-stop-a", "towpath-stop-b"]);
    for words in [&["stop"][..], &["stop", "--all", "x"], &["stop", "--dry-run", "x"], &["stop", "-f", "a=b", "x"]] {
        ours(daemon, &scene, words).assert_code(2).assert_one_line(&[]);
    }
}

#[test]
fn all_that_a_filter_lets_through_are_stopped_and_no_others() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::start(), Scene::new());
    for (name, label) in [("one", "app=web"), ("two", "app=web"), ("three", "app=db")] {
        daemon.cli(&["run", "-d", "--init", "--name", name, "--label", label, IMAGE, "sleep", "1000"]);
    }
    let all = ["stop", "--all", "--filter", "label=app=web"];
    assert_eq!(ours(&daemon, &scene, &[&all[..], &["--dry-run"]].concat()).assert_code(0).out(), "two\none\n");
    assert_eq!(daemon.cli(&["ps", "-q"]).lines().count(), 3, "a dry run stopped something");
    assert_eq!(ours(&daemon, &scene, &all).assert_code(0).out(), "two\none\n");
    assert_eq!(daemon.cli(&["ps", "--format", "{{.Names}}"]), "three");
    assert_eq!(ours(&daemon, &scene, &["stop", "--all"]).assert_code(0).out(), "three\n");
    assert_eq!(ours(&daemon, &scene, &["stop", "--all"]).assert_code(0).assert_silent().out(), "");
}

#[test]
fn what_a_killed_run_left_is_found_stopped_and_removed() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::start(), Scene::new());
    daemon.cli(&["run", "-d", "--init", "--name", "other", IMAGE, "sleep", "1000"]);
    let words = ["run", "--init", "--name", "left", IMAGE, "sh", "-c", "echo up; sleep 1000"];
    let running = Running::start(&mut daemon.ours(&scene, &words));
    running.wait_out("up\n");
    let orphans = |more: &[&str]| ours(&daemon, &scene, &[&["stop", "--orphans"], more].concat()).assert_code(0).out();
    assert_eq!(orphans(&[]), "", "its owner lives");
    running.send(rustix::process::Signal::KILL);
    running.finish();
    assert_eq!(orphans(&["--dry-run"]), "left\n");
    assert_eq!(orphans(&[]), "left\n");
    assert_eq!(daemon.cli(&["ps", "-a", "--format", "{{.Names}}"]), "other");
}

#[test]
fn a_log_is_printed_as_the_docker_cli_prints_it() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::shared(), Scene::new());
    let script = "seq 1 1000; echo err >&2; printf 'no end'";
    daemon.cli(&["run", "--name", "towpath-log", IMAGE, "sh", "-c", script]);
    daemon.docker().args(["run", "-t", "--name", "towpath-log-tty", IMAGE, "sh", "-c", script]).output().unwrap();
    let cases: [&[&str]; 8] = [
        &[],
        &["--tail", "3"],
        &["-n", "0"],
        &["--tail=-1"],
        &["-t", "--tail", "5"],
        &["--since", "10m"],
        &["--until", "10m"],
        &["-f", "--tail", "2"],
    ];
    for name in ["towpath-log", "towpath-log-tty"] {
        for flags in cases {
            let words = [&["logs"], flags, &[name]].concat();
            let (expected, ended) = (theirs(daemon, &scene, &words), ours(daemon, &scene, &words));
            assert_eq!((ended.out(), ended.err()), (expected.out(), expected.err()), "{words:?}");
            assert_eq!((ended.code, expected.code), (Some(0), Some(0)), "{words:?}");
        }
    }
    daemon.cli(&["rm", "towpath-log", "towpath-log-tty"]);
    ours(daemon, &scene, &["logs", "towpath-none"]).assert_code(1).assert_one_line(&["towpath-none"]);
    for words in [&["logs", "--since", "lately", "x"], &["logs", "--tail", "few", "x"]] {
        ours(daemon, &scene, words).assert_code(2).assert_one_line(&[]);
    }
}

#[test]
fn an_image_is_made_of_a_container_as_the_docker_cli_makes_it() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::shared(), Scene::new());
    daemon.cli(&["run", "--name", "towpath-base", IMAGE, "sh", "-c", "echo kept > /tmp/file"]);
    let made = ["theirs", "ours"].map(|whose| {
        let name = format!("127.0.0.1:5000/towpath-{whose}:2");
        let flags = ["commit", "-a", "me", "-m", "a message", "-c", "ENV A=1", "-c", "CMD [\"cat\", \"/tmp/file\"]"];
        let words = [&flags[..], &["towpath-base", &name]].concat();
        let run = if whose == "ours" { ours } else { theirs };
        let id = run(daemon, &scene, &words).assert_code(0).out();
        assert!(id.starts_with("sha256:") && id.trim_end().len() == 71, "{id}");
        assert_eq!(daemon.cli(&["run", "--rm", &name]), "kept");
        let image = daemon.inspect(&name);
        daemon.cli(&["rmi", &name]);
        ["Author", "Comment", "Config"].map(|key| image[key].clone())
    });
    assert_eq!(made[1], made[0]);
    daemon.cli(&["rm", "towpath-base"]);
    ours(daemon, &scene, &["commit", "towpath-none"]).assert_code(1).assert_one_line(&["towpath-none"]);
}
