//! Logs of many sources in one: merged, filtered, printed, seen live.
//!
//! [`Logs`] says what to read, and maybe a command to run beside it;
//! [`Logs::run`] carries the lines, and gives back a [`LogsEnd`] that says how
//! it went. It prints nothing but lines; what goes wrong on the way is told as
//! a [`Notice`].
//!
//! Promises: a source that can't be read is told at once, and the others go on.
//! No line has another source's inside it. What is lost has a line in its place.
//! Memory doesn't grow with the sources; who reads over HTTP slows nobody.
//!
//! It ends where the sources begin: see [`merge`](crate::flow::merge).

mod carry;
#[cfg(feature = "docker")]
mod container;
mod course;
mod end;
#[cfg(feature = "redis")]
mod relayed;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use crossbeam_channel::Receiver;

use super::Listen;
use super::feeding::Feeding;
use super::listen::run_here;
use super::run::new_name;
use super::signals::Leaving;
use crate::clock::Moment;
use crate::flow::Filter;
use crate::flow::merge::Source;
use crate::live::Record;
#[cfg(feature = "docker")]
pub use container::{container_log, no_log};
use course::Course;
pub use end::LogsEnd;

/// What is worth a line of its own while the logs run.
#[derive(Debug)]
pub enum Notice<'a> {
    /// A source can't be read now, and goes on trying.
    Trouble {
        /// Its name.
        source: &'a str,
        /// Why; `NotFound` for a followed file that isn't there yet.
        error: &'a io::Error,
    },
    /// A source has ended with an error. The others go on.
    Failed {
        /// Its name.
        source: &'a str,
        /// Why.
        error: &'a io::Error,
    },
}

/// Takes a notice, on the thread that carries the lines.
pub type Tell = Box<dyn Fn(&Notice<'_>) + Send>;

/// What to merge, and where it goes.
#[must_use = "nothing is read before `run`"]
pub struct Logs {
    sources: Vec<Source>,
    followed: Vec<Source>,
    command: Option<Vec<OsString>>,
    pass_stdin: bool,
    filter: Filter,
    prefix: bool,
    listen: Option<Listen>,
    kill_after: Duration,
    tell: Tell,
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Logs { sources, followed, command, .. } = self;
        let mut debug = f.debug_struct("Logs");
        debug.field("sources", sources).field("followed", followed).field("command", command).finish_non_exhaustive()
    }
}

impl Logs {
    /// Logs of nothing yet; `tell` takes what goes wrong on the way.
    pub fn new(tell: Tell) -> Logs {
        Logs {
            sources: Vec::new(),
            followed: Vec::new(),
            command: None,
            pass_stdin: true,
            filter: Filter::default(),
            prefix: false,
            listen: None,
            kill_after: Duration::from_secs(5),
            tell,
        }
    }

    /// Adds a source that is read to its end.
    pub fn source(mut self, source: impl Into<Source>) -> Logs {
        self.sources.push(source.into());
        self
    }

    /// Adds a source without an end of its own, as a followed file: it ends
    /// with the command if there is one, else by a signal.
    pub fn followed(mut self, source: impl Into<Source>) -> Logs {
        self.followed.push(source.into());
        self
    }

    /// Runs a command, whose output is two more sources, `stdout` and `stderr`.
    /// Defaults to none.
    pub fn command(mut self, argv: Vec<OsString>) -> Logs {
        self.command = Some(argv);
        self
    }

    /// Leaves our standard input to a source: the command's is empty then.
    pub fn no_stdin(mut self) -> Logs {
        self.pass_stdin = false;
        self
    }

    /// Which lines are printed; live readers see every one. Defaults to all.
    pub fn filter(mut self, filter: Filter) -> Logs {
        self.filter = filter;
        self
    }

    /// Whether each printed line begins with its source's name. Defaults to `false`.
    pub fn prefix(mut self, prefix: bool) -> Logs {
        self.prefix = prefix;
        self
    }

    /// Serves the lines live. Defaults to not.
    pub fn listen(mut self, listen: Listen) -> Logs {
        self.listen = Some(listen);
        self
    }

    /// From TERM to KILL for the command, and how long the last lines may take
    /// to be printed once somebody asked for the end. Defaults to 5 s.
    pub fn kill_after(mut self, kill_after: Duration) -> Logs {
        self.kill_after = kill_after;
        self
    }

    /// Carries lines until all sources and the command have ended, and the
    /// readers who are connected have their end. Blocks so long.
    ///
    /// `signals` brings the numbers of signals that this process received; keep
    /// its sender alive. The first HUP, INT, QUIT or TERM ends command and
    /// sources in order: what they have said is printed still, if it is taken
    /// within [`Logs::kill_after`]. The second kills the command, and leaves what
    /// nobody takes within a second; after the command's end it ends this process,
    /// or the wait for live readers. Nothing is read if the live view can't be served.
    pub fn run(mut self, signals: &Receiver<i32>) -> LogsEnd {
        let (name, began) = (new_name(), Moment::now());
        let (served, feed) = match self.listen.take() {
            None => (None, None),
            Some(listen) => {
                let run = run_here(name.clone(), self.words(), None, SystemTime::now());
                match listen.bind().begin(run, self.tag_names(), Duration::ZERO) {
                    Some((served, feed)) => (Some(served), Some(feed)),
                    None => return LogsEnd { not_served: true, ..LogsEnd::default() },
                }
            }
        };
        let url = served.as_ref().map(|served| served.url.clone());
        let feeding = feed.map(Feeding::new);
        let mut leaving = Leaving::new(signals, self.kill_after);
        let end = match Course::start(self, url) {
            Ok(course) => course.run(feeding.clone(), &mut leaving),
            Err(error) => LogsEnd { start_error: Some(error), ..LogsEnd::default() },
        };
        if let Some(feeding) = feeding {
            let whole = !end.undelivered && !end.thread_died;
            feeding.finish(Record::End(end.to_record(name, began.elapsed())), whole);
        }
        if let Some(served) = served {
            served.finish(&mut leaving);
        }
        end
    }

    /// The sources' names in the order of their numbers.
    fn names(&self) -> Vec<String> {
        let files = self.sources.iter().chain(&self.followed).map(|source| source.name().to_owned());
        let of_command = self.command.iter().flat_map(|_| ["stdout".to_owned(), "stderr".to_owned()]);
        files.chain(of_command).collect()
    }

    /// Names for the tags of live lines: the last one is shared if there are too many.
    fn tag_names(&self) -> Vec<String> {
        let mut names = self.names();
        if names.len() > usize::from(u8::MAX) + 1 {
            names.truncate(usize::from(u8::MAX));
            names.push("others".to_owned());
        }
        names
    }

    /// What it is, for people: the command, or the sources.
    fn words(&self) -> Vec<String> {
        match &self.command {
            Some(argv) => argv.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
            None => std::iter::once("logs".to_owned()).chain(self.names()).collect(),
        }
    }
}
