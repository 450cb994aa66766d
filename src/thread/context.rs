//! What the thread is serving just now, for the evidence of a panic.

use std::cell::RefCell;
use std::fmt::Display;
use std::marker::PhantomData;

thread_local! {
    static CONTEXT: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

struct Entry {
    id: u64,
    key: &'static str,
    value: String,
}

/// Keeps one key-value on its thread until it is dropped. From [`context`].
#[must_use = "the context ends when its guard is dropped"]
#[derive(Debug)]
pub struct ContextGuard {
    id: u64,
    /// It belongs to its thread: not `Send`.
    here: PhantomData<*const ()>,
}

/// Says what this thread is serving, until the guard is dropped: a
/// [`Panic`](super::Panic) on this thread carries it, however deep it was.
///
/// The value is written out now, not at the panic. Of several values of one
/// key, the latest that is still set counts. Threads spawned meanwhile don't
/// inherit it. Never put a secret in: it is logged.
///
/// ```
/// use towpath::thread;
///
/// let caught: Result<(), thread::Panic> = thread::catch(|| {
///     let _peer = thread::context("peer", "192.0.2.7:443");
///     let _request = thread::context("request", "GET /log");
///     panic!("out of paper")
/// });
/// assert_eq!(caught.unwrap_err().context()[1], ("request", "GET /log".to_owned()));
/// ```
pub fn context(key: &'static str, value: impl Display) -> ContextGuard {
    // The caller's Display runs before the borrow: it may set a context itself.
    let value = value.to_string();
    let id = CONTEXT
        .try_with(|context| {
            let mut context = context.borrow_mut();
            let id = context.last().map_or(0, |last| last.id + 1);
            context.push(Entry { id, key, value });
            id
        })
        // The thread is past its end, where nothing is caught any more.
        .unwrap_or(u64::MAX);
    ContextGuard { id, here: PhantomData }
}

impl Drop for ContextGuard {
    fn drop(&mut self) {
        // By id and from the end: guards may be dropped in any order.
        let _ = CONTEXT.try_with(|context| {
            let mut context = context.borrow_mut();
            if let Some(at) = context.iter().rposition(|entry| entry.id == self.id) {
                context.remove(at);
            }
        });
    }
}

/// The context as it stands: each key once, in the order they were first set.
pub(super) fn snapshot() -> Vec<(&'static str, String)> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    let _ = CONTEXT.try_with(|context| {
        // Runs inside the panic hook, where a second panic would abort.
        let Ok(context) = context.try_borrow() else { return };
        for entry in context.iter() {
            match found.iter_mut().find(|(key, _)| *key == entry.key) {
                Some((_, value)) => value.clone_from(&entry.value),
                None => found.push((entry.key, entry.value.clone())),
            }
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_of_one_key_counts_until_its_guard_is_dropped() {
        let _outer = context("job", "outer");
        let _peer = context("peer", 7);
        {
            let _inner = context("job", "inner");
            assert_eq!(snapshot(), [("job", "inner".to_owned()), ("peer", "7".to_owned())]);
        }
        assert_eq!(snapshot(), [("job", "outer".to_owned()), ("peer", "7".to_owned())]);
    }

    #[test]
    fn guards_dropped_out_of_order_take_only_their_own() {
        let first = context("a", 1);
        let second = context("b", 2);
        drop(first);
        let third = context("c", 3);
        drop(second);
        assert_eq!(snapshot(), [("c", "3".to_owned())]);
        drop(third);
        assert!(snapshot().is_empty());
    }
}
