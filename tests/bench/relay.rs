//! How fast a run's lines go through one Redis to who watches it by its key.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use crate::compare::{Comparison, Effort, Side};
use crate::figure::{Bar, Figure, Unit};
use crate::programs::on_path;
use crate::support::redis::Redis;
use crate::support::scene::Scene;

const KEY: &str = "bench";
/// As fast as the run can write them.
const FLOOD: usize = 200_000;
/// At 1,000 a second.
const PACED: usize = 3_000;
/// Of the first lines some are there before the watcher is.
const LEFT_OUT: usize = 500;

/// A line each millisecond, with the moment when it was written.
const CLOCK: &str = "\
import sys, time
at = time.monotonic()
for _ in range(int(sys.argv[1])):
    print(time.time_ns(), flush=True)
    at += 0.001
    time.sleep(max(0, at - time.monotonic()))
";

pub(crate) fn comparisons(effort: Effort) -> Vec<Comparison> {
    let figure = |name, most| Figure { name, unit: Unit::WallMs, bar: Some(Bar::AtMost(most)) };
    let flood = vec![figure("200,000 lines, the last one seen", FLOOD as f64 / 20.0)];
    let paced = vec![
        Figure { name: "p50 of a line at 1,000 a second", unit: Unit::WallMs, bar: None },
        figure("p99 of a line at 1,000 a second", 50.0),
    ];
    let missing = ["redis-server", "python3"].into_iter().find(|program| on_path(program).is_none());
    let side = |measure: fn(&Redis) -> Result<Vec<f64>, String>| match missing {
        Some(program) => Side::absent("towpath", &format!("{program} is not installed")),
        None => {
            let server = Rc::new(Redis::start());
            Side::new("towpath", move || measure(&server))
        }
    };
    let comparison = |name: &str, figures, ours| Comparison {
        name: name.to_owned(),
        rounds: effort.slow_rounds,
        figures,
        ours,
        peer: None,
    };
    vec![comparison("relay, a flood", flood, side(flooded)), comparison("relay, a clock", paced, side(timed))]
}

fn flooded(server: &Redis) -> Result<Vec<f64>, String> {
    let scene = Scene::new();
    let (mut watch, lines) = watch(&scene, server);
    let began = Instant::now();
    let run = relay(&scene, server, &["seq", &FLOOD.to_string()]);
    let last = lines.map_while(Result::ok).zip(1..).map(|(line, at)| (line == at.to_string(), at)).last();
    let took = began.elapsed();
    ended(&mut watch, run)?;
    match last {
        Some((true, FLOOD)) => Ok(vec![took.as_secs_f64() * 1000.0]),
        other => Err(format!("lines are missing: {other:?} of {FLOOD}")),
    }
}

fn timed(server: &Redis) -> Result<Vec<f64>, String> {
    let scene = Scene::new();
    let (mut watch, lines) = watch(&scene, server);
    let run = relay(&scene, server, &["python3", "-c", CLOCK, &PACED.to_string()]);
    let now = || SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let seen: Vec<(String, Duration)> = lines.map_while(Result::ok).map(|line| (line, now())).collect();
    ended(&mut watch, run)?;
    let late = |(line, at): (String, Duration)| {
        let written: u64 = line.parse().map_err(|_| format!("no moment: {line}"))?;
        Ok(at.saturating_sub(Duration::from_nanos(written)).as_secs_f64())
    };
    let mut seconds = seen.into_iter().map(late).collect::<Result<Vec<f64>, String>>()?;
    if seconds.len() != PACED {
        return Err(format!("{} lines of {PACED}", seconds.len()));
    }
    let mut seconds = seconds.split_off(LEFT_OUT);
    seconds.sort_by(f64::total_cmp);
    Ok([50, 99].map(|percent| seconds[seconds.len() * percent / 100] * 1000.0).to_vec())
}

/// A watcher that waits for the next run, and its lines.
fn watch(scene: &Scene, server: &Redis) -> (Child, std::io::Lines<BufReader<ChildStdout>>) {
    let arguments = ["watch", "--config", &scene.name("towpath.conf"), "--store", &server.url(), "--wait", "1m", KEY];
    let mut child = scene.towpath().args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

fn relay(scene: &Scene, server: &Redis, command: &[&str]) -> Child {
    let flags = ["--store", &server.url(), "--once", KEY, "--relay", "--"];
    scene.run(&flags).args(command).stdout(Stdio::null()).spawn().unwrap()
}

fn ended(watch: &mut Child, mut run: Child) -> Result<(), String> {
    for (who, child) in [("watch", watch), ("run", &mut run)] {
        let status = child.wait().map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("{who}: {status}"));
        }
    }
    Ok(())
}
