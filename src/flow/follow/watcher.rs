//! inotify for all followed names: one instance, one thread.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::name::Name;
use crate::flow::merge::Halt;

/// What changes which file a name leads to. A user has 128 instances of
/// inotify, so all names share one.
const IN_DIRECTORY: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// How many events a queue holds, unless the system is set up otherwise
/// (`fs.inotify.max_queued_events`).
const MAX_QUEUED: usize = 16_384;

/// What changes a file: growth, truncation (MODIFY), its last name's removal (ATTRIB).
const IN_FILE: WatchFlags = WatchFlags::MODIFY.union(WatchFlags::ATTRIB);

/// Tells names that it is time to look, and has them opened when a file arrives.
pub(in crate::flow) struct Watcher {
    /// `None`: there is no inotify to be had.
    inotify: Option<OwnedFd>,
    wanted: Mutex<HashMap<i32, Vec<Want>>>,
    /// Held while events are read and handed out, so that they keep their order.
    settling: Mutex<()>,
}

/// Who wants to know of a watch's events: of a file name's in a directory, or of all of a file.
struct Want {
    file_name: Option<OsString>,
    name: Arc<Name>,
}

type Event = (i32, ReadFlags, Option<OsString>);

impl Watcher {
    /// With inotify, if there is an instance left (`fs.inotify.max_user_instances`).
    pub(in crate::flow) fn new() -> Watcher {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        if let Err(error) = &inotify {
            log::info!("no inotify, so files are looked at four times a second: {error}");
        }
        Watcher { inotify: inotify.ok(), ..Watcher::blind() }
    }

    /// Without: names are looked at from time to time.
    pub(in crate::flow) fn blind() -> Watcher {
        Watcher { inotify: None, wanted: Mutex::default(), settling: Mutex::default() }
    }

    /// The thread's body: hands events out until it is halted.
    pub(in crate::flow) fn run(&self, halt: &Halt) {
        let Some(inotify) = &self.inotify else { return };
        while !halt.is_set() {
            let (events, halted) = (inotify.as_fd(), halt.as_fd());
            let mut ready =
                [PollFd::from_borrowed_fd(events, PollFlags::IN), PollFd::from_borrowed_fd(halted, PollFlags::IN)];
            // No deadline: the halt is the other thing it waits for.
            match poll(&mut ready, None) {
                Ok(_) | Err(Errno::INTR) => self.settle(|| ()),
                Err(error) => {
                    log::warn!("inotify can't be waited for: {error}");
                    return;
                }
            }
        }
    }

    /// Hands out the events that are there, and those that come meanwhile. Until
    /// `then` is done, nobody else opens a file because of an event; and of every
    /// file that is open by then, the event is counted.
    ///
    /// Where events come faster than they are handed out, it ends with those that
    /// were there at first: a gap may then stand later than it should.
    pub(super) fn settle<T>(&self, then: impl FnOnce() -> T) -> T {
        let _settling = lock(&self.settling);
        let mut left = MAX_QUEUED;
        while left > 0 {
            let events = self.events();
            if events.is_empty() {
                break;
            }
            left = left.saturating_sub(events.len());
            events.into_iter().for_each(|event| self.hand_out(event));
        }
        then()
    }

    fn hand_out(&self, (watch, flags, file_name): Event) {
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            let all: Vec<_> = lock(&self.wanted).values().flatten().map(|want| Arc::clone(&want.name)).collect();
            all.iter().for_each(|name| name.lost_track(self));
        }
        let arrives = file_name.is_some() && flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
        for name in self.names(watch, file_name.as_deref()) {
            if arrives {
                name.arrived(self);
            }
            name.note_sizes();
        }
        if flags.contains(ReadFlags::IGNORED) {
            lock(&self.wanted).remove(&watch);
        }
    }

    fn names(&self, watch: i32, file_name: Option<&OsStr>) -> Vec<Arc<Name>> {
        let wanted = lock(&self.wanted);
        let wants = wanted.get(&watch).into_iter().flatten();
        // Without a file name it is about the watched thing itself.
        let concerned = wants.filter(|want| file_name.is_none() || want.file_name.as_deref() == file_name);
        concerned.map(|want| Arc::clone(&want.name)).collect()
    }

    fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        let Some(inotify) = &self.inotify else { return events };
        let mut buffer = [MaybeUninit::uninit(); 8 * 1024];
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let file_name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
                    events.push((event.wd(), event.events(), file_name));
                }
                Err(Errno::INTR) => {}
                // AGAIN: that was all.
                Err(_) => return events,
            }
            if reader.is_buffer_empty() {
                // Handed out before more is read: memory stays bounded. The poll says if there is more.
                return events;
            }
        }
    }

    /// Watches a name's directory. `None`: it can't be; look from time to time.
    pub(super) fn watch_directory(&self, name: &Arc<Name>) -> Option<i32> {
        self.add(&name.directory, IN_DIRECTORY, Some(&name.file_name), name)
    }

    /// Watches an open file, whatever its name is by now.
    pub(super) fn watch_file(&self, file: &File, path: &Path, name: &Arc<Name>) -> Option<i32> {
        let by_descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
        let by_descriptor = Path::new(&by_descriptor);
        // Without /proc by its path: if that leads elsewhere by now, the look finds it out.
        let path = if by_descriptor.exists() { by_descriptor } else { path };
        self.add(path, IN_FILE, None, name)
    }

    fn add(&self, path: &Path, flags: WatchFlags, file_name: Option<&OsStr>, name: &Arc<Name>) -> Option<i32> {
        let inotify = self.inotify.as_ref()?;
        let mut wanted = lock(&self.wanted);
        let watch = match inotify::add_watch(inotify, path, flags) {
            Ok(watch) => watch,
            Err(error) => {
                log::debug!("no watch on {}: {}", path.display(), io::Error::from(error));
                return None;
            }
        };
        let wants = wanted.entry(watch).or_default();
        if !wants.iter().any(|want| Arc::ptr_eq(&want.name, name)) {
            wants.push(Want { file_name: file_name.map(OsStr::to_owned), name: Arc::clone(name) });
        }
        Some(watch)
    }

    /// A name no longer wants a watch's events.
    pub(super) fn unwatch(&self, watch: i32, name: &Arc<Name>) {
        let mut wanted = lock(&self.wanted);
        if let Some(wants) = wanted.get_mut(&watch) {
            wants.retain(|want| !Arc::ptr_eq(&want.name, name));
            if wants.is_empty() {
                wanted.remove(&watch);
                self.remove(watch);
            }
        }
    }

    /// A name is no longer followed.
    pub(super) fn forget(&self, name: &Arc<Name>) {
        lock(&self.wanted).retain(|&watch, wants| {
            wants.retain(|want| !Arc::ptr_eq(&want.name, name));
            if wants.is_empty() {
                self.remove(watch);
            }
            !wants.is_empty()
        });
    }

    fn remove(&self, watch: i32) {
        if let Some(inotify) = &self.inotify {
            // It fails if the kernel has removed it already, with the file.
            let _: Result<(), Errno> = inotify::remove_watch(inotify, watch);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
