//! The sweeper: removes the containers of a run whose attendant couldn't.

use std::time::Duration;

use super::say;
use crate::clock::Moment;
use crate::docker::{Docker, Error, ErrorKind};
use crate::job::with_causes;

/// How long a daemon that can't be reached is tried again. Until then the run's lock is
/// held, since its container may run.
const SWEEP_FOR: Duration = Duration::from_secs(600);
/// Between two tries, growing from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// One whose making was under way may come to be after the first look.
const LATE_BIRTH: Duration = Duration::from_millis(500);
/// How long the daemon may take for one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs as a sweeper; gives the exit code.
pub(super) fn main(run: &str) -> i32 {
    // The name is for `ps` alone.
    let _: rustix::io::Result<()> = rustix::thread::set_name(c"towpath-sweep");
    let until = Moment::now() + SWEEP_FOR;
    let swept = sweep(run, until).and_then(|count| {
        if count > 0 {
            return Ok(());
        }
        // Once, and for so long: there is nothing that would tell.
        std::thread::sleep(LATE_BIRTH);
        sweep(run, until).map(drop)
    });
    match swept {
        Ok(()) => 0,
        Err(error) => {
            say(&format!(
                "{}; a container of this run may be left: towpath docker stop --orphans finds it",
                with_causes(&error)
            ));
            1
        }
    }
}

/// The same in this process, for as long; whether it is proven that none is left.
pub(in crate::job) fn sweep_now(run: &str, within: Duration) -> bool {
    match sweep(run, Moment::now() + within) {
        Ok(_) => true,
        Err(error) => {
            log::warn!("{}", with_causes(&error));
            false
        }
    }
}

/// Removes the run's containers, and gives their number when none is left. Tries again
/// until then when the daemon is away.
pub(super) fn sweep(run: &str, until: Moment) -> Result<usize, Error> {
    let mut pause = PAUSE.0;
    let mut removed = 0;
    loop {
        match once(run) {
            Ok(0) => return Ok(removed),
            Ok(count) => removed += count,
            Err(error) if until.has_passed() || !may_pass(&error) => return Err(error),
            Err(_) => {
                // A daemon that restarts tells nobody when it is back.
                std::thread::sleep(pause);
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}

/// Removes what there is now; how many those were.
fn once(run: &str) -> Result<usize, Error> {
    let docker = Docker::from_environment()?.with_patience(PATIENCE);
    let containers = docker.containers_of_run(run)?;
    for found in &containers {
        let container = docker.container(&found.id);
        // At once; to be removed takes longer than to be ended.
        match container.kill("KILL") {
            Err(error) if ![ErrorKind::Conflict, ErrorKind::NotFound].contains(&error.kind()) => return Err(error),
            _ => container.remove(true)?,
        }
    }
    Ok(containers.len())
}

fn may_pass(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NoDaemon | ErrorKind::TimedOut | ErrorKind::Cut | ErrorKind::Failed)
}
