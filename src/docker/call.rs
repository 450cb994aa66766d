//! One request to the daemon: JSON in, JSON or a stream out, with limits.

use std::io::{self, Read};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::client::{self, Answer, Ask, Body, Cut, Service};

use super::Docker;
use super::error::{Error, ErrorKind};

/// How much JSON one answer may be: the containers of a large host take a few MiB.
const JSON_BYTE: u64 = 64 << 20;
/// How much of an error's text is read.
const MESSAGE_BYTE: u64 = 64 << 10;
/// What needs no escape in a path or query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request that is being put together.
pub(super) struct Call<'d> {
    docker: &'d Docker,
    method: &'static str,
    path: String,
    doing: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
    within: Duration,
}

/// A body that is read as it comes, unbuffered.
#[derive(Debug)]
pub(super) struct Stream {
    body: Body,
    /// It is to tell its end, and doesn't.
    unproven: bool,
    cut: Cut,
}

/// One part of a path: a name, escaped.
pub(super) fn segment(name: &str) -> String {
    utf8_percent_encode(name, PLAIN).to_string()
}

impl<'d> Call<'d> {
    /// `doing` begins the text of each error: "can't start web".
    pub(super) fn new(docker: &'d Docker, method: &'static str, path: &str, doing: impl Into<String>) -> Call<'d> {
        Call {
            docker,
            method,
            path: format!("{}{path}", docker.prefix),
            doing: doing.into(),
            headers: Vec::new(),
            body: None,
            within: docker.patience,
        }
    }

    /// Adds to the query.
    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(name);
        self.path.push('=');
        self.path.extend(utf8_percent_encode(value, PLAIN));
        self
    }

    /// The same, if there is a value.
    pub(super) fn query_if(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Sets the body.
    pub(super) fn json(mut self, value: &Value) -> Self {
        self.body = Some(value.to_string().into_bytes());
        self.header("Content-Type", "application/json")
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Waits longer than the client's patience: for what takes long by its nature.
    pub(super) fn at_least(mut self, within: Duration) -> Self {
        self.within = self.within.max(within);
        self
    }

    /// Asks for something without an answer, and gives the status: 2xx or 304.
    pub(super) fn done(self) -> Result<u16, Error> {
        let (doing, answer) = self.answer(|service, ask| service.ask(ask, ask.head_within))?;
        let status = answer.status();
        // To its end, so that the connection can be used again.
        match io::copy(&mut answer.into_body().take(MESSAGE_BYTE), &mut io::sink()) {
            Ok(_) => Ok(status),
            Err(error) => Err(Error::unread(&doing, error)),
        }
    }

    /// Asks for JSON.
    pub(super) fn value(self) -> Result<Value, Error> {
        let (doing, answer) = self.answer(|service, ask| service.ask(ask, ask.head_within))?;
        read_value(&doing, answer.into_body())
    }

    /// Asks for a stream whose end is proven: an answer that doesn't tell its end fails
    /// there. On a connection of its own; each read brings something within `quiet`.
    pub(super) fn stream(self, quiet: Duration) -> Result<Stream, Error> {
        let (_, answer) = self.answer(|service, ask| service.open(ask, Some(quiet)))?;
        Ok(Stream { cut: answer.cut(), unproven: !answer.tells_its_end(), body: answer.into_body() })
    }

    /// Asks for a stream that may be silent for as long as it likes, and whose end proves
    /// nothing. On a connection of its own.
    pub(super) fn endless(self) -> Result<Stream, Error> {
        let (_, answer) = self.answer(|service, ask| service.open(ask, None))?;
        Ok(Stream { cut: answer.cut(), unproven: false, body: answer.into_body() })
    }

    fn answer(
        self,
        ask_it: impl FnOnce(&Service, &Ask<'_>) -> Result<Answer, client::Error>,
    ) -> Result<(String, Answer), Error> {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let ask = Ask {
            method: self.method,
            path: &self.path,
            headers: &headers,
            body: self.body.as_deref(),
            head_within: self.within,
        };
        let answer = ask_it(&self.docker.service, &ask);
        let answer = answer.map_err(|error| Error::unanswered(&self.doing, error))?;
        match answer.status() {
            200..=299 | 304 => Ok((self.doing, answer)),
            status => Err(Error::refused(&self.doing, status, &message_of(answer))),
        }
    }
}

/// Reads JSON to its end: half an object, or more after one, is no answer.
pub(super) fn read_value(doing: &str, body: impl Read) -> Result<Value, Error> {
    let mut text = Vec::new();
    body.take(JSON_BYTE + 1).read_to_end(&mut text).map_err(|error| Error::unread(doing, error))?;
    if text.len() as u64 > JSON_BYTE {
        return Err(Error::garbage(doing, "is larger than 64 MiB"));
    }
    serde_json::from_slice(&text).map_err(|error| {
        let what = if text.is_empty() { "is empty" } else { "isn't JSON" };
        Error::garbage(doing, what).because(error)
    })
}

/// The daemon's words, `{"message"}`; else the text itself, as a proxy would give it.
fn message_of(answer: Answer) -> String {
    let mut text = Vec::new();
    // What came is better than nothing.
    let _ = answer.into_body().take(MESSAGE_BYTE).read_to_end(&mut text);
    match serde_json::from_slice::<Value>(&text) {
        Ok(value) if value["message"].is_string() => value["message"].as_str().unwrap_or_default().to_owned(),
        _ => String::from_utf8_lossy(&text[..text.len().min(300)]).into_owned(),
    }
}

impl Stream {
    /// What ends the reading from another thread.
    pub(super) fn cut(&self) -> Cut {
        self.cut.clone()
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.body.read(buffer)? {
            0 if self.unproven && !buffer.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

/// A text in an answer that must be there.
pub(super) fn text_at<'v>(value: &'v Value, name: &str, doing: &str) -> Result<&'v str, Error> {
    value[name]
        .as_str()
        .ok_or_else(|| Error::new(ErrorKind::Garbage, format!("{doing}: the daemon's answer has no {name}")))
}
