//! One who wants a file lock.

use super::super::contract::{Attempt, Claim, Contender, Hold, Holder};
use super::super::now::Now;
use super::super::{Error, Key, Record};
use super::files::{Files, Flock, LockFile, REPLACEMENTS};
use super::hold::FileHold;
use super::wake::Alarm;
use crate::clock::Moment;
use crate::thread::Stop;

/// Keeps its descriptor from one try to the next: to close it would wake all
/// the other waiters, and they us.
#[derive(Debug)]
pub(super) struct FileContender {
    files: Files,
    key: Key,
    now: fn() -> Now,
    lock: Option<LockFile>,
    alarm: Alarm,
    free_at: Option<Moment>,
}

impl FileContender {
    pub(super) fn new(files: Files, key: Key, now: fn() -> Now, alarm: Alarm) -> FileContender {
        FileContender { files, key, now, lock: None, alarm, free_at: None }
    }

    /// The lock file that others find under its name, opened once.
    fn lock_file(&mut self) -> Result<LockFile, Error> {
        match self.lock.take() {
            Some(lock) if lock.is_current() => Ok(lock),
            Some(_) => {
                self.alarm.disarm();
                self.files.open()
            }
            None => self.files.open(),
        }
    }

    /// What to do with the flock just got: keep it, unless the last holder's
    /// minimum hold says otherwise.
    fn granted(&mut self, lock: LockFile, claim: &Claim) -> Result<Attempt, Error> {
        let now = (self.now)();
        // Under the flock nobody else writes it, so this is the last holder's.
        let previous = self.files.read_record();
        if let Some(free_at) = previous.as_ref().and_then(|record| record.kept_until(&now)) {
            lock.unlock()?;
            return Ok(self.held(lock, previous, Some(free_at), true));
        }
        let record = Record::new(&self.key, claim, previous.as_ref(), &now);
        if let Err(error) = self.files.write_record(&record) {
            self.keep_nobody_out(&record);
            // Not left to the close: a process that another thread starts just
            // now has, until its exec, a copy of the descriptor.
            lock.unlock()?;
            return Err(error);
        }
        lock.touch();
        let hold: Box<dyn Hold> = Box::new(FileHold { lock, fence: record.fence });
        Ok(Attempt::Taken(hold))
    }

    /// A record that is in its place, though maybe not on disk, names a minimum
    /// hold for a run that never will be. Best effort: its disk has just failed.
    fn keep_nobody_out(&self, record: &Record) {
        if !record.hold_at_least.is_zero() && self.files.read_record().is_some_and(|there| there.fence == record.fence)
        {
            let _: Result<(), Error> = self.files.write_record(&record.clone().without_hold());
        }
    }

    fn held(&mut self, lock: LockFile, record: Option<Record>, free_at: Option<Moment>, ended: bool) -> Attempt {
        self.lock = Some(lock);
        self.free_at = free_at;
        Attempt::Held(Holder { record, ended, free_at: free_at.filter(|_| ended) })
    }
}

impl Contender for FileContender {
    fn try_take(&mut self, claim: &Claim) -> Result<Attempt, Error> {
        for _ in 0..REPLACEMENTS {
            let lock = self.lock_file()?;
            let record = self.files.read_record();
            // Looked at before the flock is touched: to take it only to give it
            // back could make another one believe that it is held.
            if let Some(free_at) = record.as_ref().and_then(|record| record.kept_until(&(self.now)())) {
                let ended = !lock.is_held_by_another()?;
                return Ok(self.held(lock, record, Some(free_at), ended));
            }
            match lock.try_exclusive()? {
                Flock::Granted if lock.is_current() => return self.granted(lock, claim),
                Flock::Granted => {}
                Flock::Held => {
                    // Read again: the one above may be of the holder before.
                    let record = self.files.read_record();
                    return Ok(self.held(lock, record, None, false));
                }
                Flock::Shared => return Ok(self.held(lock, None, None, false)),
            }
        }
        Err(self.files.replaced())
    }

    fn wait_for_change(&mut self, until: Moment, stop: &Stop) {
        let until = self.free_at.map_or(until, |free_at| free_at.min(until));
        self.alarm.wait(&self.files.lock_path(), until, stop);
    }
}
