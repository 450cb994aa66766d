//! A caught panic and its evidence.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use log::kv::{Key, Source, Value, VisitSource};
use log::{Level, LevelFilter, Record};

/// A panic that was caught, with its first scene: what was on the stack, on
/// which thread, and what that thread was serving.
///
/// An error like any other: one line by `Display`, the whole by
/// [`evidence`](Panic::evidence), one record by [`log`](Panic::log). Clones
/// share the evidence.
#[derive(Clone)]
pub struct Panic(Arc<Scene>);

/// Everything known about one panic.
pub(super) struct Scene {
    pub(super) thread: String,
    pub(super) message: String,
    pub(super) location: Option<String>,
    pub(super) backtrace: Backtrace,
    pub(super) context: Vec<(&'static str, String)>,
}

impl Scene {
    /// A panic that no hook saw: all that is known is what it said.
    pub(super) fn bare(thread: String, message: String) -> Scene {
        Scene { thread, message, location: None, backtrace: Backtrace::disabled(), context: Vec::new() }
    }
}

impl Panic {
    pub(super) fn new(scene: Scene) -> Panic {
        Panic(Arc::new(scene))
    }

    /// The name of the thread that panicked; `unnamed` if it has none.
    pub fn thread(&self) -> &str {
        &self.0.thread
    }

    /// What was given to `panic!`. A payload that is no text (`panic_any`)
    /// is told as such.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it panicked, as `file:line:column`. None if no hook of ours saw
    /// it: [`catch`](super::catch) says when.
    pub fn location(&self) -> Option<&str> {
        self.0.location.as_deref()
    }

    /// The stack at the panic, taken whatever `RUST_BACKTRACE` says. Disabled
    /// if no hook of ours saw the panic. A stripped binary has few names in it.
    pub fn backtrace(&self) -> &Backtrace {
        &self.0.backtrace
    }

    /// What the thread was serving: see [`context`](super::context).
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// Everything over several lines, as for a terminal: the line that
    /// `Display` writes, then the context and the backtrace.
    pub fn evidence(&self) -> impl fmt::Display + '_ {
        Evidence(&self.0)
    }

    /// Writes one record at error level through the `log` crate: the message
    /// is the `Display` line, and the key-values are `thread`, `location`, the
    /// context, and `backtrace`.
    ///
    /// Where no logger is at work (the maximum level is off), the evidence
    /// goes to stderr instead: a panic must not vanish because nobody set one.
    pub fn log(&self) {
        if log::max_level() == LevelFilter::Off {
            self.print();
            return;
        }
        log::logger().log(
            &Record::builder()
                .level(Level::Error)
                .target(module_path!())
                .module_path_static(Some(module_path!()))
                .file_static(Some(file!()))
                .line(Some(line!()))
                .key_values(&KeyValues(&self.0))
                .args(format_args!("{self}"))
                .build(),
        );
    }

    /// Writes the evidence to stderr.
    pub(super) fn print(&self) {
        // Nobody is left to tell if stderr is closed.
        let _ = write!(io::stderr().lock(), "{}", self.evidence());
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scene { thread, message, .. } = &*self.0;
        match &self.0.location {
            Some(location) => write!(f, "thread {thread:?} panicked at {location}: {message}"),
            None => write!(f, "thread {thread:?} panicked: {message}"),
        }
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panic")
            .field("thread", &self.0.thread)
            .field("message", &self.0.message)
            .field("location", &self.0.location)
            .field("context", &self.0.context)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Panic {}

struct Evidence<'a>(&'a Arc<Scene>);

impl fmt::Display for Evidence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", Panic(Arc::clone(self.0)))?;
        for (key, value) in &self.0.context {
            writeln!(f, "  {key}: {value}")?;
        }
        if self.0.backtrace.status() == BacktraceStatus::Captured {
            write!(f, "{}", self.0.backtrace)?;
        }
        Ok(())
    }
}

struct KeyValues<'a>(&'a Scene);

impl Source for KeyValues<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), log::kv::Error> {
        let scene = self.0;
        visitor.visit_pair(Key::from_str("thread"), Value::from(scene.thread.as_str()))?;
        if let Some(location) = &scene.location {
            visitor.visit_pair(Key::from_str("location"), Value::from(location.as_str()))?;
        }
        for (key, value) in &scene.context {
            visitor.visit_pair(Key::from_str(key), Value::from(value.as_str()))?;
        }
        visitor.visit_pair(Key::from_str("backtrace"), Value::from_display(&scene.backtrace))
    }
}
