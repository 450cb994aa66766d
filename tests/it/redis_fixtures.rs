//! What the tests of Redis stand on: the servers, groups and foreign clients of
//! `support::redis` do what a real failure does, and come back from it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::support::process::Process;
use crate::support::proxy::Proxy;
use crate::support::redis::{Cluster, Peer, Quorum, Redis, Sentinel, Settings, has_redlock};
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::wait::{PATIENCE, until};

const TTL: Duration = Duration::from_secs(60);
const AT_ONCE: Duration = Duration::ZERO;

#[test]
fn a_dropped_server_is_gone_even_if_it_was_stopped() {
    if skipped("redis") {
        return;
    }
    let gone = |leave: fn(&Redis)| {
        let server = Redis::start();
        let process: Process = server.process().unwrap();
        leave(&server);
        assert!(process.is_alive());
        drop(server);
        assert!(!process.is_alive());
    };
    gone(|_| ());
    gone(Redis::stop);
}

#[test]
fn a_stopped_server_takes_connections_and_answers_after_it_goes_on() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    server.cli(&["SET", "k", "v"]);
    server.stop();
    assert!(!server.runs());
    let mut client = connect(&server.address().to_string());
    client.write_all(b"GET k\r\n").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(client.read(&mut [0; 16]).is_err(), "a stopped server answers");
    server.go_on();
    assert_eq!(read(&mut client, 7), "$1\r\nv\r\n");
    assert!(server.runs());
}

#[test]
fn a_killed_server_comes_back_on_its_port_empty_or_with_its_data() {
    if skipped("redis") {
        return;
    }
    for (settings, after) in [(Settings::new(), "(nil)"), (Settings::new().persistent(), "v")] {
        let server = Redis::with(settings);
        let url = server.url();
        server.cli(&["SET", "k", "v"]);
        server.kill();
        assert!(TcpStream::connect(server.address()).is_err() && server.try_cli(&["PING"]).is_err());
        server.restart();
        assert_eq!((server.cli(&["GET", "k"]).as_str(), server.url()), (after, url));
    }
}

#[test]
fn passwords_users_memory_and_tls_are_as_set() {
    if skipped("redis") {
        return;
    }
    let settings =
        Settings::new().password("secret").user("app", "other", "~app:* &* +@all").memory("50mb", "allkeys-lru");
    let server = Redis::with(settings.clone());
    assert!(server.url().starts_with("redis://:secret@127.0.0.1:"), "{}", server.url());
    assert_eq!(server.cli(&["CONFIG", "GET", "maxmemory-policy"]), "maxmemory-policy\nallkeys-lru");
    let by_socket = format!("--no-auth-warning -s {} PING", server.socket().display());
    assert_eq!(redis_cli(&by_socket), "NOAUTH Authentication required.");
    assert_eq!(redis_cli(&format!("--no-auth-warning -p {} -a secret PING", server.port())), "PONG");
    let as_app = format!("--no-auth-warning -p {} --user app --pass other", server.port());
    assert!(redis_cli(&format!("{as_app} GET k")).starts_with("NOPERM"));
    assert_eq!(redis_cli(&format!("{as_app} SET app:k v")), "OK");

    let settings = Settings::new().tls();
    let server = Redis::with(settings.clone());
    assert!(server.url().starts_with("rediss://localhost:"), "{}", server.url());
    let (certificate, key) = settings.client_pair();
    let tls = format!("--tls --cacert {} -h localhost -p {}", settings.ca().display(), server.port());
    assert_eq!(redis_cli(&format!("{tls} PING")), "PONG");
    assert_eq!(redis_cli(&format!("{tls} --cert {} --key {} PING", certificate.display(), key.display())), "PONG");
    assert_ne!(redis_cli(&format!("-p {} PING", server.port())), "PONG");
}

#[test]
fn a_proxy_hangs_delays_cuts_and_heals() {
    if skipped("redis") {
        return;
    }
    let server = Redis::start();
    let proxy = Proxy::to(server.address());
    let mut client = connect(&proxy.host());
    client.write_all(b"PING\r\n").unwrap();
    assert_eq!(read(&mut client, 7), "+PONG\r\n");

    proxy.hang();
    let mut other = connect(&proxy.host());
    for hung in [&mut client, &mut other] {
        hung.write_all(b"INCR k\r\n").unwrap();
        hung.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(hung.read(&mut [0; 16]).is_err(), "something passes");
    }
    assert_eq!(server.cli(&["GET", "k"]), "(nil)");
    proxy.heal();
    read(&mut client, 4);
    read(&mut other, 4);
    assert_eq!(server.cli(&["GET", "k"]), "2");

    proxy.delay(Duration::from_millis(100));
    let began = std::time::Instant::now();
    client.write_all(b"PING\r\n").unwrap();
    read(&mut client, 7);
    assert!(began.elapsed() >= Duration::from_millis(200), "each way");

    proxy.hang();
    proxy.cut();
    assert!(matches!(client.read(&mut [0; 16]), Ok(0) | Err(_)));
    proxy.heal();
    proxy.aim(None);
    assert!(matches!(connect(&proxy.host()).read(&mut [0; 16]), Ok(0) | Err(_)));
    assert_eq!(proxy.accepted(), 3);
}

#[test]
fn a_cluster_fails_over_when_a_master_is_killed_or_stopped() {
    if skipped("redis") {
        return;
    }
    let cluster = Cluster::start();
    assert!(cluster.url().starts_with("redis-cluster://127.0.0.1:"));
    assert_eq!(cluster.url().matches(',').count() + 1, cluster.nodes().len());
    for key in ["one", "two", "three", "four"] {
        cluster.cli(key, &["SET", key, "v"]);
    }
    let first = cluster.master_of("one");
    first.cli(&["WAIT", "1", "5000"]);
    first.kill();
    let second = cluster.master_of("one");
    assert_ne!(first.port(), second.port());
    assert_eq!(second.cli(&["GET", "one"]), "v");

    first.restart();
    cluster.wait_ok();
    assert_eq!(first.info("role").as_deref(), Some("slave"));
    second.stop();
    assert_eq!(cluster.master_of("one").port(), first.port());
    second.go_on();
    cluster.wait_ok();
    assert_eq!(cluster.cli("one", &["GET", "one"]), "v");
}

#[test]
fn a_cluster_may_have_tls_and_a_password() {
    if skipped("redis") {
        return;
    }
    let settings = Settings::new().tls().password("secret");
    let cluster = Cluster::with(&settings);
    assert!(cluster.url().starts_with("rediss-cluster://:secret@localhost:"), "{}", cluster.url());
    let first = cluster.nodes()[0].port();
    let into = format!("--no-auth-warning -c --tls --cacert {} -h localhost -p {first}", settings.ca().display());
    for key in ["one", "two", "three"] {
        assert_eq!(redis_cli(&format!("{into} -a secret SET {key} v")).lines().last(), Some("OK"));
        assert_eq!(cluster.cli(key, &["GET", key]), "v");
    }
}

#[test]
fn sentinels_name_the_new_master() {
    if skipped("redis") {
        return;
    }
    for group in [Sentinel::start(), Sentinel::with(Settings::new().password("secret").tls())] {
        assert!(group.url().ends_with("/main") && group.sentinels().len() == 3, "{}", group.url());
        let first = group.master();
        first.cli(&["SET", "k", "v"]);
        first.cli(&["WAIT", "1", "5000"]);
        first.kill();
        let second = group.master();
        assert_ne!(first.port(), second.port());
        assert_eq!(second.cli(&["GET", "k"]), "v");
        first.restart();
        until("the old master to follow", || first.info("master_link_status").as_deref() == Some("up"));
        assert!(group.servers().iter().all(Redis::runs));
    }
}

#[test]
fn the_nodes_of_a_quorum_know_nothing_of_each_other() {
    if skipped("redis") {
        return;
    }
    let quorum = Quorum::start();
    assert!(quorum.url().starts_with("redis-quorum://127.0.0.1:") && quorum.url().matches(',').count() == 2);
    quorum.nodes()[0].cli(&["SET", "k", "v"]);
    quorum.nodes()[2].stop();
    assert_eq!(quorum.get("k"), [Some("v".to_owned()), Some("(nil)".to_owned()), None]);
    assert_eq!(Quorum::with(5, Settings::new().persistent()).nodes().len(), 5);
}

#[test]
fn locks_of_redis_py_exclude_each_other() {
    if skipped("redis") {
        return;
    }
    let (scene, server) = (Scene::new(), Redis::start());
    let peer = |wait| Peer::redis_py(&scene, &server.url(), "k", TTL, wait);
    let first = peer(AT_ONCE);
    first.wait_held();
    assert!(!peer(AT_ONCE).holds());
    let waiting = peer(PATIENCE);
    assert!(first.release());
    waiting.wait_held();
    server.cli(&["SET", "k", "another's"]);
    assert!(!waiting.release());
}

#[test]
fn locks_of_node_redlock_exclude_each_other() {
    if skipped("redis") || !has_redlock() {
        return;
    }
    let (scene, quorum) = (Scene::new(), Quorum::start());
    let urls: Vec<_> = quorum.nodes().iter().map(Redis::url).collect();
    let peer = |wait| Peer::redlock(&scene, &urls.join(","), "k", TTL, wait);
    quorum.nodes()[2].kill();
    let first = peer(AT_ONCE);
    first.wait_held();
    assert!(!peer(AT_ONCE).holds());
    let waiting = peer(PATIENCE);
    assert!(first.release());
    waiting.wait_held();
    quorum.nodes().iter().take(2).for_each(|node| assert_eq!(node.cli(&["DEL", "k"]), "1"));
    assert!(!waiting.release());
}

fn connect(host: &str) -> TcpStream {
    let stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn read(client: &mut TcpStream, bytes: usize) -> String {
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = vec![0; bytes];
    client.read_exact(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

/// Runs Redis's own client; what it writes, without the last line's end.
fn redis_cli(arguments: &str) -> String {
    let out = Command::new("redis-cli").args(arguments.split(' ')).output().unwrap();
    String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
}
