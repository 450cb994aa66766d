//! What signals mean to a run while no command of it runs.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use crossbeam_channel::{Receiver, select};
use signal_hook::consts as sig;
use signal_hook::low_level::emulate_default_handler;

use crate::thread::Worker;

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

/// Waits for a worker that may be kept by a reader who doesn't read; whether it
/// ended. `patience` bounds that where somebody has asked for the end already.
/// Nothing runs any more, so a signal that asks for it now ends the whole process.
pub(super) fn wait_or_die<T>(worker: &Worker<T>, signals: &Receiver<i32>, patience: Option<Duration>) -> bool {
    let too_long = patience.map_or_else(crossbeam_channel::never, crossbeam_channel::after);
    loop {
        select! {
            recv(worker.ended()) -> _ => return true,
            recv(too_long) -> _ => return worker.is_finished(),
            recv(signals) -> signal => match signal {
                Ok(sig::SIGTSTP) => suspend(),
                Ok(signal) if ends_a_run(signal).is_break() => {
                    // What can't be written is lost with it.
                    let _: io::Result<()> = emulate_default_handler(signal);
                }
                Ok(_) => {}
                Err(_) => return worker.is_finished(),
            },
        }
    }
}
