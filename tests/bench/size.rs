//! How large the binary is, stripped as a release is.

use std::path::Path;

use crate::compare::{Comparison, Effort, Side};
use crate::figure::{Bar, Figure, Unit};
use crate::programs::{static_towpath, towpath};

pub(crate) fn comparisons(effort: Effort) -> Vec<Comparison> {
    let comparison = |name: &str, bar, ours| {
        let figure = Figure { name: "size", unit: Unit::Mebibytes, bar };
        Comparison { name: name.to_owned(), rounds: effort.rounds, figures: vec![figure], ours, peer: None }
    };
    let everything =
        static_towpath().map_or_else(|| Side::absent("towpath", "tests/run builds it"), |path| sized(&path));
    vec![
        comparison("release binary", None, sized(Path::new(towpath()))),
        comparison("static binary", Some(Bar::AtMost(6.0)), everything),
    ]
}

fn sized(path: &Path) -> Side {
    let path = path.to_owned();
    Side::new("towpath", move || {
        let length = std::fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?.len();
        Ok(vec![length as f64 / f64::from(1 << 20)])
    })
}
