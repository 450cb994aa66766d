//! Logs by the library: all of them, a part, and followed across lost connections.

use std::time::{Duration, SystemTime};

use towpath::docker::{Container, ContainerSpec, Docker, Endpoint, LogsQuery};

use crate::support::docker::{Daemon, IMAGE, Settings};
use crate::support::proxy::Proxy;
use crate::support::skipped;

fn started(docker: &Docker, script: &str) -> Container {
    let spec = ContainerSpec::new().command(["sh", "-c", script]);
    let container = docker.create(&docker.local_image(IMAGE).unwrap(), &spec).unwrap().container;
    assert!(container.start().unwrap());
    container
}

fn read(container: &Container, query: &LogsQuery) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    container.logs(query).unwrap().copy_to(&mut out, &mut err).unwrap();
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn has_ended(container: &Container) {
    crate::support::wait::until("the container's end", || !container.inspect().unwrap().running);
}

#[test]
fn a_log_is_read_whole_or_in_part() {
    if skipped("docker") {
        return;
    }
    let docker = Docker::connect(&Endpoint::socket(Daemon::shared().socket())).unwrap();
    let container = started(&docker, "echo one; echo two >&2; sleep 1.1; echo three");
    has_ended(&container);
    let all = LogsQuery::default();
    assert_eq!(read(&container, &all), ("one\nthree\n".into(), "two\n".into()));
    assert_eq!(read(&container, &LogsQuery { tail: Some(1), ..all.clone() }).0, "three\n");
    assert_eq!(read(&container, &LogsQuery { tail: Some(0), ..all.clone() }).0, "");
    let (stamped, _) = read(&container, &LogsQuery { timestamps: true, ..all.clone() });
    let moments: Vec<SystemTime> =
        stamped.lines().map(|line| humantime::parse_rfc3339(line.split(' ').next().unwrap()).unwrap()).collect();
    assert_eq!(moments.len(), 2);
    let between = moments[1] - Duration::from_millis(500);
    assert_eq!(read(&container, &LogsQuery { since: Some(between), ..all.clone() }), ("three\n".into(), String::new()));
    assert_eq!(read(&container, &LogsQuery { until: Some(between), ..all.clone() }), ("one\n".into(), "two\n".into()));
    // Followed, one that has ended ends.
    assert_eq!(read(&container, &LogsQuery { follow: true, ..all }), ("one\nthree\n".into(), "two\n".into()));
    container.remove(true).unwrap();
}

#[test]
fn a_followed_log_loses_and_doubles_no_line_when_its_connection_breaks() {
    if skipped("docker") {
        return;
    }
    let daemon = Daemon::with(Settings::new().plain());
    let direct = Docker::connect(&Endpoint::socket(daemon.socket())).unwrap();
    let long = "x".repeat(40_000);
    let script = format!(
        "i=0; while [ $i -lt 300 ]; do echo out $i; echo err $i >&2; i=$((i+1)); \
         [ $((i % 50)) = 0 ] && sleep 0.1; done; printf '%s\\n' {long}; echo end"
    );
    let container = started(&direct, &script);
    let server = daemon.plain_host().trim_start_matches("tcp://").parse().unwrap();
    // The first connection is that of the questions; those of the log break after so many
    // bytes, within frames and between them.
    let proxy =
        Proxy::to(server).cutting_after(&[1_000_000, 5_000, 9_000, 15_000, 1_000, 22_000, 30_000, 10_000, 47_000]);
    let docker = Docker::connect(&Endpoint::plain(&proxy.host()).unwrap()).unwrap();
    let container = docker.container(container.id());
    let (out, err) = read(&container, &LogsQuery { follow: true, ..LogsQuery::default() });
    let wanted = |name: &str| (0..300).map(|i| format!("{name} {i}\n")).collect::<String>();
    assert_eq!(out, format!("{}{long}\nend\n", wanted("out")));
    assert_eq!(err, wanted("err"));
    assert!(proxy.accepted() > 4, "it broke: {}", proxy.accepted());
}

#[test]
fn a_followed_log_ends_at_the_moment_until_which_it_is_wanted() {
    if skipped("docker") {
        return;
    }
    let docker = Docker::connect(&Endpoint::socket(Daemon::shared().socket())).unwrap();
    let container = started(&docker, "while :; do echo tick; sleep 0.1; done");
    let until = Some(SystemTime::now() + Duration::from_secs(1));
    let query = LogsQuery { follow: true, until, timestamps: true, ..LogsQuery::default() };
    let (out, err) = read(&container, &query);
    assert!(out.ends_with(" tick\n") && err.is_empty(), "{out}");
    let last = out.lines().last().unwrap().split(' ').next().unwrap();
    assert!(Some(humantime::parse_rfc3339(last).unwrap()) <= until, "{out}");
    assert!(container.inspect().unwrap().running);
    container.remove(true).unwrap();
}

#[test]
fn a_followed_log_that_breaks_in_silence_is_asked_for_again_and_says_nothing_twice() {
    if skipped("docker") {
        return;
    }
    let daemon = Daemon::with(Settings::new().plain());
    let direct = Docker::connect(&Endpoint::socket(daemon.socket())).unwrap();
    let container = started(&direct, "echo one; sleep 1000");
    let server = daemon.plain_host().trim_start_matches("tcp://").parse().unwrap();
    let proxy = Proxy::to(server);
    let docker = Docker::connect(&Endpoint::plain(&proxy.host()).unwrap()).unwrap();
    let mut logs = docker.container(container.id()).logs(&LogsQuery { follow: true, ..LogsQuery::default() }).unwrap();
    assert_eq!(logs.next_chunk().unwrap().unwrap().bytes, b"one\n");
    // Cut while nothing is said: it is asked for again, and what comes then isn't what was given.
    let before = proxy.accepted();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut rest = Vec::new();
            logs.copy_to(&mut rest, &mut std::io::sink()).map(|()| rest)
        });
        proxy.cut();
        crate::support::wait::until("a new connection", || proxy.accepted() > before);
        container.kill("KILL").unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), b"");
    });
}
