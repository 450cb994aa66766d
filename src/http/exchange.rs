//! One request and its reply: what both halves must know of each other.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::link::Link;
use super::park::{Course, Outlet};
use super::stream::Framing;

/// How far the reply has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Nothing,
    /// The head has gone out, or part of it.
    Begun,
    Complete,
    /// It ends before its end, in the way that its framing allows.
    Cut {
        delimited: bool,
    },
}

/// Shared by a [`Request`](super::Request) and its [`Reply`](super::Reply),
/// which may be on two threads.
pub(super) struct Exchange<'c> {
    pub(super) link: &'c dyn Link,
    pub(super) is_http_1_0: bool,
    pub(super) is_head_request: bool,
    /// Whether the client wants the connection to be kept.
    pub(super) wants_keep_alive: bool,
    /// Whether what is left of the request's body keeps the connection from
    /// being used again: the client waits for a go-ahead, or sends too much.
    pub(super) body_is_in_the_way: AtomicBool,
    /// Whether the reply's head said that the connection stays.
    keeps: AtomicBool,
    progress: AtomicU8,
    /// Held by who writes the reply's head, or something before it.
    opening: Mutex<()>,
    bytes: AtomicU64,
    /// The status that the client's own fault deserves, 0 if there was none.
    fault: AtomicU16,
    /// A stream that its handler left to its course.
    parked: Mutex<Option<(Outlet, Box<dyn Course>)>>,
}

impl<'c> Exchange<'c> {
    pub(super) fn new(
        link: &'c dyn Link,
        is_http_1_0: bool,
        is_head_request: bool,
        wants_keep_alive: bool,
    ) -> Exchange<'c> {
        Exchange {
            link,
            is_http_1_0,
            is_head_request,
            wants_keep_alive,
            body_is_in_the_way: AtomicBool::new(false),
            keeps: AtomicBool::new(false),
            progress: AtomicU8::new(0),
            opening: Mutex::new(()),
            bytes: AtomicU64::new(0),
            fault: AtomicU16::new(0),
            parked: Mutex::new(None),
        }
    }

    /// As it was when the stream was parked.
    pub(super) fn resumed(link: &'c dyn Link, outlet: &Outlet) -> Exchange<'c> {
        let exchange = Exchange::new(link, outlet.framing == Framing::UntilClose, false, outlet.keeps);
        exchange.keeps.store(outlet.keeps, Ordering::Release);
        exchange.count(outlet.bytes);
        exchange.set(Progress::Begun);
        exchange
    }

    pub(super) fn park(&self, outlet: Outlet, course: Box<dyn Course>) {
        *self.parked.lock().unwrap_or_else(PoisonError::into_inner) = Some((outlet, course));
    }

    pub(super) fn take_parked(&self) -> Option<(Outlet, Box<dyn Course>)> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn progress(&self) -> Progress {
        match self.progress.load(Ordering::Acquire) {
            0 => Progress::Nothing,
            1 => Progress::Begun,
            2 => Progress::Complete,
            3 => Progress::Cut { delimited: true },
            _ => Progress::Cut { delimited: false },
        }
    }

    fn set(&self, progress: Progress) {
        let number = match progress {
            Progress::Nothing => 0,
            Progress::Begun => 1,
            Progress::Complete => 2,
            Progress::Cut { delimited: true } => 3,
            Progress::Cut { delimited: false } => 4,
        };
        self.progress.store(number, Ordering::Release);
    }

    /// Whether the connection can be used again, if the reply's framing allows
    /// it; asked once, for the head, which says it to the client.
    pub(super) fn decide_to_keep(&self, framing_allows: bool) -> bool {
        let stops = self.link.stop().is_set();
        let free = !self.body_is_in_the_way.load(Ordering::Acquire);
        let keeps = framing_allows && self.wants_keep_alive && free && !stops;
        self.keeps.store(keeps, Ordering::Release);
        keeps
    }

    /// The connection won't be used again: a reply that hasn't begun says so.
    pub(super) fn never_keep(&self) {
        self.body_is_in_the_way.store(true, Ordering::Release);
    }

    pub(super) fn keeps(&self) -> bool {
        self.keeps.load(Ordering::Acquire)
    }

    /// Writes the head, with what of the body is at hand.
    pub(super) fn begin(&self, parts: &mut [IoSlice<'_>], body_bytes: u64) -> io::Result<()> {
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        self.set(Progress::Begun);
        self.link.write(parts)?;
        self.count(body_bytes);
        Ok(())
    }

    /// Says something before the head; `None` if that has begun.
    pub(super) fn unless_begun<T>(&self, say: impl FnOnce() -> T) -> Option<T> {
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        (self.progress() == Progress::Nothing).then(say)
    }

    pub(super) fn count(&self, body_bytes: u64) {
        self.bytes.fetch_add(body_bytes, Ordering::Relaxed);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn complete(&self) {
        self.set(Progress::Complete);
    }

    /// Remembers a fault of the client's: a handler that fails because of it
    /// answers with this status and not with 500.
    pub(super) fn blame_client(&self, status: u16) {
        self.fault.store(status, Ordering::Release);
    }

    pub(super) fn client_fault(&self) -> Option<u16> {
        Some(self.fault.load(Ordering::Acquire)).filter(|status| *status != 0)
    }

    /// What was sent stays short of its end, visibly.
    pub(super) fn cut(&self, delimited: bool) {
        if matches!(self.progress(), Progress::Begun) {
            self.set(Progress::Cut { delimited });
            self.link.cut(delimited);
        }
    }
}
