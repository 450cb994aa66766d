//! Stopping many containers, with a result for each.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Container, Docker, Error};

/// How many are stopped at a time: each may take its whole grace.
const AT_ONCE: NonZeroUsize = NonZeroUsize::new(16).expect("16 isn't 0");

/// How containers are stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stopping {
    /// How long each is given before it is killed. Default: the container's own grace,
    /// or 10 s.
    pub grace: Option<Duration>,
    /// Each is removed too, with its volumes that have no name.
    pub removing: bool,
}

/// What became of a container that was to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It ran, and has ended.
    Ended,
    /// It didn't run.
    NotRunning,
}

impl Docker {
    /// Stops these containers, several at a time, and tells of each in their order, as
    /// soon as that one and those before it are done. Blocks until all have ended or
    /// failed: for each at most the grace and the client's patience.
    pub fn stop_all(&self, names: &[String], how: Stopping, tell: &mut dyn FnMut(&str, Result<Stopped, Error>)) {
        let next = AtomicUsize::new(0);
        let (done, results) = crossbeam_channel::bounded(AT_ONCE.get());
        std::thread::scope(|scope| {
            let spawn = |_: &usize| {
                let (next, done) = (&next, done.clone());
                let work = move || {
                    while let Some((index, name)) = take(names, next) {
                        // Nobody hangs up before all are told of.
                        let _: Result<(), _> = done.send((index, stop(&self.container(name), how)));
                    }
                };
                std::thread::Builder::new().name("docker-stop".to_owned()).spawn_scoped(scope, work).is_ok()
            };
            if (0..names.len().min(AT_ONCE.get())).filter(spawn).count() == 0 {
                // A host without threads left: one after the other.
                for name in names {
                    tell(name, stop(&self.container(name), how));
                }
                return;
            }
            // So that the last thread's end is the results' end, were it to panic.
            drop(done);
            in_order(names, &results, tell);
        });
    }
}

fn take<'n>(names: &'n [String], next: &AtomicUsize) -> Option<(usize, &'n String)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    names.get(index).map(|name| (index, name))
}

fn stop(container: &Container, how: Stopping) -> Result<Stopped, Error> {
    let ran = container.stop(how.grace)?;
    if how.removing {
        container.remove(true)?;
    }
    Ok(if ran { Stopped::Ended } else { Stopped::NotRunning })
}

fn in_order(
    names: &[String],
    results: &crossbeam_channel::Receiver<(usize, Result<Stopped, Error>)>,
    tell: &mut dyn FnMut(&str, Result<Stopped, Error>),
) {
    let mut waiting: Vec<Option<Result<Stopped, Error>>> = names.iter().map(|_| None).collect();
    for (index, name) in names.iter().enumerate() {
        while waiting[index].is_none() {
            // Each name has a thread that answers: its calls have limits.
            let Ok((done, result)) = results.recv() else { return };
            waiting[done] = Some(result);
        }
        if let Some(result) = waiting[index].take() {
            tell(name, result);
        }
    }
}
