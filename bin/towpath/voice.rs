//! What we say on standard error: one line each. cron mails whatever is
//! printed, so notes are for terminals and `-v`; errors are always said.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static TALKATIVE: OnceLock<bool> = OnceLock::new();

/// Whether a progress bar is drawn on standard error.
pub(crate) static BAR: AtomicBool = AtomicBool::new(false);

/// Decides once whether notes are said, and sends the library's log here.
pub(crate) fn begin(verbose: bool) {
    let talkative = *TALKATIVE.get_or_init(|| verbose || io::stderr().is_terminal());
    // It fails only if it was done before.
    let _: Result<(), log::SetLoggerError> = log::set_logger(&LibraryLog);
    log::set_max_level(if talkative { log::LevelFilter::Warn } else { log::LevelFilter::Error });
}

/// Something that went wrong: what failed, on what, what to do.
pub(crate) fn error(line: &str) {
    say(line);
}

/// What a server did: its log, said always.
#[cfg(all(feature = "form", feature = "http"))]
pub(crate) fn event(line: &str) {
    say(line);
}

/// Something worth knowing, to whoever watches.
pub(crate) fn note(line: &str) {
    if TALKATIVE.get().copied().unwrap_or(false) {
        say(line);
    }
}

fn say(line: &str) {
    let line = printable(line);
    // A bar that stands there is drawn anew below.
    let clear = if BAR.load(Ordering::Relaxed) { "\r\x1b[K" } else { "" };
    // There is nowhere to say that standard error is closed.
    let _: io::Result<()> = writeln!(io::stderr(), "{clear}towpath: {line}");
}

/// One line for terminals: what others named or sent can't give them orders.
pub(crate) fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => line.push(' '),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

/// The library's records, each with its key-values: the evidence of a panic.
struct LibraryLog;

impl log::Log for LibraryLog {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level() && metadata.target().starts_with("towpath")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let mut line = record.args().to_string();
            let mut pairs = Pairs(&mut line);
            // Collecting into a string doesn't fail.
            let _: Result<(), log::kv::Error> = record.key_values().visit(&mut pairs);
            say(&line);
        }
    }

    fn flush(&self) {}
}

struct Pairs<'a>(&'a mut String);

impl<'kvs> log::kv::VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: log::kv::Key<'kvs>, value: log::kv::Value<'kvs>) -> Result<(), log::kv::Error> {
        let text = value.to_string();
        let text = if text.contains([' ', '"', '\n']) { format!("{text:?}") } else { text };
        self.0.push_str(&format!(" {key}={text}"));
        Ok(())
    }
}
