//! A stream to many readers: how much gets through when it is fast, how soon a
//! line arrives when it is quiet, and what a reader takes of memory.

use std::io::Write;
use std::process::ChildStdin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::compare::{Comparison, Effort, Side};
use crate::figure::{Bar, Figure, Unit};
use crate::hub::{GoProgram, Hub};
use crate::memory::status_kib;
use crate::programs::{on_path, run_works};
use crate::readers::{Readers, Tally, plain_line, timed_line};

/// Between two lines of a quiet stream: 50 a second.
const QUIET: Duration = Duration::from_millis(20);
/// Within it everything that a round waits for comes, also on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The descriptors of sockets, and what else a bench has open.
const SPARE_DESCRIPTORS: u64 = 256;

pub(crate) fn comparisons(effort: Effort) -> Vec<Comparison> {
    let go = Rc::new(GoProgram::new("hub.go", "bench-hub"));
    effort.readers.into_iter().map(|readers| comparison(readers, effort, &go)).collect()
}

fn comparison(readers: usize, effort: Effort, go: &Rc<GoProgram>) -> Comparison {
    let is_crowd = readers >= 1_000;
    let figure = |name, unit, bar| Figure { name, unit, bar };
    let figures = vec![
        figure("delivered", Unit::LinesPerSecond, is_crowd.then_some(Bar::TimesAtLeast(8.0))),
        figure("a reader's RssAnon", Unit::Kibibytes, is_crowd.then_some(Bar::AtMost(14.0))),
        figure("quiet, p50", Unit::WallMs, None),
        figure("quiet, p99", Unit::WallMs, Some(Bar::TimesAtMost(if is_crowd { 1.6 } else { 1.0 }))),
    ];
    let ours = Side::new("towpath", move || {
        run_works()?;
        raise_descriptors(readers)?;
        round(Hub::towpath(readers)?, readers, effort)
    });
    let go = Rc::clone(go);
    let peer = match on_path("go") {
        None => Side::absent("Go hub", "go is not installed"),
        Some(_) => Side::new("Go hub", move || round(Hub::go(go.program()?)?, readers, effort)),
    };
    let name = format!("fan-out to {readers} reader{}", if readers == 1 { "" } else { "s" });
    Comparison { name, rounds: effort.slow_rounds, figures, ours, peer: Some(peer) }
}

/// A socket for each reader, here and in the server, which inherits the limit.
fn raise_descriptors(readers: usize) -> Result<(), String> {
    let wanted = readers as u64 + SPARE_DESCRIPTORS;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        setrlimit(Resource::Nofile, limit).map_err(|_| format!("needs {wanted} descriptors: ulimit -n {wanted}"))?;
    }
    Ok(())
}

fn round(mut hub: Hub, readers: usize, effort: Effort) -> Result<Vec<f64>, String> {
    let mut input = hub.input.take().ok_or("the server takes no input")?;
    let began = Instant::now();
    let before = status_kib(hub.pid as i32, "RssAnon:");
    let crowd = Readers::connect(hub.address, readers, began)?;
    reach_all(&crowd.tally, readers, &mut input)?;
    quiet(&mut input, &crowd.tally, readers, began, effort.quiet)?;
    let held = status_kib(hub.pid as i32, "RssAnon:") - before;
    let delivered = flood(input, &crowd.tally, effort.flood)?;
    let mut latencies = crowd.leave()?;
    drop(hub);
    latencies.sort_unstable();
    let percentile = |percent: usize| latencies.get(latencies.len() * percent / 100).map_or(0.0, |ns| *ns as f64 / 1e6);
    Ok(vec![delivered, held / readers as f64, percentile(50), percentile(99)])
}

/// Writes a line now and then until every reader has got one: all are connected then.
fn reach_all(tally: &Tally, readers: usize, input: &mut ChildStdin) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while tally.reached() < readers {
        tally.check()?;
        if Instant::now() > deadline {
            return Err(format!("{} of {readers} readers get nothing", readers - tally.reached()));
        }
        write(input, &plain_line())?;
        // The pace of the lines, not a wait for something.
        std::thread::sleep(QUIET);
    }
    Ok(())
}

fn quiet(
    input: &mut ChildStdin,
    tally: &Tally,
    readers: usize,
    began: Instant,
    length: Duration,
) -> Result<(), String> {
    let lines = (length.as_millis() / QUIET.as_millis()).max(1) as u32;
    let start = Instant::now();
    for number in 0..lines {
        // The pace is what is measured.
        std::thread::sleep((start + QUIET * number).saturating_duration_since(Instant::now()));
        write(input, &timed_line(began))?;
    }
    let all = u64::from(lines) * readers as u64;
    let deadline = Instant::now() + PATIENCE;
    while tally.timed_lines() < all {
        tally.check()?;
        if Instant::now() > deadline {
            return Err(format!("of {all} lines of a quiet stream {} came", tally.timed_lines()));
        }
        // To ask more often would load the machine that is measured.
        std::thread::sleep(QUIET);
    }
    Ok(())
}

/// Writes as fast as it is taken: lines a second, of all readers together.
fn flood(mut input: ChildStdin, tally: &Tally, length: Duration) -> Result<f64, String> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let feed = scope.spawn(|| {
            let block = plain_line().repeat(600);
            while !stop.load(Ordering::Relaxed) {
                write(&mut input, &block)?;
            }
            Ok::<_, String>(())
        });
        // The first part is not counted: it comes up to speed in it.
        std::thread::sleep(length / 4);
        let (start, before) = (Instant::now(), tally.lines());
        std::thread::sleep(length);
        let delivered = (tally.lines() - before) as f64 / start.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        feed.join().map_err(|_| "the feed panicked".to_owned())??;
        if delivered > 0.0 { Ok(delivered) } else { Err("a fast stream delivers nothing".to_owned()) }
    })
}

fn write(input: &mut ChildStdin, bytes: &[u8]) -> Result<(), String> {
    input.write_all(bytes).map_err(|error| format!("the server takes no more input: {error}"))
}
