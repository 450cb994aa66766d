//! A comparison: us and a peer, measured in turns, a row of the table for each
//! figure.

use std::time::Duration;

use crate::figure::{Bar, Figure};

/// One measurement: the comparison's figures, in their order.
pub(crate) type Measure = Box<dyn FnMut() -> Result<Vec<f64>, String>>;

pub(crate) struct Comparison {
    pub(crate) name: String,
    /// That count; one more goes ahead to warm up.
    pub(crate) rounds: usize,
    pub(crate) figures: Vec<Figure>,
    pub(crate) ours: Side,
    /// None for a figure that is held to a bar alone.
    pub(crate) peer: Option<Side>,
}

pub(crate) struct Side {
    pub(crate) label: String,
    /// Or why this side isn't here.
    pub(crate) measure: Result<Measure, String>,
}

/// A row of the table; what wasn't measured says why in its figure's place.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) ours: String,
    pub(crate) peer: String,
    pub(crate) ratio: String,
    pub(crate) bar: String,
    pub(crate) failed: bool,
}

/// How much is done for one figure.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// Rounds of what takes seconds.
    pub(crate) slow_rounds: usize,
    /// Runs of a short command in one round.
    pub(crate) runs: u32,
    /// Length of the output that is passed on.
    pub(crate) output_mib: usize,
    /// Length of the log that is filtered.
    pub(crate) log_mib: usize,
    /// Lines of a container's log.
    pub(crate) log_lines: usize,
    /// Length of the file that is uploaded and downloaded.
    pub(crate) upload_bytes: u64,
    /// Readers of a stream.
    pub(crate) readers: [usize; 3],
    /// Locks taken and released in one round.
    pub(crate) lock_pairs: usize,
    /// How long a stream is quiet, and then fast, in one round.
    pub(crate) quiet: Duration,
    pub(crate) flood: Duration,
    /// Keys that will expire some day, and those that do in one round.
    pub(crate) volatile_keys: usize,
    pub(crate) expiring_keys: usize,
    /// How long a key is waited for that nobody tells of.
    pub(crate) expiry_patience: Duration,
    /// Deadlines set and handled in one round.
    pub(crate) deadlines: usize,
}

impl Effort {
    pub(crate) const FULL: Self = Self {
        rounds: 15,
        slow_rounds: 5,
        runs: 40,
        output_mib: 256,
        log_mib: 500,
        log_lines: 1_000_000,
        upload_bytes: 264_517_032,
        readers: [1, 100, 1_000],
        lock_pairs: 5_000,
        quiet: Duration::from_secs(4),
        flood: Duration::from_secs(2),
        volatile_keys: 100_000,
        expiring_keys: 500,
        expiry_patience: Duration::from_secs(10),
        deadlines: 50_000,
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 2,
        slow_rounds: 1,
        runs: 3,
        output_mib: 4,
        log_mib: 4,
        log_lines: 10_000,
        upload_bytes: 4 << 20,
        readers: [1, 10, 100],
        lock_pairs: 100,
        quiet: Duration::from_millis(200),
        flood: Duration::from_millis(200),
        volatile_keys: 20_000,
        expiring_keys: 50,
        expiry_patience: Duration::from_millis(500),
        deadlines: 2_000,
    };

    pub(crate) fn from_environment() -> Self {
        let quick = std::env::var_os("TOWPATH_BENCH_QUICK").is_some_and(|value| value == "1");
        if quick { Self::QUICK } else { Self::FULL }
    }
}

impl Side {
    pub(crate) fn new(label: &str, measure: impl FnMut() -> Result<Vec<f64>, String> + 'static) -> Self {
        Self { label: label.to_owned(), measure: Ok(Box::new(measure)) }
    }

    pub(crate) fn absent(label: &str, why: &str) -> Self {
        Self { label: label.to_owned(), measure: Err(why.to_owned()) }
    }
}

/// A side in the course of its rounds.
struct Course {
    label: String,
    state: State,
}

enum State {
    /// For each figure the rounds so far.
    Measuring(Measure, Vec<Vec<f64>>),
    Absent(String),
    Failed(String),
}

impl Comparison {
    /// Whether one of the names is part of a row's; no names are all.
    pub(crate) fn is_named_by(&self, names: &[String]) -> bool {
        let is_named = |name: &String| self.figures.iter().any(|figure| self.row_name(figure).contains(name));
        names.is_empty() || names.iter().any(is_named)
    }

    fn row_name(&self, figure: &Figure) -> String {
        format!("{}: {}", self.name, figure.name)
    }

    /// Measures both sides, in turns, and gives a row a figure.
    pub(crate) fn rows(self) -> Vec<Row> {
        eprintln!("measuring {}", self.name);
        let width = self.figures.len();
        let names: Vec<_> = self.figures.iter().map(|figure| self.row_name(figure)).collect();
        let mut ours = Course::new(self.ours, width);
        let mut peer = self.peer.map(|peer| Course::new(peer, width));
        // A B A B ..., so that what disturbs the machine for a while disturbs both.
        for round in 0..=self.rounds {
            let warms_up = round == 0;
            ours.measure(warms_up);
            peer.iter_mut().for_each(|peer| peer.measure(warms_up));
        }
        let row = |(index, (figure, name)): (usize, (&Figure, String))| row(name, *figure, index, &ours, peer.as_ref());
        self.figures.iter().zip(names).enumerate().map(row).collect()
    }
}

impl Course {
    fn new(side: Side, width: usize) -> Self {
        let state = match side.measure {
            Ok(measure) => State::Measuring(measure, vec![Vec::new(); width]),
            Err(why) => State::Absent(why),
        };
        Self { label: side.label, state }
    }

    fn measure(&mut self, warms_up: bool) {
        let State::Measuring(measure, rounds) = &mut self.state else { return };
        match measure() {
            Ok(_) if warms_up => {}
            Ok(figures) => rounds.iter_mut().zip(figures).for_each(|(rounds, figure)| rounds.push(figure)),
            Err(why) => self.state = State::Failed(why),
        }
    }

    fn value(&self, figure: Figure, index: usize) -> Option<f64> {
        let State::Measuring(_, rounds) = &self.state else { return None };
        Some(figure.unit.combine(&rounds[index]))
    }

    fn show(&self, figure: Figure, index: usize) -> String {
        match &self.state {
            State::Measuring(_, rounds) => figure.unit.show(figure.unit.combine(&rounds[index])),
            State::Absent(why) => format!("absent: {why}"),
            State::Failed(why) => format!("FAILED: {why}"),
        }
    }
}

fn row(what: String, figure: Figure, index: usize, ours: &Course, peer: Option<&Course>) -> Row {
    let value = ours.value(figure, index);
    let beside = peer.and_then(|peer| peer.value(figure, index)).filter(|peer| *peer > 0.0);
    let verdict = |bar: Bar| bar.verdict(figure.unit, value, beside);
    Row {
        what,
        ours: ours.show(figure, index),
        peer: peer.map_or_else(String::new, |peer| format!("{} {}", peer.label, peer.show(figure, index))),
        ratio: value.zip(beside).map_or_else(String::new, |(ours, peer)| format!("{:.2}x", ours / peer)),
        bar: figure.bar.map_or_else(String::new, verdict),
        failed: [Some(ours), peer].into_iter().flatten().any(|side| matches!(side.state, State::Failed(_))),
    }
}
