//! Leases that lapse: renewed while they are held, and told when they are lost.

use std::path::Path;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, TryRecvError};
use towpath::clock::Moment;
use towpath::lock::{Acquired, Lease, Locks, Lost, Request};
use towpath::store::{FileStore, Key, Loss};

use crate::support::memory::{Memory, Mood};
use crate::support::wait::{PATIENCE, until};

/// Two thirds of it are left when a renewal is due: a loaded machine makes that.
const TTL: Duration = Duration::from_secs(3);

fn lease(locks: &Locks, key: &str) -> Lease {
    match locks.try_acquire(&Request::new(Key::new(key).unwrap()).ttl(TTL)).unwrap() {
        Acquired::Lease(lease) => lease,
        other => panic!("not ours: {other:?}"),
    }
}

#[track_caller]
fn lost(lease: &Lease) -> Lost {
    lease.lost().recv_timeout(PATIENCE).unwrap()
}

#[test]
fn a_lease_is_renewed_as_long_as_it_is_held_and_no_longer() {
    let store = Memory::default();
    let locks = store.locks();
    let (held, other) = (lease(&locks, "held"), lease(&locks, "other"));
    let first = held.valid_until();
    while !first.has_passed() {
        let until = held.renewed().recv_timeout(PATIENCE).unwrap();
        assert!(until > first && held.valid_until() >= until);
    }
    held.check().unwrap();
    held.release().unwrap();
    let tries = store.tries("held");
    // The other one's next renewals say when the released one's would have come.
    for _ in 0..2 {
        other.renewed().recv_timeout(PATIENCE).unwrap();
    }
    assert_eq!((store.tries("held"), store.is_held("held"), store.is_held("other")), (tries, false, true));
    other.release().unwrap();
}

#[test]
fn a_lease_that_the_store_forgot_is_lost_at_the_next_renewal() {
    let store = Memory::default();
    let held = lease(&store.locks(), "k");
    store.forget("k");
    held.check().expect("nobody can know yet");
    let told = lost(&held);
    assert_eq!((told.loss, told.key.as_str()), (Loss::Deleted, "k"));
    assert!(told.noticed < held.valid_until() && told.cause.is_none());
    assert_eq!(held.check().unwrap_err().loss, Loss::Deleted);
    // Told once, and never taken again.
    assert_eq!(held.lost().recv_timeout(PATIENCE).unwrap_err(), RecvTimeoutError::Disconnected);
    assert!(!store.is_held("k") && store.tries("k") == 1);
    held.abandon();
}

#[test]
fn a_lease_whose_store_is_down_is_tried_again_until_it_lapses() {
    let store = Memory::default();
    let held = lease(&store.locks(), "k");
    store.be(Mood::Down);
    let told = lost(&held);
    assert_eq!(told.loss, Loss::Lapsed);
    assert!(told.noticed >= held.valid_until());
    assert!(told.cause.unwrap().is_unreachable());
    assert!(store.tries("k") > 1, "{}", store.tries("k"));
    held.abandon();
}

#[test]
fn a_store_that_comes_back_in_time_keeps_its_leases() {
    let store = Memory::default();
    let held = lease(&store.locks(), "k");
    let first = held.valid_until();
    store.be(Mood::Down);
    until("a try that fails", || store.tries("k") > 0);
    held.check().unwrap();
    store.be(Mood::Well);
    assert!(held.renewed().recv_timeout(PATIENCE).unwrap() > first);
    held.check().unwrap();
    assert_eq!(held.lost().try_recv().unwrap_err(), TryRecvError::Empty);
    held.release().unwrap();
}

#[test]
fn a_store_that_hangs_keeps_nobody_from_looking_or_leaving() {
    let store = Memory::default();
    let locks = store.locks();
    let (held, left) = (lease(&locks, "k"), lease(&locks, "left"));
    store.be(Mood::Hanging);
    until("a renewal that hangs", || store.tries("k") + store.tries("left") > 0);
    held.check().unwrap();
    left.abandon();
    until("the end of the lease", || held.valid_until().has_passed());
    let Lost { loss, .. } = held.check().unwrap_err();
    assert_eq!(loss, Loss::Lapsed);
    store.be(Mood::Well);
    // The word comes when the call has come back; by then its key has lapsed there too.
    lost(&held);
    held.abandon();
}

#[test]
fn fifty_leases_have_one_thread_which_ends_with_the_last_of_them() {
    let store = Memory::default();
    let locks = store.locks();
    let leases: Vec<_> = (0..50).map(|number| lease(&locks, &format!("k{number}"))).collect();
    drop(locks);
    for lease in &leases {
        lease.renewed().recv_timeout(PATIENCE).unwrap();
        lease.check().unwrap();
    }
    let threads: Vec<_> = store.renewers().into_iter().collect();
    let [thread] = threads[..] else { panic!("{threads:?}") };
    let task = format!("/proc/self/task/{thread}");
    assert_eq!(std::fs::read_to_string(format!("{task}/comm")).unwrap(), "lock-renewal\n");
    for lease in leases {
        assert!(Path::new(&task).exists());
        lease.release().unwrap();
    }
    until("the thread's end", || !Path::new(&task).exists());
}

#[test]
fn leases_learn_of_the_death_of_their_thread_and_the_next_one_has_a_new_thread() {
    let store = Memory::default();
    let locks = store.locks();
    let (one, two) = (lease(&locks, "one"), lease(&locks, "two"));
    store.be(Mood::Panicking);
    for lease in [&one, &two] {
        assert_eq!(lease.lost().recv_timeout(PATIENCE).unwrap_err(), RecvTimeoutError::Disconnected);
        assert!(lease.renewed().recv_timeout(PATIENCE).is_err());
    }
    store.be(Mood::Well);
    let next = lease(&locks, "next");
    next.renewed().recv_timeout(PATIENCE).unwrap();
    assert_eq!(store.renewers().len(), 2);
    next.release().unwrap();
    // What lapses by and by can still be given back.
    one.release().unwrap();
    two.release().unwrap();
}

#[test]
fn a_renewal_that_nobody_took_gives_way_to_the_next() {
    let store = Memory::default();
    let held = lease(&store.locks(), "k");
    until("three renewals", || store.tries("k") > 3);
    // At least the third: each moves it by a third of the ttl.
    let told = held.renewed().try_recv().unwrap();
    assert!(told > Moment::now() && told + TTL / 2 > held.valid_until());
    assert!(held.renewed().try_recv().is_err());
    held.release().unwrap();
}

#[test]
fn a_lease_that_does_not_lapse_has_no_thread_and_tells_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let locks = Locks::over(Box::new(FileStore::open(directory.path()).unwrap()));
    let held = lease(&locks, "k");
    assert_eq!(held.valid_until(), Moment::NEVER);
    assert_eq!(held.lost().try_recv().unwrap_err(), TryRecvError::Empty);
    assert_eq!(held.renewed().try_recv().unwrap_err(), TryRecvError::Empty);
    held.release().unwrap();
}
