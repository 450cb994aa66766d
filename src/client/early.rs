//! Hearing what a server says while it is still being sent to.
//!
//! A server that has seen enough answers (413, 409, 401) and closes; the next
//! write then fails with a broken pipe, and ureq gives up without a look at
//! what has arrived. Here a write that fails is followed by that look. This,
//! `unix.rs` and `bare.rs` are the only files that name `ureq::unversioned`.

use std::sync::{Arc, Mutex, PoisonError};

use ureq::unversioned::transport::time::Duration;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport};
use ureq::{Error, unversioned::resolver::DefaultResolver};

/// How long the rest of an answer may take whose connection is failing.
const REST_WITHIN: Duration = Duration::from_secs(2);

/// As much of such an answer is read.
const LONGEST_BYTES: usize = 64 * 1024;

/// An answer that came before its request was whole.
#[derive(Debug, Default)]
pub(super) struct Early {
    pub(super) status: u16,
    pub(super) headers: ureq::http::HeaderMap,
    /// What came of its body.
    pub(super) body: Vec<u8>,
}

/// Where such an answer is left for who made the request.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Early>>>);

impl Slot {
    pub(super) fn take(&self) -> Option<Early> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, early: Early) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(early);
    }
}

/// An agent whose connections leave early answers in the slot.
pub(super) fn agent(config: ureq::config::Config, slot: &Slot) -> ureq::Agent {
    let connector = Listening { inner: DefaultConnector::new(), slot: slot.clone() };
    ureq::Agent::with_parts(config, connector, DefaultResolver::default())
}

#[derive(Debug)]
struct Listening {
    inner: DefaultConnector,
    slot: Slot,
}

impl Connector for Listening {
    type Out = Ear;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<()>) -> Result<Option<Ear>, Error> {
        let inner = self.inner.connect(details, chained)?;
        Ok(inner.map(|inner| Ear { inner, slot: self.slot.clone() }))
    }
}

#[derive(Debug)]
struct Ear {
    inner: Box<dyn Transport>,
    slot: Slot,
}

impl Transport for Ear {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, timeout).inspect_err(|_| {
            if let Some(early) = self.listen() {
                self.slot.put(early);
            }
        })
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

impl Ear {
    /// Reads the answer that may be there; ends with it, with the connection, or in time.
    fn listen(&mut self) -> Option<Early> {
        let mut came = Vec::new();
        loop {
            let parsed = parse(&came);
            let is_whole =
                parsed.as_ref().is_some_and(|(early, length)| length.is_some_and(|it| early.body.len() >= it));
            if is_whole || came.len() >= LONGEST_BYTES {
                return parsed.map(|(early, _)| early);
            }
            let within = NextTimeout { after: REST_WITHIN, ..NextTimeout::default() };
            let more = self.inner.buffers().can_use_input() || matches!(self.inner.await_input(within), Ok(true));
            let input = self.inner.buffers().input();
            let len = input.len();
            if !more || len == 0 {
                return parsed.map(|(early, _)| early);
            }
            came.extend_from_slice(input);
            self.inner.buffers().input_consume(len);
        }
    }
}

/// A final answer at the beginning of what came, and how long its body is if it says so.
fn parse(mut bytes: &[u8]) -> Option<(Early, Option<usize>)> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(len) = head.parse(bytes).ok()? else { return None };
        let status = head.code?;
        if (100..200).contains(&status) {
            bytes = &bytes[len..];
            continue;
        }
        let mut early = Early { status, body: bytes[len..].to_vec(), ..Early::default() };
        for header in head.headers.iter() {
            let name = ureq::http::HeaderName::from_bytes(header.name.as_bytes());
            let value = ureq::http::HeaderValue::from_bytes(header.value);
            if let (Ok(name), Ok(value)) = (name, value) {
                early.headers.append(name, value);
            }
        }
        let length = early.headers.get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
        return Some((early, length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_from_what_only_announces_one() {
        assert!(parse(b"").is_none());
        assert!(parse(b"HTTP/1.1 100 Continue\r\n\r\n").is_none());
        assert!(parse(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n").is_none());
        assert!(parse(b"garbage that no server says\r\n\r\n").is_none());
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno";
        let (early, length) = parse(bytes).unwrap();
        assert_eq!((early.status, early.body.as_slice(), length), (413, &b"no"[..], Some(3)));
    }
}
