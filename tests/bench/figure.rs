//! One figure of a comparison: its unit, how rounds become one number, and the
//! bar it is held to.

/// What a measurement gives, one number a round and side.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) bar: Option<Bar>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Unit {
    /// Wall time, in milliseconds.
    WallMs,
    /// Processor time of the whole process tree, user and system, in
    /// milliseconds. The kernel counts it in ticks of 10 ms.
    CpuMs,
    /// Processor time for each GiB that passes, in seconds; counted as above.
    CpuSecondsPerGib,
    Mebibytes,
    Kibibytes,
    MebibytesPerSecond,
    LinesPerSecond,
    /// A lock taken and released.
    PairsPerSecond,
    /// A deadline set, due, claimed, handled and acknowledged.
    DeadlinesPerSecond,
    /// Wall time in milliseconds, the worst there was in any round.
    WorstMs,
    /// What didn't come, of all rounds together.
    Missing,
    Bytes,
}

/// A bar of the design.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    /// In the figure's own unit.
    AtMost(f64),
    /// Of the peer's figure.
    TimesAtMost(f64),
    TimesAtLeast(f64),
    /// In the figure's own unit.
    AtLeast(f64),
}

impl Unit {
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::WallMs | Self::CpuMs | Self::WorstMs => format!("{value:.2} ms"),
            Self::CpuSecondsPerGib => format!("{value:.2} s/GiB"),
            Self::Mebibytes => format!("{value:.2} MiB"),
            Self::Kibibytes if value < 100.0 => format!("{value:.1} KiB"),
            Self::Kibibytes => format!("{value:.0} KiB"),
            Self::MebibytesPerSecond => format!("{value:.0} MiB/s"),
            Self::PairsPerSecond | Self::DeadlinesPerSecond => format!("{:.2} k/s", value / 1000.0),
            Self::Missing => format!("{value:.0}"),
            Self::Bytes => format!("{value:.0} B"),
            Self::LinesPerSecond => format!("{:.0} k lines/s", value / 1000.0),
        }
    }

    /// The rounds as one number: their median, which one disturbed round
    /// doesn't move. Processor time comes in coarse steps, which only a mean
    /// levels out; other processes don't disturb it. What must never happen
    /// isn't levelled out at all.
    pub(crate) fn combine(self, rounds: &[f64]) -> f64 {
        match self {
            Self::Missing => return rounds.iter().sum(),
            Self::WorstMs => return rounds.iter().copied().fold(0.0, f64::max),
            _ => {}
        }
        if matches!(self, Self::CpuMs | Self::CpuSecondsPerGib) {
            return rounds.iter().sum::<f64>() / rounds.len() as f64;
        }
        let mut rounds = rounds.to_vec();
        rounds.sort_by(f64::total_cmp);
        let middle = rounds.len() / 2;
        if rounds.len() % 2 == 1 { rounds[middle] } else { (rounds[middle - 1] + rounds[middle]) / 2.0 }
    }
}

impl Bar {
    pub(crate) fn verdict(self, unit: Unit, ours: Option<f64>, peer: Option<f64>) -> String {
        let ratio = ours.zip(peer).map(|(ours, peer)| ours / peer);
        // What it is held to, and by which part of that it is missed.
        let (bar, missed) = match self {
            Self::AtMost(most) => (format!("<= {}", unit.show(most)), ours.map(|ours| excess(ours, most))),
            Self::TimesAtMost(most) => (format!("<= {most}x"), ratio.map(|ratio| ratio / most - 1.0)),
            Self::TimesAtLeast(least) => (format!(">= {least}x"), ratio.map(|ratio| 1.0 - ratio / least)),
            Self::AtLeast(least) => (format!(">= {}", unit.show(least)), ours.map(|ours| 1.0 - ours / least)),
        };
        let verdict = match missed {
            None => "not measured".to_owned(),
            Some(missed) if missed <= 0.0 => "met".to_owned(),
            Some(missed) if missed.is_infinite() => "missed".to_owned(),
            Some(missed) => format!("missed by {:.0} %", missed * 100.0),
        };
        format!("{bar}: {verdict}")
    }
}

/// By which part of it a bar is missed; a bar of nothing at all is met or not.
fn excess(ours: f64, most: f64) -> f64 {
    if ours <= most { 0.0 } else { ours / most - 1.0 }
}
