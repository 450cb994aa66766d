//! What starting costs: the program itself, and a command under `run` beside
//! the same command under the tools that cron lines use today.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::compare::{Comparison, Effort, Side};
use crate::figure::{Figure, Unit};
use crate::programs::{command, cost_of, on_path, run_works, towpath, version_works};

pub(crate) fn comparisons(effort: Effort) -> Vec<Comparison> {
    let figures = || {
        let figure = |name, unit| Figure { name, unit, bar: None };
        vec![figure("wall", Unit::WallMs), figure("cpu", Unit::CpuMs)]
    };
    let under_run = |options: &[&str], place: Place| {
        let arguments = [&[towpath(), "run"], options, &["--", "true"]].concat();
        repeated("towpath", &arguments, effort.runs, place, run_works())
    };
    let peer = |arguments: &[&str], place: Place| match on_path(arguments[0]) {
        Some(_) => repeated(arguments[0], arguments, effort.runs, place, Ok(())),
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
            "start-up (--version)",
            repeated("towpath", &[towpath(), "--version"], effort.runs, Place::none(), version_works()),
            peer(&["timeout", "--version"], Place::none()),
        ),
        comparison("run true", under_run(&[], Place::none()), peer(&["true"], Place::none())),
        comparison(
            "run --timeout true",
            under_run(&["--timeout", "60s"], Place::none()),
            peer(&["timeout", "60", "true"], Place::none()),
        ),
        comparison(
            "run --once true",
            under_run(&["--once", "bench", "--store", "file:PLACE"], Place::new()),
            peer(&["flock", "PLACE/lock", "true"], Place::new()),
        ),
    ]
}

/// A directory for what a side writes; `PLACE` in an argument stands for it.
pub(crate) struct Place(Option<TempDir>);

impl Place {
    pub(crate) fn none() -> Self {
        Self(None)
    }

    pub(crate) fn new() -> Self {
        Self(Some(tempfile::tempdir().unwrap()))
    }

    pub(crate) fn fill(&self, arguments: &[&str]) -> Vec<String> {
        let path = self.0.as_ref().map_or_else(PathBuf::new, |dir| dir.path().to_owned());
        arguments.iter().map(|argument| argument.replace("PLACE", &path.to_string_lossy())).collect()
    }
}

/// The same command, time after time: the figures are of one run.
fn repeated(label: &str, arguments: &[&str], runs: u32, place: Place, works: Result<(), String>) -> Side {
    let arguments = place.fill(arguments);
    Side::new(label, move || {
        let _kept = &place;
        works.clone()?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let cost = cost_of(|| (0..runs).try_for_each(|_| succeeds(&arguments)))?;
        Ok([cost.wall, cost.cpu].map(|seconds| seconds * 1000.0 / f64::from(runs)).to_vec())
    })
}

fn succeeds(arguments: &[&str]) -> Result<(), String> {
    let status = command(arguments).status().map_err(|error| format!("{}: {error}", arguments[0]))?;
    if status.success() { Ok(()) } else { Err(format!("{} ends with {status}", arguments.join(" "))) }
}
