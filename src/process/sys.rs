//! The one place with `unsafe`: what must happen between fork and exec, and
//! the signal mask. Everything else in the crate is safe Rust over rustix.
#![allow(unsafe_code)] // the reason stands at each block below

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use rustix::termios::tcsetpgrp;

/// Arranges that the child dies with its parent, and that its group is the
/// terminal's foreground before its program runs.
///
/// The death signal fires when the *thread* that spawned the child ends: call
/// this from one that lives as long as the child may (the keeper has only one).
/// It doesn't survive the exec of a set-uid program (`prctl(2)`).
pub(super) fn before_exec(command: &mut Command, foreground_of: Option<OwnedFd>) {
    let parent = getpid();
    let body = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() != Some(parent) {
            // The parent died before the line above: nobody would send the signal.
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        if let Some(terminal) = &foreground_of {
            // A terminal that is gone takes nothing from the run: it goes on without.
            let _: rustix::io::Result<()> = with_ttou_blocked(|| tcsetpgrp(terminal, getpid()));
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe functions may run.
    // The closure makes system calls (prctl, getppid, sigprocmask, ioctl) and
    // nothing else: it neither allocates nor locks.
    unsafe { command.pre_exec(body) };
}

/// Runs `body` with SIGTTOU blocked on this thread: setting the foreground
/// group from the background is allowed only so (`tcsetpgrp(3)`).
pub(super) fn with_ttou_blocked<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: `sigset_t` is plain data that `sigemptyset` initialises before
    // anything reads it; both pointers are to live locals of the right type.
    let before = unsafe {
        let mut ttou: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut ttou);
        libc::sigaddset(&raw mut ttou, libc::SIGTTOU);
        (libc::pthread_sigmask(libc::SIG_BLOCK, &raw const ttou, &raw mut before) == 0).then_some(before)
    };
    let result = body();
    if let Some(before) = before {
        // SAFETY: `before` was filled by the call above on this same thread.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    }
    result
}
