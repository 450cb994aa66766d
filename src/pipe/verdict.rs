//! What the writer said about the end, shared by the two halves.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::thread::Panic;

/// What a reader's error carries (`io::Error::get_ref`) when the writing side
/// failed: it shows as the writer's own error, and has the same source.
///
/// Errors of the system (those with `raw_os_error`) come through as they are,
/// without this.
#[derive(Clone, Debug)]
pub struct WriterFailed {
    error: Arc<io::Error>,
}

impl WriterFailed {
    /// The very error that was given to [`Sink::fail`](super::Sink::fail).
    pub fn error(&self) -> &io::Error {
        &self.error
    }
}

impl fmt::Display for WriterFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for WriterFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// How the stream ended, once the writer has said it.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Finished,
    Failed(WriterFailed),
}

impl Verdict {
    pub(super) fn failed(error: io::Error) -> Verdict {
        Verdict::Failed(WriterFailed { error: Arc::new(error) })
    }

    /// The same for every reader and every time.
    pub(super) fn to_result(&self) -> io::Result<()> {
        let Verdict::Failed(failed) = self else { return Ok(()) };
        match failed.error.kind() {
            // Readers try these again, and would for ever.
            io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => Err(io::Error::other(failed.clone())),
            kind => match failed.error.raw_os_error() {
                Some(code) => Err(io::Error::from_raw_os_error(code)),
                None => Err(io::Error::new(kind, failed.clone())),
            },
        }
    }
}

/// The verdict's place. The writer fills it before it closes its end, so that
/// a reader who sees the end of the pipe finds it.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    verdict: Option<Verdict>,
    reader: Reader,
}

#[derive(Debug, Default, PartialEq)]
enum Reader {
    #[default]
    Reading,
    /// It has seen the verdict.
    Told,
    Gone,
}

impl Shared {
    /// What the writer has said, if anything.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        let mut state = self.lock();
        if state.verdict.is_some() {
            state.reader = Reader::Told;
        }
        state.verdict.clone()
    }

    /// The writer's last word; the first one counts.
    pub(super) fn say(&self, verdict: impl FnOnce() -> Verdict) {
        let mut state = self.lock();
        if state.verdict.is_some() {
            return;
        }
        let said = state.verdict.insert(verdict()).clone();
        let unheard = state.reader == Reader::Gone;
        drop(state);
        if unheard {
            log_panic(&said);
        }
    }

    pub(super) fn reader_is_gone(&self) {
        let mut state = self.lock();
        let told = state.reader == Reader::Told;
        state.reader = Reader::Gone;
        let said = state.verdict.clone();
        drop(state);
        if let (Some(said), false) = (said, told) {
            log_panic(&said);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain assignments under it: nothing to be left half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A panic whose reader is gone would take its evidence along.
fn log_panic(verdict: &Verdict) {
    let Verdict::Failed(failed) = verdict else { return };
    if let Some(panic) = failed.source().and_then(|source| source.downcast_ref::<Panic>()) {
        panic.log();
    }
}
