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
}

/// A bar of the design.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    /// In the figure's own unit.
    AtMost(f64),
}

impl Unit {
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::WallMs | Self::CpuMs => format!("{value:.2} ms"),
            Self::CpuSecondsPerGib => format!("{value:.2} s/GiB"),
            Self::Mebibytes => format!("{value:.2} MiB"),
            Self::Kibibytes => format!("{value:.0} KiB"),
            Self::MebibytesPerSecond => format!("{value:.0} MiB/s"),
        }
    }

    /// The rounds as one number: their median, which one disturbed round
    /// doesn't move. Processor time comes in coarse steps, which only a mean
    /// levels out; other processes don't disturb it.
    pub(crate) fn combine(self, rounds: &[f64]) -> f64 {
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
    pub(crate) fn verdict(self, unit: Unit, ours: f64) -> String {
        let Self::AtMost(most) = self;
        let met =
            if ours <= most { "met".to_owned() } else { format!("missed by {:.0} %", (ours / most - 1.0) * 100.0) };
        format!("<= {}: {met}", unit.show(most))
    }
}
