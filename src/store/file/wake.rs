//! Waking up when a lock file may have come free.
//!
//! The kernel has no event for "flock given back", but closing the holder's
//! last descriptor is one: inotify's `IN_CLOSE`, sent just *before* the flock
//! is dropped. So after an event the lock is worth several tries, a little
//! later each time. Where inotify is missing or used up, a regular look does.
//!
//! Closing an inotify instance takes the kernel some 10 ms (it waits for an
//! SRCU grace period), which is more than all the rest of a hand-over. So they
//! are kept in a [`Pool`] and used again.

use std::iter;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{bounded, select};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify;

use crate::clock::Moment;
use crate::thread::Stop;

/// How long to wait without an event before looking anyway: inotify may be
/// missing, poll(2) doesn't count suspend, and a holder that isn't ours may
/// unlock without closing, which is no event.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pauses after an event: 1, 2, 4, .. 32 ms, 63 in all.
const RETRIES: u32 = 6;
const FIRST_RETRY: Duration = Duration::from_millis(1);

/// Inotify instances that no waiter needs just now; as many as ever waited at
/// once. Closed with the store.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<Vec<OwnedFd>>,
}

/// The wake-up call of one waiter.
#[derive(Debug)]
pub(super) struct Alarm {
    pool: Arc<Pool>,
    watch: Option<Watch>,
    armed: bool,
    retries_left: u32,
}

/// An inotify instance that watches one file.
#[derive(Debug)]
struct Watch {
    inotify: OwnedFd,
    descriptor: i32,
}

impl Alarm {
    pub(super) fn new(pool: Arc<Pool>) -> Alarm {
        Alarm { pool, watch: None, armed: false, retries_left: 0 }
    }

    /// As on a host whose inotify instances are used up.
    #[cfg(test)]
    pub(super) fn without_inotify() -> Alarm {
        Alarm { pool: Arc::default(), watch: None, armed: true, retries_left: 0 }
    }

    /// Forgets the watched file: another one has its name now.
    pub(super) fn disarm(&mut self) {
        if let Some(watch) = self.watch.take() {
            self.pool.give_back(watch);
        }
        self.armed = false;
        self.retries_left = 0;
    }

    /// Waits until the file at `path` may have come free, `until`, or `stop`.
    /// The first call returns at once: what happened before the watch was there
    /// has gone unseen.
    pub(super) fn wait(&mut self, path: &Path, until: Moment, stop: &Stop) {
        if !self.armed {
            self.armed = true;
            self.watch = self.pool.watch(path);
            return;
        }
        let left = until.remaining();
        let inotify = self.watch.as_ref().map(|watch| &watch.inotify);
        if let Some(step) = self.retries_left.checked_sub(1) {
            self.retries_left = step;
            let pause = FIRST_RETRY * 2u32.pow(RETRIES - 1 - step);
            // Too short for a stop to be worth the thread.
            poll_for(inotify.into_iter().collect(), pause.min(left));
        } else {
            sleep_unless_woken(inotify, left.min(LOOK_EVERY), stop);
        }
        if inotify.is_some_and(drain) {
            self.retries_left = RETRIES;
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl Pool {
    fn watch(&self, path: &Path) -> Option<Watch> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let watch = || {
            let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
            let inotify = idle.map_or_else(|| inotify::init(flags), Ok)?;
            let descriptor = inotify::add_watch(&inotify, path, inotify::WatchFlags::CLOSE)?;
            Ok::<_, rustix::io::Errno>(Watch { inotify, descriptor })
        };
        watch().inspect_err(|error| log::debug!("no inotify for {}, looking regularly: {error}", path.display())).ok()
    }

    fn give_back(&self, watch: Watch) {
        // It fails if the file was deleted, which ended the watch.
        let _ = inotify::remove_watch(&watch.inotify, watch.descriptor);
        drain(&watch.inotify);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(watch.inotify);
    }
}

/// Takes all events; whether there was one.
fn drain(inotify: &OwnedFd) -> bool {
    let mut buffer = [0; 1024];
    let mut any = false;
    while rustix::io::read(inotify, &mut buffer).is_ok_and(|length| length > 0) {
        any = true;
    }
    any
}

/// Waits for an inotify event, `stop` or the end of `timeout`. A stop is a
/// channel and an event a descriptor; a thread that lives as long as this call
/// makes a descriptor of the first.
fn sleep_unless_woken(inotify: Option<&OwnedFd>, timeout: Duration, stop: &Stop) {
    let Ok(stopped) = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK) else {
        // No descriptor left: the stop alone can wake us.
        let _ = stop.sleep(timeout);
        return;
    };
    std::thread::scope(|scope| {
        let (done, finished) = bounded::<()>(0);
        let stopped_fd = stopped.as_fd();
        let bridge = std::thread::Builder::new().name("lock-wait-stop".to_owned()).spawn_scoped(scope, move || {
            select! {
                // It can't fail: the counter has room, and the descriptor is open.
                recv(stop.receiver()) -> _ => { let _ = rustix::io::write(stopped_fd, &1u64.to_ne_bytes()); }
                recv(finished) -> _ => {}
            }
        });
        if let Err(error) = bridge {
            log::debug!("no thread for stop, looking regularly: {error}");
        }
        poll_for(iter::once(&stopped).chain(inotify).collect(), timeout);
        drop(done);
    });
}

/// Waits until one of `fds` can be read, or `timeout`. An error or EINTR is an
/// early return, which is allowed.
fn poll_for(fds: Vec<&OwnedFd>, timeout: Duration) {
    let mut fds: Vec<PollFd<'_>> = fds.into_iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let _ = poll(&mut fds, Timespec::try_from(timeout).ok().as_ref());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_the_watched_file_wakes_and_is_worth_several_tries() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut alarm = Alarm::new(Arc::default());
        alarm.wait(file.path(), Moment::NEVER, &Stop::never());
        drop(std::fs::File::open(file.path()).unwrap());
        alarm.wait(file.path(), Moment::NEVER, &Stop::never());
        assert_eq!(alarm.retries_left, RETRIES, "the event was seen");
        for _ in 0..RETRIES {
            alarm.wait(file.path(), Moment::NEVER, &Stop::never());
        }
        assert_eq!(alarm.retries_left, 0, "and no more until the next");
        alarm.wait(file.path(), Moment::BOOT, &Stop::never());
    }
}
