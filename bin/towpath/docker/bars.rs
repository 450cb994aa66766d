//! A pull's layers on a terminal, a line each, drawn again and again.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use towpath::docker::Progress;
use towpath::docker::show::human_size;

use crate::voice::printable;

/// Between two drawings.
const EVERY: Duration = Duration::from_millis(100);
/// An image has 127 layers at most; more than that many are not kept.
const LAYERS: usize = 1000;
/// How wide a bar is, in characters.
const BAR_WIDTH: usize = 30;

/// The lines, on standard error; nothing where that is no terminal.
pub(super) struct Bars {
    is_wanted: bool,
    layers: Vec<Progress>,
    /// How many lines the last drawing has left above the cursor.
    drawn: usize,
    last: Option<Instant>,
}

impl Bars {
    pub(super) fn begin(is_wanted: bool) -> Bars {
        Bars { is_wanted: is_wanted && io::stderr().is_terminal(), layers: Vec::new(), drawn: 0, last: None }
    }

    /// Takes in one report; draws if the last drawing is old enough.
    pub(super) fn show(&mut self, progress: &Progress) {
        // The beginning, whose id is the tag, isn't a layer's.
        let is_layer = progress.id.is_some() && !progress.status.starts_with("Pulling from ");
        if !self.is_wanted || !is_layer {
            return;
        }
        let is_full = self.layers.len() >= LAYERS;
        match self.layers.iter_mut().find(|layer| layer.id == progress.id) {
            Some(layer) => *layer = progress.clone(),
            None if is_full => return,
            None => self.layers.push(progress.clone()),
        }
        if self.last.is_none_or(|last| last.elapsed() >= EVERY) {
            self.draw();
        }
    }

    /// Draws what came last, and leaves it there.
    pub(super) fn end(&mut self) {
        if !self.layers.is_empty() {
            self.draw();
        }
    }

    fn draw(&mut self) {
        let (columns, rows) = rustix::termios::tcgetwinsize(io::stderr())
            .map_or((80, 24), |size| (usize::from(size.ws_col).max(20), usize::from(size.ws_row).max(3)));
        // What has scrolled away can't be drawn again: those that are done make room.
        let is_done = |layer: &&Progress| matches!(layer.status.as_str(), "Pull complete" | "Already exists");
        let spare = self.layers.len().saturating_sub(rows - 1);
        let mut hidden = 0;
        let shown = self.layers.iter().filter(|layer| {
            let hides = hidden < spare && is_done(layer);
            hidden += usize::from(hides);
            !hides
        });
        let mut text = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
        self.drawn = 0;
        for layer in shown.take(rows - 1) {
            let line: String = line(layer).chars().take(columns - 1).collect();
            text.push_str(&format!("\r{line}\x1b[K\n"));
            self.drawn += 1;
        }
        text.push_str("\x1b[J");
        // There is nowhere to say that the terminal is gone.
        let _: io::Result<()> = io::stderr().write_all(text.as_bytes());
        self.last = Some(Instant::now());
    }
}

fn line(layer: &Progress) -> String {
    let (id, status) = (printable(layer.id.as_deref().unwrap_or_default()), printable(&layer.status));
    match (layer.current_byte, layer.total_byte) {
        (Some(current), Some(total)) => {
            let filled = usize::try_from(current.min(total).saturating_mul(BAR_WIDTH as u64) / total).unwrap_or(0);
            let (bar, rest) = ("=".repeat(filled), " ".repeat(BAR_WIDTH - filled));
            format!("{id}: {status} [{bar}{rest}] {}/{}", human_size(current), human_size(total))
        }
        (Some(current), None) => format!("{id}: {status} {}", human_size(current)),
        _ => format!("{id}: {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_one_line() {
        let mut layer = Progress { id: Some("abc".into()), status: "Downloading".into(), ..Progress::default() };
        assert_eq!(line(&layer), "abc: Downloading");
        layer.current_byte = Some(1_500_000);
        assert_eq!(line(&layer), "abc: Downloading 1.5MB");
        layer.total_byte = Some(3_000_000);
        assert_eq!(line(&layer), format!("abc: Downloading [{}{}] 1.5MB/3MB", "=".repeat(15), " ".repeat(15)));
        layer.current_byte = Some(u64::MAX);
        assert!(line(&layer).contains(&"=".repeat(30)));
    }
}
