//! Supervised threads: a name, a way to be stopped, an owner that joins them,
//! and panics that keep their first scene.
//!
//! What it promises:
//!
//! * A thread from [`spawn`] ends in exactly one of two ways: with its value,
//!   or with its [`Panic`]. [`Worker::join`] gives one of them.
//! * A caught panic keeps what its cause is found by: message, place,
//!   backtrace, thread, and the [`context`] that the thread had set (peer,
//!   request line, job), all taken *at the panic*, before unwinding drops it.
//! * Everything that waits can be woken: a [`Stop`] is a channel that
//!   disconnects, so `crossbeam_channel::select!` waits for it beside work.
//! * The two classes of a [`Supervisor`]: *isolated* threads, whose panic harms
//!   only what they were serving, and *essential* ones, without which the
//!   program is wrong: their end stops it, with [`ESSENTIAL_EXIT_CODE`].
//! * [`signals`] become channel messages, or a stop in order.
//!
//! Where it ends: a stop is asked for, never forced; Rust can't kill a thread.
//! A stack overflow, an allocation failure, and a second panic while the first
//! unwinds abort the process, as everywhere in Rust; no hook of ours runs then.
//! A thread blocked in a system call sees no stop: give such calls a deadline.
//!
//! ```
//! use std::{ops::ControlFlow, time::Duration};
//!
//! let ticker = towpath::thread::spawn("ticker", |stop| {
//!     let mut ticks = 0;
//!     while let ControlFlow::Continue(()) = stop.sleep(Duration::from_millis(1)) {
//!         ticks += 1;
//!     }
//!     ticks
//! })?;
//! ticker.stop();
//! let ticks: u32 = ticker.join()?;
//! # let _ = ticks;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod capture;
mod context;
mod flag;
mod panic;
pub mod signals;
mod stop;
mod supervisor;
mod worker;

pub use capture::catch;
pub use context::{ContextGuard, context};
pub(crate) use flag::Flag;
pub use panic::Panic;
pub use stop::{Never, Stop, Stopper};
pub use supervisor::{ESSENTIAL_EXIT_CODE, EssentialEnded, Supervisor};
pub use worker::{Worker, spawn};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks what a panic can't leave half-changed: under every lock of this room,
/// a value is replaced or a list grows, in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
