//! `send` and `get` against `serve`: what is cut goes on, whoever was killed.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::proxy::Proxy;
use crate::support::running::Running;
use crate::support::scene::Scene;
use crate::support::wait::{eventually, until};

const LONG_BYTES: usize = 24_000_000;
/// Slow enough that there is a middle to be cut in.
const DELAY: std::time::Duration = std::time::Duration::from_millis(10);

fn long() -> Vec<u8> {
    (0..LONG_BYTES as u32 / 4).flat_map(|number| number.wrapping_mul(2_654_435_761).to_ne_bytes()).collect()
}

/// A server of the folder `inbox`, and its address.
fn serve(scene: &Scene) -> (Running, SocketAddr) {
    serve_with(scene, &[])
}

fn serve_with(scene: &Scene, flags: &[&str]) -> (Running, SocketAddr) {
    fs::create_dir_all(scene.path("inbox")).unwrap();
    let mut command = scene.towpath();
    command.args(["serve", "--config", &scene.name("towpath.conf"), "-v", "--listen", "127.0.0.1:0", "inbox"]);
    let running = Running::start(command.args(flags));
    let address = eventually("its address", || {
        let err = running.err();
        let rest = err.split("://").nth(1)?;
        rest.split_once('\n')?.0.trim().parse().ok()
    });
    (running, address)
}

fn transfer(scene: &Scene, arguments: &[&str]) -> Running {
    let mut command = scene.towpath();
    command.args([arguments[0], "--config", &scene.name("towpath.conf"), "--json"]).args(&arguments[1..]);
    Running::start(&mut command)
}

/// The one hidden file in a directory that has come so far.
fn hidden(scene: &Scene, directory: &str, bytes: u64) -> Option<PathBuf> {
    let entries = fs::read_dir(scene.path(directory)).unwrap();
    entries.map(|entry| entry.unwrap().path()).find(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(".towpath-")
            && !name.ends_with(".json")
            && fs::metadata(path).is_ok_and(|it| it.len() >= bytes)
    })
}

fn only_final_names(scene: &Scene, directory: &str) -> bool {
    fs::read_dir(scene.path(directory)).unwrap().all(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        !name.starts_with('.') || name.ends_with(".json")
    })
}

#[test]
fn an_upload_goes_on_after_its_server_was_killed() {
    let scene = Scene::new();
    fs::write(scene.path("long"), long()).unwrap();
    let (server, address) = serve(&scene);
    let proxy = Proxy::to(address);
    proxy.delay(DELAY);
    let sending = transfer(&scene, &["send", "long", &format!("{}/files/", proxy.url())]);
    until("a part of it", || hidden(&scene, "inbox", 1_000_000).is_some());
    proxy.hang();
    server.send(Signal::KILL);
    server.finish();
    assert!(!scene.path("inbox/long").exists());
    let came = fs::metadata(hidden(&scene, "inbox", 1_000_000).unwrap()).unwrap().len();
    assert!(came < LONG_BYTES as u64);
    let (_server, address) = serve(&scene);
    proxy.aim(Some(address));
    proxy.heal();
    proxy.cut();
    let sent = sending.finish();
    sent.assert_code(0);
    let told: Value = serde_json::from_str(&sent.out()).unwrap();
    assert_eq!(told["files"][0]["verified"].as_bool(), Some(true), "{told}");
    assert!(told["failed_tries"].as_u64().unwrap() >= 1, "{told}");
    assert!(fs::read(scene.path("inbox/long")).unwrap() == long());
    assert!(only_final_names(&scene, "inbox"));
}

#[test]
fn an_upload_that_is_cut_often_is_sent_once_all_the_same() {
    let scene = Scene::new();
    fs::write(scene.path("long"), long()).unwrap();
    let (_server, address) = serve(&scene);
    let proxy = Proxy::to(address);
    proxy.delay(DELAY);
    let sending = transfer(&scene, &["send", "--retries", "2", "long", &format!("{}/files/", proxy.url())]);
    for cut in 1..=4_u64 {
        until("a part of it", || hidden(&scene, "inbox", cut * 2_000_000).is_some());
        proxy.cut();
    }
    proxy.heal();
    // More failures than --retries: each time it had come further.
    let sent = sending.finish();
    sent.assert_code(0);
    assert!(fs::read(scene.path("inbox/long")).unwrap() == long());
}

#[test]
fn a_form_of_which_the_answer_was_lost_is_stored_once() {
    let scene = Scene::new();
    fs::write(scene.path("a.txt"), "abc").unwrap();
    let (_server, address) = serve(&scene);
    // The answer to the first is cut after its first byte.
    let proxy = Proxy::to(address).cutting_after(&[1]);
    let sent = transfer(&scene, &["send", "a.txt", &format!("{}/upload", proxy.url())]).finish();
    sent.assert_code(0);
    let told: Value = serde_json::from_str(&sent.out()).unwrap();
    assert_eq!((told["files"][0]["verified"].as_bool(), told["failed_tries"].as_u64()), (Some(true), Some(1)));
    assert_eq!(fs::read_dir(scene.path("inbox")).unwrap().count(), 1);
    // Another one's file of that name is another matter.
    fs::write(scene.path("a.txt"), "abd").unwrap();
    let proxy = Proxy::to(address).cutting_after(&[1]);
    let sent = transfer(&scene, &["send", "a.txt", &format!("{}/upload", proxy.url())]).finish();
    sent.assert_code(76);
    assert_eq!(scene.read("inbox/a.txt"), "abc");
}

#[test]
fn a_download_goes_on_after_both_ends_were_killed() {
    let scene = Scene::new();
    let (server, address) = serve(&scene);
    fs::write(scene.path("inbox/long"), long()).unwrap();
    let proxy = Proxy::to(address);
    proxy.delay(DELAY);
    let url = format!("{}/files/long", proxy.url());
    let getting = transfer(&scene, &["get", &url]);
    until("a part of it", || hidden(&scene, ".", 1_000_000).is_some());
    proxy.hang();
    getting.send(Signal::KILL);
    server.send(Signal::KILL);
    getting.finish();
    server.finish();
    assert!(!scene.path("long").exists());
    let (_server, address) = serve(&scene);
    proxy.aim(Some(address));
    proxy.heal();
    proxy.cut();
    let got = transfer(&scene, &["get", &url]).finish();
    got.assert_code(0);
    let told: Value = serde_json::from_str(&got.out()).unwrap();
    assert!(told["files"][0]["had"].as_u64().unwrap() >= 1_000_000, "{told}");
    assert_eq!(told["files"][0]["verified"].as_bool(), Some(true), "{told}");
    assert!(fs::read(scene.path("long")).unwrap() == long());
    assert!(only_final_names(&scene, "."));
}

#[test]
fn files_go_round_through_a_form_each_way() {
    let scene = Scene::new();
    fs::write(scene.path("a;b \"c\".txt"), "abc").unwrap();
    fs::write(scene.path("long"), long()).unwrap();
    fs::write(scene.path("empty"), "").unwrap();
    let (_server, address) = serve(&scene);
    let base = format!("http://{address}");
    let files = ["a;b \"c\".txt", "long", "empty"];
    let upload = format!("{base}/upload");
    let sent = transfer(&scene, &["send", "-F", "x=y", files[0], files[1], files[2], &upload]).finish();
    sent.assert_code(0);
    fs::create_dir(scene.path("back")).unwrap();
    let form = format!("{base}/form?file=a%3Bb%20%22c%22.txt&file=long&file=empty");
    transfer(&scene, &["get", "-o", "back", &form]).finish().assert_code(0);
    for file in files {
        assert!(fs::read(scene.path("back").join(file)).unwrap() == fs::read(scene.path(file)).unwrap(), "{file}");
    }
    let again = transfer(&scene, &["send", "empty", &format!("{base}/files/")]).finish();
    again.assert_code(76).assert_one_line(&["409"]);
}

/// A certificate of its own issuing, and a server that shows it.
#[cfg(feature = "tls")]
fn serve_showing(scene: &Scene, params: &rcgen::CertificateParams) -> (Running, SocketAddr) {
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(scene.path("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(scene.path("key.pem"), key.serialize_pem()).unwrap();
    serve_with(scene, &["--tls-cert", "cert.pem", "--tls-key", "key.pem"])
}

#[cfg(feature = "tls")]
#[test]
fn a_certificate_that_is_not_taken_is_told_with_what_to_do() {
    let scene = Scene::new();
    fs::write(scene.path("a.txt"), "abc").unwrap();
    let named = |name: &str| rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    let mut authority = named("127.0.0.1");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let mut expired = named("127.0.0.1");
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let ours = ["--ca", "cert.pem"];
    for (params, flags, want) in [
        (named("127.0.0.1"), &ours[..0], "--ca FILE"),
        (authority, &ours, "basicConstraints=CA:FALSE"),
        (expired, &ours, "has expired"),
        (named("other.example.org"), &ours, "for other names"),
    ] {
        let (_server, address) = serve_showing(&scene, &params);
        for words in [&["send", "a.txt"][..], &["get"]] {
            let url = format!("https://{address}/files/a.txt");
            let told = transfer(&scene, &[words, flags, &[&url]].concat()).finish();
            told.assert_code(69).assert_one_line(&["can't be reached", want]);
        }
        assert!(!scene.path("inbox/a.txt").exists());
    }
    let (_server, address) = serve_showing(&scene, &named("127.0.0.1"));
    transfer(&scene, &["send", "a.txt", "--ca", "cert.pem", &format!("https://{address}/files/")])
        .finish()
        .assert_code(0);
}
