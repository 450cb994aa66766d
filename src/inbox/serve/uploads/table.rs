//! Which uploads there are, and whose turn it is to write to one.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::super::super::folder::{Folder, is_id};
use super::super::refused::Refused;
use super::super::settings::Settings;
use crate::http::{Cutter, Request};
use crate::thread::Never;

/// How long the request before may take to notice that it was cut.
const TURN_WITHIN: Duration = Duration::from_secs(10);

/// The uploads of a folder.
#[derive(Debug)]
pub(in super::super) struct Uploads {
    folder: Folder,
    keep: Duration,
    max: usize,
    /// Those that a request is at.
    active: Mutex<HashMap<String, Active>>,
}

#[derive(Debug)]
struct Active {
    /// None for one that needn't be cut: it is short.
    cutter: Option<Cutter>,
    over: Receiver<Never>,
}

/// The right to one upload; the next who wants it cuts our connection.
#[derive(Debug)]
pub(super) struct Turn<'u> {
    uploads: &'u Uploads,
    id: String,
    _over: Sender<Never>,
}

impl Uploads {
    /// The uploads that an earlier server left, less those that are too old.
    pub(in super::super) fn new(folder: &Folder, settings: &Settings) -> io::Result<Uploads> {
        folder.ids()?;
        let (keep, max) = (settings.keep_partial, settings.max_partials);
        let uploads = Uploads { folder: folder.clone(), keep, max, active: Mutex::default() };
        uploads.tidy();
        Ok(uploads)
    }

    /// Removes those that nobody came back for.
    pub(in super::super) fn tidy(&self) {
        let _: usize = self.count();
    }

    /// Refuses one more than there may be.
    pub(super) fn check_room(&self) -> Result<(), Refused> {
        if self.count() < self.max {
            return Ok(());
        }
        let why = format!("{} unfinished uploads are kept already", self.max);
        Err(Refused::new(503, why).header("Retry-After", "60"))
    }

    /// How many there are, once the old ones are gone.
    fn count(&self) -> usize {
        let ids = self.folder.ids().unwrap_or_else(|error| {
            log::warn!("can't look for unfinished uploads: {error}");
            Vec::new()
        });
        let now = SystemTime::now();
        let is_old = |changed: SystemTime| now.duration_since(changed).is_ok_and(|age| age > self.keep);
        let mut kept = 0;
        for (id, changed) in ids {
            // One that is being written to, by whomever, is locked.
            let is_busy = || matches!(self.folder.kept(&id), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            if is_old(changed) && !is_busy() {
                if let Err(error) = self.folder.forget(&id) {
                    log::warn!("an old unfinished upload stays behind: {error}");
                }
            } else {
                kept += 1;
            }
        }
        kept
    }

    /// Waits for the right to an upload, after cutting who has it.
    pub(super) fn turn(&self, request: &Request<'_>, id: &str) -> Result<Turn<'_>, Refused> {
        if !is_id(id) {
            return Err(Refused::new(404, "there is no such upload"));
        }
        loop {
            let over = {
                let mut active = self.active();
                match active.get(id) {
                    None => {
                        let (sender, over) = bounded(0);
                        active.insert(id.to_owned(), Active { cutter: request.cutter().ok(), over });
                        return Ok(Turn { uploads: self, id: id.to_owned(), _over: sender });
                    }
                    Some(before) => {
                        before.cutter.iter().for_each(Cutter::cut);
                        before.over.clone()
                    }
                }
            };
            if let Err(RecvTimeoutError::Timeout) = over.recv_timeout(TURN_WITHIN) {
                return Err(busy());
            }
        }
    }

    /// A map is whole whatever panics.
    fn active(&self) -> MutexGuard<'_, HashMap<String, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.uploads.active().remove(&self.id);
    }
}

/// Somebody else is at it, and doesn't let go.
pub(super) fn busy() -> Refused {
    Refused::new(503, "another request is still at this upload").header("Retry-After", "1")
}
