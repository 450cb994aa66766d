//! A body read from its connection by ourselves, once ureq has read the answer's head.
//!
//! A daemon sends each line of a log as a chunk of its own; ureq spends more on a chunk than
//! there is in it. It can't be asked for its connection, but lets go of it when an answer is
//! dropped: a [`Lent`] one then comes back here, with what was read too far. One of the
//! files that name `ureq::unversioned`.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::http::{Version, header, response::Parts};
use ureq::unversioned::resolver::{DefaultResolver, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport};
use ureq::{Error, Timeout};

use super::chunked::{Decoder, Next};

/// Where a connection comes back to.
#[derive(Clone, Debug, Default)]
pub(super) struct Back(Arc<Mutex<Option<Box<dyn Transport>>>>);

/// An agent whose connections come back. It is for one request.
pub(super) fn agent(
    config: ureq::config::Config,
    connector: impl Connector,
    resolver: impl Resolver,
    back: &Back,
) -> ureq::Agent {
    ureq::Agent::with_parts(config, connector.chain(Lending(back.clone())), resolver)
}

/// The same for servers that have a name or address.
pub(super) fn agent_by_name(config: ureq::config::Config, back: &Back) -> ureq::Agent {
    agent(config, DefaultConnector::new(), DefaultResolver::default(), back)
}

/// A body on a connection that came back.
#[derive(Debug)]
pub(super) struct Bare {
    /// None where there is no body.
    transport: Option<Box<dyn Transport>>,
    rest: Rest,
    limit: NextTimeout,
}

/// What of a body is to come.
#[derive(Debug)]
enum Rest {
    Chunks(Decoder),
    Bytes(u64),
    /// What comes until the connection's end.
    UntilClosed,
    Over,
}

impl Bare {
    /// The body behind this head, when its answer was dropped; each read brings something
    /// within `quiet`.
    pub(super) fn behind(head: &Parts, back: &Back, quiet: Option<Duration>) -> Bare {
        let limit =
            NextTimeout { per_read: quiet.map(Into::into), reason: Timeout::RecvBody, ..NextTimeout::default() };
        Bare { transport: back.take(), rest: Rest::of(head), limit }
    }

    /// Whether the body's own end can be told from that of a connection that broke.
    pub(super) fn tells_its_end(&self) -> bool {
        self.transport.is_none() || !matches!(self.rest, Rest::UntilClosed)
    }
}

impl Read for Bare {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(transport) = &mut self.transport else { return Ok(0) };
        loop {
            let (taken, given) = self.rest.take(transport.buffers().input(), buffer)?;
            transport.buffers().input_consume(taken);
            if given > 0 || buffer.is_empty() || matches!(self.rest, Rest::Over) {
                return Ok(given);
            }
            if !transport.await_input(self.limit).map_err(Error::into_io)? {
                return match self.rest {
                    Rest::UntilClosed => Ok(0),
                    _ => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }
}

impl Rest {
    /// RFC 9112, section 6.3, but for what ureq has dealt with: answers without a body.
    fn of(head: &Parts) -> Rest {
        let has = |name: header::HeaderName| head.headers.contains_key(name);
        let text = |name: header::HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        let is_chunked = |coding: &str| coding.trim().eq_ignore_ascii_case("chunked");
        match text(header::TRANSFER_ENCODING) {
            Some(coding) if is_chunked(coding) && head.version > Version::HTTP_10 => Rest::Chunks(Decoder::new()),
            None if !has(header::TRANSFER_ENCODING) => {
                let length = text(header::CONTENT_LENGTH).and_then(|length| length.trim().parse().ok());
                length.map_or(Rest::UntilClosed, |length| if length > 0 { Rest::Bytes(length) } else { Rest::Over })
            }
            _ => Rest::UntilClosed,
        }
    }

    /// Moves what there is from one to the other: how much it took and how much it gave. What
    /// is left is the body's only if `into` was too small.
    fn take(&mut self, from: &[u8], into: &mut [u8]) -> io::Result<(usize, usize)> {
        let (mut taken, mut given) = (0, 0);
        loop {
            let left = match self {
                Rest::Chunks(decoder) => {
                    let garbage = |what| io::Error::new(io::ErrorKind::InvalidData, what);
                    let (framing, next) = decoder.parse(&from[taken..]).map_err(garbage)?;
                    taken += framing;
                    match next {
                        Next::Data(left) => left,
                        Next::More => 0,
                        Next::End => {
                            *self = Rest::Over;
                            0
                        }
                    }
                }
                Rest::Bytes(left) => *left,
                Rest::UntilClosed => u64::MAX,
                Rest::Over => 0,
            };
            let room = (from.len() - taken).min(into.len() - given);
            let count = room.min(usize::try_from(left).unwrap_or(usize::MAX));
            if count == 0 {
                return Ok((taken, given));
            }
            into[given..given + count].copy_from_slice(&from[taken..taken + count]);
            (taken, given) = (taken + count, given + count);
            self.took(count as u64);
        }
    }

    fn took(&mut self, count: u64) {
        match self {
            Rest::Chunks(decoder) => decoder.took(count),
            Rest::Bytes(left) if *left > count => *left -= count,
            Rest::Bytes(_) => *self = Rest::Over,
            Rest::UntilClosed | Rest::Over => {}
        }
    }
}

impl Back {
    fn take(&self) -> Option<Box<dyn Transport>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[derive(Debug)]
struct Lending(Back);

impl<In: Transport> Connector<In> for Lending {
    type Out = Lent;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Lent>, Error> {
        Ok(chained.map(|inner| Lent { inner: Some(inner.boxed()), back: self.0.clone() }))
    }
}

/// A connection while ureq has it.
#[derive(Debug)]
struct Lent {
    /// None once it went back.
    inner: Option<Box<dyn Transport>>,
    back: Back,
}

impl Lent {
    fn inner(&mut self) -> &mut dyn Transport {
        self.inner.as_deref_mut().expect("it goes back when this is dropped, and not before")
    }
}

impl Transport for Lent {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner().buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner().transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner().await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner().is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.as_ref().is_some_and(Transport::is_tls)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.back.0.lock().unwrap_or_else(PoisonError::into_inner) = self.inner.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(version: Version, headers: &[(header::HeaderName, &str)]) -> Rest {
        let mut answer = ureq::http::Response::builder().version(version);
        for (name, value) in headers {
            answer = answer.header(name, *value);
        }
        Rest::of(&answer.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn the_head_says_how_the_end_is_told() {
        use header::{CONTENT_LENGTH as LENGTH, TRANSFER_ENCODING as CODING};
        let kind = |version, headers: &[_]| match rest(version, headers) {
            Rest::Chunks(_) => "chunks".to_owned(),
            Rest::Bytes(count) => count.to_string(),
            Rest::UntilClosed => "until closed".to_owned(),
            Rest::Over => "over".to_owned(),
        };
        for (headers, expected) in [
            (&[(CODING, "Chunked")][..], "chunks"),
            (&[(CODING, "chunked"), (LENGTH, "3")], "chunks"),
            (&[(CODING, "gzip"), (LENGTH, "3")], "until closed"),
            (&[(LENGTH, "3")], "3"),
            (&[(LENGTH, "0")], "over"),
            (&[(LENGTH, "-3")], "until closed"),
            (&[], "until closed"),
        ] {
            assert_eq!(kind(Version::HTTP_11, headers), expected, "{headers:?}");
        }
        assert_eq!(kind(Version::HTTP_10, &[(CODING, "chunked")]), "until closed");
    }

    #[test]
    fn a_body_comes_whole_whatever_the_room_for_it() {
        let chunks = b"4\r\none\n\r\n0a\r\ntwo\nthree\n\r\n0\r\n\r\n";
        let coded = [(header::TRANSFER_ENCODING, "chunked")];
        let counted = [(header::CONTENT_LENGTH, "14")];
        for (head, body) in [(coded, &chunks[..]), (counted, b"one\ntwo\nthree\n")] {
            for room in 1..6 {
                let (mut from, mut got, mut buffer) = (body, Vec::new(), vec![0; room]);
                let mut rest = rest(Version::HTTP_11, &head);
                while !matches!(rest, Rest::Over) {
                    let (taken, given) = rest.take(from, &mut buffer).unwrap();
                    assert!(taken > 0, "it stands still");
                    got.extend(&buffer[..given]);
                    from = &from[taken..];
                }
                assert_eq!((&got[..], from), (&b"one\ntwo\nthree\n"[..], &b""[..]), "{room}");
            }
        }
    }
}
