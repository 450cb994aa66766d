//! Commands under a keeper, so that the whole process tree ends with the run.
//!
//! [`Kept::start`] starts a *keeper*, a small process of this very program,
//! which starts the command and is the sub-reaper of everything below it. It
//! ends the tree when it is told to, when a deadline passes without being
//! moved, and when its owner dies, `kill -9` included. A program that uses this
//! calls [`keeper_entry`] first thing in `main`, or names another that does
//! ([`set_keeper_program`]).
//!
//! What it can't do: end a process that may not be signalled (a set-uid program
//! run by somebody else), or one that the kernel doesn't let die; it then says
//! so ([`Event::Stuck`]) and goes on holding what it holds. If keeper and owner
//! are both killed by SIGKILL at once, the command dies by its death signal, and
//! its children live on.
//!
//! Linux only: sub-reapers, pidfds, timerfds.

mod alarm;
mod descriptors;
mod keeper;
mod kept;
mod last;
mod message;
mod program;
mod pty;
mod status;
mod sys;
mod terminal;
mod tree;

pub use kept::{Kept, Place, Spec, adopt_orphans, keeper_program, set_keeper_program};
pub use message::{Event, Limit, Reason};
pub use pty::{Feed, Pty, RawMode};
pub use status::Status;
pub use terminal::Terminal;

/// What can't be done on this host, each as a sentence for people: an empty
/// root directory has no `/proc` and no `/dev`.
pub fn missing_here() -> Vec<&'static str> {
    let mut missing = Vec::new();
    if !tree::can_list() {
        missing.push(
            "no /proc of ours: what a command leaves behind is found by asking the kernel of every process id, \
             which takes about a second a round, and signals that were ignored at our start (nohup) are not known",
        );
    }
    if !std::path::Path::new("/dev/ptmx").exists() {
        missing.push("no /dev/ptmx: a command can't have a terminal of its own (--pty)");
    }
    missing
}

/// Turns this process into a keeper if it was started as one, and doesn't come
/// back then. Call it first thing in `main`, before any thread or output.
pub fn keeper_entry() {
    if std::env::args_os().next().is_some_and(|name| name == keeper::NAME) {
        std::process::exit(keeper::main());
    }
}
