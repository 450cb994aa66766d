//! Following a file by its name, as `tail -F` means it.
//!
//! Promises: a file is read to its end before the next one under its name is
//! begun, by the descriptor that was opened when it was put there; it goes on
//! being read after that, for those who still write to it, until it hasn't grown
//! for 10 s. Each line comes once.
//! Where lines may have been lost, there is a [`Missed`] in the stream: when a
//! file was truncated, or came and went before it could be opened. A line
//! without an end is given when its file is over, or the following.
//!
//! inotify says when to look, and the look alone says what there is: so nothing
//! is lost with an event. Where there is no inotify (a limit, a file system, a
//! symbolic link) it looks four times a second; a file that comes and goes in
//! between is not noticed then.
//!
//! It ends 10 s after the last line of a file that was replaced: what is written
//! to it later is lost, and nobody told. And where the kernel keeps no trace: a truncated file isn't told from one
//! that grew if it has the very bytes again before the place it was read to, or
//! if nothing of it had been read. And where the kernel keeps no order: of files
//! that came and went at once, a gap may stand at more than one of the places
//! where they can have been.

mod file;
mod name;
mod start;
mod watcher;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::select;

use super::merge::{Halt, LogFile, Outlet};
use super::{Missed, Why};
use file::{File, Seen};
use name::{Arrival, Name};
pub(super) use start::{open, start_offset};
pub(super) use watcher::Watcher;

/// How often to look where nothing says when.
const POLL: Duration = Duration::from_millis(250);

/// How often to look all the same: events don't tell what another host writes
/// to a network file system, or that the directory was replaced.
const LOOK_ANYWAY: Duration = Duration::from_secs(2);

/// How long a replaced file's last line may wait for its end.
const SETTLE: Duration = Duration::from_secs(1);

/// How long a replaced file is read on after its last growth.
const LINGER: Duration = Duration::from_secs(10);

/// Replaced files that are kept open; beyond it the oldest is closed early.
const MAX_HELD: usize = 16;

/// Follows until it is stopped.
pub(super) fn follow(options: &LogFile, watcher: &Watcher, halt: &Halt, out: &mut Outlet) -> io::Result<()> {
    let name = Name::new(&options.path)?;
    let mut follower = Follower { name, watcher, held: VecDeque::new(), watched: false, missed: false, failing: None };
    follower.begin(options, out);
    out.begun();
    let mut buffer = vec![0; 64 * 1024];
    while !halt.is_set() {
        follower.name.look(watcher);
        follower.take_arrivals(out);
        let grew = follower.read(&mut buffer, out);
        out.flush();
        if !grew && !follower.close_old(out) {
            follower.wait(halt);
        }
    }
    follower.read_rest(&mut buffer, out);
    follower.finish(out);
    Ok(())
}

struct Follower<'w> {
    name: Arc<Name>,
    watcher: &'w Watcher,
    /// The newest is the last. Those before it were replaced.
    held: VecDeque<File>,
    /// Events will say when to look.
    watched: bool,
    /// One was missed after the newest; told when that is read.
    missed: bool,
    /// A read's error that was told, and lasts.
    failing: Option<io::ErrorKind>,
}

impl Follower<'_> {
    /// Opens what is there, where it is asked to start; what comes later is read from its beginning.
    fn begin(&mut self, options: &LogFile, out: &mut Outlet) {
        self.watched = self.name.watch(self.watcher);
        self.name.look(self.watcher);
        self.take_arrivals(out);
        if let Some(Err(error)) = self.held.front_mut().map(|file| file.start(options.from)) {
            out.trouble(error);
        }
    }

    fn take_arrivals(&mut self, out: &mut Outlet) {
        while self.held.len() < MAX_HELD {
            match self.name.next_arrival(self.watcher) {
                None => return,
                Some(Arrival::Missed) => self.missed = true,
                Some(Arrival::Trouble(error)) => out.trouble(error),
                Some(Arrival::File(file)) => self.take(file),
            }
        }
    }

    fn take(&mut self, file: File) {
        if let Some(replaced) = self.held.back_mut() {
            replaced.quiet_since = Instant::now();
        }
        // One that was renamed away may be back.
        let back = self.held.iter().position(|held| held.id == file.id);
        let mut file = back.and_then(|index| self.held.remove(index)).unwrap_or(file);
        file.missed_before |= std::mem::take(&mut self.missed);
        self.held.push_back(file);
    }

    /// Reads one buffer of the oldest file that has something; whether there was one.
    fn read(&mut self, buffer: &mut [u8], out: &mut Outlet) -> bool {
        let newest = self.held.len().saturating_sub(1);
        for (index, file) in self.held.iter_mut().enumerate() {
            if std::mem::take(&mut file.missed_before) {
                out.missed(Missed::unknown(Why::CameAndWent));
            }
            match file.read(buffer, out) {
                Ok(Seen::Nothing) => {}
                Ok(Seen::Growth) => {
                    self.failing = None;
                    return true;
                }
                Ok(Seen::Truncation) => {
                    out.missed(Missed::unknown(Why::Truncated));
                    return true;
                }
                // It may work at the next look; until then there is nothing to be had of it.
                Err(error) => {
                    file.is_read = true;
                    if self.failing != Some(error.kind()) {
                        self.failing = Some(error.kind());
                        out.trouble(error);
                    }
                }
            }
            if index < newest && file.is_mid_line() {
                if file.quiet_since.elapsed() < SETTLE && !file.is_last_look() {
                    // Its line first, then the next file's.
                    return false;
                }
                file.end_line(out);
            }
        }
        if std::mem::take(&mut self.missed) {
            out.missed(Missed::unknown(Why::CameAndWent));
        }
        false
    }

    /// Lets go of files that are over: whether there were any. Not of those that
    /// weren't read yet, because an earlier one is still growing, or its last line
    /// waits for an end.
    fn close_old(&mut self, out: &mut Outlet) -> bool {
        let before = self.held.len();
        let is_full = self.held.len() == MAX_HELD;
        let name = &self.name;
        let newest = self.held.len().saturating_sub(1);
        let mut index = 0;
        let watcher = self.watcher;
        self.held.retain_mut(|file| {
            let is_old = index < newest || (name.is_gone() && file.is_unlinked());
            let is_over = is_old && file.is_read && (file.quiet_since.elapsed() >= LINGER || (is_full && index == 0));
            index += 1;
            if is_over {
                file.end_line(out);
                name.forget(watcher, file);
            }
            !is_over
        });
        out.flush();
        self.held.len() < before
    }

    /// Until something happens, or it is time to look.
    fn wait(&mut self, halt: &Halt) {
        let mut limit = if self.watched { LOOK_ANYWAY } else { POLL };
        let replaced = self.held.len().saturating_sub(1);
        if self.held.iter().take(replaced).any(File::is_mid_line) {
            limit = limit.min(SETTLE / 4);
        }
        select! {
            recv(self.name.changed()) -> _ => {}
            recv(halt.receiver()) -> _ => {}
            default(limit) => self.watched = self.name.watch(self.watcher),
        }
    }

    /// What was written before the stop and not yet seen. Not what comes later:
    /// a file may grow faster than it is read.
    fn read_rest(&mut self, buffer: &mut [u8], out: &mut Outlet) {
        self.name.look(self.watcher);
        loop {
            self.take_arrivals(out);
            self.held.iter_mut().for_each(File::look_last);
            while self.read(buffer, out) {
                out.flush();
            }
            // More of them than may be held at once.
            if !self.close_old(out) {
                return;
            }
        }
    }

    /// Lines that wait for their end are given without.
    fn finish(&mut self, out: &mut Outlet) {
        for file in &mut self.held {
            file.end_line(out);
        }
        out.flush();
    }
}

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        self.watcher.forget(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;
    use crate::flow::merge::{Event, Item};

    #[test]
    fn a_replaced_file_is_let_go_when_it_was_read_and_not_when_it_was_quiet() {
        let dir = tempfile::tempdir().unwrap();
        let watcher = Watcher::blind();
        let (sender, items) = unbounded();
        let mut out = Outlet::new(0, sender, Arc::new(Halt::new().unwrap()), crossbeam_channel::bounded(1).0);
        let name = Name::new(&dir.path().join("log")).unwrap();
        let held = ["half a line", "unread\n", ""].iter().enumerate().map(|(number, content)| {
            let path = dir.path().join(number.to_string());
            std::fs::write(&path, content).unwrap();
            File::new(open(&path).unwrap(), (0, number as u64), None)
        });
        let held = held.collect();
        let mut follower = Follower { name, watcher: &watcher, held, watched: false, missed: false, failing: None };
        let (just_now, long_ago) = (Instant::now() + LINGER, Instant::now() - 2 * LINGER);
        let mut buffer = vec![0; 1024];
        assert!(follower.read(&mut buffer, &mut out));
        // The second was replaced long ago, while the first still grew, whose line is waited for.
        (follower.held[0].quiet_since, follower.held[1].quiet_since) = (just_now, long_ago);
        assert!(!follower.read(&mut buffer, &mut out));
        assert!(!follower.close_old(&mut out));
        assert_eq!(follower.held.len(), 3);
        follower.held[0].quiet_since = long_ago;
        assert!(follower.read(&mut buffer, &mut out));
        follower.held[1].quiet_since = long_ago;
        assert!(!follower.read(&mut buffer, &mut out));
        assert!(follower.close_old(&mut out));
        assert_eq!(follower.held.len(), 1);
        let lines = items.try_iter().map(|item: Item| match item.event {
            Event::Lines(lines) => String::from_utf8(lines.bytes).unwrap(),
            other => panic!("{other:?}"),
        });
        assert_eq!(lines.collect::<String>(), "half a lineunread\n");
    }
}
