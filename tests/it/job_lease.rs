//! A command under a lease that lapses: how it ends when the lease does.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use towpath::clock::Moment;
use towpath::job::{IfUnreachable, Job, Once, Outcome, Unfit, Verdict};
use towpath::lock::Request;
use towpath::process::{Status, set_keeper_program};
use towpath::store::{Key, Loss, StoreUrl};

use crate::support::memory::{Memory, Mood};
use crate::support::wait::until;

const SHORT: Duration = Duration::from_secs(3);
/// So long that no renewal comes during a test.
const LONG: Duration = Duration::from_secs(600);

/// One run in a directory of its own, under the lock `k` of a store of its own.
struct Stage {
    store: Memory,
    directory: tempfile::TempDir,
}

impl Stage {
    fn new() -> Stage {
        set_keeper_program(env!("CARGO_BIN_EXE_towpath").into());
        Stage { store: Memory::default(), directory: tempfile::tempdir().unwrap() }
    }

    /// A job for a shell, which says that it runs by a file `on`, and ends when there is a file `go`.
    fn job(&self, ttl: Duration, script: &str) -> Job {
        let script = format!("cd {}; {script}", self.directory.path().display());
        let request = Request::new(Key::new("k").unwrap()).ttl(ttl);
        Job::new(["sh", "-c", &script])
            .no_stdin()
            .once(Once { store: StoreUrl::default(), request, wait: Duration::ZERO })
            .locks(Arc::new(self.store.locks()))
            .report(self.path("report").into())
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    fn exists(&self, name: &str) -> bool {
        Path::new(&self.path(name)).exists()
    }

    /// Starts it, and waits until the command runs.
    fn start(&self, job: Job) -> Started {
        let (signals, receiver) = bounded(1);
        let thread = std::thread::spawn(move || job.run(&receiver));
        until("the command's start", || self.exists("on"));
        Started { thread, _signals: signals }
    }

    fn go(&self) {
        fs::write(self.path("go"), "").unwrap();
    }

    fn report(&self) -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(self.path("report")).unwrap()).unwrap()
    }
}

struct Started {
    thread: JoinHandle<Outcome>,
    _signals: Sender<i32>,
}

impl Started {
    fn outcome(self) -> Outcome {
        self.thread.join().unwrap()
    }
}

fn run(job: Job) -> Outcome {
    let (_signals, receiver) = bounded(1);
    job.run(&receiver)
}

const WAIT: &str = "touch on; while [ ! -e go ]; do sleep 0.05; done";

#[test]
fn a_command_outlives_the_ttl_as_its_lease_is_renewed() {
    let stage = Stage::new();
    let began = Moment::now();
    let started = stage.start(stage.job(SHORT, WAIT));
    until("the end of the first ttl", || began.elapsed() > SHORT + SHORT / 3);
    assert!(stage.store.is_held("k"));
    stage.go();
    let outcome = started.outcome();
    assert!(matches!(outcome.verdict, Verdict::Ended(Status::Exited(0))), "{outcome:?}");
    assert_eq!((outcome.exit_code(75), outcome.ttl, outcome.lost.is_none()), (0, Some(SHORT), true));
    assert!(!stage.store.is_held("k"));
    let report = stage.report();
    assert_eq!((&report["lease"]["ttl_ms"], &report["lease"]["lost"]), (&3000.into(), &serde_json::Value::Null));
}

#[test]
fn a_lease_that_is_lost_ends_the_command_at_once() {
    let stage = Stage::new();
    let started = stage.start(stage.job(SHORT, WAIT));
    stage.store.forget("k");
    let outcome = started.outcome();
    let Verdict::LeaseLost { lost, status } = &outcome.verdict else { panic!("{outcome:?}") };
    assert_eq!((&lost.loss, *status), (&Loss::Deleted, Some(Status::Signaled(15))));
    assert_eq!((outcome.exit_code(75), outcome.word(), outcome.success()), (79, "lease-lost", false));
    let report = stage.report();
    assert!(report["error"].as_str().unwrap().contains("deleted"), "{report}");
    assert!(report["lease"]["lost_noticed"].is_string() && report["exit_code"] == 79, "{report}");
}

#[test]
fn a_command_that_heeds_nothing_is_killed_before_its_lease_lapses() {
    let stage = Stage::new();
    let started = stage.start(stage.job(SHORT, &format!("trap '' TERM; {WAIT}")));
    stage.store.be(Mood::Down);
    let outcome = started.outcome();
    let Verdict::LeaseLost { lost, status } = &outcome.verdict else { panic!("{outcome:?}") };
    assert_eq!((&lost.loss, *status), (&Loss::Lapsed, Some(Status::Signaled(9))));
    assert!(lost.cause.as_ref().unwrap().is_unreachable());
    assert_eq!(outcome.exit_code(75), 79);
    // Nobody waited for the store once more.
    assert!(outcome.release_error.is_none());
}

#[test]
fn a_command_that_ended_before_its_lock_was_found_gone_was_perhaps_not_alone() {
    let stage = Stage::new();
    let started = stage.start(stage.job(LONG, WAIT));
    stage.store.forget("k");
    stage.go();
    let outcome = started.outcome();
    assert!(matches!(outcome.verdict, Verdict::Ended(Status::Exited(0))), "{outcome:?}");
    assert!(!outcome.release_error.as_ref().unwrap().is_unreachable());
    assert_eq!((outcome.exit_code(75), outcome.word()), (79, "exited"));
}

#[test]
fn a_failure_keeps_its_code_though_the_lock_was_found_gone() {
    let stage = Stage::new();
    let started = stage.start(stage.job(LONG, &format!("{WAIT}; exit 3")));
    stage.store.forget("k");
    stage.go();
    assert_eq!(started.outcome().exit_code(75), 3);
}

#[test]
fn a_lock_that_cannot_be_given_back_does_not_spoil_a_success() {
    let stage = Stage::new();
    let started = stage.start(stage.job(LONG, WAIT));
    stage.store.be(Mood::Down);
    stage.go();
    let outcome = started.outcome();
    assert!(outcome.release_error.as_ref().unwrap().is_unreachable());
    assert_eq!(outcome.exit_code(75), 0);
    assert!(stage.report()["release_error"].is_string());
}

#[test]
fn a_lease_that_is_nearly_over_starts_nothing() {
    let stage = Stage::new();
    stage.store.grant_only(Duration::from_millis(1));
    let outcome = run(stage.job(LONG, "touch on"));
    assert!(matches!(outcome.verdict, Verdict::LeaseLost { status: None, .. }), "{outcome:?}");
    assert_eq!((outcome.exit_code(75), outcome.started, stage.exists("on")), (79, None, false));
}

#[test]
fn the_death_of_the_thread_that_renews_ends_the_command() {
    let stage = Stage::new();
    let started = stage.start(stage.job(SHORT, WAIT));
    stage.store.be(Mood::Panicking);
    let outcome = started.outcome();
    assert!(matches!(outcome.verdict, Verdict::Essential { thread: "lock-renewal", .. }), "{outcome:?}");
    assert_eq!((outcome.exit_code(75), outcome.status), (70, Some(Status::Signaled(15))));
}

#[test]
fn a_store_that_is_down_decides_nothing_but_what_it_was_asked_to() {
    let stage = Stage::new();
    stage.store.be(Mood::Down);
    let script = r#"touch on; test -z "$TOWPATH_FENCE" && test "$TOWPATH_KEY" = k"#;
    let outcome = run(stage.job(SHORT, script));
    assert!(matches!(outcome.verdict, Verdict::Store(_)) && outcome.exit_code(75) == 69, "{outcome:?}");

    let outcome = run(stage.job(SHORT, script).if_unreachable(IfUnreachable::Skip));
    assert!(matches!(outcome.verdict, Verdict::Skipped(_)), "{outcome:?}");
    assert_eq!((outcome.exit_code(75), outcome.success(), stage.exists("on")), (0, false, false));
    assert_eq!(stage.report()["outcome"], "skipped");

    let outcome = run(stage.job(SHORT, script).if_unreachable(IfUnreachable::Run));
    assert!(matches!(outcome.verdict, Verdict::Ended(Status::Exited(0))), "{outcome:?}");
    assert_eq!((outcome.fence, outcome.ttl, outcome.unlocked.is_some()), (None, None, true));
    assert!(stage.exists("on") && stage.report()["ran_without_lock"].is_string());
}

#[test]
fn what_does_not_fit_the_ttl_is_not_run() {
    let stage = Stage::new();
    let long = stage.job(SHORT, "touch on").kill_after(SHORT);
    assert!(matches!(long.check(), Err(Unfit::GraceTooLong { .. })));
    assert_eq!(run(long).exit_code(75), 125);
    let short = stage.job(SHORT / 10, "touch on");
    assert!(matches!(short.check(), Err(Unfit::TtlTooShort { .. })));
    assert_eq!(run(short).exit_code(75), 125);
    assert!(!stage.exists("on") && stage.job(SHORT, "").kill_after(SHORT / 2).check().is_ok());
}
