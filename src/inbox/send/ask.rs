//! What requests of one shipment share: headers, tries, redirects, verdicts.

use std::time::Duration;

use super::error::SendError;
use super::outflow::{Failed, taken};
use super::shipment::Shipment;
use crate::client::{self, Load, Reply, Target, Transfer};
use crate::inbox::answer::{first_line, repr_digest, with_causes};
use crate::inbox::digest;
use crate::inbox::retry::{Failures, Next, asked_pause, is_passing, may_pass};
use crate::inbox::{Meter, Sha};
use crate::thread::Stop;

/// From this length on the word to go on is waited for: a refusal is then seen
/// before the body is sent.
const EXPECT_BYTES: u64 = 1024 * 1024;

/// As much of an answer is read.
pub(super) const ANSWER_BYTES: u64 = 1024 * 1024;

/// So many redirects within one server are followed.
const HOPS: u32 = 5;

pub(super) struct Line<'a> {
    pub(super) shipment: &'a Shipment,
    pub(super) transfer: &'a Transfer,
    pub(super) meter: &'a Meter,
    stop: &'a Stop,
    pub(super) failures: Failures,
    hops: u32,
    /// Whether the server takes uploads in pieces, once it was asked.
    pub(super) resume: Option<Option<super::put::Pieces>>,
}

/// One try that brought no success.
pub(super) struct Failure<'f> {
    pub(super) target: &'f Target,
    /// The one file it is about.
    pub(super) what: Option<&'f str>,
    /// Whether asking twice is asking once.
    pub(super) idempotent: bool,
    /// What can't be read again, if anything of it was.
    pub(super) spent: Option<String>,
}

impl<'a> Line<'a> {
    pub(super) fn new(shipment: &'a Shipment, transfer: &'a Transfer, meter: &'a Meter, stop: &'a Stop) -> Line<'a> {
        Line { shipment, transfer, meter, stop, failures: Failures::new(shipment.retry), hops: 0, resume: None }
    }

    /// The headers of the shipment, and those of a request that carries a file.
    pub(super) fn headers(&self, load_bytes: Option<u64>) -> Vec<(String, String)> {
        let mut headers = self.shipment.headers.clone();
        if self.shipment.verify {
            headers.push((digest::WANT.0.to_owned(), digest::WANT.1.to_owned()));
        }
        if load_bytes.is_none_or(|bytes| bytes >= EXPECT_BYTES) {
            headers.push(("Expect".to_owned(), "100-continue".to_owned()));
        }
        headers
    }

    pub(super) fn was_stopped(&self) -> bool {
        self.stop.is_set()
    }

    /// A request that went wrong without an answer: waits for the next try, or says why there is none.
    pub(super) fn unanswered(&mut self, error: client::Error, failure: Failure<'_>) -> Result<(), SendError> {
        let target = failure.target.to_string();
        if self.stop.is_set() {
            return Err(SendError::Stopped);
        }
        if matches!(error, client::Error::InClear { .. }) {
            return Err(SendError::Unsendable(Box::new(error)));
        }
        if let Some(what) = failure.spent {
            return Err(SendError::Cut { target, what, source: error });
        }
        let words = with_causes(&error);
        match if may_pass(&error) { self.failures.next(&words, None, self.stop) } else { Next::GiveUp } {
            Next::Again => Ok(()),
            Next::GiveUp => Err(SendError::Unreachable { target, count: self.failures.total.max(1), source: error }),
            Next::Stopped => Err(SendError::Stopped),
        }
    }

    /// An answer that is no success: waits for the next try, or says what it was.
    pub(super) fn refused(&mut self, answer: &mut Reply, failure: &Failure<'_>) -> Result<(), SendError> {
        let text = first_line(&answer.text(ANSWER_BYTES));
        let status = answer.status();
        if is_passing(status, failure.idempotent) && failure.spent.is_none() {
            let words = format!("{} answered {status}", failure.target);
            match self.failures.next(&words, asked_pause(answer.header("retry-after")), self.stop) {
                Next::Again => return Ok(()),
                Next::Stopped => return Err(SendError::Stopped),
                Next::GiveUp => {}
            }
        }
        let what = failure.what.map(str::to_owned);
        Err(SendError::Refused { target: failure.target.to_string(), what, status, text })
    }

    /// An answer after which the same is asked in another way, after a pause.
    pub(super) fn refused_but_again(&mut self, target: &Target, status: u16) -> Result<(), SendError> {
        match self.failures.next(&format!("{target} answered {status}"), None, self.stop) {
            Next::Again => Ok(()),
            Next::Stopped => Err(SendError::Stopped),
            Next::GiveUp => {
                let text = String::new();
                Err(SendError::Refused { target: target.to_string(), what: None, status, text })
            }
        }
    }

    /// Where a redirect leads, if it may be followed: the same request once more
    /// (307, 308), within the same server, to whom all of it was meant anyway.
    pub(super) fn redirected(&mut self, answer: &Reply, from: &Target, spent: bool) -> Result<Target, SendError> {
        let to = answer.header("location").and_then(|reference| from.resolve(reference));
        self.hops += 1;
        match to {
            Some(to)
                if matches!(answer.status(), 307 | 308) && to.has_origin_of(from) && !spent && self.hops <= HOPS =>
            {
                Ok(to)
            }
            to => Err(SendError::Redirected {
                target: from.to_string(),
                status: answer.status(),
                to: to.map_or("nowhere".to_owned(), |to| to.to_string()),
            }),
        }
    }

    /// Whether the server has this content at a URL already: asked after a try
    /// whose answer may have been lost.
    pub(super) fn has_ours(&mut self, target: &Target, ours: Option<Sha>) -> bool {
        let Some(ours) = ours else { return false };
        let mut headers = self.shipment.headers.clone();
        headers.push((digest::WANT.0.to_owned(), digest::WANT.1.to_owned()));
        match self.transfer.ask("HEAD", target, &headers, Load::None) {
            Ok(answer) => answer.is_success() && repr_digest(&answer) == Some(ours),
            Err(_) => false,
        }
    }
}

/// The error of a file, if that is what ended a request.
pub(super) fn file_error(failed: &Failed, what: impl FnOnce() -> String) -> Result<(), SendError> {
    match taken(failed) {
        Some(source) => Err(SendError::File { what: what(), source }),
        None => Ok(()),
    }
}

/// How long something took, from its begin.
pub(super) fn since(begun: crate::clock::Moment) -> Duration {
    begun.elapsed()
}
