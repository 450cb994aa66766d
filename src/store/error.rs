//! Why a store could not do what it was asked.

use std::error::Error as StdError;

/// A store that failed. Its text is one line: what failed, on what, and what
/// to do; the operating system's reason is the `source`.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    class: Class,
    text: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Unreachable,
    Held,
}

impl Error {
    /// The store can't be used: not there, not ours, not writable, full.
    /// Nothing was decided about the lock.
    pub fn is_unreachable(&self) -> bool {
        self.class == Class::Unreachable
    }

    /// The lock is held, and this store can't take it from its holder.
    pub fn is_held(&self) -> bool {
        self.class == Class::Held
    }

    pub(super) fn unreachable(text: impl Into<String>) -> Error {
        Error { class: Class::Unreachable, text: text.into(), source: None }
    }

    pub(super) fn held(text: impl Into<String>) -> Error {
        Error { class: Class::Held, text: text.into(), source: None }
    }

    pub(super) fn because(mut self, source: impl StdError + Send + Sync + 'static) -> Error {
        self.source = Some(Box::new(source));
        self
    }
}
