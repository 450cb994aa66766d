//! A crontab line does what its reader expects: silence, or one mail with all of it.

use std::process::Stdio;

use rustix::process::Signal;

use crate::support::running::{Finished, Running};
use crate::support::scene::Scene;
use crate::support::wait::until;
use crate::support::{left_out, skipped};

const FLAGS: &str = "--once nightly --hold-at-least 1m --quiet-success --timeout 1h";

/// Runs a line in the environment that Debian's cron gives it: stdin an empty
/// pipe, both outputs one pipe, whose contents it would mail.
fn as_cron(scene: &Scene, line: &str) -> Finished {
    let mut command = scene.program("/bin/sh");
    let mark = command.get_envs().find_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).unwrap();
    command.env_clear().env(mark.0, mark.1);
    command.envs([("SHELL", "/bin/sh"), ("PATH", "/usr/bin:/bin"), ("LOGNAME", "root"), ("LANG", "C.UTF-8")]);
    command.env("HOME", scene.dir()).args(["-c", &format!("{{ {line}; }} 2>&1")]).stdin(Stdio::piped());
    let mut running = Running::start(&mut command);
    drop(running.stdin());
    running.finish()
}

#[test]
fn a_success_mails_nothing_and_the_other_host_is_silent_with_75() {
    let scene = Scene::new();
    let line = scene.run_line(&format!("{FLAGS} -- sh -c 'echo noise; echo noise >&2; echo ran >>ran'"));
    as_cron(&scene, &line).assert_code(0).assert_silent();
    // The other host's clock is behind: the job is over, its minute isn't.
    as_cron(&scene, &line).assert_code(75).assert_silent();
    assert_eq!(scene.read("ran"), "ran\n");
}

#[test]
fn a_failure_mails_everything_in_order_and_why() {
    let scene = Scene::new();
    let script = "echo one; sleep 0.3; echo two >&2; sleep 0.3; echo three; exit 3";
    let finished = as_cron(&scene, &scene.run_line(&format!("{FLAGS} -- sh -c '{script}'")));
    assert_eq!(finished.assert_code(3).out(), "one\ntwo\nthree\ntowpath: sh exited with code 3\n");
}

#[test]
fn a_time_limit_mails_what_was_said_and_why_it_ended() {
    let scene = Scene::new();
    let flags = FLAGS.replace("1h", "1s");
    let finished = as_cron(&scene, &scene.run_line(&format!("{flags} -- sh -c 'echo stuck; exec sleep 1000'")));
    let out = finished.assert_code(124).out();
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines.len() == 2 && lines.contains(&"stuck"), "{out:?}");
    assert!(lines.iter().any(|line| line.starts_with("towpath: ") && line.contains("1s")), "{out:?}");
}

/// Under the real one, with a `sendmail` that keeps what it gets. Lines run at
/// its start (`@reboot`), so that no minute has to pass.
#[test]
fn debians_cron_mails_what_it_should() {
    if skipped("cron") {
        return;
    }
    let scene = Scene::new();
    let Some(cron) = start_cron(&scene) else { return };
    for (name, code) in [("first", "0"), ("second", "75"), ("failed", "3"), ("late", "124")] {
        assert_eq!(scene.line_of(&format!("{name}.code")), code, "{name}");
    }
    until("two mails", || mails(&scene).len() == 2);
    let mails = mails(&scene);
    let of = |name: &str| mails.iter().find(|mail| mail.contains(&format!("{name}.code"))).unwrap();
    let body = |name: &str| of(name).split_once("\n\n").unwrap().1.to_owned();
    assert_eq!(body("failed"), "one\ntwo\nthree\ntowpath: sh exited with code 3\n");
    let late = body("late");
    assert!(
        late.lines().count() == 2 && late.contains("stuck\n") && late.contains("towpath: sh was ended"),
        "{late:?}"
    );
    cron.send(Signal::KILL);
}

fn mails(scene: &Scene) -> Vec<String> {
    let files = std::fs::read_dir(scene.dir()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    files.filter(|name| name.starts_with("mail.")).map(|name| scene.read(&name)).collect()
}

/// Starts cron with a private /etc/cron.d, /var/spool/cron, /run and sendmail,
/// in namespaces that end with it; `None`, said, where that isn't allowed.
fn start_cron(scene: &Scene) -> Option<Running> {
    let possible =
        scene.program("unshare").args(["-mpf", "--mount-proc", "mount", "-t", "tmpfs", "none", "/run"]).output();
    if !possible.is_ok_and(|tried| tried.status.success()) {
        left_out("cron", "namespaces of our own aren't allowed here; is this root?");
        return None;
    }
    let mark = scene.program("true");
    let (name, value) = mark.get_envs().find_map(|(name, value)| Some((name, value?))).unwrap();
    let dir = scene.name("");
    let line = |name: &str, flags: &str, script: &str| {
        let run = scene.run_line(&format!("{flags} -- sh -c '{script}'"));
        format!("root {run}; echo $? >{dir}{name}.code\n")
    };
    let crontab = [
        format!("{}={}\nMAILTO=root\n", name.to_str().unwrap(), value.to_str().unwrap()),
        format!("@reboot {}", line("first", FLAGS, "echo noise; echo noise >&2")),
        format!("@reboot {}", line("second", FLAGS, "echo noise").replacen("root ", "root sleep 5; ", 1)),
        format!(
            "@reboot {}",
            line(
                "failed",
                "--quiet-success --once failing --timeout 1h",
                "echo one; sleep 1; echo two >&2; sleep 1; echo three; exit 3"
            )
        ),
        format!("@reboot {}", line("late", "--quiet-success --timeout 1s", "echo stuck; exec sleep 1000")),
    ];
    std::fs::write(scene.path("crontab"), crontab.concat()).unwrap();
    scene.script(
        "sendmail",
        &format!("#!/bin/sh\nt=$(mktemp {dir}new.XXXXXX) && cat >$t && mv $t {dir}mail.${{t##*.}}\n"),
    );
    let setup = format!(
        "cp $(command -v cron || echo /usr/sbin/cron) {dir}cron
         for d in /run /etc/cron.d /var/spool/cron /usr/sbin; do mount -t tmpfs -o mode=755 none $d || exit 99; done
         mkdir -m 1730 /var/spool/cron/crontabs; : >/run/crontab; mount --bind /run/crontab /etc/crontab || exit 99
         cp {dir}sendmail /usr/sbin/; cp {dir}crontab /etc/cron.d/test; chmod 644 /etc/cron.d/test
         exec {dir}cron -f"
    );
    Some(Running::start(scene.program("unshare").args(["-mpf", "--kill-child", "--mount-proc", "sh", "-c", &setup])))
}
