//! Pulling images from a private registry: an image that is there, or an error.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use towpath::docker::{Credentials, Docker, Endpoint, ErrorKind, ImageRef, PullOptions, Settings as DockerSettings};

use crate::support::docker::{Daemon, IMAGE, Registry, Settings};
use crate::support::running::{Finished, Running};
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::terminal::Terminal;

/// A registry with one image that the daemon hasn't.
fn registry_with(daemon: &Daemon, name: &str) -> (Registry, ImageRef) {
    let registry = Registry::start();
    // A layer of its own, so that there is something to pull.
    let base = format!("towpath-base-{}", registry.host().replace([':', '.'], "-"));
    daemon.cli(&["run", "--name", &base, IMAGE, "sh", "-c", "head -c 3000000 /dev/urandom > /tmp/noise"]);
    daemon.cli(&["commit", &base, &base]);
    registry.push(daemon, &base, name);
    daemon.cli(&["rm", &base]);
    daemon.cli(&["rmi", &base]);
    let image = registry.image(name).parse().unwrap();
    (registry, image)
}

fn docker(daemon: &Daemon) -> Docker {
    Docker::connect(&Endpoint::socket(daemon.socket())).unwrap()
}

fn options(user: &str, password: &str) -> PullOptions {
    PullOptions { credentials: Some(Credentials::password(user, password)), platform: None }
}

fn pull(daemon: &Daemon, scene: &Scene, words: &[&str], password: &str) -> Finished {
    let mut command = daemon.ours(scene, &[&["pull"], words].concat());
    let mut running = Running::start(command.stdin(Stdio::piped()));
    running.stdin().write_all(password.as_bytes()).unwrap();
    running.finish()
}

#[test]
fn a_pull_reports_its_layers_and_ends_with_an_image() {
    if skipped("docker") {
        return;
    }
    let daemon = Daemon::shared();
    let (_registry, image) = registry_with(daemon, "reported:1");
    let docker = docker(daemon);
    let mut pull = docker.pull_with(&image, &options(Registry::USER, Registry::PASSWORD)).unwrap();
    let progress: Vec<_> = pull.by_ref().map(|progress| progress.unwrap()).collect();
    let local = pull.finish().unwrap();
    assert!(progress.iter().any(|progress| progress.status == "Pull complete" && progress.id.is_some()));
    assert!(progress.iter().any(|progress| progress.status.starts_with("Digest: sha256:")));
    assert_eq!(local.name(), image.as_given());
    assert_eq!(local.id(), daemon.inspect(image.as_given())["Id"].as_str().unwrap());
    assert_eq!(docker.local_image(image.as_given()).unwrap(), local);
    // By its digest too, which then is the name.
    let by_digest: ImageRef = local.digests()[0].parse().unwrap();
    let again = docker.pull_with(&by_digest, &options(Registry::USER, Registry::PASSWORD)).unwrap().finish().unwrap();
    assert_eq!(again.id(), local.id());
    daemon.cli(&["rmi", "-f", local.id()]);
}

#[test]
fn credentials_of_every_length_reach_the_registry() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::shared(), Scene::new());
    let (registry, image) = registry_with(daemon, "lengths:1");
    for user in Registry::USERS {
        let words = ["--user", user, "--password-stdin", image.as_given()];
        let pulled = pull(daemon, &scene, &words, &format!("{}\n", Registry::PASSWORD));
        assert_eq!(pulled.assert_code(0).out(), format!("{image}\n"), "{user}");
        assert_eq!(pulled.err(), "");
        daemon.cli(&["rmi", image.as_given()]);

        let config = registry.config(user, Registry::PASSWORD);
        let mut command = daemon.ours(&scene, &["pull", image.as_given()]);
        let pulled = Running::start(command.env("DOCKER_CONFIG", config.path())).finish();
        assert_eq!(pulled.assert_code(0).out(), format!("{image}\n"), "{user}");
        daemon.cli(&["rmi", image.as_given()]);
    }
}

#[test]
fn a_credential_helper_is_asked_and_a_container_is_run_of_what_it_opens() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::shared(), Scene::new());
    let (registry, image) = registry_with(daemon, "helped:1");
    let answer = serde_json::json!({ "Username": Registry::USER, "Secret": Registry::PASSWORD });
    scene.script(
        "docker-credential-towpath",
        &format!(
            "#!/bin/sh\n[ \"$1\" = get ] && read -r server && [ \"$server\" = {} ] && cat <<'E'\n{answer}\nE\n",
            registry.host()
        ),
    );
    let path = format!("{}:{}", scene.dir().display(), std::env::var("PATH").unwrap());
    for config in [
        serde_json::json!({ "credsStore": "towpath" }),
        serde_json::json!({ "credHelpers": { registry.host(): "towpath" }, "credsStore": "no-such" }),
    ] {
        fs::write(scene.path("config.json"), config.to_string()).unwrap();
        let mut command = daemon.ours(&scene, &["run", "--rm", image.as_given(), "echo", "hello"]);
        let ran = Running::start(command.env("DOCKER_CONFIG", scene.dir()).env("PATH", &path)).finish();
        assert_eq!(ran.assert_code(0).out(), "hello\n", "{config}");
        daemon.cli(&["rmi", image.as_given()]);
    }
    fs::write(scene.path("config.json"), r#"{"credsStore":"towpath-no-such"}"#).unwrap();
    let mut command = daemon.ours(&scene, &["pull", image.as_given()]);
    let failed = Running::start(command.env("DOCKER_CONFIG", scene.dir())).finish();
    failed.assert_code(1).assert_one_line(&["docker-credential-towpath-no-such"]);
}

#[test]
fn a_platform_is_asked_for_as_the_docker_cli_asks() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::shared(), Scene::new());
    let (registry, image) = registry_with(daemon, "platform:1");
    let config = registry.config(Registry::USER, Registry::PASSWORD);
    for platform in ["linux/amd64", "linux/arm64", "nonsense/of/too/many/parts"] {
        let ends = ["theirs", "ours"].map(|whose| {
            let words = ["pull", "-q", "--platform", platform, image.as_given()];
            let mut pull = if whose == "ours" { daemon.ours(&scene, &words) } else { daemon.theirs(&scene, &words) };
            let ended = Running::start(pull.env("DOCKER_CONFIG", config.path())).finish();
            let is_there = !daemon.cli(&["images", "-q", image.as_given()]).is_empty();
            if is_there {
                daemon.cli(&["rmi", image.as_given()]);
            }
            (ended.code, ended.out(), is_there)
        });
        assert_eq!(ends[1], ends[0], "{platform}");
    }
}

#[test]
fn without_the_right_credentials_there_is_no_image_and_no_word_of_them() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::shared(), Scene::new());
    let (registry, image) = registry_with(daemon, "closed:1");
    let name = image.as_given();
    let failed = pull(daemon, &scene, &[name], "");
    failed.assert_code(1).assert_one_line(&[name, "can't pull"]);
    assert_eq!(daemon.theirs(&scene, &["pull", name]).output().unwrap().status.code(), failed.code);
    let failed = pull(daemon, &scene, &["--user", Registry::USER, "--password-stdin", name], "not-the-password\n");
    failed.assert_code(1).assert_one_line(&[name]);
    assert!(!failed.err().contains("not-the-password"), "{}", failed.err());
    let missing = registry.image("missing:1");
    let failed = pull(daemon, &scene, &["--user", Registry::USER, "--password-stdin", &missing], Registry::PASSWORD);
    failed.assert_code(1).assert_one_line(&[&missing]);
    assert!(daemon.cli(&["images", "-q", name]).is_empty());
    for (words, password) in [
        (&["--user", "me", name][..], "x"),
        (&["--password-stdin", name], "x"),
        (&["--user", "me", "--password-stdin", name], "\n"),
        (&["Not/AName"], ""),
        (&["a:b:c"], ""),
        (&[], ""),
    ] {
        pull(daemon, &scene, words, password).assert_code(2).assert_one_line(&[]);
    }
}

#[test]
fn an_error_inside_the_stream_is_the_pull_s_error() {
    if skipped("docker") {
        return;
    }
    let (daemon, scene) = (Daemon::shared(), Scene::new());
    let (registry, image) = registry_with(daemon, "torn:1");
    registry.lose_a_layer();
    daemon.cli(&["image", "prune", "-f"]);
    let docker = docker(daemon);
    let mut pull_ = docker.pull_with(&image, &options(Registry::USER, Registry::PASSWORD)).unwrap();
    let errors = pull_.by_ref().filter(Result::is_err).count();
    let error = pull_.finish().unwrap_err();
    assert_eq!((errors, error.kind()), (1, ErrorKind::Failed), "{error}");
    assert_eq!(docker.local_image(image.as_given()).unwrap_err().kind(), ErrorKind::NotFound);
    let words = ["--user", Registry::USER, "--password-stdin", image.as_given()];
    let failed = pull(daemon, &scene, &words, Registry::PASSWORD);
    failed.assert_code(1).assert_one_line(&[image.as_given(), "unknown blob"]);
    assert_eq!(failed.out(), "");
    let config = registry.config(Registry::USER, Registry::PASSWORD);
    let theirs =
        daemon.theirs(&scene, &["pull", image.as_given()]).env("DOCKER_CONFIG", config.path()).output().unwrap();
    assert_eq!(theirs.status.code(), failed.code);
    let ran = Running::start(
        daemon.ours(&scene, &["run", "--rm", image.as_given(), "true"]).env("DOCKER_CONFIG", config.path()),
    );
    ran.finish().assert_code(125).assert_one_line(&[image.as_given()]);
}

#[test]
fn a_pull_that_is_dropped_makes_no_image() {
    if skipped("docker") {
        return;
    }
    let daemon = Daemon::shared();
    let registry = Registry::start();
    // A proxy that lets nothing more through: the pull has no end.
    let proxy = crate::support::proxy::Proxy::to(registry.host().parse().unwrap());
    daemon.cli(&["run", "--name", "towpath-large", IMAGE, "sh", "-c", "head -c 3000000 /dev/urandom > /tmp/noise"]);
    daemon.cli(&["commit", "towpath-large", "towpath-large"]);
    registry.push(daemon, "towpath-large", "dropped:1");
    daemon.cli(&["rm", "towpath-large"]);
    daemon.cli(&["rmi", "towpath-large"]);
    let image: ImageRef = format!("{}/dropped:1", proxy.host()).parse().unwrap();
    // Slow, so that no layer is through before nothing is any more.
    proxy.delay(Duration::from_millis(50));
    let docker = docker(daemon);
    let begin = || docker.pull_with(&image, &options(Registry::USER, Registry::PASSWORD)).unwrap();
    let mut pull = begin();
    pull.next().unwrap().unwrap();
    proxy.hang();
    drop(pull);
    assert_eq!(docker.local_image(image.as_given()).unwrap_err().kind(), ErrorKind::NotFound);
    proxy.cut();
    proxy.heal();
    let local = begin().finish().unwrap();
    assert_eq!(daemon.cli(&["run", "--rm", local.id(), "wc", "-c", "/tmp/noise"]), "3000000 /tmp/noise");
    daemon.cli(&["rmi", image.as_given()]);
}

#[test]
fn on_a_terminal_each_layer_has_a_line() {
    if skipped("docker") || skipped("terminal") {
        return;
    }
    let (daemon, scene) = (Daemon::shared(), Scene::new());
    let (registry, image) = registry_with(daemon, "shown:1");
    let config = registry.config(Registry::USER, Registry::PASSWORD);
    let towpath = env!("CARGO_BIN_EXE_towpath");
    let exports = format!("export DOCKER_HOST={} DOCKER_CONFIG={}", daemon.host(), config.path().display());
    let pull =
        scene.script("pull", &format!("#!/bin/sh\n{exports}\n{towpath} docker pull {image}\necho \"ended $?\"\n"));
    let terminal = Terminal::open(&scene);
    terminal.enter(&pull);
    terminal.wait_line("ended 0");
    let screen = terminal.screen();
    let shown: Vec<&str> = screen.lines().map(str::trim_end).filter(|line| line.ends_with(": Pull complete")).collect();
    // The base is there already, the layer above it came.
    assert_eq!(shown.len(), 1, "{screen}");
    assert_eq!(screen.matches(": Already exists").count(), 1, "{screen}");
    assert!(screen.contains("towpath: Downloaded newer image"), "{screen}");
    daemon.cli(&["rmi", image.as_given()]);
}

#[test]
fn a_full_disk_of_the_daemon_s_is_its_error() {
    if skipped("docker") {
        return;
    }
    let (full, daemon, scene) = (Daemon::with(Settings::new().disk(16 << 20)), Daemon::shared(), Scene::new());
    let registry = Registry::start();
    daemon.cli(&["run", "--name", "towpath-huge", IMAGE, "sh", "-c", "head -c 20000000 /dev/urandom > /tmp/noise"]);
    daemon.cli(&["commit", "towpath-huge", "towpath-huge"]);
    registry.push(daemon, "towpath-huge", "huge:1");
    daemon.cli(&["rm", "towpath-huge"]);
    daemon.cli(&["rmi", "towpath-huge"]);
    let name = registry.image("huge:1");
    let words = ["--user", Registry::USER, "--password-stdin", &name];
    let failed = pull(&full, &scene, &words, Registry::PASSWORD);
    failed.assert_code(1).assert_one_line(&["no space left on device"]);
    assert_eq!(full.cli(&["images", "-q", &name]), "");
}

#[test]
fn a_password_isn_t_sent_where_others_can_read_it() {
    if skipped("docker") {
        return;
    }
    // Another host as seen from here is this one by an address that isn't loopback.
    let Some(address) = outward_address() else { return };
    let daemon = Daemon::with(Settings::new().plain_on(address));
    let scene = Scene::new();
    let host = daemon.plain_host();
    let refused = Running::start(&mut daemon.ours(&scene, &["-H", &host, "ps"])).finish();
    refused.assert_code(1).assert_one_line(&["encrypted", "--insecure"]);
    let allowed = Running::start(&mut daemon.ours(&scene, &["-H", &host, "--insecure", "images", "-q"])).finish();
    assert_eq!(allowed.assert_code(0).out().lines().count(), 1);
    let (registry, image) = registry_with(&daemon, "secret:1");
    let words = ["-H", &host, "--insecure", "--user", Registry::USER, "--password-stdin", image.as_given()];
    let failed = pull(&daemon, &scene, &words, Registry::PASSWORD);
    failed.assert_code(1).assert_one_line(&["isn't sent unencrypted", "TLS"]);
    let settings = DockerSettings {
        host: Some(host),
        config: Some(registry.config(Registry::USER, Registry::PASSWORD).keep()),
        ..DockerSettings::default()
    };
    let endpoint = Endpoint::of(&settings).unwrap().insecure(true);
    let docker = Docker::connect(&endpoint).unwrap().with_settings(settings.clone());
    let error = docker.pull(&image).unwrap_err().to_string();
    assert!(error.contains("weren't sent unencrypted"), "{error}");
    fs::remove_dir_all(settings.config.unwrap()).unwrap();
}

/// An address of this host's by which others reach it; nothing is sent to find it.
fn outward_address() -> Option<std::net::Ipv4Addr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let routed = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    match routed.map(|address| address.ip()) {
        Ok(std::net::IpAddr::V4(address)) if !address.is_loopback() => Some(address),
        _ => {
            crate::support::left_out("docker-outward", "this host has no address but loopback");
            None
        }
    }
}
