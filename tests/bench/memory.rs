//! Memory that is held while a command runs, the command's own left out: of
//! towpath and its keeper together, beside the tools that wait as they do.

use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::compare::{Comparison, Effort, Side};
use crate::figure::{Figure, Unit};
use crate::programs::{command, on_path, run_works, towpath};
use crate::start::Place;

pub(crate) fn comparisons(effort: Effort) -> Vec<Comparison> {
    let figures = || {
        let figure = |name| Figure { name, unit: Unit::Kibibytes, bar: None };
        // Anonymous memory is what a process costs; the rest is the program's file, shared.
        vec![figure("RssAnon"), figure("peak RSS")]
    };
    let ours = |options: &[&str], place| {
        waiting("towpath", &[&[towpath(), "run"], options, &["--", "sleep", "600"]].concat(), place, run_works())
    };
    let peer = |arguments: &[&str], place: Place| match on_path(arguments[0]) {
        Some(_) => waiting(arguments[0], arguments, place, Ok(())),
        None => Side::absent(arguments[0], "not installed"),
    };
    let comparison = |name: &str, ours, peer| Comparison {
        name: name.to_owned(),
        rounds: effort.rounds,
        figures: figures(),
        ours,
        peer: Some(peer),
    };
    vec![
        comparison(
            "memory under run --timeout",
            ours(&["--timeout", "600s"], Place::none()),
            peer(&["timeout", "600", "sleep", "600"], Place::none()),
        ),
        comparison(
            "memory under run --once",
            ours(&["--once", "bench", "--store", "file:PLACE"], Place::new()),
            peer(&["flock", "PLACE/lock", "sleep", "600"], Place::new()),
        ),
    ]
}

fn waiting(label: &str, arguments: &[&str], place: Place, works: Result<(), String>) -> Side {
    let arguments = place.fill(arguments);
    Side::new(label, move || {
        let _kept = &place;
        works.clone()?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut child = command(&arguments).spawn().map_err(|error| format!("{}: {error}", arguments[0]))?;
        let held = settled(child.id() as i32);
        end(&mut child);
        held.map(|(anonymous, peak)| vec![anonymous, peak])
    })
}

/// RssAnon and VmHWM in KiB, once the command runs and RssAnon stands still.
fn settled(root: i32) -> Result<(f64, f64), String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut last = None;
    while Instant::now() < deadline {
        let (commands, holders): (Vec<_>, Vec<_>) = tree(root).into_iter().partition(|process| process.name == "sleep");
        if !commands.is_empty() {
            let sum = |field| holders.iter().map(|process| status_kib(process.pid, field)).sum::<f64>();
            let now = (sum("RssAnon:"), sum("VmHWM:"));
            if last == Some(now) {
                return Ok(now);
            }
            last = Some(now);
        }
        // Nothing tells when a process has settled: two looks a moment apart do.
        std::thread::sleep(Duration::from_millis(20));
    }
    Err("the command under it doesn't come up".to_owned())
}

struct Process {
    pid: i32,
    parent: i32,
    name: String,
}

/// A process and every one below it; the bench has others, as its Redis.
fn tree(root: i32) -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let mut others: Vec<_> = entries.filter_map(|entry| process(entry.file_name().to_str()?)).collect();
    let mut found: Vec<Process> = Vec::new();
    loop {
        let is_below = |process: &Process| process.pid == root || found.iter().any(|above| above.pid == process.parent);
        let (below, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(is_below);
        if below.is_empty() {
            return found;
        }
        found.extend(below);
        others = rest;
    }
}

/// By proc_pid_stat(5); none when it has ended meanwhile.
fn process(entry: &str) -> Option<Process> {
    let pid = entry.parse().ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{entry}/stat")).ok()?;
    let (open, close) = (stat.find('(')?, stat.rfind(')')?);
    let parent = stat[close + 2..].split(' ').nth(1)?.parse().ok()?;
    Some(Process { pid, parent, name: stat[open + 1..close].to_owned() })
}

pub(crate) fn status_kib(pid: i32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse().ok());
    value.unwrap_or(0.0)
}

/// Ends the commands, after which those who wait for them end too.
fn end(child: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        for command in tree(child.id() as i32).iter().filter(|process| process.name == "sleep") {
            let _ = Pid::from_raw(command.pid).map(|pid| kill_process(pid, Signal::TERM));
        }
        if child.try_wait().unwrap().is_some() {
            return;
        }
        // A wait with a deadline isn't in std.
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
