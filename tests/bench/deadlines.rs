//! How many deadlines one Redis takes, has handled and is told the end of, a
//! second: by `Deadlines` and a `Watch` whose handler does nothing.

use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use towpath::expiry::{Deadline, Deadlines, Due, Group, Handler, Watch};
use towpath::thread::spawn;

use crate::compare::{Comparison, Effort, Side};
use crate::figure::{Bar, Figure, Unit};
use crate::programs::on_path;
use crate::support::redis::{Redis, Settings};

/// How many are set by one call.
const AT_ONCE: usize = 512;
/// They fall due after they were set, while others are being set.
const DUE: Due = Due::In(Duration::from_millis(20));
/// How long a round may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether it is over.
const LOOK: Duration = Duration::from_millis(1);

pub(crate) fn comparisons(effort: Effort) -> Vec<Comparison> {
    let figures = vec![Figure {
        name: "set, due, handled, acknowledged",
        unit: Unit::DeadlinesPerSecond,
        bar: Some(Bar::AtLeast(10_000.0)),
    }];
    let ours = if on_path("redis-server").is_none() {
        Side::absent("towpath", "redis-server is not installed")
    } else {
        let server = Rc::new(Redis::with(Settings::new().line("notify-keyspace-events Exg")));
        Side::new("towpath", move || round(&server, effort.deadlines))
    };
    vec![Comparison { name: "expiry, own deadlines".to_owned(), rounds: effort.slow_rounds, figures, ours, peer: None }]
}

fn round(server: &Redis, count: usize) -> Result<Vec<f64>, String> {
    let url = server.url().parse().unwrap();
    let handled = Counter::default();
    let watch = Watch::new(server.url().parse().unwrap(), Group::default(), Handler::Lines(Box::new(handled.clone())));
    let watch =
        spawn("bench-watch", move |stop| watch.run(stop, Box::new(|_| {}))).map_err(|error| error.to_string())?;
    let took = through(&mut Deadlines::open(&url, Group::default()).unwrap(), count, &handled);
    watch.stop();
    watch.join().map_err(|panic| panic.to_string())?.map_err(|error| error.to_string())?;
    let handled = handled.0.load(Ordering::Relaxed);
    if handled != count {
        return Err(format!("{handled} of {count} were handled"));
    }
    Ok(vec![count as f64 / took?.as_secs_f64()])
}

/// From the first that is set until Redis has none any more.
fn through(deadlines: &mut Deadlines, count: usize, handled: &Counter) -> Result<Duration, String> {
    let words = |error: towpath::expiry::Error| error.to_string();
    // The watcher leads: it has handled one.
    deadlines.set(&Deadline::new("first", Due::In(Duration::ZERO), "").unwrap()).map_err(words)?;
    let late = Instant::now() + PATIENCE;
    let wait = |until: &mut dyn FnMut() -> Result<bool, String>| {
        while !until()? {
            if Instant::now() > late {
                return Err("it takes too long".to_owned());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    };
    wait(&mut || Ok(handled.0.load(Ordering::Relaxed) > 0))?;
    handled.0.store(0, Ordering::Relaxed);
    let all: Vec<Deadline> =
        (0..count).map(|at| Deadline::new(format!("order:{at}"), DUE, "payload").unwrap()).collect();
    let began = Instant::now();
    for some in all.chunks(AT_ONCE) {
        deadlines.set_all(some).map_err(words)?;
    }
    wait(&mut || Ok(handled.0.load(Ordering::Relaxed) >= count))?;
    wait(&mut || Ok(deadlines.pending(1).map_err(words)?.is_empty()))?;
    Ok(began.elapsed())
}

/// A handler that does nothing but count.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicUsize>);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.fetch_add(memchr::memchr_iter(b'\n', bytes).count(), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
