//! Before and after a command: signals, a file's limit, and ends that aren't ours alone.

use std::io;
use std::process::ExitCode;

#[cfg(all(feature = "form", feature = "http"))]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::process::{Signal, kill_current_process_group};
use signal_hook::consts as sig;
use towpath::job::exit_code;
use towpath::process::adopt_orphans;
use towpath::thread::signals::Signals;

use crate::voice;

/// What a run has to do with.
const SIGNALS: [i32; 9] = [
    sig::SIGHUP,
    sig::SIGINT,
    sig::SIGQUIT,
    sig::SIGTERM,
    sig::SIGTSTP,
    sig::SIGCONT,
    sig::SIGWINCH,
    sig::SIGUSR1,
    sig::SIGUSR2,
];

/// Gets ready to run commands: their signals, or the exit code once it was said why not.
pub(crate) fn prepare() -> Result<Signals, ExitCode> {
    outlive_file_limit().and_then(|()| adopt_orphans()).and_then(|()| Signals::listen(&SIGNALS)).map_err(|error| {
        voice::error(&format!("can't prepare to run a command: {error}"));
        ExitCode::from(exit_code::INTERNAL)
    })
}

/// A file of ours that reaches `ulimit -f` is a file that is full, not our end.
/// A command doesn't inherit the handler.
pub(crate) fn outlive_file_limit() -> io::Result<()> {
    signal_hook::flag::register(libc::SIGXFSZ, std::sync::Arc::default()).map(drop)
}

/// As many descriptors as this process may have: a server needs two a connection and more.
#[cfg(all(feature = "form", feature = "http"))]
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Refused, there are fewer; clients are told when they run out.
    let _: rustix::io::Result<()> = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
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
        let _: io::Result<()> = signal_hook::low_level::emulate_default_handler(sig::SIGINT);
    }
}
