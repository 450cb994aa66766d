//! What needs another clock or a look inside; the rest is in `tests/it/lock_file.rs`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use super::super::contract::{Attempt, Claim, Hold};
use super::*;
use crate::clock::Moment;
use crate::thread::Stop;

const HOUR: Duration = Duration::from_secs(3600);

fn key() -> Key {
    Key::new("demo").unwrap()
}

fn store(directory: &tempfile::TempDir, now: fn() -> Now) -> FileStore {
    FileStore { now, ..FileStore::open(directory.path()).unwrap() }
}

fn take(store: &FileStore, claim: &Claim) -> Box<dyn Hold> {
    match store.contender(&key()).unwrap().try_take(claim).unwrap() {
        Attempt::Taken(hold) => hold,
        Attempt::Held(holder) => panic!("held by {holder}"),
    }
}

fn is_held(store: &FileStore) -> bool {
    match store.inspect(&key()).unwrap().remove(0).state.unwrap() {
        NodeState::Free => false,
        NodeState::Held(holder) => {
            assert!(holder.ended && holder.free_at.is_some(), "{holder:?}");
            true
        }
    }
}

#[test]
fn a_minimum_hold_follows_the_boot_clock_and_not_the_wall() {
    static WALL_S: AtomicU64 = AtomicU64::new(1_000_000);
    static BOOT_S: AtomicU64 = AtomicU64::new(10);
    fn now() -> Now {
        Now {
            wall: UNIX_EPOCH + Duration::from_secs(WALL_S.load(Ordering::Relaxed)),
            boot: Moment::BOOT + Duration::from_secs(BOOT_S.load(Ordering::Relaxed)),
            boot_id: Some("this".to_owned()),
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory, now);
    let claim = Claim { hold_at_least: HOUR, ..Claim::default() };
    take(&store, &claim).give_back().unwrap();
    for (wall_s, boot_s, held) in
        [(0, 20, true), (9_000_000, 3_609, true), (0, 3_610, false), (9_000_000, 3_610, false)]
    {
        WALL_S.store(wall_s, Ordering::Relaxed);
        BOOT_S.store(boot_s, Ordering::Relaxed);
        assert_eq!(is_held(&store), held, "wall {wall_s} boot {boot_s}");
        let attempt = store.contender(&key()).unwrap().try_take(&Claim::default());
        assert_eq!(matches!(attempt, Ok(Attempt::Held(_))), held, "wall {wall_s} boot {boot_s}");
    }
}

#[test]
fn the_fence_grows_while_the_wall_clock_runs_backwards() {
    static WALL_S: AtomicU64 = AtomicU64::new(1_000_000);
    fn now() -> Now {
        let wall = UNIX_EPOCH + Duration::from_secs(WALL_S.fetch_sub(1_000, Ordering::Relaxed));
        Now { wall, ..Now::read() }
    }
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory, now);
    let mut last = 0;
    for _ in 0..100 {
        let hold = take(&store, &Claim::default());
        assert!(hold.fence() > last, "{} after {last}", hold.fence());
        last = hold.fence();
        hold.give_back().unwrap();
    }
}

#[test]
fn a_waiter_gets_its_turn_without_inotify() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory, Now::read);
    let hold = take(&store, &Claim::default());
    let mut contender = FileContender::new(store.files(&key()), key(), Now::read, Alarm::without_inotify());
    std::thread::scope(|scope| {
        let (waiting, is_waiting) = crossbeam_channel::bounded(1);
        let waiter = scope.spawn(move || {
            loop {
                match contender.try_take(&Claim::default()).unwrap() {
                    Attempt::Taken(hold) => return hold,
                    Attempt::Held(_) => {
                        let _ = waiting.try_send(());
                        contender.wait_for_change(Moment::NEVER, &Stop::never());
                    }
                }
            }
        });
        is_waiting.recv().unwrap();
        let fence = hold.fence();
        hold.give_back().unwrap();
        assert!(waiter.join().unwrap().fence() > fence);
    });
}

#[test]
fn looking_at_a_free_lock_makes_nobody_believe_that_it_is_held() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory, Now::read);
    take(&store, &Claim::default()).give_back().unwrap();
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    store.inspect(&key()).unwrap();
                }
            });
        }
        let looked_at: Vec<bool> = (0..300)
            .map(|_| match store.contender(&key()).unwrap().try_take(&Claim::default()).unwrap() {
                Attempt::Taken(hold) => hold.give_back().is_ok(),
                Attempt::Held(_) => false,
            })
            .collect();
        enough.store(true, Ordering::Relaxed);
        assert!(looked_at.iter().all(|taken| *taken), "{looked_at:?}");
    });
}

#[test]
fn a_contender_whose_lock_file_was_replaced_goes_on_with_the_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory, Now::read);
    let old = take(&store, &Claim::default());
    let mut contender = store.contender(&key()).unwrap();
    assert!(matches!(contender.try_take(&Claim::default()), Ok(Attempt::Held(_))));
    std::fs::remove_file(directory.path().join("demo.lock")).unwrap();
    let Ok(Attempt::Taken(new)) = contender.try_take(&Claim::default()) else { panic!("the new file is nobody's") };
    assert!(new.fence() > old.fence());
    assert!(old.check().is_err(), "the old holder can tell");
    assert!(new.check().is_ok());
}

#[test]
fn a_record_that_may_not_be_on_disk_keeps_nobody_out() {
    let directory = tempfile::tempdir().unwrap();
    let broken = FileStore::over(Directory::that_cannot_be_synced(directory.path()));
    let claim = Claim { hold_at_least: HOUR, ..Claim::default() };
    let error = broken.contender(&key()).unwrap().try_take(&claim).map(drop).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    assert!(directory.path().join("demo.json").exists(), "the record was in its place before that failed");
    let store = store(&directory, Now::read);
    take(&store, &Claim::default()).give_back().unwrap();
}
