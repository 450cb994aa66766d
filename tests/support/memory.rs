//! Locks in memory that lapse as honestly as a server's, and that can be told
//! to fail, hang, forget, or be another's.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use towpath::clock::Moment;
use towpath::lock::{Acquired, Locks, Request};
use towpath::store::{
    Attempt, Broken, Claim, Contender, Error, FileStore, Hold, Holder, Key, LockStore, Loss, NodeView, Renewal,
};
use towpath::thread::Stop;

/// The store; its clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Server>);

/// How it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// Every call is an error at once.
    Down,
    /// No call comes back before the mood changes.
    Hanging,
    /// Whoever renews panics.
    Panicking,
}

#[derive(Debug, Default)]
struct Server {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    mood: Mood,
    keys: HashMap<String, (u64, Moment)>,
    last_fence: u64,
    /// What a new hold is good for, if it isn't what was asked for.
    granted: Option<Duration>,
    /// The keys that somebody tried to renew, in order.
    tries: Vec<String>,
    renewers: BTreeSet<i32>,
}

impl Memory {
    /// Its locks.
    pub(crate) fn locks(&self) -> Locks {
        Locks::over(Box::new(self.clone()))
    }

    /// From now on it answers so.
    pub(crate) fn be(&self, mood: Mood) {
        self.state().mood = mood;
        self.0.changed.notify_all();
    }

    /// New holds are as good as over.
    pub(crate) fn grant_only(&self, time: Duration) {
        self.state().granted = Some(time);
    }

    /// Forgets who holds `key`.
    pub(crate) fn forget(&self, key: &str) {
        assert!(self.state().keys.remove(key).is_some(), "{key} wasn't there");
    }

    /// Whether somebody holds `key`.
    pub(crate) fn is_held(&self, key: &str) -> bool {
        self.state().keys.get(key).is_some_and(|(_, until)| !until.has_passed())
    }

    /// How often somebody began to renew `key`.
    pub(crate) fn tries(&self, key: &str) -> usize {
        self.state().tries.iter().filter(|tried| *tried == key).count()
    }

    /// The threads that did, by their kernel ids.
    pub(crate) fn renewers(&self) -> BTreeSet<i32> {
        self.state().renewers.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // One of the moods is to panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, when the server answers.
    fn call(&self) -> Result<MutexGuard<'_, State>, Error> {
        self.answer(self.state())
    }

    fn answer<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Result<MutexGuard<'a, State>, Error> {
        while state.mood == Mood::Hanging {
            state = self.0.changed.wait(state).unwrap();
        }
        if state.mood == Mood::Down { Err(unreachable()) } else { Ok(state) }
    }
}

impl LockStore for Memory {
    fn contender(&self, key: &Key) -> Result<Box<dyn Contender>, Error> {
        Ok(Box::new(Waiting { store: self.clone(), key: key.as_str().to_owned() }))
    }

    fn inspect(&self, _key: &Key) -> Result<Vec<NodeView>, Error> {
        Ok(Vec::new())
    }

    fn break_lock(&self, _key: &Key, _fence: Option<u64>) -> Result<Broken, Error> {
        Ok(Broken::WasFree)
    }
}

#[derive(Debug)]
struct Waiting {
    store: Memory,
    key: String,
}

impl Contender for Waiting {
    fn try_take(&mut self, claim: &Claim) -> Result<Attempt, Error> {
        let asked = Moment::now();
        let mut state = self.store.call()?;
        if state.keys.get(&self.key).is_some_and(|(_, until)| !until.has_passed()) {
            return Ok(Attempt::Held(Holder { record: None, ended: false, free_at: None }));
        }
        state.last_fence += 1;
        let fence = state.last_fence;
        let valid_until = asked + state.granted.unwrap_or(claim.ttl);
        state.keys.insert(self.key.clone(), (fence, Moment::now() + claim.ttl));
        drop(state);
        let valid_until = AtomicU64::new(valid_until.since_boot_ns());
        let (store, key) = (self.store.clone(), self.key.clone());
        Ok(Attempt::Taken(Box::new(Held { store, key, fence, ttl: claim.ttl, valid_until })))
    }

    fn wait_for_change(&mut self, until: Moment, stop: &Stop) {
        // A look now and then is all that a test's waiter needs.
        let _ = stop.sleep(until.remaining().min(Duration::from_millis(20)));
    }
}

#[derive(Debug)]
struct Held {
    store: Memory,
    key: String,
    fence: u64,
    ttl: Duration,
    valid_until: AtomicU64,
}

impl Hold for Held {
    fn fence(&self) -> u64 {
        self.fence
    }

    fn valid_until(&self) -> Moment {
        Moment::from_since_boot_ns(self.valid_until.load(Ordering::SeqCst))
    }

    fn renew(&self) -> Result<Renewal, Error> {
        let asked = Moment::now();
        let mut state = self.store.state();
        state.tries.push(self.key.clone());
        state.renewers.insert(rustix::thread::gettid().as_raw_nonzero().get());
        let mut state = self.store.answer(state)?;
        assert_ne!(state.mood, Mood::Panicking, "as told");
        match state.keys.get_mut(&self.key) {
            Some((fence, until)) if *fence == self.fence && !until.has_passed() => {
                *until = Moment::now() + self.ttl;
                self.valid_until.store((asked + self.ttl).since_boot_ns(), Ordering::SeqCst);
                Ok(Renewal::Kept)
            }
            _ => Ok(Renewal::Lost(Loss::Deleted)),
        }
    }

    fn check(&self) -> Result<(), Loss> {
        Ok(())
    }

    fn descriptor(&self) -> io::Result<Option<OwnedFd>> {
        Ok(None)
    }

    fn give_back(&self) -> Result<(), Error> {
        let mut state = self.store.call()?;
        match state.keys.get(&self.key) {
            Some((fence, _)) if *fence == self.fence => {
                state.keys.remove(&self.key);
                Ok(())
            }
            _ => Err(not_ours()),
        }
    }
}

/// Errors are made by stores alone: this one is of a directory that isn't there.
fn unreachable() -> Error {
    FileStore::open(Path::new("/no/such/directory/anywhere")).unwrap_err()
}

/// And this one of a lock that can't be taken from its holder.
fn not_ours() -> Error {
    let directory = tempfile::tempdir().unwrap();
    let locks = Locks::over(Box::new(FileStore::open(directory.path()).unwrap()));
    let key = Key::new("other").unwrap();
    let Acquired::Lease(lease) = locks.try_acquire(&Request::new(key.clone())).unwrap() else { panic!("it was free") };
    let error = locks.break_lock(&key, None).unwrap_err();
    lease.release().unwrap();
    error
}
