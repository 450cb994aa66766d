//! Following a run from elsewhere, to its proven end.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::record::{End, Id, Run};
use super::sse::{Event, Events};
use crate::client::{self, Agent, Body, Target};
use crate::clock::Moment;
use crate::flow::Missed;
use crate::thread::Stop;

/// Between two tries to connect, growing from the first to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// How long a connection may have no record, whatever else comes of it, though
/// the watcher has less patience: one record may need several reads.
const FIRST_RECORD: Duration = Duration::from_secs(5);

/// What is seen of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Which run it is: first, and once.
    Run(Run),
    /// A line, or a piece of a long one, with its end if it has one.
    Line {
        /// Its bytes, as they were written.
        bytes: Vec<u8>,
        /// Which stream or source it came from.
        stream: Option<String>,
    },
    /// Lines that we don't get to see: the words of the server's record.
    Gap(String),
    /// The connection was lost; the next call goes on with a new one.
    Lost(String),
    /// The end, the last of it.
    End(End),
}

/// Why a run can't be followed any further.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No connection within the time that one may take.
    #[error("{target} can't be reached; the run may go on")]
    Unreachable {
        /// Where: scheme and host.
        target: String,
        /// Whether something of the run was seen before.
        seen: bool,
        /// The last try's error.
        source: client::Error,
    },
    /// It answered, and the answer won't change.
    #[error("{target} refused")]
    Refused {
        /// Where: scheme and host.
        target: String,
        /// What it said.
        source: client::Error,
    },
    /// Another run is there now: how ours ended can't be learned there.
    #[error("{target} now shows the run {now}, and not {before}, whose end was not seen")]
    OtherRun {
        /// Where: scheme and host.
        target: String,
        /// The run that we followed.
        before: String,
        /// The run that is there.
        now: String,
    },
    /// What came isn't a run.
    #[error("{target} doesn't speak as a towpath does")]
    Garbled {
        /// Where: scheme and host.
        target: String,
        /// What is wrong.
        source: io::Error,
    },
    /// It takes connections, and cuts them before it says which run it has; or
    /// doesn't cut them, and never says it.
    #[error("{target} doesn't say which run it has")]
    Cut {
        /// Where: scheme and host.
        target: String,
        /// How the last one ended, or that it was given up.
        source: io::Error,
    },
    /// It was stopped.
    #[error("stopped")]
    Stopped,
}

/// A reader of one run.
#[derive(Debug)]
pub struct Watch {
    agent: Agent,
    target: Target,
    patience: Duration,
    events: Option<Events<Body>>,
    /// What was taken before it was asked for.
    ahead: Option<Result<Seen, WatchError>>,
    run: Option<Run>,
    last: Option<Id>,
    /// Since when there has been nothing from the server.
    silent_since: Moment,
    /// Since when there is this connection, and whether it brought a record.
    connected: Moment,
    heard: bool,
    /// Before the next try; none while connections bring something new.
    pause: Option<Duration>,
}

impl Watch {
    /// A reader of the run at `base`, the URL that `towpath run --listen` tells.
    /// It tries again for `patience` when the connection is lost.
    pub fn new(agent: Agent, base: &Target, patience: Duration) -> Watch {
        Watch {
            agent,
            target: base.join("events"),
            patience,
            events: None,
            ahead: None,
            run: None,
            last: None,
            silent_since: Moment::now(),
            connected: Moment::now(),
            heard: false,
            pause: None,
        }
    }

    /// The next thing seen. Blocks until there is one; `stop` ends the waits
    /// between tries and counts after each read, which the agent's time-outs bound.
    ///
    /// # Errors
    /// See [`WatchError`]; none of them is the end of the run.
    pub fn next(&mut self, stop: &Stop) -> Result<Seen, WatchError> {
        if let Some(ahead) = self.ahead.take() {
            return ahead;
        }
        loop {
            if stop.is_set() {
                return Err(WatchError::Stopped);
            }
            if let Some(seen) = self.received()? {
                return Ok(seen);
            }
            let Some(events) = &mut self.events else {
                self.connect(stop)?;
                continue;
            };
            match events.read() {
                // Bytes, but neither a record nor an end: that may go on for ever.
                Ok(()) if !self.heard && self.connected.elapsed() > self.patience.max(FIRST_RECORD) => {
                    return Err(self.cut(io::Error::new(io::ErrorKind::TimedOut, "no record comes")));
                }
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(self.garbled(error)),
                Err(error) => {
                    self.events = None;
                    if std::mem::take(&mut self.heard) {
                        // Heartbeats are no records: it may have been quiet for long, and there.
                        self.silent_since = Moment::now();
                        return Ok(Seen::Lost(error.to_string()));
                    }
                    if self.silent_since.elapsed() > self.patience {
                        return Err(self.cut(error));
                    }
                }
            }
        }
    }

    /// Whether the next thing was received already, so that
    /// [`next`](Watch::next) won't block: who prints may collect until then.
    pub fn is_next_here(&mut self) -> bool {
        if self.ahead.is_none() {
            self.ahead = self.received().transpose();
        }
        self.ahead.is_some()
    }

    /// The next thing in what was read; `None`: read more.
    fn received(&mut self) -> Result<Option<Seen>, WatchError> {
        while let Some(events) = &mut self.events
            && let Some(event) = events.received().map_err(|error| self.garbled(error))?
        {
            if !event.data.is_empty() {
                (self.heard, self.silent_since) = (true, Moment::now());
                if event.name != "run" {
                    self.pause = None;
                }
            }
            if let Some(seen) = self.take_in(&event)? {
                return Ok(Some(seen));
            }
        }
        Ok(None)
    }

    fn connect(&mut self, stop: &Stop) -> Result<(), WatchError> {
        let last = self.last.as_ref().map(ToString::to_string);
        let headers: Vec<(&str, &str)> = last.iter().map(|id| ("Last-Event-ID", id.as_str())).collect();
        loop {
            // Also where connecting works: who only accepts and cuts isn't asked without a pause.
            if self.pause.is_some_and(|pause| stop.sleep(pause) == ControlFlow::Break(())) {
                return Err(WatchError::Stopped);
            }
            let pause = self.pause.map_or(RETRY.0, |pause| (pause * 2).min(RETRY.1));
            self.pause = Some(pause);
            let error = match self.agent.open(&self.target, &headers) {
                Ok(body) => {
                    self.events = Some(Events::new(body));
                    self.connected = Moment::now();
                    return Ok(());
                }
                Err(source @ client::Error::Status { status: 300..=499, .. }) => {
                    return Err(WatchError::Refused { target: self.target.to_string(), source });
                }
                Err(source @ client::Error::InClear { .. }) => {
                    return Err(WatchError::Refused { target: self.target.to_string(), source });
                }
                Err(error) => error,
            };
            if self.silent_since.elapsed() + pause > self.patience {
                let (target, seen) = (self.target.to_string(), self.run.is_some());
                return Err(WatchError::Unreachable { target, seen, source: error });
            }
        }
    }

    /// What an event means; `None` for one that only a later version knows.
    fn take_in(&mut self, event: &Event) -> Result<Option<Seen>, WatchError> {
        if event.data.is_empty() {
            // How far we have come, with a sign of life.
            self.last = self.id_of(event).or(self.last.take());
            return Ok(None);
        }
        // Of what isn't known it isn't known either whether it is JSON.
        let data = || serde_json::from_str::<Value>(&event.data).map_err(|error| self.garbled(io::Error::other(error)));
        let lacking = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("a record without {what}"));
        if event.name == "run" {
            let run = Run::from_json(&data()?).ok_or_else(|| self.garbled(lacking("its run")))?;
            return self.begin(run);
        }
        let Some(run) = &self.run else { return Err(self.garbled(lacking("a run before it"))) };
        Ok(match event.name.as_str() {
            "line" => {
                let data = data()?;
                let id = self.id_of(event).ok_or_else(|| self.garbled(lacking("its id")))?;
                self.last = Some(id);
                let bytes = bytes_of(&data).ok_or_else(|| self.garbled(lacking("its text")))?;
                Some(Seen::Line { bytes, stream: data.get("stream").and_then(Value::as_str).map(str::to_owned) })
            }
            "gap" => Some(Seen::Gap(gap_of(&data()?))),
            "end" => {
                let end = End::from_json(&data()?).filter(|end| end.run == run.run);
                Some(Seen::End(end.ok_or_else(|| self.garbled(lacking("how it ended")))?))
            }
            _ => None,
        })
    }

    /// A new connection says which run it shows. It must be ours.
    fn begin(&mut self, run: Run) -> Result<Option<Seen>, WatchError> {
        match &self.run {
            None => {
                self.run = Some(run.clone());
                Ok(Some(Seen::Run(run)))
            }
            Some(before) if before.run == run.run => Ok(None),
            Some(before) => {
                Err(WatchError::OtherRun { target: self.target.to_string(), before: before.run.clone(), now: run.run })
            }
        }
    }

    /// Its id, if it is one of our run's.
    fn id_of(&self, event: &Event) -> Option<Id> {
        let id: Id = event.id.as_deref()?.parse().ok()?;
        self.run.as_ref().is_some_and(|run| run.run == id.run).then_some(id)
    }

    fn cut(&self, source: io::Error) -> WatchError {
        WatchError::Cut { target: self.target.to_string(), source }
    }

    fn garbled(&self, source: io::Error) -> WatchError {
        WatchError::Garbled { target: self.target.to_string(), source }
    }
}

fn bytes_of(data: &Value) -> Option<Vec<u8>> {
    let text = data.get("text").and_then(Value::as_str).map(|text| text.as_bytes().to_vec());
    let mut bytes = text.or_else(|| STANDARD.decode(data.get("base64")?.as_str()?).ok())?;
    let goes_on = ["more", "unended"].iter().any(|flag| data.get(*flag).and_then(Value::as_bool) == Some(true));
    if !goes_on {
        bytes.push(b'\n');
    }
    Some(bytes)
}

fn gap_of(data: &Value) -> String {
    let count = |name: &str| data.get(name).and_then(Value::as_u64);
    let why = data.get("why").and_then(Value::as_str).unwrap_or("unknown");
    Missed::words(count("lines"), count("bytes"), &why)
}
