//! What is done with what falls due: a command, a request, or a line.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use serde_json::{Value, json};

use super::super::bytes::{add_bytes, hex};
use super::super::{Entry, Group};
#[cfg(feature = "http")]
use crate::client::{Load, Patience, Target, Token, Transfer, Trust};
use crate::lock::Lease;
use crate::thread::Stop;

/// How many lines are written in one go.
const AT_ONCE: usize = 127;

/// What is done with each entry. It succeeded, or it is tried again.
pub enum Handler {
    /// Runs a command under a keeper, one for each, with the facts in its
    /// environment (`TOWPATH_KEY`, where it has no NUL, `TOWPATH_KEY_HEX`,
    /// `TOWPATH_DEADLINE`, `TOWPATH_ID`, `TOWPATH_KIND`, `TOWPATH_NODE`,
    /// `TOWPATH_FENCE`, `TOWPATH_ATTEMPT`, `TOWPATH_GROUP`) and the payload as
    /// standard input. Exit code 0 is success. It is dead before anybody else can lead.
    Exec(Vec<OsString>),
    /// Posts JSON to a URL. Any status from 200 to 299 is success.
    #[cfg(feature = "http")]
    Post {
        /// Where to.
        target: Target,
        /// Whom to trust over TLS.
        trust: Trust,
        /// A bearer token that goes with it.
        token: Option<Token>,
    },
    /// Writes a line of JSON for each, one after the other. Written is success. A
    /// write that doesn't return is waited for, also when the watch shall stop.
    Lines(Box<dyn Write + Send>),
    /// The same to a pipe, a terminal or a file, of which nothing may be taken for
    /// as long as a handler may take; then the watch ends with
    /// [`WatchError::Output`](super::WatchError::Output), and another one can lead.
    LinesTo(OwnedFd),
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Handler::Exec(_) => "Exec",
            #[cfg(feature = "http")]
            Handler::Post { .. } => "Post",
            Handler::Lines(_) => "Lines",
            Handler::LinesTo(_) => "LinesTo",
        })
    }
}

/// Something to be handled.
pub(super) struct Task {
    pub(super) entry: Entry,
    /// When it was claimed, by Redis' clock.
    pub(super) seen_ms: u64,
}

/// What became of it.
pub(super) struct Done {
    pub(super) entry: Entry,
    pub(super) result: Result<(), String>,
    /// It was ended because we stop or lead no more: that is no failure of its own.
    pub(super) cut: bool,
}

/// What a handler has to know beside its task.
pub(super) struct Terms<'t> {
    pub(super) group: &'t Group,
    pub(super) lease: &'t Lease,
    pub(super) ttl: Duration,
    pub(super) timeout: Duration,
    pub(super) stop: &'t Stop,
}

/// The handler of one thread.
pub(super) enum Worker<'h> {
    Exec(&'h [OsString]),
    #[cfg(feature = "http")]
    Post(Box<Transfer>, &'h Target),
    Lines(&'h mut (dyn Write + Send)),
}

impl Worker<'_> {
    /// Handles what comes until nobody sends any more.
    pub(super) fn work(&mut self, tasks: &Receiver<Task>, done: &Sender<Done>, terms: &Terms<'_>) {
        if let Worker::Lines(out) = self {
            return write_lines(&mut **out, tasks, done, terms);
        }
        // No deadline: the leader's end is the end of its tasks.
        for task in tasks {
            if terms.stop.is_set() {
                let cut = Done { entry: task.entry, result: Err("ended before it began".to_owned()), cut: true };
                let _: Result<(), _> = done.send(cut);
                continue;
            }
            let result = self.handle(&task, terms);
            let cut = result.is_err() && terms.stop.is_set();
            // The leader takes all of them in before it goes.
            let _: Result<(), _> = done.send(Done { entry: task.entry, result, cut });
        }
    }

    fn handle(&mut self, task: &Task, terms: &Terms<'_>) -> Result<(), String> {
        match self {
            Worker::Exec(argv) => super::exec::exec(argv, environment(task, terms), &task.entry.payload, terms),
            #[cfg(feature = "http")]
            Worker::Post(transfer, target) => post(transfer, target, &json_of(task, terms)),
            // They are written many at a time.
            Worker::Lines(_) => Ok(()),
        }
    }
}

/// Writes what there is in one go, and says that it is done when it is written.
fn write_lines(out: &mut (dyn Write + Send), tasks: &Receiver<Task>, done: &Sender<Done>, terms: &Terms<'_>) {
    // No deadline: the leader's end is the end of its tasks.
    for task in tasks {
        let some: Vec<Task> = std::iter::once(task).chain(tasks.try_iter().take(AT_ONCE)).collect();
        let lines: String = some.iter().map(|task| format!("{}\n", json_of(task, terms))).collect();
        let written = out.write_all(lines.as_bytes()).and_then(|()| out.flush()).map_err(|error| error.to_string());
        for Task { entry, .. } in some {
            // An output that is gone is no fault of what was to be written.
            let end = Done { entry, cut: written.is_err(), result: written.clone() };
            // As above.
            let _: Result<(), _> = done.send(end);
        }
    }
}

#[cfg(feature = "http")]
pub(super) fn transfer(timeout: Duration, trust: &Trust, token: Option<Token>) -> Transfer {
    let connect = timeout.min(Duration::from_secs(10));
    let patience = Patience { connect, stall: timeout, answer: timeout, ..Patience::default() };
    Transfer::new(patience, 16 * 1024, trust, token)
}

#[cfg(feature = "http")]
fn post(transfer: &Transfer, target: &Target, body: &Value) -> Result<(), String> {
    let body = body.to_string();
    let headers = [("Content-Type".to_owned(), "application/json".to_owned())];
    let load = Load::Sized(&mut body.as_bytes(), body.len() as u64);
    match transfer.ask("POST", target, &headers, load) {
        Ok(reply) if (200..300).contains(&reply.status()) => Ok(()),
        Ok(reply) => Err(format!("{target} answered {}", reply.status())),
        Err(error) => Err(super::ear::with_cause(&error)),
    }
}

fn json_of(task: &Task, terms: &Terms<'_>) -> Value {
    let entry = &task.entry;
    let mut object = json!({});
    add_bytes(&mut object, "key", &entry.key);
    let more = json!({
        "due_ms": entry.due_ms,
        "seen_ms": task.seen_ms,
        "id": entry.id,
        "kind": entry.kind.word(),
        "node": entry.node,
        "attempt": entry.attempts + 1,
        "fence": terms.lease.fence(),
        "group": terms.group.as_str(),
    });
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    if !entry.payload.is_empty() {
        add_bytes(&mut object, "payload", &entry.payload);
    }
    object
}

/// Ours, without our settings, some of which are secrets, and with the task's facts.
fn environment(task: &Task, terms: &Terms<'_>) -> Vec<(OsString, OsString)> {
    let entry = &task.entry;
    let is_setting = |name: &OsStr| name.as_bytes().starts_with(b"TOWPATH_");
    let mut environment: Vec<_> = std::env::vars_os().filter(|(name, _)| !is_setting(name)).collect();
    if !entry.key.contains(&0) {
        environment.push(("TOWPATH_KEY".into(), OsString::from_vec(entry.key.clone())));
    }
    let facts = [
        ("TOWPATH_KEY_HEX", hex(&entry.key)),
        ("TOWPATH_DEADLINE", entry.due_ms.to_string()),
        ("TOWPATH_ID", entry.id.clone()),
        ("TOWPATH_KIND", entry.kind.word().to_owned()),
        ("TOWPATH_NODE", entry.node.clone()),
        ("TOWPATH_FENCE", terms.lease.fence().to_string()),
        ("TOWPATH_ATTEMPT", (entry.attempts + 1).to_string()),
        ("TOWPATH_GROUP", terms.group.as_str().to_owned()),
    ];
    environment.extend(facts.into_iter().map(|(name, value)| (name.into(), value.into())));
    environment
}
