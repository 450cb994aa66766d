//! Locks over files: who gets them, what frees them, what keeps them. Holders
//! are processes of their own: `tests/examples/contender.rs`, in a role.

use std::fs;
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use towpath::clock::Moment;
use towpath::lock::{Acquired, Lease, Locks, Request};
use towpath::store::{Broken, Holder, Key, Loss, NodeState, StoreUrl};
use towpath::thread::Stop;

use crate::support::example;

const HOUR: Duration = Duration::from_secs(3600);
/// Long enough for a loaded machine: it ends only a test that fails.
const LONG: Duration = Duration::from_secs(60);

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

pub(crate) fn request() -> Request {
    Request::new(key("demo")).command("make tea")
}

pub(crate) fn url(directory: &Path) -> StoreUrl {
    format!("file:{}", directory.display()).parse().unwrap()
}

pub(crate) fn locks(directory: &Path) -> Locks {
    Locks::open(&url(directory)).unwrap()
}

pub(crate) fn lease(acquired: Acquired) -> Lease {
    match acquired {
        Acquired::Lease(lease) => lease,
        other => panic!("not ours: {other:?}"),
    }
}

fn holder(acquired: Acquired) -> Holder {
    match acquired {
        Acquired::Held(holder) => holder,
        other => panic!("not held: {other:?}"),
    }
}

pub(crate) fn state(locks: &Locks) -> NodeState {
    let mut views = locks.inspect(&key("demo")).unwrap();
    assert_eq!(views.len(), 1);
    views.remove(0).state.unwrap()
}

/// Processes in a role, all ended with it.
struct Cast {
    children: Vec<Child>,
    go: Option<PipeWriter>,
    said: BufReader<PipeReader>,
}

impl Cast {
    fn start(count: usize, role: &str, directory: &Path, hold: Duration) -> Cast {
        let (cue, go) = io::pipe().unwrap();
        let (said, voice) = io::pipe().unwrap();
        let children = (0..count)
            .map(|_| {
                Command::new(example("contender"))
                    .args([role.as_ref(), directory.as_os_str(), hold.as_millis().to_string().as_ref()])
                    .stdin(cue.try_clone().unwrap())
                    .stdout(Stdio::null())
                    .stderr(voice.try_clone().unwrap())
                    .spawn()
                    .unwrap()
            })
            .collect();
        Cast { children, go: Some(go), said: BufReader::new(said) }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the process ended without a word");
        line.trim_end().to_owned()
    }

    /// kill -9, and waits until they are gone.
    fn kill(&mut self) {
        for child in &mut self.children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn of_two_hundred_processes_at_once_exactly_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    let mut cast = Cast::start(200, "contend", directory.path(), Duration::ZERO);
    for _ in 0..200 {
        assert_eq!(cast.line(), "ready");
    }
    cast.go.as_mut().unwrap().write_all(&[b'.'; 200]).unwrap();
    let said: Vec<String> = (0..200).map(|_| cast.line()).collect();
    assert_eq!(said.iter().filter(|line| *line == "held").count(), 199, "{said:?}");
}

#[test]
fn of_many_threads_of_one_process_exactly_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    let locks = locks(directory.path());
    for _ in 0..20 {
        let gate = std::sync::Barrier::new(20);
        let results: Vec<Acquired> = std::thread::scope(|scope| {
            let try_it = || {
                gate.wait();
                locks.try_acquire(&request()).unwrap()
            };
            let contenders: Vec<_> = (0..20).map(|_| scope.spawn(try_it)).collect();
            contenders.into_iter().map(|contender| contender.join().unwrap()).collect()
        });
        let mut leases: Vec<Lease> = results
            .into_iter()
            .filter_map(|acquired| if let Acquired::Lease(lease) = acquired { Some(lease) } else { None })
            .collect();
        assert_eq!(leases.len(), 1);
        leases.remove(0).release().unwrap();
    }
}

#[test]
fn a_holder_that_is_killed_frees_the_lock_for_one_who_waits() {
    let directory = tempfile::tempdir().unwrap();
    let locks = locks(directory.path());
    let mut cast = Cast::start(1, "hold", directory.path(), Duration::ZERO);
    let fence: u64 = cast.line().parse().unwrap();

    let held = holder(locks.try_acquire(&request()).unwrap());
    assert!(!held.ended && held.free_at.is_none(), "{held:?}");
    let record = held.record.unwrap();
    assert_eq!((record.pid, record.fence, record.command.as_str()), (cast.children[0].id(), fence, "make tea"));

    let next = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| lease(locks.acquire(&request(), LONG, &Stop::never()).unwrap()));
        cast.kill();
        waiter.join().unwrap()
    });
    assert!(next.fence() > fence);
    next.release().unwrap();
}

#[test]
fn a_copy_of_the_descriptor_keeps_the_lock_though_the_holder_was_killed() {
    let directory = tempfile::tempdir().unwrap();
    let locks = locks(directory.path());
    let mut cast = Cast::start(1, "hold and let a child keep a copy", directory.path(), Duration::ZERO);
    let keeper = Pid::from_raw(cast.line().parse().unwrap()).unwrap();
    cast.kill();

    let held = locks.try_acquire(&request()).unwrap();
    let still_held = state(&locks);
    kill_process(keeper, Signal::KILL).unwrap();
    assert!(!holder(held).ended);
    assert!(matches!(still_held, NodeState::Held(_)));
    lease(locks.acquire(&request(), LONG, &Stop::never()).unwrap()).release().unwrap();
}

#[test]
fn a_release_frees_the_lock_though_copies_of_the_descriptor_are_open() {
    let directory = tempfile::tempdir().unwrap();
    let locks = locks(directory.path());
    let first = lease(locks.try_acquire(&request()).unwrap());
    let copy = first.hold_descriptor().unwrap().unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| locks.acquire(&request(), LONG, &Stop::never()).unwrap());
        first.release().unwrap();
        lease(waiter.join().unwrap()).release().unwrap();
    });
    drop(copy);
}

#[test]
fn a_dropped_lease_lets_go() {
    let directory = tempfile::tempdir().unwrap();
    let locks = locks(directory.path());
    drop(lease(locks.try_acquire(&request()).unwrap()));
    // Waited for: a process that another test starts just now has, until its
    // exec, a copy of every descriptor.
    lease(locks.acquire(&request(), LONG, &Stop::never()).unwrap()).release().unwrap();
}

#[test]
fn a_minimum_hold_outlives_the_killed_process() {
    let directory = tempfile::tempdir().unwrap();
    let locks = locks(directory.path());
    let mut cast = Cast::start(1, "hold", directory.path(), HOUR);
    cast.line();
    cast.kill();

    let held = holder(locks.try_acquire(&request()).unwrap());
    assert!(held.ended);
    let left = held.free_at.unwrap().remaining();
    assert!(left > HOUR / 2 && left <= HOUR, "{left:?}");
    assert!(held.to_string().contains("minimum hold"), "{held}");
    assert!(matches!(state(&locks), NodeState::Held(holder) if holder.ended));
}

#[test]
fn a_minimum_hold_is_counted_from_the_acquisition_and_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let locks = locks(directory.path());
    let hold = Duration::from_millis(300);
    let before = Moment::now();
    lease(locks.try_acquire(&request().hold_at_least(hold)).unwrap()).release().unwrap();
    let next = lease(locks.acquire(&request(), LONG, &Stop::never()).unwrap());
    assert!(before.elapsed() >= hold, "{:?}", before.elapsed());
    next.release().unwrap();
    assert_eq!(state(&locks), NodeState::Free);
}

#[test]
fn only_a_minimum_hold_can_be_broken_and_only_the_one_that_was_named() {
    let directory = tempfile::tempdir().unwrap();
    let locks = locks(directory.path());
    let demo = key("demo");
    assert_eq!(locks.break_lock(&demo, None).unwrap(), Broken::WasFree);

    let held = lease(locks.try_acquire(&request().hold_at_least(HOUR)).unwrap());
    let fence = held.fence();
    let error = locks.break_lock(&demo, Some(fence)).unwrap_err();
    assert!(error.is_held() && error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");

    held.release().unwrap();
    assert!(locks.break_lock(&demo, Some(fence - 1)).unwrap_err().is_held());
    assert!(matches!(locks.break_lock(&demo, Some(fence)).unwrap(), Broken::From(holder) if holder.ended));
    let next = lease(locks.try_acquire(&request()).unwrap());
    assert!(next.fence() > fence);
    next.release().unwrap();
}

#[test]
fn the_fence_grows_whatever_becomes_of_the_record() {
    let directory = tempfile::tempdir().unwrap();
    let locks = locks(directory.path());
    let record = directory.path().join("demo.json");
    let mut last = 0;
    for round in 0..1000 {
        let held = lease(locks.try_acquire(&request()).unwrap());
        assert!(held.fence() > last, "round {round}: {} after {last}", held.fence());
        last = held.fence();
        held.release().unwrap();
        match round % 5 {
            1 => fs::remove_file(&record).unwrap(),
            2 => fs::OpenOptions::new().write(true).open(&record).unwrap().set_len(40).unwrap(),
            3 => fs::write(&record, b"\xff\x00{").unwrap(),
            4 => fs::write(&record, "").unwrap(),
            _ => {}
        }
    }
}

#[test]
fn a_lock_that_flock_holds_excludes_us_and_ours_excludes_flock() {
    let directory = tempfile::tempdir().unwrap();
    let locks = locks(directory.path());
    let file = directory.path().join("demo.lock");
    let mut flock = Command::new("flock")
        .arg(&file)
        .args(["-c", "echo got it; read _"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(flock.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let held = locks.try_acquire(&request()).unwrap();
    drop(flock.stdin.take());
    flock.wait().unwrap();
    assert_eq!(holder(held).record, None);

    let ours = lease(locks.try_acquire(&request()).unwrap());
    assert_eq!(Command::new("flock").args(["-n", "-E", "9"]).arg(&file).arg("true").status().unwrap().code(), Some(9));
    ours.release().unwrap();
}

#[test]
fn a_lease_whose_file_was_deleted_says_that_it_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let held = lease(locks(directory.path()).try_acquire(&request()).unwrap());
    held.check().unwrap();
    assert_eq!(held.valid_until(), Moment::NEVER);
    fs::remove_file(directory.path().join("demo.lock")).unwrap();
    let lost = held.check().unwrap_err();
    assert_eq!((lost.loss, lost.key), (Loss::Deleted, key("demo")));
    held.release().unwrap();
}

#[test]
fn ten_waiters_all_get_their_turn_one_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let inside = std::sync::atomic::AtomicU32::new(0);
    let first = lease(locks(directory.path()).try_acquire(&request()).unwrap());
    let mut fences: Vec<u64> = std::thread::scope(|scope| {
        let turn = || {
            use std::sync::atomic::Ordering::SeqCst;
            let held = lease(locks(directory.path()).acquire(&request(), LONG, &Stop::never()).unwrap());
            assert_eq!(inside.fetch_add(1, SeqCst), 0);
            let fence = held.fence();
            std::thread::yield_now();
            assert_eq!(inside.fetch_sub(1, SeqCst), 1);
            held.release().unwrap();
            fence
        };
        let waiters: Vec<_> = (0..10).map(|_| scope.spawn(turn)).collect();
        first.release().unwrap();
        waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect()
    });
    fences.sort_unstable();
    fences.dedup();
    assert_eq!(fences.len(), 10);
}

#[test]
fn a_wait_ends_when_its_time_is_over_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let locks = locks(directory.path());
    let held = lease(locks.try_acquire(&request()).unwrap());
    let wait = Duration::from_millis(250);
    let start = Moment::now();
    assert!(!holder(locks.acquire(&request(), wait, &Stop::never()).unwrap()).ended);
    assert!(start.elapsed() >= wait);
    held.release().unwrap();
}

#[test]
fn a_stop_wakes_a_waiter() {
    let directory = tempfile::tempdir().unwrap();
    let locks = locks(directory.path());
    let held = lease(locks.try_acquire(&request()).unwrap());
    let (stopper, stop) = Stop::new();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| locks.acquire(&request(), Duration::MAX, &stop).unwrap());
        stopper.stop();
        assert!(matches!(waiter.join().unwrap(), Acquired::Stopped));
    });
    held.release().unwrap();
}

#[test]
fn any_text_can_be_a_key_and_each_is_a_lock_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let locks = locks(directory.path());
    let long = "x".repeat(1000);
    let longer = format!("{long}y");
    let keys =
        ["a/b", "a", "b", "..", ".", "%", "%2F", "/", "🦆", "a b\n", "demo.lock", "demo.json", "demo", &long, &longer];
    let leases: Vec<Lease> =
        keys.iter().map(|text| lease(locks.try_acquire(&Request::new(key(text))).unwrap())).collect();
    for text in keys {
        let held = holder(locks.try_acquire(&Request::new(key(text))).unwrap());
        assert_eq!(held.record.unwrap().key, text);
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2 * keys.len());
    for held in leases {
        held.release().unwrap();
    }
}
