//! `send` to servers of others: what it sends is stored byte for byte.

use std::fs;
use std::path::Path;

use crate::support::running::Running;
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::wait::eventually;

/// Nearly a delimiter at each of its lines.
fn content() -> Vec<u8> {
    b"\r\n--\r\n------------------------\r\n--boundary\0\xff\r\r\n".repeat(100_000)
}

fn send(scene: &Scene, arguments: &[&str]) {
    let mut command = scene.towpath();
    command.args(["send", "--config", &scene.name("towpath.conf")]).args(arguments);
    Running::start(&mut command).finish().assert_code(0);
}

#[test]
fn go_servers_store_what_is_sent() {
    if skipped("go") {
        return;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/upload.go");
    for way in ["parse", "stream"] {
        let scene = Scene::new();
        fs::write(scene.path("long"), content()).unwrap();
        fs::write(scene.path("a;b c.txt"), "abc").unwrap();
        fs::create_dir(scene.path("stored")).unwrap();
        let built = scene.program("go").args(["build", "-o", "upload"]).arg(&source).output().unwrap();
        assert!(built.status.success(), "{built:?}");
        let server = Running::start(scene.program(scene.path("upload")).args([way, "stored"]));
        let address = eventually("its address", || Some(server.out().split_once('\n')?.0.to_owned()));
        let url = format!("http://{address}/upload");
        send(&scene, &["-F", "note=gr\u{fc}n & \"so\"", "long", "a;b c.txt", &url]);
        assert!(fs::read(scene.path("stored/long")).unwrap() == content(), "{way}");
        assert_eq!(scene.read("stored/a;b c.txt"), "abc");
        assert_eq!(scene.read("stored/note.field"), "gr\u{fc}n & \"so\"");
        // In chunks, with the smallest writes that it takes.
        let mut piped = scene.towpath();
        piped.args(["send", "--config", &scene.name("towpath.conf"), "--buffer", "1KiB", "--name", "piped", "-", &url]);
        let input = fs::File::open(scene.path("long")).unwrap();
        Running::start(piped.stdin(input)).finish().assert_code(0);
        assert!(fs::read(scene.path("stored/piped")).unwrap() == content(), "{way}");
        // curl's word for the same, as an oracle.
        let curl = ["-sS", "-F", "file=@long;filename=by-curl", &url];
        Running::start(scene.program("curl").args(curl)).finish().assert_code(0);
        assert!(fs::read(scene.path("stored/by-curl")).unwrap() == content(), "{way}");
        server.send(rustix::process::Signal::KILL);
        server.finish();
    }
}
