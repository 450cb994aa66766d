//! Requests that bring files or fetch them: any method, bodies that are
//! streamed both ways, answers whatever their status.
//!
//! No redirect is followed here: it is an answer, and who asked decides.

use std::fmt;
use std::io::{self, Cursor, Read};
use std::time::Duration;

use ureq::http::{HeaderMap, Request, header};

use super::agent::{Error, Trust, finish, without_url};
use super::early::{self, Early, Slot};
use super::{Target, Token};

/// The shortest buffer that a request's head can be written with.
const LEAST_BUFFER_BYTES: usize = 8 * 1024;

/// How long the parts of a transfer may take. The whole may take any time, as
/// long as something moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until there is a connection. Defaults to 10 s.
    pub connect: Duration,
    /// Each write, and each read of an answer's body. Defaults to 60 s.
    pub stall: Duration,
    /// From a request's last byte to its answer: a server may have a large file
    /// to sync. Defaults to 5 min.
    pub answer: Duration,
    /// For the word to go on, where it is asked for (`Expect: 100-continue`):
    /// then the body is sent all the same. Defaults to 1 s.
    pub go_on: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(60),
            answer: Duration::from_secs(300),
            go_on: Duration::from_secs(1),
        }
    }
}

/// A client for transfers, with a connection that is used again.
pub struct Transfer {
    agent: ureq::Agent,
    slot: Slot,
    token: Option<Token>,
}

/// What a request carries.
pub enum Load<'a> {
    /// Nothing, and no Content-Length.
    None,
    /// Nothing, and the word that it is nothing.
    Empty,
    /// So many bytes: who reads gives exactly these, or an error, which ends
    /// the request.
    Sized(&'a mut dyn Read, u64),
    /// What there is, in chunks, until its end.
    Chunked(&'a mut dyn Read),
}

impl Transfer {
    /// A client whose writes are as large as its body's reads, at most
    /// `buffer_bytes`. A `token` goes with every request.
    pub fn new(patience: Patience, buffer_bytes: usize, trust: &Trust, token: Option<Token>) -> Transfer {
        let config = ureq::Agent::config_builder()
            .timeout_resolve(Some(patience.connect))
            .timeout_connect(Some(patience.connect))
            .timeout_send_request(Some(patience.connect))
            .timeout_await_100(Some(patience.go_on))
            .timeout_recv_response(Some(patience.answer))
            .timeout_per_read(Some(patience.answer.max(patience.stall)))
            .timeout_per_write(Some(patience.stall))
            .output_buffer_size(buffer_bytes.max(LEAST_BUFFER_BYTES))
            .input_buffer_size(buffer_bytes.max(LEAST_BUFFER_BYTES))
            .max_response_header_size(64 * 1024)
            .max_redirects(0)
            .max_redirects_will_error(false);
        let slot = Slot::default();
        Transfer { agent: early::agent(finish(config, trust), &slot), slot, token }
    }

    /// The same for fetching: no read waits longer than [`Patience::stall`].
    pub fn fetching(patience: Patience, buffer_bytes: usize, trust: &Trust, token: Option<Token>) -> Transfer {
        Transfer::new(Patience { answer: patience.stall, ..patience }, buffer_bytes, trust, token)
    }

    /// Makes a request, and gives its answer. Blocks until the answer's head is
    /// there, or a time-out passes. An answer that comes before the load is
    /// sent ends the sending.
    ///
    /// # Errors
    /// [`Error::InClear`] if a secret would be read by others;
    /// [`Error::Failed`] if there is no answer, also because reading the load
    /// failed: who gave it knows.
    pub fn ask(
        &self,
        method: &str,
        target: &Target,
        headers: &[(String, String)],
        load: Load<'_>,
    ) -> Result<Reply, Error> {
        let failed =
            |error: ureq::Error| Error::Failed { target: target.to_string(), source: Box::new(without_url(error)) };
        let mut request = Request::builder().method(method).uri(target.as_str());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, token.as_bearer());
        }
        let is_readable = !target.is_encrypted() && !target.is_loopback();
        let is_secret =
            self.token.is_some() || target.has_user() || headers.iter().any(|(name, _)| tells_a_secret(name));
        if is_readable && is_secret {
            return Err(Error::InClear { target: target.to_string() });
        }
        if let Load::Sized(_, length) = &load {
            request = request.header(header::CONTENT_LENGTH, *length);
        }
        self.slot.take();
        let answer = match load {
            Load::None => self.run(target, request, ()),
            Load::Empty => self.run(target, request, &[][..]),
            Load::Sized(reader, _) | Load::Chunked(reader) => {
                self.run(target, request, ureq::SendBody::from_reader(reader))
            }
        };
        match answer {
            Ok(answer) => Ok(Reply::new(target, answer)),
            Err(error) => match self.slot.take() {
                Some(early) => Ok(Reply::early(target, early)),
                None => Err(failed(error)),
            },
        }
    }

    /// Ends what is on its way, now and from now on: its reads and writes fail.
    /// For another thread than the one that waits.
    pub fn cutter(&self) -> impl FnOnce() + Send + 'static {
        let agent = self.agent.clone();
        move || agent.shutdown()
    }

    fn run(
        &self,
        target: &Target,
        request: ureq::http::request::Builder,
        body: impl ureq::AsSendBody,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let request = request.body(body)?;
        if target.is_loopback() {
            // What goes to this very host doesn't leave it: a proxy would read it.
            let request = self.agent.configure_request(request).proxy(None).build();
            return self.agent.run(request);
        }
        self.agent.run(request)
    }
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer").field("token", &self.token).finish_non_exhaustive()
    }
}

/// Whether a header's value proves who asks.
pub fn tells_a_secret(name: &str) -> bool {
    ["authorization", "cookie", "proxy-authorization", "x-api-key"].iter().any(|it| it.eq_ignore_ascii_case(name))
}

/// A server's answer, whatever its status; its body comes through `Read`.
///
/// A read fails with `UnexpectedEof` where the body is cut, and with a
/// time-out's error where nothing came for too long. A body that is neither
/// sized nor chunked ends with its connection, which proves nothing:
/// [`Reply::has_proven_end`].
pub struct Reply {
    target: String,
    status: u16,
    headers: HeaderMap,
    body: Box<dyn Read + Send>,
    is_bodiless: bool,
}

impl Reply {
    fn new(target: &Target, answer: ureq::http::Response<ureq::Body>) -> Reply {
        let (head, body) = answer.into_parts();
        let body = Box::new(body.into_reader());
        Reply {
            target: target.to_string(),
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            is_bodiless: false,
        }
    }

    fn early(target: &Target, early: Early) -> Reply {
        let Early { status, headers, body } = early;
        let body = Box::new(Cursor::new(body));
        Reply { target: target.to_string(), status, headers, body, is_bodiless: true }
    }

    /// Where it came from: scheme and host.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is one of success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All headers of this name, as one list.
    pub fn list(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// How long the body is, if that was said.
    pub fn length(&self) -> Option<u64> {
        if self.is_chunked() { None } else { self.header("content-length")?.trim().parse().ok() }
    }

    /// Whether the body's end can be told from a connection that was cut.
    pub fn has_proven_end(&self) -> bool {
        !self.is_bodiless && (self.is_chunked() || self.length().is_some())
    }

    fn is_chunked(&self) -> bool {
        self.list("transfer-encoding").is_some_and(|list| list.to_ascii_lowercase().contains("chunked"))
    }

    /// The same answer, whose body is this text, which was read of it.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Reply {
        self.body = Box::new(Cursor::new(text.as_bytes().to_vec()));
        self
    }

    /// The beginning of the body, at most `limit` bytes of it, as far as it came.
    pub fn text(&mut self, limit: u64) -> String {
        let mut text = Vec::new();
        // What came before it failed is all there is to show.
        let _: io::Result<usize> = (&mut self.body).take(limit).read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Read for Reply {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.body.read(buf)
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("target", &self.target).field("status", &self.status).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let patience = Patience::default();
        assert_eq!((patience.connect, patience.stall), (Duration::from_secs(10), Duration::from_secs(60)));
        assert_eq!((patience.answer, patience.go_on), (Duration::from_secs(300), Duration::from_secs(1)));
    }
}
