//! A command's output on its way through `run`: beside the bare pipe, and with
//! a log beside tee.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;

use tempfile::TempDir;

use crate::compare::{Comparison, Effort, Side};
use crate::figure::{Figure, Unit};
use crate::programs::{command, cost_of, on_path, run_works, towpath};

pub(crate) fn comparisons(effort: Effort) -> Vec<Comparison> {
    let figures = || {
        let figure = |name, unit| Figure { name, unit, bar: None };
        vec![figure("throughput", Unit::MebibytesPerSecond), figure("cpu", Unit::CpuSecondsPerGib)]
    };
    let input = Rc::new(Input::new(effort.output_mib));
    let (bytes, log) = (input.path("bytes"), input.path("log"));
    let side = |label: &str, stages: &[&[&str]], logs: bool, works: Result<(), String>| {
        let missing = stages.iter().map(|stage| stage[0]).find(|name| !name.contains('/') && on_path(name).is_none());
        match missing {
            Some(name) => Side::absent(label, &format!("{name} is not installed")),
            None => piped(label, stages, logs, &input, works),
        }
    };
    let comparison = |name: &str, ours, peer| Comparison {
        name: name.to_owned(),
        rounds: effort.rounds,
        figures: figures(),
        ours,
        peer: Some(peer),
    };
    let reader: &[&str] = &["cat"];
    vec![
        comparison(
            "output of run",
            side("towpath", &[&[towpath(), "run", "--", "cat", &bytes], reader], false, run_works()),
            side("a pipe", &[&["cat", &bytes], reader], false, Ok(())),
        ),
        comparison(
            "output of run --log",
            side("towpath", &[&[towpath(), "run", "--log", &log, "--", "cat", &bytes], reader], true, run_works()),
            side("tee", &[&["cat", &bytes], &["tee", &log], reader], true, Ok(())),
        ),
    ]
}

/// A file of lines, as logs have them, and a place for the copy.
struct Input {
    dir: TempDir,
    mib: usize,
}

impl Input {
    fn new(mib: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let line = b"2026-01-02T03:04:05Z INFO job: copied 4096 bytes to the archive\n";
        let block = line.repeat((1 << 20) / line.len());
        let mut file = File::create(dir.path().join("bytes")).unwrap();
        (0..mib).for_each(|_| file.write_all(&block).unwrap());
        Self { dir, mib }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }
}

fn piped(label: &str, stages: &[&[&str]], logs: bool, input: &Rc<Input>, works: Result<(), String>) -> Side {
    let stages: Vec<Vec<String>> =
        stages.iter().map(|stage| stage.iter().map(|&word| word.to_owned()).collect()).collect();
    let input = Rc::clone(input);
    Side::new(label, move || {
        works.clone()?;
        let log = input.path("log");
        let _ = std::fs::remove_file(&log); // a log is appended to
        let cost = cost_of(|| pass_through(&stages))?;
        if logs && length(&log) != length(input.path("bytes")) {
            return Err("the log isn't the output".to_owned());
        }
        let mib = input.mib as f64;
        Ok(vec![mib / cost.wall, cost.cpu * 1024.0 / mib])
    })
}

/// Runs the stages as a pipeline, whose end goes nowhere, to its end.
pub(crate) fn pass_through(stages: &[Vec<String>]) -> Result<(), String> {
    let mut children = Vec::new();
    let mut input = Stdio::null();
    for (index, stage) in stages.iter().enumerate() {
        let words: Vec<&str> = stage.iter().map(String::as_str).collect();
        let last = index + 1 == stages.len();
        let mut command = command(&words);
        command.stdin(input).stdout(if last { Stdio::null() } else { Stdio::piped() });
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", words[0]))?;
        input = child.stdout.take().map_or_else(Stdio::null, Stdio::from);
        children.push(child);
    }
    for (child, stage) in children.iter_mut().zip(stages) {
        let status = child.wait().map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("{} ends with {status}", stage.join(" ")));
        }
    }
    Ok(())
}

fn length(path: impl AsRef<Path>) -> Option<u64> {
    std::fs::metadata(path).ok().map(|metadata| metadata.len())
}
