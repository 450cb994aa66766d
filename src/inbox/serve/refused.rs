//! What isn't done, with its status and the reason.

use std::io::{self, ErrorKind};

use serde_json::{Map, Value, json};

use crate::form;
use crate::http::{Reply, Sent};

/// Why a request, or one file of it, isn't taken.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) why: String,
    /// What else the problem says (RFC 9457): its type, and its extensions.
    members: Vec<(&'static str, Value)>,
    headers: Vec<(&'static str, String)>,
}

impl Refused {
    pub(super) fn new(status: u16, why: impl Into<String>) -> Refused {
        Refused { status, why: why.into(), members: Vec::new(), headers: Vec::new() }
    }

    pub(super) fn bad(why: impl Into<String>) -> Refused {
        Refused::new(400, why)
    }

    pub(super) fn taken() -> Refused {
        Refused::new(409, "a file of that name is there already")
    }

    pub(super) fn too_long(what: &str, limit_bytes: u64) -> Refused {
        Refused::new(413, format!("{what} may have {limit_bytes} bytes at most"))
    }

    pub(super) fn no_method(allowed: &str) -> Refused {
        Refused::new(405, format!("here are only {allowed}")).header("Allow", allowed)
    }

    /// Adds a header to the reply.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Refused {
        self.headers.push((name, value.into()));
        self
    }

    /// One of the problem types that IANA keeps.
    pub(super) fn of_type(self, name: &str) -> Refused {
        self.member("type", format!("https://iana.org/assignments/http-problem-types#{name}"))
    }

    pub(super) fn member(mut self, name: &'static str, value: impl Into<Value>) -> Refused {
        self.members.push((name, value.into()));
        self
    }

    /// What the folder or its disk refused.
    pub(super) fn by_disk(error: &io::Error) -> Refused {
        match error.kind() {
            ErrorKind::AlreadyExists => Refused::taken(),
            ErrorKind::IsADirectory => Refused::new(409, "a folder has that name"),
            ErrorKind::NotFound => Refused::new(404, "there is no file of that name"),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Refused::new(507, "the disk is full"),
            ErrorKind::FileTooLarge => Refused::new(507, "the file system takes no file of that length"),
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData => Refused::bad(error.to_string()),
            _ => {
                log::warn!("the folder can't be used: {error}");
                Refused::new(500, format!("the server's folder can't be used: {error}"))
            }
        }
    }

    /// What was wrong with the body.
    pub(super) fn by_body(error: &io::Error) -> Refused {
        match error.kind() {
            ErrorKind::TimedOut => Refused::new(408, "the body came too slowly"),
            ErrorKind::FileTooLarge => Refused::new(413, error.to_string()),
            ErrorKind::UnexpectedEof => Refused::bad("the body was cut"),
            _ => Refused::bad(format!("the body can't be read: {error}")),
        }
    }

    /// What was wrong with a form.
    pub(super) fn by_form(error: &form::Error) -> Refused {
        match error.kind() {
            form::ErrorKind::Io(io) => Refused::by_body(io),
            form::ErrorKind::Limit(_) => Refused::new(413, error.to_string()),
            _ => Refused::bad(error.to_string()),
        }
    }

    /// Says it to the client.
    pub(super) fn reply(self, reply: Reply<'_>) -> io::Result<Sent> {
        let mut reply = reply.status(self.status).header("Content-Type", "application/problem+json");
        for (name, value) in &self.headers {
            reply = reply.header(name, value);
        }
        let mut problem: Map<String, Value> = Map::new();
        problem.insert("title".to_owned(), self.why.into());
        problem.insert("status".to_owned(), json!(self.status));
        problem.extend(self.members.into_iter().map(|(name, value)| (name.to_owned(), value)));
        reply.header("Cache-Control", "no-store").send(format!("{}\n", Value::from(problem)))
    }
}
