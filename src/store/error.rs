//! Why a store could not do what it was asked.

use std::error::Error as StdError;

/// A store that failed. Its text is one line: what failed, on what, and what
/// to do; the operating system's reason is the `source`.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    class: Class,
    lasting: bool,
    text: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Unreachable,
    Held,
    Lost,
    #[cfg(feature = "redis")]
    Unfit,
}

impl Error {
    /// The store can't be used: not there, not ours, not writable, full.
    /// Nothing was decided about the lock.
    pub fn is_unreachable(&self) -> bool {
        self.class == Class::Unreachable
    }

    /// Whether it may work later without anybody's doing: the store is down or
    /// can't be reached. One that refuses us, or isn't what its URL says, stays so.
    pub fn may_pass(&self) -> bool {
        self.class == Class::Unreachable && !self.lasting
    }

    /// The lock is held, and this store can't take it from its holder.
    pub fn is_held(&self) -> bool {
        self.class == Class::Held
    }

    /// The lock had ceased to be ours before it was given back: another may have
    /// had it meanwhile.
    pub fn is_lost(&self) -> bool {
        self.class == Class::Lost
    }

    /// The store is of a kind that has no such thing; the text says why, and
    /// which has. Never of locks: every store has those.
    pub fn is_unfit(&self) -> bool {
        #[cfg(feature = "redis")]
        return self.class == Class::Unfit;
        #[cfg(not(feature = "redis"))]
        false
    }

    pub(super) fn unreachable(text: impl Into<String>) -> Error {
        Error { class: Class::Unreachable, lasting: false, text: text.into(), source: None }
    }

    pub(super) fn held(text: impl Into<String>) -> Error {
        Error { class: Class::Held, lasting: false, text: text.into(), source: None }
    }

    #[cfg(feature = "redis")]
    pub(super) fn lost(text: impl Into<String>) -> Error {
        Error { class: Class::Lost, lasting: false, text: text.into(), source: None }
    }

    #[cfg(feature = "redis")]
    pub(super) fn unfit(text: impl Into<String>) -> Error {
        Error { class: Class::Unfit, lasting: true, text: text.into(), source: None }
    }

    /// The same error, which won't pass by itself.
    #[cfg(feature = "redis")]
    pub(super) fn lasting(mut self) -> Error {
        self.lasting = true;
        self
    }

    pub(super) fn because(mut self, source: impl StdError + Send + Sync + 'static) -> Error {
        self.source = Some(Box::new(source));
        self
    }
}
