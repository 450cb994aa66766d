//! What signals mean to a run while no command of it runs.

use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvError, after, never, select};
use signal_hook::consts as sig;
use signal_hook::low_level::emulate_default_handler;

use crate::clock::Moment;
use crate::thread::Worker;

/// How long the last output may take where the end was asked for twice: what
/// is there is printed, if somebody takes it.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Whether a signal asks for the end: HUP, INT, QUIT and TERM do.
pub(super) fn ends_a_run(signal: i32) -> ControlFlow<()> {
    match signal {
        sig::SIGHUP | sig::SIGINT | sig::SIGQUIT | sig::SIGTERM => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    }
}

/// Stops this process as if SIGTSTP had no handler, until SIGCONT.
pub(super) fn suspend() {
    // There is nobody to tell if it doesn't.
    let _: io::Result<()> = emulate_default_handler(sig::SIGTSTP);
}

/// Ends this process as if the signal had no handler: what can't be written is lost with it.
pub(super) fn die(signal: i32) {
    // Of a signal that can't end us, nothing comes.
    let _: io::Result<()> = emulate_default_handler(signal);
}

/// Signals from a command's end on. The first that asks for our end sets a
/// limit to what is waited for, the second ends us; those during the command count.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) signals: Receiver<i32>,
    /// The first signal that asked for the end.
    pub(super) asked_by: Option<i32>,
    /// When those who take the last output have had their time; `None` while nobody asks for the end.
    until: Option<Moment>,
    patience: Duration,
}

/// What a signal comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing, or a stop that is over.
    Nothing,
    /// The end is asked for, for the first time.
    Asked,
    /// And again, by this signal.
    Again(i32),
}

impl Leaving {
    /// Nobody has asked for the end yet; who does waits for at most `patience`.
    pub(super) fn new(signals: &Receiver<i32>, patience: Duration) -> Leaving {
        Leaving { signals: signals.clone(), asked_by: None, until: None, patience }
    }

    /// Counts what a command's end has shown: a signal or a key asked for it, maybe twice.
    pub(super) fn count(&mut self, by: Option<i32>, by_key: bool, twice: bool) {
        self.asked_by = by;
        if by.is_some() || by_key {
            self.until = Some(Moment::now() + if twice { self.patience.min(AT_ONCE) } else { self.patience });
        }
    }

    /// Whether somebody has asked for the end.
    pub(super) fn is_asked(&self) -> bool {
        self.until.is_some()
    }

    /// Takes in what came over [`Leaving::signals`].
    pub(super) fn hear(&mut self, signal: Result<i32, RecvError>) -> Heard {
        match signal {
            Ok(sig::SIGTSTP) => suspend(),
            Ok(signal) if ends_a_run(signal).is_break() => {
                if self.is_asked() {
                    self.asked_by.get_or_insert(signal);
                    return Heard::Again(signal);
                }
                self.asked_by = Some(signal);
                self.until = Some(Moment::now() + self.patience);
                return Heard::Asked;
            }
            Ok(_) => {}
            Err(RecvError) => self.signals = never(),
        }
        Heard::Nothing
    }

    /// Rings when the patience is over.
    pub(super) fn too_long(&self) -> Receiver<Instant> {
        self.until.map_or_else(never, |until| after(until.remaining()))
    }

    /// Waits for a worker that may be kept by a reader who doesn't read; whether it ended.
    pub(super) fn wait<T>(&mut self, worker: &Worker<T>) -> bool {
        loop {
            select! {
                recv(worker.ended()) -> _ => return true,
                recv(self.too_long()) -> _ => return worker.is_finished(),
                recv(self.signals) -> signal => if let Heard::Again(signal) = self.hear(signal) {
                    die(signal);
                },
            }
        }
    }
}
