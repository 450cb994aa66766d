//! `watch`: a run's lines, gaps and code, through lost connections.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::process::Command;

use rustix::process::Signal;

use crate::live_slow::lines_missed;
use crate::support::live::LINGER;
use crate::support::proxy::Proxy;
use crate::support::running::Running;
use crate::support::scene::Scene;
use crate::support::wait::until;

#[test]
fn no_line_is_lost_or_doubled_when_connections_are_cut() {
    let scene = Scene::new();
    let live = scene.serve(LINGER, "seq 1 3000; exit 3");
    live.run.wait_out("3000\n");
    // Within the head, the first record, an id, a line; and after thousands of lines.
    let cuts = [10, 150, 700, 701, 1_500, 20_000, 333, 100_000, 64_001];
    let proxy = Proxy::to(live.address()).cutting_after(&cuts);
    let watched = scene.watch(&[&proxy.url()]).finish();
    let numbers: String = (1..=3_000).map(|n| format!("{n}\n")).collect();
    assert!(watched.assert_code(3).out() == numbers, "not every line once: {}", watched.err());
    assert_eq!(proxy.accepted(), cuts.len() + 1);
    let lost = watched.err().matches("the connection was lost").count();
    assert!((5..=cuts.len()).contains(&lost), "{lost}: {}", watched.err());
    assert!(watched.err().lines().all(|line| line.ends_with("trying again")), "{}", watched.err());
}

#[test]
fn a_live_run_is_followed_across_a_cut() {
    let scene = Scene::new();
    let live = scene.serve(LINGER, "echo 1; await a; echo 2; await b; echo 3; exit 3");
    let proxy = Proxy::to(live.address());
    let watch = scene.watch(&[&proxy.url()]);
    watch.wait_out("1\n");
    proxy.cut();
    scene.touch("a");
    watch.wait_out("2\n");
    // Away for a while: what it misses meanwhile comes when it is back.
    proxy.aim(None);
    proxy.cut();
    scene.touch("b");
    live.run.wait_out("3\n");
    proxy.aim(Some(live.address()));
    let watched = watch.finish();
    assert_eq!(watched.assert_code(3).out(), "1\n2\n3\n");
    assert_eq!(lines_missed(&watched), 0);
}

#[test]
fn another_run_in_its_place_ends_it() {
    let scene = Scene::new();
    let first = scene.serve(LINGER, "echo first; exec sleep 1000");
    let proxy = Proxy::to(first.address());
    let watch = scene.watch(&[&proxy.url()]);
    watch.wait_out("first\n");
    first.run.send(Signal::KILL);
    first.run.process().wait_gone();
    let second = scene.serve(LINGER, "echo second; exit 0");
    second.run.wait_out("second\n");
    proxy.aim(Some(second.address()));
    let watched = watch.finish();
    assert_eq!(watched.assert_code(76).out(), "first\n");
    let err = watched.err();
    assert!(err.lines().last().unwrap().contains("now shows the run"), "{err}");
    // Who comes anew sees the second.
    assert_eq!(scene.watch(&[&proxy.url()]).finish().assert_code(0).out(), "second\n");
}

#[test]
fn the_same_port_taken_by_another_run_ends_it_too() {
    let scene = Scene::new();
    let first = scene.serve(LINGER, "echo first; exec sleep 1000");
    let address = first.address().to_string();
    let watch = scene.watch(&[&first.url]);
    watch.wait_out("first\n");
    first.run.send(Signal::KILL);
    first.run.process().wait_gone();
    let second = scene.serve_at(&address, LINGER, "echo second; exit 0");
    assert_eq!(second.url, first.url);
    assert_eq!(watch.finish().assert_code(76).out(), "first\n");
}

#[test]
fn a_server_gone_for_good_is_76_and_one_that_never_was_69() {
    let scene = Scene::new();
    let live = scene.serve(LINGER, "echo on; exec sleep 1000");
    let proxy = Proxy::to(live.address());
    let watch = scene.watch(&[&proxy.url(), "--retry", "1s"]);
    watch.wait_out("on\n");
    live.run.send(Signal::KILL);
    let watched = watch.finish();
    assert_eq!(watched.assert_code(76).out(), "on\n");
    let err = watched.err();
    assert!(err.contains("the connection was lost") && err.contains("the run may go on"), "{err}");
    // Port 1: nobody has listened there since RFC 1078.
    for url in ["http://127.0.0.1:1", &proxy.url()] {
        for retry in ["0s", "600ms"] {
            let watched = scene.watch(&[url, "--retry", retry]).finish();
            watched.assert_code(69).assert_one_line(&[url, "can't be reached"]);
            assert_eq!(watched.out(), "");
        }
    }
}

#[test]
fn a_run_that_starts_later_is_waited_for() {
    let scene = Scene::new();
    let live = scene.serve(LINGER, "echo on; exit 3");
    let proxy = Proxy::to(live.address());
    proxy.aim(None);
    let watch = scene.watch(&[&proxy.url()]);
    until("two tries", || proxy.accepted() >= 2);
    proxy.aim(Some(live.address()));
    assert_eq!(watch.finish().assert_code(3).out(), "on\n");
}

#[test]
fn who_has_seen_enough_ends_it_silently() {
    let scene = Scene::new();
    let live = scene.serve(LINGER, "seq 1 100000; await go; exit 3");
    let line = "\"$TOWPATH\" watch \"$URL\" | head -1; echo \"code ${PIPESTATUS[0]}\"";
    let mut shell = scene.program("bash");
    shell.args(["-c", line]).env("URL", &live.url).env("TOWPATH", env!("CARGO_BIN_EXE_towpath"));
    let finished = Running::start(&mut shell).finish();
    assert_eq!((finished.out().as_str(), finished.err().as_str()), ("1\ncode 141\n", ""));
    scene.touch("go");
    assert_eq!(live.dismiss(&scene), Some(3));
}

#[test]
fn what_goes_to_this_host_goes_past_every_proxy() {
    let scene = Scene::new();
    fs::write(scene.path("token"), "s3cret\n").unwrap();
    let live = scene.serve(&[LINGER, &["--token-file", &scene.name("token")]].concat(), "echo on; exit 3");
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let past = |command: &mut Command| {
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"] {
            command.env(name, &url);
        }
        Running::start(command.env_remove("no_proxy").env_remove("NO_PROXY")).finish()
    };
    let watched =
        past(scene.towpath().args(["watch", &live.url, "--token-file", &scene.name("token"), "--retry", "0s"]));
    assert_eq!(watched.assert_code(3).out(), "on\n");
    past(scene.run(&["-v", "--ping", &live.at("/ping")]).args(["--", "true"])).assert_code(0);
    proxy.set_nonblocking(true).unwrap();
    assert_eq!(proxy.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "it was asked");
    live.run.send(Signal::TERM);
    live.run.finish().assert_code(3);
}

#[test]
fn a_url_that_is_none_is_wrong_usage() {
    let scene = Scene::new();
    for (arguments, part) in [
        (&["127.0.0.1:8080"][..], "http://"),
        (&["http://"], "host"),
        (&["http://h", "--retry", "soon"], "--retry"),
        (&["http://h", "--token-file", "/no/such/file"], "/no/such/file"),
        (&[], "URL"),
    ] {
        let watched = scene.watch(arguments).finish();
        watched.assert_code(2).assert_one_line(&[part]);
    }
    // A secret isn't sent where others can read it.
    std::fs::write(scene.path("token"), "s3cret\n").unwrap();
    let watched = scene.watch(&["http://192.0.2.1:1", "--token-file", &scene.name("token")]).finish();
    watched.assert_code(2).assert_one_line(&["https://"]);
    assert!(!watched.err().contains("s3cret"));
}
