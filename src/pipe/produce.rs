//! A pipe with a thread at its writing end.

use std::io;

use super::{Sink, Source, pair};
use crate::thread::{self, Panic};

/// Runs `body` on a thread of that name, and reads what it writes.
///
/// `Ok` from `body` finishes the pipe, an error fails it, and so does a panic:
/// the reader's error then has the [`Panic`] as its `source()`. Whichever it
/// is, the bytes written before come first.
///
/// The source owns the thread. Dropped early, it closes the pipe, so that the
/// next write of `body` fails with `BrokenPipe`, waits up to 100 ms for the
/// thread, and else leaves it behind with a warning in the log
/// ([`Worker`](thread::Worker)). A panic that no reader saw is logged.
///
/// # Errors
/// If the system gives no pipe (`EMFILE`, `ENFILE`) or no thread, as
/// [`thread::spawn`].
///
/// ```
/// use std::io::{Read, Write};
///
/// let mut source = towpath::pipe::produce("numbers", |sink| {
///     for number in 1..=3 {
///         writeln!(sink, "{number}")?;
///     }
///     Ok(())
/// })?;
/// let mut text = String::new();
/// source.read_to_string(&mut text)?;
/// assert_eq!(text, "1\n2\n3\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn produce<F>(name: &str, body: F) -> io::Result<Source>
where
    F: FnOnce(&mut Sink) -> io::Result<()> + Send + 'static,
{
    let (mut sink, source) = pair()?;
    let worker = thread::spawn(name, move |_| match thread::catch(|| body(&mut sink)) {
        Ok(Ok(())) => sink.finish(),
        Ok(Err(error)) => sink.fail(error),
        Err(panic) => sink.fail(io::Error::other(ProducerPanicked(panic))),
    })?;
    Ok(source.owning(worker))
}

#[derive(Debug, thiserror::Error)]
#[error("the writing side of the pipe panicked")]
struct ProducerPanicked(#[source] Panic);
