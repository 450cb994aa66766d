//! How far a transfer is: one line on a terminal, drawn again and again.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use towpath::inbox::Meter;
use towpath::thread::{Worker, spawn};

use crate::voice::{BAR, printable};

/// Between two drawings: often enough to look alive.
const EVERY: Duration = Duration::from_millis(200);

/// A line that is drawn while this exists.
pub(crate) struct Bar(Option<Worker<()>>);

impl Bar {
    /// Draws if standard error is a terminal, and if it is wanted.
    pub(crate) fn begin(meter: &Meter, is_wanted: bool) -> Bar {
        if !is_wanted || !io::stderr().is_terminal() {
            return Bar(None);
        }
        let meter = meter.clone();
        // Without a thread there is no bar, and all else as ever.
        let worker = spawn("progress", move |stop| {
            let begun = Instant::now();
            BAR.store(true, Ordering::Relaxed);
            // Nobody tells when a byte has moved: that would cost more than the moving.
            while stop.sleep(EVERY) == ControlFlow::Continue(()) {
                draw(&line(&meter, begun.elapsed()));
            }
            BAR.store(false, Ordering::Relaxed);
            draw("");
        });
        Bar(worker.ok())
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(worker) = self.0.take() {
            worker.stop();
            if let Ok(Err(panic)) = worker.join_within(Duration::from_secs(1)) {
                panic.log();
            }
        }
    }
}

fn draw(line: &str) {
    let width = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_col));
    let width = if width == 0 { 80 } else { width };
    let line: String = line.chars().take(width.saturating_sub(1).max(20)).collect();
    // There is nowhere to say that the terminal is gone.
    let _: io::Result<()> = write!(io::stderr(), "\r{line}\x1b[K");
}

fn line(meter: &Meter, elapsed: Duration) -> String {
    let (moved, name) = (meter.moved(), printable(&meter.name()));
    let rate = moved.saturating_sub(meter.had()) as f64 / elapsed.as_secs_f64().max(0.001);
    let Some(total) = meter.total().filter(|total| *total > 0) else {
        return format!("{name}  {}  {}/s", bytes(moved), bytes(rate as u64));
    };
    let share = (moved as f64 / total as f64).min(1.0);
    let left = (total.saturating_sub(moved)) as f64 / rate.max(1.0);
    let filled = (share * 20.0) as usize;
    format!(
        "{name}  [{}{}] {:3.0}%  {} of {}  {}/s  {} left",
        "=".repeat(filled),
        " ".repeat(20 - filled),
        share * 100.0,
        bytes(moved),
        bytes(total),
        bytes(rate as u64),
        minutes(left as u64)
    )
}

/// `252.3 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["bytes", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "bytes" { format!("{count} bytes") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

fn minutes(seconds: u64) -> String {
    if seconds >= 3600 {
        format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    } else {
        format!("{}:{:02}", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown: Vec<String> = [0, 1023, 1024, 264_517_032, 5 << 40].map(bytes).into();
        assert_eq!(shown, ["0 bytes", "1023 bytes", "1.0 KiB", "252.3 MiB", "5.0 TiB"]);
        assert_eq!([minutes(61), minutes(3_600)], ["1:01", "1:00:00"]);
    }
}
