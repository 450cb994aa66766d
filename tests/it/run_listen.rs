//! `run --listen`: a run seen live, to its end, by readers who can't change it.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::http_raw::Client;
use crate::support::live::{LINGER, Live, events};
use crate::support::running::Running;
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::terminal::Terminal;
use crate::support::wait::until;

#[test]
fn readers_see_each_line_before_the_next_is_written_and_late_ones_see_all() {
    let scene = Scene::new();
    let script = "echo 1; await seen1; echo 2; await seen2; echo 3; await seen3; exit 3";
    let live = scene.serve(&[&["--once", "demo"], LINGER].concat(), script);
    let curl = scene.curl(&[&live.at("/log")]);
    let watch = scene.watch(&[&live.url]);
    for line in ["1", "2", "3"] {
        let so_far: String = (1..=line.parse().unwrap()).map(|n| format!("{n}\n")).collect();
        for reader in [&curl, &watch] {
            reader.wait_out(&so_far);
            assert_eq!(reader.out(), so_far, "more than was written");
        }
        // It is printed after it was given to them.
        live.run.wait_out(&so_far);
        assert_eq!(live.run.out(), so_far);
        scene.touch(&format!("seen{line}"));
    }
    // The readers who were there, and one who comes late, get the same whole, and its end.
    let late = |live: &Live| scene.curl(&[&live.at("/log")]);
    for reader in [curl, late(&live)] {
        let finished = reader.finish();
        let out = finished.assert_code(0).out();
        assert!(out.starts_with("1\n2\n3\n[towpath] end: exited with code 3 after "), "{out}");
        assert_eq!(out.lines().count(), 4);
    }
    for reader in [watch, scene.watch(&[&live.url])] {
        let finished = reader.finish();
        assert_eq!(finished.assert_code(3).out(), "1\n2\n3\n");
        assert_eq!(finished.err(), "");
    }
    // The end is final, and the lock free, while it stays for who comes late.
    assert!(!scene.is_locked("demo"));
    assert_eq!(live.dismiss(&scene), Some(3));
}

#[test]
fn linger_ends_by_itself_and_by_each_signal_that_ends_a_run() {
    let scene = Scene::new();
    let live = scene.serve(&["--linger", "100ms"], "exit 4");
    live.run.finish().assert_code(4);
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT] {
        let live = scene.serve(LINGER, "exit 5");
        live.wait_ended(&scene);
        live.run.send(signal);
        live.run.finish().assert_code(5);
    }
    // Others don't end it.
    let live = scene.serve(LINGER, "exit 6");
    live.wait_ended(&scene);
    for signal in [Signal::WINCH, Signal::USR1, Signal::CONT] {
        live.run.send(signal);
    }
    assert_eq!(scene.curl(&[&live.at("/healthz")]).finish().out(), "ok\n");
    assert_eq!(live.dismiss(&scene), Some(6));
}

#[test]
fn a_run_that_a_signal_ends_does_not_linger() {
    let scene = Scene::new();
    for signal in [Signal::TERM, Signal::HUP] {
        let live = scene.serve(LINGER, "echo on; exec sleep 1000");
        let reader = scene.curl(&[&live.at("/log")]);
        reader.wait_out("on\n");
        live.run.send(signal);
        // Who is there gets the end all the same.
        let out = reader.finish().assert_code(0).out();
        assert!(out.contains(&format!("[towpath] end: ended by signal {}", signal.as_raw())), "{out}");
        live.run.finish().assert_code(128 + signal.as_raw());
    }
    if skipped("terminal") {
        return;
    }
    let terminal = Terminal::open(&scene);
    let line = "--listen 127.0.0.1:0 --linger 1h -- sh -c 'echo on; exec sleep 1000'";
    terminal.enter(&format!("{}; echo \"code $?\"", scene.run_line(line)));
    terminal.wait_line("on");
    terminal.key("C-c");
    terminal.wait_prompt();
}

#[test]
fn connected_readers_get_the_end_though_nothing_lingers() {
    let scene = Scene::new();
    let live = scene.serve(&["--linger", "0s"], "echo on; await go; echo last; exit 3");
    let readers: Vec<Running> = ["/log", "/events"].iter().map(|path| scene.curl(&[&live.at(path)])).collect();
    let watch = scene.watch(&[&live.url]);
    for reader in readers.iter().chain([&watch]) {
        reader.wait_out("on");
    }
    scene.touch("go");
    for reader in readers {
        let finished = reader.finish();
        let out = finished.assert_code(0).out();
        assert!(out.contains("last") && out.trim_end().lines().last().unwrap().contains("exited"), "{out}");
    }
    assert_eq!(watch.finish().assert_code(3).out(), "on\nlast\n");
    live.run.finish().assert_code(3);
}

#[test]
fn a_reader_that_never_reads_is_cut_at_the_end_and_holds_nothing_up() {
    let scene = Scene::new();
    let live =
        scene.serve(&["--linger", "0s"], "echo on; await go; head -c 20000000 /dev/zero | tr '\\0' '\\n'; exit 3");
    let mut readers: Vec<Client<_>> = (0..3).map(|_| Client::to(live.address())).collect();
    for reader in &mut readers {
        reader.send("GET /log HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(reader.head().status, 200);
    }
    scene.touch("go");
    until("all of the output", || live.run.out().len() >= 20_000_000);
    let began = Instant::now();
    live.run.finish().assert_code(3);
    // 5 s for readers, 5 s for the server; a stuck write alone would take 30 s.
    assert!(began.elapsed() < Duration::from_secs(25), "readers held the run up: {:?}", began.elapsed());
}

#[test]
fn the_address_is_told_on_a_terminal_and_with_v_only() {
    let scene = Scene::new();
    scene.finish(&["--listen", "127.0.0.1:0"], &["true"]).assert_code(0).assert_silent();
    let told = scene.finish(&["--listen", "127.0.0.1:0", "-v"], &["true"]);
    assert!(told.assert_code(0).err().contains("towpath: live at http://127.0.0.1:"), "{}", told.err());
    if skipped("terminal") {
        return;
    }
    let terminal = Terminal::open(&scene);
    terminal.enter(&scene.run_line("--listen 127.0.0.1:0 -- true"));
    terminal.wait_text("towpath: live at http://127.0.0.1:");
}

#[test]
fn a_port_in_use_is_a_warning_and_the_command_runs() {
    let scene = Scene::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let finished =
        scene.finish_sh(&["--listen", &address, "--linger", "1h"], "echo \"url ${TOWPATH_URL-none}\"; exit 3");
    finished.assert_code(3).assert_one_line(&[&address, "Address already in use", "the command runs all the same"]);
    assert_eq!(finished.out(), "url none\n");
}

#[test]
fn an_address_for_everybody_needs_a_token_or_open() {
    let scene = Scene::new();
    let finished = scene.finish_sh(&["--listen", "0.0.0.0:0", "--linger", "1h"], "echo ran; exit 3");
    finished.assert_code(3).assert_one_line(&["0.0.0.0:0", "--token-file", "--open", "the command runs all the same"]);
    assert_eq!(finished.out(), "ran\n");
    std::fs::write(scene.path("token"), "secret\n").unwrap();
    for (flags, status) in [(&["--open"][..], 200), (&["--token-file", &scene.name("token")], 401)] {
        let mut live = scene.serve_at("0.0.0.0:0", &[LINGER, flags].concat(), "echo ran");
        // It tells a name by which others may find this host.
        assert!(!live.url.contains("0.0.0.0"), "{}", live.url);
        let port = live.url.rsplit_once(':').unwrap().1.parse().unwrap();
        live.run.wait_out("ran\n");
        let mut client = Client::to(([127, 0, 0, 1], port).into());
        client.send("GET /healthz HTTP/1.1\r\nHost: any.example\r\n\r\n");
        assert_eq!(client.reply().status, status);
        // Its own name may not lead here, so its end isn't waited for.
        live.run.send(Signal::TERM);
        until("the end", || live.run.has_ended());
    }
}

#[test]
fn flags_that_make_no_sense_run_nothing() {
    let scene = Scene::new();
    std::fs::write(scene.path("empty"), "\n").unwrap();
    let empty = scene.name("empty");
    let listen = ["--listen", "127.0.0.1:0"];
    for (flags, part) in [
        (&["--listen", "example.org:80"][..], "no address to listen on"),
        (&["--linger", "1s"], "--listen"),
        (&[&listen[..], &["--token-file", "/no/such/file"]].concat(), "/no/such/file"),
        (&[&listen[..], &["--token-file", &empty]].concat(), "a token is"),
        (&[&listen[..], &["--tls-cert", "/no/such/file"]].concat(), "--tls-key"),
        (&[&listen[..], &["--tls-cert", "/no/such/file", "--tls-key", &empty]].concat(), "/no/such/file"),
        (&[&listen[..], &["--keep", "many"]].concat(), "number of bytes"),
    ] {
        let finished = scene.finish(flags, &["touch", "ran"]);
        finished.assert_code(2).assert_one_line(&[part]);
        assert!(!scene.path("ran").exists(), "{flags:?}");
    }
}

#[test]
fn the_command_and_the_lock_are_told_the_url() {
    let scene = Scene::new();
    let live = scene.serve(LINGER, "echo \"$TOWPATH_URL\"");
    live.run.wait_out("\n");
    assert_eq!(live.run.out().trim_end(), live.url);
    assert_eq!(live.dismiss(&scene), Some(0));
    let socket = format!("unix:{}", scene.name("sock"));
    for (address, flags, url) in [
        ("127.0.0.1:0", &[][..], None),
        ("127.0.0.1:0", &["--advertise", "https://web1.example:8443/run"], Some("https://web1.example:8443/run")),
        (&socket, &[], Some(&*socket)),
    ] {
        let live = scene.serve_at(address, &[flags, &["--once", "k"]].concat(), "echo \"$TOWPATH_URL\"; await go");
        let url = url.unwrap_or(&live.url);
        assert_eq!(live.url, url);
        live.run.wait_out(url);
        let record = scene.program("grep").args(["-rFl", "--", url, "store"]).output().unwrap();
        assert!(!record.stdout.is_empty(), "no record in the store has {url}");
        scene.touch("go");
        live.run.finish().assert_code(0);
        std::fs::remove_file(scene.path("go")).unwrap();
    }
}

#[test]
fn the_lock_names_no_url_at_which_somebody_else_serves() {
    let scene = Scene::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = scene.start_sh(&["--listen", &address, "--once", "k"], "echo on; exec sleep 1000");
    run.wait_out("on\n");
    let record = scene.program("grep").args(["-rFl", "--", &address, "store"]).output().unwrap();
    assert!(record.stdout.is_empty(), "the record has {address}");
}

#[test]
fn one_that_waits_for_its_turn_is_served_when_it_comes() {
    let scene = Scene::new();
    let socket = format!("unix:{}", scene.name("sock"));
    let flags = ["-v", "--listen", &socket, "--once", "k"];
    let first = scene.start_sh(&flags, "echo first; until [ -e go ]; do sleep 0.02; done");
    first.wait_out("first\n");
    // The address is the first one's until that has ended.
    let second = scene.start_sh(&[&flags[..], &["--wait", "1h"], LINGER].concat(), "echo second");
    until("it to wait", || second.process().status("Threads").parse::<u32>().unwrap() >= 3);
    scene.touch("go");
    first.finish().assert_code(0);
    second.wait_out("second\n");
    second.wait_err(&format!("live at {socket}"));
    let read = scene.curl(&["--unix-socket", &scene.name("sock"), "http://any.example/log"]).finish();
    assert!(read.assert_code(0).out().starts_with("second\n"), "{}", read.out());
    second.send(Signal::TERM);
    second.finish().assert_code(0);
    // One that doesn't get its turn leaves nobody waiting at its address.
    let holder = scene.start_sh(&["--once", "k"], "echo on; exec sleep 1000");
    holder.wait_out("on\n");
    scene.finish(&["--listen", &socket, "--once", "k"], &["true"]).assert_code(75).assert_silent();
    assert!(!scene.path("sock").exists());
}

#[test]
fn a_unix_socket_serves_as_a_port_does_and_goes_with_the_run() {
    let scene = Scene::new();
    let socket = scene.name("sock");
    let live = scene.serve_at(&format!("unix:{socket}"), LINGER, "echo on; exit 3");
    let finished = scene.curl(&["--unix-socket", &socket, "http://any.example/log"]).finish();
    assert!(finished.assert_code(0).out().starts_with("on\n[towpath] end: exited with code 3"), "{}", finished.out());
    live.run.send(Signal::TERM);
    live.run.finish().assert_code(3);
    assert!(!scene.path("sock").exists());
}

#[test]
fn a_token_opens_it_as_bearer_and_as_password() {
    let scene = Scene::new();
    std::fs::write(scene.path("token"), "s3cret\n").unwrap();
    std::fs::write(scene.path("wrong"), "s3cre\n").unwrap();
    let live = scene.serve(&[LINGER, &["--token-file", &scene.name("token")]].concat(), "echo on; exit 3");
    let log = live.at("/log");
    for (flags, ok) in [
        (&[][..], false),
        (&["-H", "Authorization: Bearer s3cre"], false),
        (&["-u", "me:s3cre"], false),
        (&["-H", "Authorization: Bearer s3cret"], true),
        (&["-u", "me:s3cret"], true),
    ] {
        let out = scene.curl(&[flags, &["-i", &log]].concat()).finish().out();
        assert_eq!(out.starts_with("HTTP/1.1 200 "), ok, "{flags:?}: {out}");
        assert_eq!(out.contains("on\n[towpath] end"), ok, "{flags:?}: {out}");
        assert!(ok || out.starts_with("HTTP/1.1 401 ") && out.contains("Basic realm="), "{flags:?}: {out}");
    }
    let watched = scene.watch(&[&live.url, "--token-file", &scene.name("token")]).finish();
    assert_eq!(watched.assert_code(3).out(), "on\n");
    for flags in [&[][..], &["--token-file", &scene.name("wrong")]] {
        let refused = scene.watch(&[&[live.url.as_str()], flags].concat()).finish();
        refused.assert_code(76).assert_one_line(&["401", "--token-file"]);
        assert!(!refused.err().contains("s3cre"));
    }
    assert!(!live.run.err().contains("s3cret"));
    live.run.send(Signal::TERM);
    live.run.finish().assert_code(3);
}

#[cfg(feature = "tls")]
#[test]
fn tls_serves_who_trusts_its_certificate() {
    let scene = Scene::new();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(scene.path("cert"), made.cert.pem()).unwrap();
    std::fs::write(scene.path("key"), made.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (scene.name("cert"), scene.name("key"));
    let live = scene.serve(&[LINGER, &["--tls-cert", &cert, "--tls-key", &key]].concat(), "echo on; exit 3");
    assert!(live.url.starts_with("https://127.0.0.1:"), "{}", live.url);
    assert_eq!(scene.watch(&[&live.url, "--ca", &cert]).finish().assert_code(3).out(), "on\n");
    let untrusted = scene.watch(&[&live.url, "--retry", "0s"]).finish();
    untrusted.assert_code(69).assert_one_line(&["can't be reached"]);
    let finished = scene.curl(&["--cacert", &cert, &live.at("/log")]).finish();
    assert!(finished.assert_code(0).out().starts_with("on\n"));
    live.run.send(Signal::TERM);
    live.run.finish().assert_code(3);
}

#[test]
fn every_way_to_end_is_told_to_who_comes_late() {
    let scene = Scene::new();
    let log = scene.name("no/such/log");
    for (flags, command, outcome, code) in [
        (&[][..], &["sh", "-c", "exit 7"][..], "exited", 7),
        (&[], &["sh", "-c", "kill -TERM $$"], "signaled", 143),
        (&["--timeout", "100ms"], &["sleep", "1000"], "timed-out", 124),
        (&[], &["no-such-command"], "not-found", 127),
    ] {
        let mut run = scene.start(&[&["-v", "--listen", "127.0.0.1:0"], LINGER, flags].concat(), command);
        run.wait_err("live at http://");
        let err = run.err();
        let url = err.split("live at ").nth(1).unwrap().lines().next().unwrap();
        let watched = scene.watch(&[url]).finish();
        watched.assert_code(code);
        let seen = events(&scene.curl(&[&format!("{url}/events")]).finish().out());
        let end = seen.last().unwrap();
        assert_eq!((end.name.as_str(), &end.data["outcome"]), ("end", &outcome.into()), "{end:?}");
        assert_eq!(end.data["exit_code"], code);
        assert!(!run.has_ended());
        run.send(Signal::TERM);
        run.finish().assert_code(code);
    }
    // Nothing was run, so there is nothing to watch, and nobody to wait for.
    scene.finish(&[&["--listen", "127.0.0.1:0", "--log", &log], LINGER].concat(), &["true"]).assert_code(74);
    let held = scene.start_sh(&["--once", "k"], "echo on; exec sleep 1000");
    held.wait_out("on");
    scene.finish(&[&["--listen", "127.0.0.1:0", "--once", "k"], LINGER].concat(), &["true"]).assert_code(75);
}
