//! Containers by the library: made, run to a proven end, stopped, committed.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use towpath::docker::{
    AskedBy, CommitSpec, Container, ContainerSpec, Docker, Endpoint, ErrorKind, Filters, Limits, attend,
    exit_code_of_start,
};

use crate::support::docker::{Daemon, IMAGE};
use crate::support::skipped;
use crate::support::wait::until;

fn docker() -> Docker {
    Docker::connect(&Endpoint::socket(Daemon::shared().socket())).unwrap()
}

fn sh(script: &str) -> ContainerSpec {
    ContainerSpec::new().command(["sh", "-c", script])
}

/// A container that is removed at the end.
struct Gone(Container);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.remove(true).unwrap();
    }
}

fn made(docker: &Docker, spec: &ContainerSpec) -> Gone {
    let image = docker.local_image(IMAGE).unwrap();
    Gone(docker.create(&image, spec).unwrap().container)
}

/// A writer whose content can be looked at.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[test]
fn both_streams_come_apart_and_the_exit_code_is_the_containers() {
    if skipped("docker") {
        return;
    }
    let docker = docker();
    let container = made(&docker, &sh("echo out; echo err >&2; printf 'no end'; exit 3"));
    let mut running = container.0.run().unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    running.copy_to(&mut out, &mut err).unwrap();
    assert_eq!((&out[..], &err[..]), (&b"out\nno end"[..], &b"err\n"[..]));
    let exit = running.finish().unwrap();
    assert_eq!((exit.code, exit.oom_killed), (3, false));
}

#[test]
fn fifty_containers_in_a_row_lose_no_line() {
    if skipped("docker") {
        return;
    }
    let docker = docker();
    for number in 0..50 {
        // The quickest end there is: a program without a shell.
        let spec = ContainerSpec::new().command(["echo", &format!("line {number}")]).auto_remove();
        let container = made(&docker, &spec);
        let mut running = container.0.run().unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        running.copy_to(&mut out, &mut err).unwrap();
        assert_eq!((String::from_utf8_lossy(&out), &err[..]), (format!("line {number}\n").into(), &b""[..]));
        assert_eq!(running.finish().unwrap().code, 0);
    }
}

#[test]
fn nineteen_megabytes_reach_a_slow_reader_whole() {
    if skipped("docker") {
        return;
    }
    let docker = docker();
    let container = made(&docker, &sh("seq 1 2600000"));
    let mut running = container.0.run().unwrap();
    let (mut bytes, mut next, mut reads) = (0, 1u64, 0);
    let mut line = Vec::new();
    while let Some(chunk) = running.next_chunk().unwrap() {
        bytes += chunk.bytes.len();
        for byte in chunk.bytes {
            if *byte == b'\n' {
                assert_eq!(std::str::from_utf8(&line).unwrap(), next.to_string());
                (next, line) = (next + 1, Vec::new());
            } else {
                line.push(*byte);
            }
        }
        reads += 1;
        if reads % 50 == 0 {
            // Slower than the container: it has to wait for us.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert_eq!(next, 2_600_001);
    assert!(bytes > 19_000_000, "{bytes}");
    assert_eq!(running.finish().unwrap().code, 0);
}

#[test]
fn output_that_nobody_reads_does_not_hide_the_end() {
    if skipped("docker") {
        return;
    }
    let docker = docker();
    let container = made(&docker, &sh("seq 1 200000; exit 9"));
    assert_eq!(container.0.run().unwrap().finish().unwrap().code, 9);
    // The output may end long before the container does.
    let silent = made(&docker, &sh("exec >&- 2>&-; sleep 1; exit 4"));
    assert_eq!(silent.0.run().unwrap().finish().unwrap().code, 4);
}

#[test]
fn a_start_that_fails_has_the_shells_code_and_ends_at_once() {
    if skipped("docker") {
        return;
    }
    let docker = docker();
    for (command, code) in [("no-such-program", 127), ("/no/such/program", 127), ("/tmp", 126)] {
        let container = made(&docker, &ContainerSpec::new().command([command]));
        let error = container.0.run().unwrap_err();
        assert_eq!(exit_code_of_start(&error), code, "{error}");
        assert_eq!(error.to_string().lines().count(), 1);
    }
}

#[test]
fn what_is_asked_for_is_what_the_container_has() {
    if skipped("docker") {
        return;
    }
    let docker = docker();
    let spec = sh("echo $A; pwd; id -u; id -g")
        .name("towpath-spec")
        .env("A=a b")
        .workdir("/tmp")
        .user("7:8")
        .label("color", "green")
        .memory(64 << 20)
        .cpus(500_000_000)
        .pids_limit(50)
        .network("none");
    let container = made(&docker, &spec);
    let mut running = container.0.run().unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    running.copy_to(&mut out, &mut err).unwrap();
    assert_eq!(String::from_utf8_lossy(&out), "a b\n/tmp\n7\n8\n");
    assert_eq!(running.finish().unwrap().code, 0);
    let seen = Daemon::shared().inspect("towpath-spec");
    let host = &seen["HostConfig"];
    assert_eq!(
        (&host["Memory"], &host["NanoCpus"], &host["PidsLimit"]),
        (&(64 << 20).into(), &500_000_000.into(), &50.into())
    );
    assert_eq!((&seen["Config"]["Labels"]["color"], &host["NetworkMode"]), (&"green".into(), &"none".into()));
    let image = docker.local_image(IMAGE).unwrap();
    let taken = docker.create(&image, &sh("true").name("towpath-spec")).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict, "{taken}");
    let listed = docker.containers(true, &Filters::new().with("label", "color=green")).unwrap();
    assert_eq!(listed.iter().map(|one| one.names.clone()).collect::<Vec<_>>(), [["towpath-spec"]]);
    assert_eq!(docker.containers(true, &Filters::new().with("label", "color=red")).unwrap(), []);
    assert_eq!(docker.containers(true, &Filters::new().with("no", "such")).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_container_is_stopped_within_its_grace_and_removed() {
    if skipped("docker") {
        return;
    }
    let docker = docker();
    let polite = made(&docker, &sh("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"));
    let mut running = polite.0.run().unwrap();
    assert_eq!(running.next_chunk().unwrap().unwrap().bytes, b"ready\n");
    assert!(polite.0.stop(Some(Duration::from_secs(60))).unwrap());
    assert_eq!(running.finish().unwrap().code, 5);
    assert!(!polite.0.stop(None).unwrap(), "it doesn't run any more");
    // The first process of a container has no default for TERM.
    let deaf = made(&docker, &sh("sleep 1000"));
    let running = deaf.0.run().unwrap();
    assert!(deaf.0.stop(Some(Duration::ZERO)).unwrap());
    assert_eq!(running.finish().unwrap().code, 137);
    let gone = docker.container(deaf.0.id());
    gone.remove(false).unwrap();
    gone.remove(false).unwrap();
    assert_eq!(gone.inspect().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(gone.stop(None).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_time_limit_asks_and_then_kills() {
    if skipped("docker") {
        return;
    }
    let docker = docker();
    let container = made(&docker, &sh("trap 'echo asked' TERM; while :; do sleep 0.05; done"));
    let limits = Limits { timeout: Some(Duration::from_millis(500)), grace: Duration::from_millis(500) };
    let out = Kept::default();
    let never = crossbeam_channel::never();
    let ended = attend(&container.0, limits, &never, out.clone(), std::io::sink()).unwrap();
    assert_eq!((ended.asked_by, ended.exit.code), (AskedBy::Timeout, 137));
    assert_eq!(out.text(), "asked\n");
}

#[test]
fn signals_are_passed_on_and_the_second_one_kills() {
    if skipped("docker") {
        return;
    }
    let docker = docker();
    let container =
        made(&docker, &sh("trap 'echo INT' INT; trap 'echo USR1' USR1; echo ready; while :; do sleep 0.05; done"));
    let (send, signals) = crossbeam_channel::bounded(8);
    let out = Kept::default();
    let limits = Limits { timeout: None, grace: Duration::from_secs(300) };
    let ended = std::thread::scope(|scope| {
        let attending = scope.spawn(|| attend(&container.0, limits, &signals, out.clone(), std::io::sink()));
        for (signal, seen) in [(10, "USR1\n"), (2, "INT\n")] {
            until("the container", || out.text().starts_with("ready\n"));
            send.send(signal).unwrap();
            until(seen, || out.text().ends_with(seen));
        }
        send.send(15).unwrap();
        attending.join().unwrap().unwrap()
    });
    assert_eq!((ended.asked_by, ended.exit.code), (AskedBy::Signal(2), 137));
}

#[test]
fn a_container_whose_output_nobody_takes_is_ended() {
    if skipped("docker") {
        return;
    }
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let docker = docker();
    let container = made(&docker, &sh("trap 'exit 0' TERM; while :; do echo y; done"));
    let never = crossbeam_channel::never();
    let error = attend(&container.0, Limits::default(), &never, Closed, Closed).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Local);
    assert!(!container.0.inspect().unwrap().running);
}

#[test]
fn a_container_becomes_an_image() {
    if skipped("docker") {
        return;
    }
    let docker = docker();
    let container = made(&docker, &sh("echo kept >/kept"));
    assert_eq!(container.0.run().unwrap().finish().unwrap().code, 0);
    let spec = CommitSpec {
        reference: Some("towpath-committed:2".to_owned()),
        author: Some("A <a@b>".to_owned()),
        message: Some("why & how".to_owned()),
        changes: vec!["ENV A=1".to_owned(), "CMD [\"cat\", \"/kept\"]".to_owned()],
        running: false,
    };
    let id = container.0.commit(&spec).unwrap();
    let image = docker.local_image("towpath-committed:2").unwrap();
    assert_eq!(image.id(), id);
    let made = Gone(docker.create(&image, &ContainerSpec::new()).unwrap().container);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    made.0.run().unwrap().copy_to(&mut out, &mut err).unwrap();
    assert_eq!(out, b"kept\n");
    let seen = Daemon::shared().inspect("towpath-committed:2");
    assert_eq!((&seen["Author"], &seen["Comment"]), (&"A <a@b>".into(), &"why & how".into()));
    drop(made);
    Daemon::shared().cli(&["rmi", "towpath-committed:2"]);
}
