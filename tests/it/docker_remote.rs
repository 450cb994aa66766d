//! Each operation on a daemon elsewhere, over TLS with a client's certificate.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::support::docker::{Daemon, IMAGE, Registry, Settings};
use crate::support::example;
use crate::support::running::{Finished, Running};
use crate::support::scene::Scene;
use crate::support::skipped;

#[test]
fn every_command_works_over_tls() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene, registry) = (Daemon::with(Settings::new().tls()), Scene::new(), Registry::start());
    let ours = |words: &[&str]| -> Finished { Running::start(&mut daemon.ours(&scene, words)).finish() };
    let out = |words: &[&str]| ours(words).assert_code(0).out();
    assert_eq!(out(&["run", "--rm", IMAGE, "echo", "hello world"]), "hello world\n");
    let id = out(&["run", "-d", "--init", "--name", "back", IMAGE, "sh", "-c", "echo up; sleep 1000"]);
    assert!(out(&["ps"]).contains(&id[..12]));
    daemon.cli(&["create", "--name", "made", IMAGE]);
    assert_eq!(out(&["ps", "-aq"]).lines().count(), 2);
    assert_eq!(out(&["logs", "back"]), "up\n");
    assert_eq!(out(&["stop", "--all"]), "back\n");
    assert!(out(&["commit", "back", "copy:1"]).starts_with("sha256:"));
    assert!(out(&["images"]).contains("copy"));
    registry.push(&daemon, "copy:1", "app:1");
    let name = registry.image("app:1");
    let mut pull = Running::start(
        daemon.ours(&scene, &["pull", "--user", Registry::USER, "--password-stdin", &name]).stdin(Stdio::piped()),
    );
    pull.stdin().write_all(Registry::PASSWORD.as_bytes()).unwrap();
    assert_eq!(pull.finish().assert_code(0).out(), format!("{name}\n"));
    ours(&["run", "--rm", IMAGE, "no-such-command"]).assert_code(127).assert_one_line(&["executable file not found"]);
}

#[test]
fn the_example_in_the_documents_does_all_of_it() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene, registry) = (Daemon::with(Settings::new().tls()), Scene::new(), Registry::start());
    registry.push(&daemon, IMAGE, "app:1");
    let mut command = scene.program(example("docker"));
    command
        .envs(daemon.environment())
        .env("DOCKER_CONFIG", scene.dir())
        .args([&registry.image("app:1"), Registry::USER]);
    let mut running = Running::start(command.stdin(Stdio::piped()));
    running.stdin().write_all(Registry::PASSWORD.as_bytes()).unwrap();
    let out = running.finish().assert_code(0).out();
    for part in [
        "Digest: sha256:",
        "hello world\nexit code 0\n",
        "CONTAINER ID",
        "REPOSITORY",
        ": Ok(Ended)\n",
        ": Ok(NotRunning)\n",
        "up\nsha256:",
    ] {
        assert!(out.contains(part), "no {part:?} in {out}");
    }
    assert_eq!(daemon.cli(&["ps", "-aq"]), "");
}

#[test]
fn the_flags_say_the_same_as_the_environment() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::with(Settings::new().tls()), Scene::new());
    let (host, certificates) = (daemon.tls_host(), daemon.cert_path());
    let certificates = certificates.to_str().unwrap();
    let run = |words: &[&str]| {
        let mut command = scene.towpath();
        Running::start(command.env("DOCKER_CONFIG", scene.dir()).arg("docker").args(words)).finish()
    };
    let before = ["-H", &host, "--tlsverify", "--cert-path", certificates, "images", "-q"];
    let behind = ["images", "-q", "--host", &host, "--tlsverify", "--cert-path", certificates];
    assert_eq!(run(&before).assert_code(0).out(), run(&behind).assert_code(0).out());
    // Unencrypted to a port with TLS, and without the certificates that it takes.
    run(&["-H", &host, "ps"]).assert_code(1).assert_one_line(&["it wants TLS"]);
    run(&["-H", &host, "--tlsverify", "ps"]).assert_code(1).assert_one_line(&["ca.pem"]);
    fs::copy(format!("{certificates}/ca.pem"), scene.path("ca.pem")).unwrap();
    run(&["-H", &host, "--tlsverify", "ps"]).assert_code(1).assert_one_line(&[]);
    // A key that isn't the certificate's.
    let strange = crate::support::certificates::Certificates::new();
    fs::copy(strange.pair("client").1, scene.path("key.pem")).unwrap();
    fs::copy(format!("{certificates}/cert.pem"), scene.path("cert.pem")).unwrap();
    run(&["-H", &host, "--tlsverify", "ps"]).assert_code(1).assert_one_line(&["key.pem"]);
    // Somebody else's daemon.
    fs::copy(strange.ca(), scene.path("ca.pem")).unwrap();
    fs::copy(format!("{certificates}/key.pem"), scene.path("key.pem")).unwrap();
    run(&["-H", &host, "--tlsverify", "ps"]).assert_code(1).assert_one_line(&["certificate"]);
}
