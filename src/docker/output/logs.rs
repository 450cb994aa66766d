//! A container's log, read or followed.
//!
//! A log that is followed survives the loss of its connection: it is asked for again
//! from the moment of what was given last, and what comes twice is left out
//! ([`recall`](super::recall)). It ends when the container has ended, which is asked
//! for: that the stream ended isn't enough.

use std::io::Write;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::super::call::Stream;
use super::super::container::Container;
use super::super::error::{Error, ErrorKind};
use super::super::moment;
use super::again::Again;
use super::gather::Gather;
use super::recall::{Recall, stamp_of};
use super::{Chunk, Frames, Std};
use crate::client::Cut;
use crate::clock::Moment;
use crate::thread::{Stop, Stopper};

/// A log that is followed and says nothing for so long is asked for again: its
/// connection may be dead without a word, or the daemon have lost sight of the file
/// when it was rotated.
const QUIET: Duration = Duration::from_secs(600);
/// A long line is logged in pieces of this size; a terminal's pieces have no other end.
const PIECE_BYTE: usize = 16 * 1024;
/// How much is put together before it is given.
const BATCH_BYTE: usize = 64 * 1024;

/// Which part of a log. Default: all there is, both streams, without timestamps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogsQuery {
    /// Goes on with what is logged from now on, until the container has ended.
    pub follow: bool,
    /// Nothing from before.
    pub since: Option<SystemTime>,
    /// Nothing from after.
    pub until: Option<SystemTime>,
    /// So many lines from the end; then what follows.
    pub tail: Option<u64>,
    /// Each line begins with its moment, in UTC.
    pub timestamps: bool,
}

/// A log that is being read.
#[derive(Debug)]
pub struct Logs {
    container: Container,
    query: LogsQuery,
    tty: bool,
    started: Option<SystemTime>,
    /// From the daemon's clock, where nothing of the past is wanted.
    begun: Option<String>,
    frames: Frames<Gather<Stream>>,
    recall: Recall,
    message: Vec<u8>,
    /// Where the message's content begins, behind its moment.
    content: usize,
    /// A message that was read, and belongs behind what is in `batch`.
    held: Option<Std>,
    batch: Vec<u8>,
    again: Again,
    ender: Ender,
    stop: Stop,
    over: bool,
}

/// Ends a [`Logs`] from another thread: its reading is then at its end.
#[derive(Clone, Debug)]
pub struct Ender {
    stopper: Stopper,
    /// Of the connection that is read from now.
    cut: Arc<Mutex<Cut>>,
}

impl Ender {
    /// Ends it at once, whatever it waits for.
    pub fn now(&self) {
        self.stopper.stop();
        lock(&self.cut).now();
    }
}

impl Container {
    /// Its log, from the daemon's record of it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: there is no such container. [`ErrorKind::Failed`]: its log
    /// driver keeps nothing that could be read.
    pub fn logs(&self, query: &LogsQuery) -> Result<Logs, Error> {
        let state = self.inspect()?;
        let nothing_past = query.follow && query.tail == Some(0) && query.since.is_none();
        let begun = if nothing_past { Some(self.docker.unix_time()?) } else { None };
        let frames = open(self, query, state.tty, None)?;
        let (stopper, stop) = Stop::new();
        let ender = Ender { stopper, cut: Arc::new(Mutex::new(frames.source().source().cut())) };
        Ok(Logs {
            container: self.clone(),
            query: query.clone(),
            tty: state.tty,
            started: state.started,
            begun,
            frames,
            recall: Recall::default(),
            message: Vec::new(),
            content: 0,
            held: None,
            batch: Vec::new(),
            again: Again::opened(Moment::now()),
            ender,
            stop,
            over: false,
        })
    }
}

impl Logs {
    /// What ends it from another thread.
    pub fn ender(&self) -> Ender {
        self.ender.clone()
    }

    /// What comes next; `None` when the log has ended, provably. Blocks until there is
    /// something, with [`LogsQuery::follow`] for as long as the container runs;
    /// [`Ender`] unblocks it.
    ///
    /// # Errors
    /// The log broke off; followed, the daemon was gone for a minute.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk<'_>>, Error> {
        if self.stop.is_set() {
            return Ok(None);
        }
        if !self.query.follow {
            return self.next_of_whole();
        }
        while !self.over && !self.stop.is_set() {
            match self.next_batch() {
                Ok(Some(from)) => return Ok(Some(Chunk { from, bytes: &self.batch })),
                Ok(None) => self.over = self.has_ended()? || self.connect_again(None)?,
                Err(error) if is_passing(&error) => self.over = self.connect_again(Some(error))?,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Writes all of it to these, as it comes.
    ///
    /// # Errors
    /// As [`Logs::next_chunk`]; [`ErrorKind::Local`]: a writer failed.
    pub fn copy_to(&mut self, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Error> {
        while let Some(chunk) = self.next_chunk()? {
            chunk.write_to(out, err)?;
        }
        Ok(())
    }

    /// What comes next of a log that isn't followed.
    fn next_of_whole(&mut self) -> Result<Option<Chunk<'_>>, Error> {
        let stopped = self.stop.clone();
        match self.frames.next_chunk() {
            // It was cut by us.
            Err(_) if stopped.is_set() => Ok(None),
            other => other,
        }
    }

    /// New messages of one stream, as many as are there.
    fn next_batch(&mut self) -> Result<Option<Std>, Error> {
        self.batch.clear();
        let mut from = None;
        loop {
            let next = match self.held.take() {
                Some(held) => Some(held),
                // What is in the batch isn't kept waiting, nor lost for an error behind it.
                None if from.is_some() && (!self.frames.has_more() || self.batch.len() >= BATCH_BYTE) => {
                    return Ok(from);
                }
                None => match self.new_message() {
                    Err(_) if from.is_some() => return Ok(from),
                    other => other?,
                },
            };
            match next {
                None => return Ok(from),
                Some(std) if from.is_none_or(|from| from == std) => {
                    let content = if self.query.timestamps { 0 } else { self.content };
                    self.batch.extend_from_slice(&self.message[content..]);
                    from = Some(std);
                }
                Some(std) => {
                    self.held = Some(std);
                    return Ok(from);
                }
            }
        }
    }

    /// The next message that wasn't given yet.
    fn new_message(&mut self) -> Result<Option<Std>, Error> {
        loop {
            let Some(from) = self.frames.next_message(&mut self.message, end_of_terminals)? else { return Ok(None) };
            let Some((stamp, content)) = stamp_of(&self.message) else {
                return Err(Error::garbage(&self.doing(), "has a line without its moment"));
            };
            self.content = content;
            if self.recall.is_new(stamp) {
                self.again.has_news();
                return Ok(Some(from));
            }
        }
    }

    /// Whether a log that ended did so because its container has, or all that was wanted
    /// is there: else the daemon was stopped.
    fn has_ended(&self) -> Result<bool, Error> {
        let is_past = |until: SystemTime| until <= SystemTime::now();
        match self.container.inspect() {
            Ok(_) if self.query.until.is_some_and(is_past) => Ok(true),
            Ok(state) => Ok(!state.running || state.started != self.started),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            Err(error) if is_passing(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks for the log again, from where it broke off; `true` if it was stopped
    /// meanwhile.
    fn connect_again(&mut self, error: Option<Error>) -> Result<bool, Error> {
        let mut last = error;
        loop {
            if self.stop.is_set() {
                return Ok(true);
            }
            if self.again.broke(Moment::now()) {
                let ends =
                    || Error::new(ErrorKind::Cut, format!("{}: it ends, and the container doesn't", self.doing()));
                return Err(last.unwrap_or_else(ends));
            }
            // A daemon that restarts isn't helped by being asked all the time. Who was
            // stopped meanwhile is told so before the next try.
            let _: ControlFlow<()> = self.stop.sleep(self.again.pause());
            let since = self.recall.since().map(moment::in_query).or_else(|| self.begun.clone());
            let resumed = since.is_some();
            match open(&self.container, &self.query, self.tty, since) {
                Ok(frames) => {
                    *lock(&self.ender.cut) = frames.source().source().cut();
                    self.frames = frames;
                    self.again.opened_again(Moment::now());
                    if resumed {
                        self.recall.begin_again();
                    }
                    return Ok(false);
                }
                Err(error) if is_passing(&error) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
    }

    fn doing(&self) -> String {
        format!("can't read the log of {}", self.container.short_id())
    }
}

/// Poisoned or not: a cut is whole at any moment.
fn lock(cut: &Mutex<Cut>) -> MutexGuard<'_, Cut> {
    cut.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a message of a terminal's ends: at its line's end, or as long as one may be.
fn end_of_terminals(message: &[u8]) -> Option<usize> {
    let longest = memchr::memchr(b' ', message)? + 1 + PIECE_BYTE;
    match memchr::memchr(b'\n', message) {
        Some(at) if at < longest => Some(at + 1),
        _ => (message.len() >= longest).then_some(longest),
    }
}

/// Whether it may be well in a moment.
fn is_passing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Cut | ErrorKind::TimedOut | ErrorKind::NoDaemon)
}

/// Asks for a log; with `since`, for what is to be given again or wasn't yet.
fn open(
    container: &Container,
    query: &LogsQuery,
    tty: bool,
    since: Option<String>,
) -> Result<Frames<Gather<Stream>>, Error> {
    let flag = |on: bool| if on { "1" } else { "0" };
    let doing = format!("can't read the log of {}", container.short_id());
    let call = container.docker.get(&container.path("/logs"), &doing);
    let mut call = call.query("stdout", "1").query("stderr", "1").query("follow", flag(query.follow));
    call = call.query("timestamps", flag(query.timestamps || query.follow));
    if let (None, Some(tail)) = (&since, query.tail) {
        call = call.query("tail", &tail.to_string());
    }
    let since = since.or_else(|| query.since.map(moment::of));
    call = call.query_if("since", since.as_deref()).query_if("until", query.until.map(moment::of).as_deref());
    let stream = call.stream(if query.follow { QUIET } else { container.docker.patience })?;
    let stream = Gather::new(stream, !query.follow);
    Ok(if tty { Frames::raw(stream, doing) } else { Frames::framed(stream, doing) })
}
