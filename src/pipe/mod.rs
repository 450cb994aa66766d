//! Byte pipes whose end is proven.
//!
//! An OS pipe (`pipe(7)`) in two halves: the [`Sink`] writes, the [`Source`]
//! reads. A bare pipe ends in the same way whether its writer was done or
//! died; here the reader gets `Ok(0)` only after [`Sink::finish`]. Everything
//! else is an error, after all bytes that were written before it:
//!
//! | the writing side | the reader's error |
//! |---|---|
//! | [`Sink::fail`] with an error | that error ([`WriterFailed`]) |
//! | dropped without `finish` | `UnexpectedEof` |
//! | dropped by a panic | `Other`, naming the thread |
//! | a panic in the body given to [`produce`] | `Other`, with the [`Panic`](crate::thread::Panic) as `source()` |
//!
//! The error is sticky: every later read gives one of the same kind and text.
//!
//! Nothing here buffers: what is on its way is in the kernel, at most the
//! pipe's capacity (64 KiB unless [`pair_with_capacity`] says otherwise), and
//! a full pipe blocks its writer. A write to a pipe whose source is gone fails
//! with `BrokenPipe` (Rust programs ignore SIGPIPE unless they undo that).
//!
//! Where it ends: a read blocks until there are bytes or an end, a write until
//! there is room or no reader. Neither has a deadline of its own; the other
//! side's end is what unblocks them, and [`Source`] is `AsFd` for those who
//! poll. That a `finish` was read is not proven to the writer.
//!
//! # Ends given to children
//!
//! [`Sink::lend`] and [`Source::lend`] make a descriptor for a child. The half
//! stays with the lender, who waits for the child and then says how it ended:
//!
//! ```
//! use std::io::Read;
//! use std::process::Command;
//!
//! let (sink, mut source) = towpath::pipe::pair()?;
//! // The Command is gone at the end of this line, and its copy of the end with it.
//! let mut child = Command::new("echo").arg("hello").stdout(sink.lend()?).spawn()?;
//! let waiter = towpath::thread::spawn("waiter", move |_| match child.wait() {
//!     Ok(status) if status.success() => sink.finish(),
//!     Ok(status) => sink.fail(std::io::Error::other(format!("echo: {status}"))),
//!     Err(error) => sink.fail(error),
//! })?;
//! let mut text = String::new();
//! source.read_to_string(&mut text)?; // fails if echo did
//! waiter.join()?;
//! assert_eq!(text, "hello\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Deadlocks
//!
//! A pipe has four ways to wait for ever, and each has its cure:
//!
//! * *One thread writes and then reads.* The write blocks when the pipe is
//!   full, and nobody reads. Write on another thread: [`produce`].
//! * *Waiting for a child before reading what it writes.* The child blocks on
//!   the full pipe and never ends. Read to the end first, or wait on another
//!   thread, as above.
//! * *Reading while a copy of the writing end is open*: in a
//!   `std::process::Command` that is still alive, in a child or a grandchild
//!   that lives on. The reader then waits for those, even after `finish` and
//!   `fail`, as their bytes come first. Drop the `Command`; end the whole tree
//!   of the child before telling its end.
//! * *Waiting for a child that reads a lent source, while holding the sink.*
//!   It waits for more. `finish` first.

mod copy;
mod pair;
mod produce;
mod verdict;

pub use copy::copy;
pub use pair::{Sink, Source, pair, pair_with_capacity};
pub use produce::produce;
pub use verdict::WriterFailed;
