//! The reader's side: a run followed through Redis, to its proven end.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::record::{End, Run};
use super::super::watch::Seen;
use super::entry::{Entry, Fields, Part, has_end, unpack};
use super::keys::Keys;
use super::questions::{Begun, Look, Questions};
use crate::clock::Moment;
use crate::flow::{Missed, Why};
use crate::store::{Error, Key, Servers, StoreUrl};
use crate::thread::Stop;

/// Entries a read: of up to 256 KiB each, so few at first and where they are large.
/// Many where they are small, as there are a hundred a second, however far Redis is.
const ENTRIES: (usize, usize) = (4, 256);

/// What a read shall come to.
const READ_BYTES: usize = 1024 * 1024;

/// Between two looks for a run that isn't there yet, and for a store that is away:
/// nobody tells of either.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Why a run can't be followed any further, or at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The store can't be asked, for as long as patience lasts, or it refuses.
    #[error("the run {key} can't be followed; it may go on")]
    Unreachable {
        /// The lock's key.
        key: Key,
        /// Whether something of the run was seen before.
        seen: bool,
        /// What the store said last.
        source: Error,
    },
    /// There is no run to follow.
    #[error("no run of {key} {what} in {store}; look whether it runs with --relay")]
    NoRun {
        /// The lock's key.
        key: Key,
        /// The store, without its secrets.
        store: String,
        /// What it isn't: relayed, or going on.
        what: &'static str,
    },
    /// Its lines ended without its end.
    #[error("the run {key} was cut: {why}")]
    Cut {
        /// The lock's key.
        key: Key,
        /// How that is known.
        why: &'static str,
    },
    /// What is there is no run of ours.
    #[error("what the store has of the run {key} is no relay: {what}")]
    Garbled {
        /// The lock's key.
        key: Key,
        /// What is wrong.
        what: &'static str,
    },
    /// It was stopped.
    #[error("stopped")]
    Stopped,
}

impl RelayError {
    /// What who follows it exits with: 69 where nothing was there, 76 where it was cut.
    pub fn exit_code(&self) -> u8 {
        match self {
            RelayError::Unreachable { seen: false, .. } | RelayError::NoRun { .. } => 69,
            _ => 76,
        }
    }
}

/// What is seen of a run, as it was fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Which run it is, and its sources: first, and once.
    Run(Run, Vec<String>),
    /// A line, or a piece of one.
    Piece { tag: u8, start: bool, end: bool, bytes: Vec<u8> },
    /// Lines that are missing.
    Gap(Missed),
    /// The store was lost; the next call goes on when it is back.
    Lost(String),
    /// The end, the last of it.
    End(End),
}

/// A reader of the last run of one lock.
#[derive(Debug)]
pub struct Relayed {
    store: Questions,
    key: Key,
    patience: Duration,
    wait: Duration,
    tail: Option<u64>,
    begun: Option<Begun>,
    /// Of the last entry, and of the last piece, that were taken in.
    number: u64,
    seq: u64,
    /// A new reader isn't told of the lines before the tail it asked for.
    skip_lines: u64,
    /// What was read; an error waits until what came before it was given.
    ahead: VecDeque<Result<Sight, RelayError>>,
    /// How many entries are read at once, by their size.
    entries: usize,
    failing_since: Option<Moment>,
    doubt_since: Option<Moment>,
}

impl Relayed {
    /// A reader of the run that `run --once KEY --relay` wrote to this store: the
    /// last one, from its first line that is kept. A store that fails is asked again
    /// for `patience`.
    ///
    /// # Errors
    /// [`Error::is_unfit`] for a store that has no relays; [`Error::is_unreachable`]
    /// if a file that it is opened with can't be read.
    pub fn of(store: &StoreUrl, key: &Key, patience: Duration) -> Result<Relayed, Error> {
        Ok(Relayed {
            store: Questions::new(Servers::open(store, "a relay")?, Keys::of(key)),
            key: key.clone(),
            patience,
            wait: Duration::ZERO,
            tail: None,
            begun: None,
            number: 0,
            seq: 0,
            skip_lines: 0,
            ahead: VecDeque::new(),
            entries: ENTRIES.0,
            failing_since: None,
            doubt_since: None,
        })
    }

    /// Waits so long for the next run, if there is none or the last one has ended.
    /// Defaults to zero, which takes the last one as it is.
    pub fn wait(mut self, wait: Duration) -> Relayed {
        self.wait = wait;
        self
    }

    /// Begins with the last so many lines. Defaults to all that are kept.
    pub fn tail(mut self, lines: u64) -> Relayed {
        self.tail = Some(lines);
        self
    }

    /// The next thing seen. Blocks until there is one; `stop` ends it within a
    /// second, or within three where the store hangs.
    ///
    /// # Errors
    /// See [`RelayError`]; none of them is the end of the run.
    pub fn next(&mut self, stop: &Stop) -> Result<Seen, RelayError> {
        let sources = |relayed: &Relayed, tag: u8| {
            relayed.begun.as_ref().and_then(|begun| begun.sources.get(usize::from(tag)).cloned())
        };
        Ok(match self.next_sight(stop)? {
            Sight::Run(run, _) => Seen::Run(run),
            Sight::Piece { tag, bytes, .. } => Seen::Line { bytes, stream: sources(self, tag) },
            Sight::Gap(missed) => Seen::Gap(Missed::words(missed.lines, missed.bytes, &missed.why)),
            Sight::Lost(why) => Seen::Lost(why),
            Sight::End(end) => Seen::End(end),
        })
    }

    /// Whether the next thing is here already, so that [`next`](Relayed::next)
    /// won't block.
    pub fn is_next_here(&mut self) -> bool {
        !self.ahead.is_empty()
    }

    /// As [`next`](Relayed::next), for who feeds it on.
    pub(crate) fn next_sight(&mut self, stop: &Stop) -> Result<Sight, RelayError> {
        loop {
            if let Some(sight) = self.ahead.pop_front() {
                return sight;
            }
            if stop.is_set() {
                return Err(RelayError::Stopped);
            }
            let Some(begun) = self.begun.clone() else {
                self.find(stop)?;
                continue;
            };
            let read = self.store.read(&begun.stream, self.number, self.entries);
            let entries = match self.answered(read, stop)? {
                Ok(entries) => entries,
                Err(Some(lost)) => return Ok(lost),
                Err(None) => continue,
            };
            if entries.is_empty() {
                let look = self.store.look();
                match self.answered(look, stop)? {
                    Ok(look) => self.judge(&begun, &look)?,
                    Err(Some(lost)) => return Ok(lost),
                    Err(None) => {}
                }
                continue;
            }
            self.doubt_since = None;
            // One that keeps up gets few at a time: what comes next may be large.
            self.entries = entries_for(&entries).min((2 * entries.len()).max(ENTRIES.0));
            for (number, fields) in entries {
                if let Err(error) = self.take_in(number, fields, &begun.run.run) {
                    self.ahead.push_back(Err(error));
                    break;
                }
            }
        }
    }

    /// Finds the run to follow, and where to begin.
    fn find(&mut self, stop: &Stop) -> Result<(), RelayError> {
        let until = Moment::now() + self.wait;
        // The run that was over before we came isn't the one that is waited for.
        let mut past: Option<String> = None;
        let mut is_first = true;
        loop {
            let look = self.store.look();
            let found = match self.answered(look, stop)? {
                Ok(look) => look,
                // Nothing was there yet to be lost.
                Err(_) => continue,
            };
            let what = match found.begun {
                Some(begun) if past.as_ref() == Some(&begun.fence) => "goes on",
                Some(begun) => {
                    // One that came since is ours, however short it was.
                    let only_alive = is_first && !self.wait.is_zero();
                    if self.start(begun.clone(), found.is_alive, only_alive, stop)? {
                        return Ok(());
                    }
                    past = Some(begun.fence);
                    "goes on"
                }
                None => "is relayed",
            };
            is_first = false;
            if until.has_passed() {
                let store = self.store.name().to_owned();
                return Err(RelayError::NoRun { key: self.key.clone(), store, what });
            }
            if stop.sleep(LOOK_AGAIN.min(until.remaining())).is_break() {
                return Err(RelayError::Stopped);
            }
        }
    }

    /// Begins with this run, unless it is over and only one that goes on is wanted.
    fn start(&mut self, begun: Begun, is_alive: bool, only_alive: bool, stop: &Stop) -> Result<bool, RelayError> {
        let wanted = self.tail.unwrap_or(u64::MAX);
        let (mut newest, mut lines, mut before) = (true, 0, "+".to_owned());
        let (mut number, mut seq, mut skip) = (0, 0, 0);
        // Without a tail only the newest entry is looked at: whether it is the end.
        while newest || (self.tail.is_some() && lines < wanted) {
            let page = self.store.page(&begun.stream, &before, if newest { 1 } else { ENTRIES.0 });
            let page = match self.answered(page, stop)? {
                Ok(page) => page,
                Err(_) => continue,
            };
            if newest && only_alive && (!is_alive || page.first().is_some_and(|(_, fields)| has_end(fields))) {
                return Ok(false);
            }
            newest = false;
            let Some((oldest, _)) = page.last() else { break };
            before = format!("({oldest}-0");
            for (at, fields) in page {
                let entry = self.entry(fields)?;
                lines += lines_of(&entry);
                (number, seq) = (at.saturating_sub(1), entry.seqs.0);
                if lines >= wanted {
                    skip = lines - wanted;
                    break;
                }
            }
        }
        if self.tail.is_some() {
            // Less than was asked for may be all there ever was; else it is a gap.
            let lacking = wanted.saturating_sub(lines).min(seq);
            (self.number, self.seq, self.skip_lines) = (number, seq - lacking, skip);
        }
        self.ahead.push_back(Ok(Sight::Run(begun.run.clone(), begun.sources.clone())));
        self.begun = Some(begun);
        Ok(true)
    }

    /// Takes in one entry: what lies between it and the last one is missing.
    fn take_in(&mut self, number: u64, fields: Fields, run: &str) -> Result<(), RelayError> {
        let entry = self.entry(fields)?;
        self.number = number;
        if let Some(lines) = entry.seqs.0.checked_sub(self.seq).filter(|lines| *lines > 0) {
            let missed = Missed { lines: Some(lines), bytes: None, why: Why::NotKept };
            self.ahead.push_back(Ok(Sight::Gap(missed)));
        }
        for part in entry.parts {
            match part {
                Part::Piece { end, .. } if self.skip_lines > 0 => self.skip_lines -= u64::from(end),
                Part::Piece { tag, start, end, bytes, .. } => {
                    self.ahead.push_back(Ok(Sight::Piece { tag, start, end, bytes }));
                }
                Part::Gap(missed) => self.ahead.push_back(Ok(Sight::Gap(missed))),
                Part::End(end) if end.run == run => self.ahead.push_back(Ok(Sight::End(end))),
                Part::End(_) => return Err(self.garbled("another run's end")),
                Part::Cut => return Err(self.cut("its towpath gave it up")),
            }
        }
        self.seq = entry.seqs.1;
        Ok(())
    }

    /// Whether the writer may still write; doubts are believed after a while.
    fn judge(&mut self, begun: &Begun, look: &Look) -> Result<(), RelayError> {
        let is_last = look.begun.as_ref().is_some_and(|last| last.fence == begun.fence);
        if is_last && look.is_alive {
            self.doubt_since = None;
            return Ok(());
        }
        // Its writer may be about to come back to a store that was away.
        let since = *self.doubt_since.get_or_insert_with(Moment::now);
        if since.elapsed() < begun.doubt {
            return Ok(());
        }
        Err(self.cut(match &look.begun {
            Some(_) if !is_last => "another run has begun, and its end was not told",
            Some(_) => "its towpath died, or lost the store, before it told the end",
            None => "the store lost it",
        }))
    }

    /// A store's answer; or what is to be told of a failure, once, after a pause.
    fn answered<T>(&mut self, answer: Result<T, Error>, stop: &Stop) -> Result<Result<T, Option<Sight>>, RelayError> {
        let error = match answer {
            Ok(answer) => {
                self.failing_since = None;
                return Ok(Ok(answer));
            }
            Err(error) => error,
        };
        let is_news = self.failing_since.is_none() && self.begun.is_some();
        let since = *self.failing_since.get_or_insert_with(Moment::now);
        // Of a writer nothing is known while the store is away.
        self.doubt_since = None;
        if !error.may_pass() || since.elapsed() > self.patience {
            let (key, seen) = (self.key.clone(), self.begun.is_some());
            return Err(RelayError::Unreachable { key, seen, source: error });
        }
        if stop.sleep(LOOK_AGAIN).is_break() {
            return Err(RelayError::Stopped);
        }
        Ok(Err(is_news.then(|| Sight::Lost(error.to_string()))))
    }

    fn entry(&self, fields: Fields) -> Result<Entry, RelayError> {
        unpack(fields).map_err(|what| self.garbled(what))
    }

    fn garbled(&self, what: &'static str) -> RelayError {
        RelayError::Garbled { key: self.key.clone(), what }
    }

    fn cut(&self, why: &'static str) -> RelayError {
        RelayError::Cut { key: self.key.clone(), why }
    }
}

/// How many entries like these make a read.
fn entries_for(entries: &[(u64, Fields)]) -> usize {
    let sizes = entries.iter().flat_map(|(_, fields)| fields).map(|(name, value)| name.len() + value.len());
    let mean = sizes.sum::<usize>() / entries.len().max(1);
    (READ_BYTES / mean.max(1)).clamp(ENTRIES.0, ENTRIES.1)
}

fn lines_of(entry: &Entry) -> u64 {
    entry.parts.iter().filter(|part| matches!(part, Part::Piece { end: true, .. })).count() as u64
}
