//! Threads: how they end, what their panics keep, the two classes, signals.

use std::backtrace::BacktraceStatus;
use std::error::Error;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;
use std::panic::{self, AssertUnwindSafe};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::Duration;

use crossbeam_channel::{bounded, select};
use rustix::process::{Signal, getpid, kill_process};
use towpath::thread::signals::{SIGTERM, SIGUSR1, SIGUSR2, Signals, ignored_at_start};
use towpath::thread::{Panic, Stop, Stopper, Supervisor, Worker, catch, context, spawn};

/// For what must come: far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

// How a thread ends.

#[test]
fn join_gives_the_value_that_the_thread_returned() {
    let worker = spawn("adder", |_| 40 + 2).unwrap();
    assert_eq!(worker.name(), "adder");
    assert_eq!(worker.join().unwrap(), 42);
}

#[test]
fn join_gives_the_panic_with_its_first_scene() {
    let worker = spawn("victim", |_| -> () {
        let _gone = context("gone", "dropped before the panic");
        drop(_gone);
        let _peer = context("peer", "192.0.2.7");
        let _outer = context("request", "GET /");
        let _inner = context("request", "GET /log");
        panic!("out of {}", "paper")
    })
    .unwrap();
    let panic: Panic = worker.join().unwrap_err();
    assert_eq!(panic.thread(), "victim");
    assert_eq!(panic.message(), "out of paper");
    assert!(panic.location().unwrap().contains("tests/it/thread.rs:"), "{panic}");
    assert_eq!(panic.context(), [("peer", "192.0.2.7".to_owned()), ("request", "GET /log".to_owned())]);
    assert_eq!(panic.backtrace().status(), BacktraceStatus::Captured);
    assert!(panic.evidence().to_string().contains("join_gives_the_panic_with_its_first_scene"));
    assert!(!panic.to_string().contains('\n'));
}

#[test]
fn a_stop_wakes_sleep_and_select() {
    let (asleep, begun) = bounded(2);
    let also = asleep.clone();
    let sleeper = spawn("sleeper", move |stop| {
        asleep.send(()).unwrap();
        stop.sleep(Duration::MAX)
    })
    .unwrap();
    let selector = spawn("selector", move |stop| {
        also.send(()).unwrap();
        select! { recv(stop.receiver()) -> _ => stop.is_set() }
    })
    .unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    assert!(!sleeper.is_finished());
    sleeper.stop();
    selector.stop();
    selector.stop();
    assert_eq!(sleeper.join_within(PATIENCE).unwrap().unwrap(), ControlFlow::Break(()));
    assert!(selector.join_within(PATIENCE).unwrap().unwrap());
}

#[test]
fn dropping_the_last_stopper_asks_to_stop_and_no_earlier_one_does() {
    let (stopper, stop) = Stop::new();
    let clone = stopper.clone();
    drop(stopper);
    assert!(!stop.is_set());
    drop(clone);
    assert!(stop.is_set());
    assert!(!Stop::never().is_set());
    assert_eq!(Stop::never().sleep(Duration::from_millis(1)), ControlFlow::Continue(()));
}

#[test]
fn ended_disconnects_when_the_body_has_ended() {
    let (release, held) = bounded::<()>(0);
    let worker = spawn("held", move |_| while held.recv().is_ok() {}).unwrap();
    let worker = worker.join_within(Duration::from_millis(1)).unwrap_err();
    assert!(!worker.is_finished());
    drop(release);
    assert!(worker.ended().recv_timeout(PATIENCE).unwrap_err().is_disconnected());
    assert!(worker.is_finished());
    worker.join().unwrap();
}

#[test]
fn dropping_a_worker_stops_its_thread() {
    let (ended, end) = bounded::<()>(0);
    let worker = spawn("dropped", move |stop| {
        stop.wait();
        drop(ended);
    });
    drop(worker);
    assert!(end.recv_timeout(PATIENCE).unwrap_err().is_disconnected());
}

#[test]
fn dropping_a_worker_whose_thread_heeds_nothing_does_not_block() {
    let (release, held) = bounded::<()>(0);
    let (ended, end) = bounded::<()>(0);
    let worker = spawn("deaf", move |_| {
        let _ = held.recv();
        drop(ended);
    });
    drop(worker); // would block until the next line otherwise
    drop(release);
    assert!(end.recv_timeout(PATIENCE).unwrap_err().is_disconnected());
}

#[test]
fn a_name_that_no_thread_can_have_is_refused() {
    let error = spawn("a\0b", |_| ()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

/// Who may hand what to another thread is part of what was promised.
#[test]
fn what_threads_share_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Stop>();
    shared::<Stopper>();
    shared::<Supervisor>();
    shared::<Panic>();
    shared::<Worker<Vec<u8>>>();
    shared::<Signals>();
}

// What a panic keeps.

#[test]
fn a_loop_goes_on_after_a_caught_panic_of_any_payload() {
    let outcomes: Vec<String> = (0..4)
        .map(|round| {
            catch(|| match round {
                0 => panic!("a literal"),
                1 => panic!("a {}", "format"),
                2 => panic::panic_any(7_u8),
                _ => "a value".to_owned(),
            })
            .unwrap_or_else(|panic| format!("{} at {}", panic.message(), panic.location().is_some()))
        })
        .collect();
    let text = "a panic whose payload is no text at true";
    assert_eq!(outcomes, ["a literal at true", "a format at true", text, "a value"]);
}

/// A panic that is thrown and caught while another unwinds is not that other one.
#[test]
fn a_panic_caught_by_a_destructor_does_not_hide_the_first() {
    struct Careless;
    impl Drop for Careless {
        fn drop(&mut self) {
            let ours = catch(|| -> () { panic!("second") });
            assert_eq!(ours.unwrap_err().message(), "second");
            let theirs = panic::catch_unwind(|| -> () { panic!("third") });
            assert!(theirs.is_err());
        }
    }
    let panic = catch(|| -> () {
        let _careless = Careless;
        let _job = context("job", "first");
        panic!("first")
    })
    .unwrap_err();
    assert_eq!(panic.message(), "first");
    assert_eq!(panic.context(), [("job", "first".to_owned())]);
}

#[test]
fn a_payload_from_elsewhere_does_not_get_the_scene_of_an_older_panic() {
    let panic = catch(|| -> () {
        let _ = panic::catch_unwind(|| panic!("old"));
        panic::resume_unwind(Box::new("from elsewhere"))
    })
    .unwrap_err();
    assert_eq!(panic.message(), "from elsewhere");
    assert_eq!(panic.location(), None);
    assert_eq!(panic.backtrace().status(), BacktraceStatus::Disabled);
}

#[test]
fn panics_outside_go_to_the_hook_that_was_there_and_ours_are_silent() {
    let child = as_child("panics_outside_go_to_the_hook_that_was_there_and_ours_are_silent", || {
        catch(|| -> () { panic!("own-1") }).unwrap_err();
        spawn("ours", |_| -> () { panic!("own-2") }).unwrap().join().unwrap_err();
        let theirs = panic::catch_unwind(AssertUnwindSafe(|| -> () { panic!("foreign") }));
        assert!(theirs.is_err());
    });
    let Some(output) = child else { return };
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.contains("foreign"), "{stderr}");
    assert!(!stderr.contains("own-"), "{stderr}");
}

#[test]
fn without_a_logger_the_evidence_goes_to_stderr() {
    let child = as_child("without_a_logger_the_evidence_goes_to_stderr", || {
        let supervisor = Supervisor::new();
        supervisor
            .isolated("lonely", |_| {
                let _job = context("job", "nightly");
                panic!("unheard");
            })
            .unwrap();
        supervisor.stopper().stop();
        supervisor.wait(PATIENCE).unwrap();
    });
    let Some(output) = child else { return };
    let stderr = String::from_utf8(output.stderr).unwrap();
    for part in ["thread \"lonely\" panicked at", "unheard", "job: nightly", "tests/it/thread.rs"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert_eq!(stderr.matches("unheard").count(), 1, "{stderr}");
}

#[test]
fn a_panic_is_one_record_with_key_values() {
    static RECORDS: Mutex<Vec<Vec<(String, String)>>> = Mutex::new(Vec::new());
    struct Keep;
    impl log::Log for Keep {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            let mut pairs = Pairs(vec![("level".to_owned(), record.level().to_string())]);
            record.key_values().visit(&mut pairs).unwrap();
            RECORDS.lock().unwrap().push(pairs.0);
        }
        fn flush(&self) {}
    }
    struct Pairs(Vec<(String, String)>);
    impl<'kvs> log::kv::VisitSource<'kvs> for Pairs {
        fn visit_pair(&mut self, key: log::kv::Key<'kvs>, value: log::kv::Value<'kvs>) -> Result<(), log::kv::Error> {
            self.0.push((key.to_string(), value.to_string()));
            Ok(())
        }
    }
    let child = as_child("a_panic_is_one_record_with_key_values", || {
        log::set_logger(&Keep).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        // Nobody joins it: the one that drops it finds the panic.
        let (begun, ready) = bounded::<()>(0);
        let worker = spawn("recorded", move |stop| -> () {
            let _peer = context("peer", "192.0.2.7");
            drop(begun);
            stop.wait();
            panic!("for the record")
        })
        .unwrap();
        let _ = ready.recv();
        drop(worker);
        wait_until(|| RECORDS.lock().unwrap().iter().any(|record| record.len() > 2));
        let records = RECORDS.lock().unwrap();
        let record = records.iter().find(|record| record.len() > 2).unwrap();
        let keys: Vec<&str> = record.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["level", "thread", "location", "peer", "backtrace"]);
        assert_eq!(
            (record[0].1.as_str(), record[1].1.as_str(), record[3].1.as_str()),
            ("ERROR", "recorded", "192.0.2.7")
        );
        assert_eq!(records.iter().filter(|record| record.len() > 2).count(), 1);
    });
    let Some(output) = child else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

// The two classes.

#[test]
fn the_panic_of_an_isolated_thread_leaves_the_others_running() {
    let_the_log_be_silent();
    let supervisor = Supervisor::new();
    let (dead, death) = bounded::<()>(0);
    supervisor
        .isolated("doomed", move |_| {
            let _told_by_unwinding = dead;
            panic!("only mine");
        })
        .unwrap();
    assert!(death.recv_timeout(PATIENCE).unwrap_err().is_disconnected());
    let (answer, answers) = bounded(1);
    supervisor
        .essential("goes on", move |stop| {
            answer.send(stop.is_set()).unwrap();
            stop.wait();
        })
        .unwrap();
    assert!(!answers.recv_timeout(PATIENCE).unwrap());
    supervisor.stopper().stop();
    supervisor.wait(PATIENCE).unwrap();
    assert!(supervisor.left_behind().is_empty());
}

#[test]
fn an_essential_thread_that_panics_or_returns_stops_the_others_and_fails_wait() {
    let_the_log_be_silent();
    for panics in [true, false] {
        let supervisor = Supervisor::new();
        let (ended, end) = bounded::<()>(0);
        supervisor
            .isolated("bystander", move |stop| {
                stop.wait();
                drop(ended);
            })
            .unwrap();
        supervisor.essential("heart", move |_| assert!(!panics, "stopped beating")).unwrap();
        let death = supervisor.wait(PATIENCE).unwrap_err();
        assert!(end.try_recv().unwrap_err().is_disconnected());
        assert_eq!(death.thread(), "heart");
        assert_eq!(death.panic().map(Panic::message), panics.then_some("stopped beating"));
        assert_eq!(death.source().is_some(), panics);
        assert!(supervisor.isolated("late", |_| ()).is_err());
    }
}

#[test]
fn an_essential_thread_that_panics_while_it_stops_fails_wait() {
    let_the_log_be_silent();
    let supervisor = Supervisor::new();
    supervisor
        .essential("heart", |stop| {
            stop.wait();
            panic!("could not save");
        })
        .unwrap();
    supervisor.stopper().stop();
    assert_eq!(supervisor.wait(PATIENCE).unwrap_err().panic().unwrap().message(), "could not save");
}

#[test]
fn threads_that_do_not_come_within_the_grace_are_named() {
    let supervisor = Supervisor::new();
    let (release, held) = bounded::<()>(0);
    supervisor.isolated("deaf", move |_| while held.recv().is_ok() {}).unwrap();
    supervisor.essential("heeds", Stop::wait).unwrap();
    supervisor.stopper().stop();
    supervisor.wait(Duration::from_millis(50)).unwrap();
    assert!(supervisor.left_behind().contains(&"deaf".to_owned()));
    drop(release);
}

#[test]
fn dropping_a_supervisor_stops_its_threads_and_waits_for_none_that_is_deaf() {
    let supervisor = Supervisor::new();
    let (ending, end) = bounded::<()>(0);
    supervisor
        .essential("heeds", move |stop| {
            stop.wait();
            drop(ending);
        })
        .unwrap();
    let (release, held) = bounded::<()>(0);
    supervisor.isolated("deaf", move |_| while held.recv().is_ok() {}).unwrap();
    drop(supervisor);
    assert!(end.recv_timeout(PATIENCE).unwrap_err().is_disconnected());
    drop(release);
}

// Signals.

#[test]
fn ignored_at_start_tells_what_the_parent_had_ignored() {
    let name = "ignored_at_start_tells_what_the_parent_had_ignored";
    if std::env::var_os(CHILD).is_some() {
        assert!(ignored_at_start(SIGUSR2));
        assert!(!ignored_at_start(SIGUSR1));
        return;
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' USR2; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    let output = run_as_child(shell, name);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn signals_arrive_in_the_channel_and_none_of_a_kind_is_lost_behind_many() {
    let signals = Signals::listen(&[SIGUSR1, SIGUSR2]).unwrap();
    for _ in 0..100 {
        kill_process(getpid(), Signal::USR1).unwrap();
    }
    kill_process(getpid(), Signal::USR2).unwrap();
    let mut seen = Vec::new();
    while !seen.contains(&SIGUSR2) {
        seen.push(signals.receiver().recv_timeout(PATIENCE).unwrap());
    }
    assert!(seen.contains(&SIGUSR1) || signals.receiver().recv_timeout(PATIENCE).unwrap() == SIGUSR1);
    drop(signals); // joins, with the channel possibly full
}

#[test]
fn a_signal_that_nobody_listens_to_any_more_has_its_default_action() {
    let child = as_child("a_signal_that_nobody_listens_to_any_more_has_its_default_action", || {
        drop(Signals::listen(&[SIGTERM]).unwrap());
        let again = Signals::listen(&[SIGTERM]).unwrap();
        kill_process(getpid(), Signal::TERM).unwrap();
        assert_eq!(again.receiver().recv_timeout(PATIENCE).unwrap(), SIGTERM);
        drop(again);
        kill_process(getpid(), Signal::TERM).unwrap();
    });
    let Some(output) = child else { return };
    assert_eq!(output.status.signal(), Some(SIGTERM), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_signal_that_can_not_be_handled_is_refused() {
    for signal in [0, -1, 9, 19, 11, 64, 1000] {
        assert_eq!(Signals::listen(&[signal]).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{signal}");
    }
}

// Helpers.

/// Without a logger, evidence goes to stderr: many lines in the report of tests that passed.
fn let_the_log_be_silent() {
    log::set_max_level(log::LevelFilter::Error);
}

const CHILD: &str = "TOWPATH_TEST_CHILD";

/// Runs the calling test once more, by itself, in a process of its own, where
/// it does `body`. Gives None there, and its output here.
fn as_child(test: &str, body: impl FnOnce()) -> Option<Output> {
    if std::env::var_os(CHILD).is_some() {
        body();
        return None;
    }
    Some(run_as_child(Command::new(std::env::current_exe().unwrap()), test))
}

fn run_as_child(mut command: Command, test: &str) -> Output {
    command.args(["--exact", "--nocapture", &format!("thread::{test}")]).env(CHILD, test).output().unwrap()
}

/// Polls: a log announces itself by no channel.
fn wait_until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        std::thread::sleep(Duration::from_millis(5));
    }
}
