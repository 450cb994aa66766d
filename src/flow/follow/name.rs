//! A followed name: which file it leads to, and those that it led to and that
//! nobody has taken yet.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::file::{File, Id, id};
use super::start::open;
use super::watcher::Watcher;

/// Files that wait here, open, while an earlier one is read.
const MAX_WAITING: usize = 64;

/// Shared by the follower, who takes, and the watcher's thread, which opens what
/// arrives: so a file is not lost because its reader is busy.
pub(super) struct Name {
    path: PathBuf,
    pub(super) directory: PathBuf,
    pub(super) file_name: OsString,
    state: Mutex<State>,
    ring: Sender<()>,
    changed: Receiver<()>,
}

#[derive(Default)]
struct State {
    newest: Option<Id>,
    newest_is_unwatched: bool,
    waiting: VecDeque<Arrival>,
    /// Files put under the name, by the events, and those of them that were
    /// opened or told as missed. Each that is opened has its event, if maybe
    /// later: so more arrivals than openings mean that one was missed.
    arrived: u64,
    accounted: u64,
    /// How many of those that wait are older than the last count.
    settled: usize,
    is_gone: bool,
    /// What an opening last failed with.
    trouble: Option<io::ErrorKind>,
    directory_watch: Option<i32>,
}

pub(super) enum Arrival {
    File(File),
    /// One that wasn't opened in time.
    Missed,
    /// It can't be opened; if that changes, it will be.
    Trouble(io::Error),
}

impl Name {
    pub(super) fn new(path: &Path) -> io::Result<Arc<Name>> {
        let Some(file_name) = path.file_name() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path doesn't end in a file's name"));
        };
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let (ring, changed) = bounded(1);
        Ok(Arc::new(Name {
            path: path.to_owned(),
            directory: directory.to_owned(),
            file_name: file_name.to_owned(),
            state: Mutex::default(),
            ring,
            changed,
        }))
    }

    /// Has a message when it is time to look.
    pub(super) fn changed(&self) -> &Receiver<()> {
        &self.changed
    }

    pub(super) fn ring(&self) {
        // Full: there is one already.
        let _ = self.ring.try_send(());
    }

    /// Whether the name led nowhere at the last look.
    pub(super) fn is_gone(&self) -> bool {
        self.lock().is_gone
    }

    /// An event: one of the files has changed.
    pub(super) fn note_sizes(&self) {
        for arrival in &mut self.lock().waiting {
            if let Arrival::File(file) = arrival {
                file.note_size();
            }
        }
        self.ring();
    }

    /// What arrived first, once the events of all that is open are counted: so
    /// what was missed before it is told before it.
    pub(super) fn next_arrival(&self, watcher: &Watcher) -> Option<Arrival> {
        if self.lock().has_news() { watcher.settle(|| self.lock().next_arrival()) } else { None }
    }

    /// Watches the directory, or goes on doing so, and looks. Whether events now
    /// tell of every change.
    pub(super) fn watch(self: &Arc<Name>, watcher: &Watcher) -> bool {
        let watch = watcher.watch_directory(self);
        let before = std::mem::replace(&mut self.lock().directory_watch, watch);
        if watch != before {
            if let Some(before) = before {
                watcher.unwatch(before, self);
            }
            // What came before the watch has no event to be counted by.
            self.look(watcher);
            watcher.settle(|| {
                let mut state = self.lock();
                state.accounted = state.arrived;
            });
        }
        // What a link leads to is replaced elsewhere.
        let is_link = fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.is_symlink());
        watch.is_some() && !is_link && !self.lock().newest_is_unwatched
    }

    /// Opens what the name leads to, unless it is known.
    pub(super) fn look(self: &Arc<Name>, watcher: &Watcher) {
        self.look_at(&mut self.lock(), watcher);
    }

    fn look_at(self: &Arc<Name>, state: &mut State, watcher: &Watcher) {
        match self.open_new(state) {
            Ok(None) => {}
            Ok(Some((file, id))) => {
                let watch = watcher.watch_file(&file, &self.path, self);
                let mut file = File::new(file, id, watch);
                file.note_size();
                state.waiting.push_back(Arrival::File(file));
                state.newest = Some(id);
                state.newest_is_unwatched = watch.is_none();
                // Its event came when it couldn't be opened.
                state.accounted += u64::from(!state.was_refused());
                self.ring();
            }
            Err(error) => return state.note(error),
        }
        state.is_gone = false;
        state.trouble = None;
    }

    fn open_new(&self, state: &State) -> io::Result<Option<(fs::File, Id)>> {
        let is_known = |metadata: &fs::Metadata| state.newest == Some(id(metadata));
        if is_known(&fs::metadata(&self.path)?) || state.waiting.len() >= MAX_WAITING {
            return Ok(None);
        }
        let file = open(&self.path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file: it can't be followed by name",
            ));
        }
        Ok((!is_known(&metadata)).then(|| (file, id(&metadata))))
    }

    /// An event: a file was put under the name.
    pub(super) fn arrived(self: &Arc<Name>, watcher: &Watcher) {
        let mut state = self.lock();
        self.look_at(&mut state, watcher);
        state.arrived += 1;
        if state.was_refused() {
            state.accounted = state.accounted.max(state.arrived);
        }
        self.ring();
    }

    /// Events were lost: if the name leads elsewhere now, there may have been others in between.
    pub(super) fn lost_track(self: &Arc<Name>, watcher: &Watcher) {
        let mut state = self.lock();
        let before = state.newest;
        self.look_at(&mut state, watcher);
        state.arrived = state.accounted + u64::from(state.newest != before);
        self.ring();
    }

    /// A file is closed: its inode number may come back with another one.
    pub(super) fn forget(self: &Arc<Name>, watcher: &Watcher, file: &File) {
        if let Some(watch) = file.watch {
            watcher.unwatch(watch, self);
        }
        let mut state = self.lock();
        state.newest = state.newest.filter(|&newest| newest != file.id);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, error: io::Error) {
        self.is_gone = error.kind() == io::ErrorKind::NotFound;
        // That a file which was there is gone is its owner's business.
        let is_news = self.trouble != Some(error.kind()) && !(self.is_gone && self.newest.is_some());
        self.trouble = Some(error.kind());
        if is_news && self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(Arrival::Trouble(error));
        }
    }

    /// Whether there is a file that can't be opened.
    fn was_refused(&self) -> bool {
        self.trouble.is_some_and(|kind| kind != io::ErrorKind::NotFound)
    }

    fn has_news(&self) -> bool {
        !self.waiting.is_empty() || self.arrived > self.accounted
    }

    fn next_arrival(&mut self) -> Option<Arrival> {
        if self.arrived > self.accounted {
            self.accounted = self.arrived;
            self.tell_missed();
        }
        self.settled = self.waiting.len().saturating_sub(1);
        self.waiting.pop_front()
    }

    /// Where among the new files one was missed can't be told: so at each place where it may have been.
    fn tell_missed(&mut self) {
        let mut is_told = false;
        for arrival in self.waiting.iter_mut().skip(self.settled) {
            if let Arrival::File(file) = arrival {
                file.missed_before = true;
                is_told = true;
            }
        }
        if !is_told || self.is_gone {
            self.waiting.push_back(Arrival::Missed);
        }
    }
}
