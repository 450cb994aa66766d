//! Keeping leases that lapse: one thread a [`Locks`](super::Locks), whatever
//! the number of its leases.
//!
//! Promises: a lease is renewed a third of its ttl after it was last confirmed,
//! and a tenth after a failure, until it lapses; a loss is told once, through
//! the lease's channel; a lease that was taken off is touched no more. If the
//! thread dies, the channels of all its leases close without a word.
//!
//! Ends at the store: whether a renewal may take again what has lapsed is the
//! store's to refuse, and how long a call may hang is the store's to bound. A
//! call that hangs delays the other leases, and the word of a loss, but neither
//! [`Lease::check`](super::Lease::check) nor a release.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, after, bounded, never, select};

use super::lease::Lost;
use crate::clock::Moment;
use crate::store::{Error, Hold, Key, Loss, Renewal};
use crate::thread::{Stop, Worker, spawn};

/// How much of the ttl passes from one renewal to the next, and from a failure to the next try.
const RENEW_AFTER: u32 = 3;
const RETRY_AFTER: u32 = 10;

/// The longest sleep while there are leases. Sleeping stands still while the
/// host does, and leases don't: one that wakes shall not sleep on what was left.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The owner of the thread, shared by the locks and their leases. The last one
/// stops the thread, and waits for it at most 100 ms.
#[derive(Debug, Default)]
pub(super) struct Renewer {
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    table: Arc<Table>,
    nudge: Sender<()>,
    /// Stopped, joined, and its panic logged, when this is dropped.
    _worker: Worker<()>,
}

/// A lease as its holder sees it: its place with the thread, and what is told of it.
#[derive(Debug)]
pub(super) struct Tended {
    pub(super) lost: Receiver<Lost>,
    pub(super) renewed: Receiver<Moment>,
    news: Arc<Mutex<News>>,
    place: Option<(Arc<Table>, u64)>,
    _renewer: Arc<Renewer>,
}

/// What the thread has learned of a lease.
#[derive(Debug, Default)]
struct News {
    lost: Option<Lost>,
    trouble: Option<Arc<Error>>,
}

/// The leases that are renewed.
#[derive(Debug, Default)]
struct Table {
    rows: Mutex<Rows>,
}

#[derive(Debug)]
struct Rows {
    of: BTreeMap<u64, Row>,
    next_id: u64,
    /// Until when the thread sleeps, unless it is nudged. Past while it is
    /// awake: it looks at the rows again before it sleeps.
    sleeps_until: Moment,
    /// The thread has ended: nobody would look at a new row.
    closed: bool,
}

impl Default for Rows {
    fn default() -> Rows {
        Rows { of: BTreeMap::new(), next_id: 0, sleeps_until: Moment::BOOT, closed: false }
    }
}

#[derive(Debug)]
struct Row {
    key: Key,
    hold: Arc<dyn Hold>,
    ttl: Duration,
    next_at: Moment,
    news: Arc<Mutex<News>>,
    lost: Sender<Lost>,
    renewed: Sender<Moment>,
    /// Our own end of `renewed`, by which an older moment makes room for a later one.
    unread: Receiver<Moment>,
}

impl Renewer {
    /// Renews `hold` from now on. `confirmed` is when the store was last asked for it.
    ///
    /// Where no thread can be started that is logged, and told as its death is.
    pub(super) fn tend(
        self: &Arc<Renewer>,
        key: &Key,
        hold: &Arc<dyn Hold>,
        ttl: Duration,
        confirmed: Moment,
    ) -> Tended {
        let (lost_to, lost) = bounded(1);
        let (renewed_to, renewed) = bounded(1);
        let news = Arc::default();
        let row = Row {
            key: key.clone(),
            hold: Arc::clone(hold),
            ttl,
            next_at: confirmed + ttl / RENEW_AFTER,
            news: Arc::clone(&news),
            lost: lost_to,
            renewed: renewed_to,
            unread: renewed.clone(),
        };
        let place = self.place(row);
        Tended { lost, renewed, news, place, _renewer: Arc::clone(self) }
    }

    /// Hands the row to the thread, which is started with the first, and again if it died.
    fn place(&self, row: Row) -> Option<(Arc<Table>, u64)> {
        let mut running = lock(&self.running);
        let row = match &*running {
            None => row,
            Some(running) => match running.add(row) {
                Ok(place) => return Some(place),
                Err(row) => row,
            },
        };
        match Running::start() {
            Ok(started) => running.insert(started).add(row).ok(),
            Err(error) => {
                log::error!("the lock {} can't be renewed: no thread: {error}", row.key);
                None
            }
        }
    }
}

impl Running {
    fn start() -> io::Result<Running> {
        let table = Arc::<Table>::default();
        let (nudge, nudges) = bounded(1);
        let of_thread = Arc::clone(&table);
        let worker = spawn("lock-renewal", move |stop| {
            let _closing = Closing(&of_thread);
            of_thread.run(&nudges, stop);
        })?;
        Ok(Running { table, nudge, _worker: worker })
    }

    /// The row itself, if the thread has ended.
    fn add(&self, row: Row) -> Result<(Arc<Table>, u64), Row> {
        let mut rows = lock(&self.table.rows);
        if rows.closed {
            return Err(row);
        }
        let id = rows.next_id;
        rows.next_id += 1;
        let sleeps_too_long = row.next_at < rows.sleeps_until;
        rows.of.insert(id, row);
        drop(rows);
        // Waking it costs more than all else here: leases that come and go don't.
        if sleeps_too_long {
            // One that waits already is enough.
            let _: Result<(), TrySendError<()>> = self.nudge.try_send(());
        }
        Ok((Arc::clone(&self.table), id))
    }
}

impl Tended {
    /// Takes the lease off. Returns at once, also while it is being renewed.
    pub(super) fn leave(&mut self) {
        if let Some((table, id)) = self.place.take() {
            table.remove(id);
        }
    }

    /// The loss, if the thread has found one.
    pub(super) fn loss(&self) -> Option<Lost> {
        lock(&self.news).lost.clone()
    }

    /// Why the last renewal failed; `None` if it didn't.
    pub(super) fn trouble(&self) -> Option<Arc<Error>> {
        lock(&self.news).trouble.clone()
    }
}

impl Drop for Tended {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Closes the table when the thread ends, also by a panic: the senders go with
/// the rows, and so the leases learn of it.
struct Closing<'a>(&'a Table);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let mut rows = lock(&self.0.rows);
        rows.closed = true;
        let left = std::mem::take(&mut rows.of);
        // Not under the lock: a hold's own drop may do anything.
        drop(rows);
        drop(left);
    }
}

impl Table {
    fn run(&self, nudges: &Receiver<()>, stop: &Stop) {
        while !stop.is_set() {
            for (id, hold) in self.due() {
                if stop.is_set() {
                    return;
                }
                self.renew(id, &*hold);
            }
            let wake = self.next_wake().map_or_else(never, |next| after(next.remaining()));
            select! {
                recv(nudges) -> _ => {}
                recv(wake) -> _ => {}
                recv(stop.receiver()) -> _ => {}
            }
        }
    }

    /// Until when to sleep; `None` if there are no leases.
    fn next_wake(&self) -> Option<Moment> {
        let mut rows = lock(&self.rows);
        let next = rows.of.values().map(|row| row.next_at).min();
        let wake = next.map(|next| next.min(Moment::now() + LOOK_AGAIN));
        rows.sleeps_until = wake.unwrap_or(Moment::NEVER);
        wake
    }

    /// What has fallen due, the most urgent first.
    fn due(&self) -> Vec<(u64, Arc<dyn Hold>)> {
        let now = Moment::now();
        let rows = lock(&self.rows);
        let mut due: Vec<_> = rows.of.iter().filter(|(_, row)| row.next_at <= now).collect();
        due.sort_by_key(|(_, row)| row.hold.valid_until());
        due.into_iter().map(|(id, row)| (*id, Arc::clone(&row.hold))).collect()
    }

    /// Asks the store, without holding the table.
    fn renew(&self, id: u64, hold: &dyn Hold) {
        // After a suspend, or while others hung. The store would only say the same, later.
        if hold.valid_until().has_passed() {
            return self.lost(id, Loss::Lapsed);
        }
        let asked = Moment::now();
        let renewal = hold.renew();
        match renewal {
            Ok(Renewal::Lost(loss)) => self.lost(id, loss),
            Ok(Renewal::Kept) => self.kept(id, asked, hold.valid_until()),
            Err(error) => self.failed(id, error),
        }
        if hold.valid_until().has_passed() {
            self.lost(id, Loss::Lapsed);
        }
    }

    fn kept(&self, id: u64, asked: Moment, valid_until: Moment) {
        let mut rows = lock(&self.rows);
        let Some(row) = rows.of.get_mut(&id) else { return };
        row.next_at = (asked + row.ttl / RENEW_AFTER).min(valid_until);
        lock(&row.news).trouble = None;
        // The latest counts. Nobody else sends, so a second try finds room.
        while let Err(TrySendError::Full(_)) = row.renewed.try_send(valid_until) {
            let _: Result<Moment, crossbeam_channel::TryRecvError> = row.unread.try_recv();
        }
    }

    fn failed(&self, id: u64, error: Error) {
        let mut rows = lock(&self.rows);
        let Some(row) = rows.of.get_mut(&id) else { return };
        row.next_at = (Moment::now() + row.ttl / RETRY_AFTER).min(row.hold.valid_until());
        let before = lock(&row.news).trouble.replace(Arc::new(error));
        if let (None, Some(error)) = (before, &lock(&row.news).trouble) {
            log::warn!("the lock {} couldn't be renewed, and is tried again: {error}", row.key);
        }
    }

    fn lost(&self, id: u64, loss: Loss) {
        // Taken off first: what is told once is over.
        let Some(row) = self.remove(id) else { return };
        let mut news = lock(&row.news);
        let cause = news.trouble.clone().filter(|_| loss == Loss::Lapsed);
        let lost = Lost { key: row.key.clone(), loss, noticed: Moment::now(), cause };
        news.lost = Some(lost.clone());
        drop(news);
        // There is room for it, or the holder is gone.
        let _: Result<(), TrySendError<Lost>> = row.lost.try_send(lost);
    }

    fn remove(&self, id: u64) -> Option<Row> {
        lock(&self.rows).of.remove(&id)
    }
}

/// Under each lock of this file a value is replaced in one step, which a panic can't leave half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
