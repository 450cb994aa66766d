//! Readers who don't read: the run, its memory and the other readers don't notice.

use rustix::process::Signal;

use crate::support::groups::long;
use crate::support::live::Live;
use crate::support::running::Finished;
use crate::support::scene::Scene;
use crate::support::wait::until;

/// The lines that `watch` says it didn't get.
#[track_caller]
pub(crate) fn lines_missed(watched: &Finished) -> u64 {
    let err = watched.err();
    let gaps = err.lines().filter_map(|line| line.strip_prefix("towpath: gap: "));
    gaps.map(|gap| gap.split(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// What it takes of memory by itself, in KiB.
fn resident_kib(live: &Live) -> u64 {
    live.run.process().status("RssAnon").trim_end_matches(" kB").parse().unwrap()
}

/// Waits for the run's last line, however long its output is, and gives the most
/// memory that it took meanwhile.
#[track_caller]
fn wait_last(live: &Live, count: impl Fn() -> u64) -> u64 {
    let (mut most, mut before) = (0, 0);
    while !live.run.out().contains("last\n") {
        until("more lines", || {
            most = most.max(resident_kib(live));
            let now = count();
            let grew = now > before;
            before = now;
            grew || live.run.out().contains("last\n")
        });
    }
    most
}

#[test]
fn who_never_reads_changes_nothing_for_the_others_and_is_told_its_gap() {
    let scene = Scene::new();
    // 50 MB of numbers; 10 GB where there is time.
    let lines: u64 = if long() { 1_050_000_000 } else { 6_300_000 };
    let script = format!("echo first; await go; seq 1 {lines}; echo last; exit 3");
    // Its own output is only what isn't a number, so that the test needs no room for it.
    let live = scene.serve(&["--linger", "1h", "--keep", "256KiB", "--exclude", "^[0-9]"], &script);
    let stuck: Vec<_> = (0..3).map(|_| scene.watch(&[&live.url])).collect();
    let lively = scene.curl(&[&live.at("/log?exclude=%5E%5B0-9%5D")]);
    for reader in stuck.iter().chain([&lively]) {
        reader.wait_out("first\n");
    }
    for reader in &stuck {
        reader.send(Signal::STOP);
        reader.process().wait_stopped();
    }
    let before = resident_kib(&live);
    scene.touch("go");
    let count = || -> u64 {
        let status = scene.curl(&[&live.at("/status")]).finish().out();
        serde_json::from_str::<serde_json::Value>(&status).unwrap()["lines"].as_u64().unwrap()
    };
    let most = wait_last(&live, count);
    assert!(most < before + 24 * 1024, "memory grew from {before} KiB to {most} KiB");
    let finished = lively.finish();
    let out = finished.assert_code(0).out();
    let others: Vec<&str> = out.lines().filter(|line| !line.starts_with("[towpath] gap: ")).collect();
    assert_eq!(others[..2], ["first", "last"], "{out}");
    assert!(others[2].starts_with("[towpath] end: exited with code 3") && others.len() == 3, "{out}");
    for reader in &stuck {
        assert!(reader.process().is_stopped());
        reader.send(Signal::CONT);
    }
    for reader in stuck {
        let watched = reader.finish();
        let out = watched.assert_code(3).out();
        let numbers: Vec<u64> = out.lines().filter_map(|line| line.parse().ok()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "a line came twice, or late");
        assert!(out.starts_with("first\n") && out.ends_with("last\n"));
        let missed = lines_missed(&watched);
        assert!(missed > 0, "no gap though 50 MB didn't fit: {}", watched.err());
        assert_eq!(out.lines().count() as u64 + missed, lines + 2, "{}", watched.err());
    }
    assert_eq!(live.dismiss(&scene), Some(3));
}

#[test]
fn who_comes_late_is_told_what_is_no_longer_kept() {
    let scene = Scene::new();
    let flags = ["--linger", "1h", "--keep", "64KiB", "--quiet-success"];
    let live = scene.serve(&flags, "seq 1 200000; echo last");
    // Late is after the end: before it, a reader may be quick enough to miss nothing.
    until("the end", || scene.curl(&[&live.at("/status")]).finish().out().contains("\"ended\""));
    let watched = scene.watch(&[&live.url]).finish();
    let out = watched.assert_code(0).out();
    assert!(out.ends_with("200000\nlast\n"));
    let missed = lines_missed(&watched);
    assert!(watched.err().contains("no longer kept") || watched.err().contains("slow reader"), "{}", watched.err());
    assert_eq!(out.lines().count() as u64 + missed, 200_001);
    assert!(missed > 0);
    assert_eq!(live.dismiss(&scene), Some(0));
}

#[test]
fn many_readers_get_every_line() {
    let scene = Scene::new();
    let live = scene.serve(&["--linger", "1h"], "echo first; await go; seq 1 20000; exit 3");
    let readers: Vec<_> = (0..20).map(|_| scene.curl(&[&live.at("/log")])).collect();
    for reader in &readers {
        reader.wait_out("first\n");
    }
    scene.touch("go");
    let numbers: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    for reader in readers {
        let out = reader.finish().assert_code(0).out();
        assert!(out.starts_with(&format!("first\n{numbers}[towpath] end: exited with code 3")), "a reader lacks lines");
    }
}

/// How many threads it has.
fn threads(live: &Live) -> usize {
    live.run.process().status("Threads").parse().unwrap()
}

#[test]
fn readers_who_have_everything_take_no_thread_and_still_get_each_line_and_the_end() {
    let scene = Scene::new();
    let live = scene.serve(&["--linger", "1h"], "echo first; await go; echo last; exit 3");
    let before = threads(&live);
    let paths = ["/log", "/events"];
    let readers: Vec<_> = (0..30).map(|index| scene.curl(&[&live.at(paths[index % 2])])).collect();
    for reader in &readers {
        reader.wait_out("first");
    }
    // The thread that serves all of them is one more.
    until("the readers' threads to end", || threads(&live) <= before + 1);
    scene.touch("go");
    for reader in readers {
        let out = reader.finish().assert_code(0).out();
        assert!(out.contains("last") && out.contains("exit"), "{out}");
    }
    live.dismiss(&scene);
}
