//! Ends that aren't ours alone: a file's limit, and Ctrl-C.

use std::io;

use rustix::process::{Signal, kill_current_process_group};
use signal_hook::consts::SIGINT;

/// A file of ours that reaches `ulimit -f` is a file that is full, not our end.
/// A command doesn't inherit the handler.
pub(crate) fn outlive_file_limit() -> io::Result<()> {
    signal_hook::flag::register(libc::SIGXFSZ, std::sync::Arc::default()).map(drop)
}

/// Ends by SIGINT what SIGINT has ended: a shell ends its loop only if we die
/// by it, whatever our code. `alone`: the terminal sent it to the command's
/// group, and not to ours.
pub(crate) fn pass_on_interrupt(interrupted: bool, alone: bool) {
    if alone {
        // As if the terminal had sent it to our group too: a script that runs us ends as well.
        let _: rustix::io::Result<()> = kill_current_process_group(Signal::INT);
    }
    if interrupted {
        // It doesn't come back.
        let _: io::Result<()> = signal_hook::low_level::emulate_default_handler(SIGINT);
    }
}
