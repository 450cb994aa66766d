//! A child's output on its way: in order, unchanged, counted, and never in its way.

use std::fs::{self, File};
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rustix::io::{dup, ioctl_fionread};
use towpath::flow::{Filter, Gap};
use towpath::job::output::{Drain, Log, Output, Plan, Pump, Tally};

fn sh(script: &str) -> Child {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Pumps a child's streams on a thread, both into one pipe, so that their order can be seen.
fn pump(child: &mut Child, plan: Plan) -> (PipeReader, JoinHandle<Output>, Drain) {
    let stdout = child.stdout.take().unwrap().into();
    let stderr = child.stderr.take().unwrap().into();
    pump_streams(stdout, Some(stderr), plan)
}

fn pump_streams(stdout: OwnedFd, stderr: Option<OwnedFd>, plan: Plan) -> (PipeReader, JoinHandle<Output>, Drain) {
    let (printed, out) = io::pipe().unwrap();
    let err = out.try_clone().unwrap();
    let (pump, drain) = Pump::new(stdout, stderr, plan, out, err).unwrap();
    (printed, thread::spawn(|| pump.run()), drain)
}

/// Everything a child's script prints, with the account.
fn printed(script: &str, plan: Plan, succeeded: bool) -> (Vec<u8>, Tally) {
    let mut child = sh(script);
    let (printed, running, _drain) = pump(&mut child, plan);
    drop(child.stdin.take());
    let all = read_all(printed, running, succeeded);
    child.wait().unwrap();
    all
}

/// What is printed to the end, which comes when the output is closed.
fn read_all(mut printed: PipeReader, running: JoinHandle<Output>, succeeded: bool) -> (Vec<u8>, Tally) {
    let closing = thread::spawn(move || running.join().unwrap().close(succeeded));
    let mut bytes = Vec::new();
    printed.read_to_end(&mut bytes).unwrap();
    (bytes, closing.join().unwrap())
}

fn include(pattern: &str) -> Option<Filter> {
    Some(Filter::new([pattern], [""; 0]).unwrap())
}

fn expect(from: &mut impl Read, want: &[u8]) {
    let mut got = vec![0; want.len()];
    from.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(want));
}

/// Bytes of all values that repeat only after a long while.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn what_is_written_is_printed_at_once_line_or_not() {
    let mut child = sh("printf a; read x; printf b >&2; read x; printf c");
    let mut stdin = child.stdin.take().unwrap();
    let (mut printed, running, _drain) = pump(&mut child, Plan::default());
    for (want, go_on) in [(b"a", true), (b"b", true), (b"c", false)] {
        expect(&mut printed, want);
        if go_on {
            stdin.write_all(b"\n").unwrap();
        }
    }
    let tally = running.join().unwrap().close(true);
    assert_eq!((tally.stdout_bytes, tally.stderr_bytes, tally.held_open), (2, 1, false));
    child.wait().unwrap();
}

/// With a level-triggered epoll the stream that was read last comes first; if it
/// is armed again only after printing, it comes last.
#[test]
fn a_busy_printer_does_not_turn_the_streams_around() {
    for stderr_first in [true, false] {
        let (out, mut stdout) = io::pipe().unwrap();
        let (err, mut stderr) = io::pipe().unwrap();
        let (mut printed, mut busy) = io::pipe().unwrap();
        let ours = [dup(&busy).unwrap(), dup(&busy).unwrap()];
        let capacity = rustix::pipe::fcntl_getpipe_size(&busy).unwrap();
        busy.write_all(&vec![b'.'; capacity]).unwrap();
        let [our_out, our_err] = ours;
        let (pump, _drain) =
            Pump::new(dup(&out).unwrap(), Some(err.into()), Plan::default(), our_out, our_err).unwrap();
        stdout.write_all(b"a").unwrap();
        let (send_id, id) = mpsc::channel();
        let running = thread::spawn(move || {
            send_id.send(rustix::thread::gettid()).unwrap();
            pump.run()
        });
        let stat = format!("/proc/self/task/{}/stat", id.recv().unwrap());
        // Until the pump has taken it, and sleeps because it can't print it.
        while ioctl_fionread(&out).unwrap() > 0 || !fs::read_to_string(&stat).unwrap().contains(") S ") {
            thread::yield_now();
        }
        if stderr_first {
            stderr.write_all(b"b").unwrap();
            stdout.write_all(b"c").unwrap();
        } else {
            stdout.write_all(b"b").unwrap();
            stderr.write_all(b"c").unwrap();
        }
        drop((out, stdout, stderr));
        expect(&mut printed, &vec![b'.'; capacity]);
        expect(&mut printed, b"abc");
        let _ = running.join().unwrap().close(true);
    }
}

#[test]
fn every_byte_is_printed_and_logged_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (input, log) = (dir.path().join("input"), dir.path().join("log"));
    let noise = noise(3_000_000);
    fs::write(&input, &noise).unwrap();
    for filter in [None, include("")] {
        let _ = fs::remove_file(&log);
        let plan = Plan { filter, log: Some(Log::open(&log).unwrap()), quiet: false, ..Plan::default() };
        let (bytes, tally) = printed(&format!("cat {}", input.display()), plan, true);
        assert!(bytes == noise, "printed");
        assert!(fs::read(&log).unwrap() == noise, "logged");
        assert_eq!(tally.stdout_bytes, noise.len() as u64);
        assert_eq!(tally.log.unwrap().lost, Gap::default());
        assert!(tally.printed.error.is_none());
    }
}

#[test]
fn the_filter_is_for_what_is_printed_and_the_log_has_all() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let plan = Plan { filter: include("keep"), log: Some(Log::open(&log).unwrap()), quiet: false, ..Plan::default() };
    let (bytes, _) = printed(r"printf 'keep 1\nno\nkeep 2\r\nthe last, keep'", plan, true);
    assert_eq!(bytes, b"keep 1\nkeep 2\r\nthe last, keep");
    assert_eq!(fs::read(&log).unwrap(), b"keep 1\nno\nkeep 2\r\nthe last, keep");
}

#[test]
fn a_line_of_70_kib_passes_whole_or_not_at_all() {
    let script = "head -c 71680 /dev/zero | tr '\\0' x; echo; head -c 71680 /dev/zero | tr '\\0' y; printf '\\nx'";
    let (bytes, tally) = printed(script, Plan { filter: include("^x"), ..Plan::default() }, true);
    assert!(bytes == [&[b'x'; 71_680][..], b"\nx"].concat());
    assert_eq!(tally.long_lines, 2);
}

/// In a process of its own, as memory is counted for a whole process.
#[test]
fn two_hundred_megabytes_without_a_line_end_take_no_memory() {
    if std::env::var_os("TOWPATH_TEST_ALONE").is_none() {
        let name = "output::two_hundred_megabytes_without_a_line_end_take_no_memory";
        let mut alone = Command::new(std::env::current_exe().unwrap());
        let alone = alone.args(["--exact", name, "--nocapture"]).env("TOWPATH_TEST_ALONE", "1").output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&alone.stdout), String::from_utf8_lossy(&alone.stderr));
        assert!(alone.status.success() && out.contains("1 passed"), "{out}{err}");
        return;
    }
    let log = Log::open("/dev/null".as_ref()).unwrap();
    let mut child = sh("head -c 200000000 /dev/zero");
    let (mut printed, running, _drain) =
        pump(&mut child, Plan { filter: include(""), log: Some(log), quiet: false, ..Plan::default() });
    let closing = thread::spawn(move || running.join().unwrap().close(true));
    assert_eq!(io::copy(&mut printed, &mut io::sink()).unwrap(), 200_000_000);
    let tally = closing.join().unwrap();
    child.wait().unwrap();
    assert_eq!((tally.stdout_bytes, tally.long_lines), (200_000_000, 1));
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 40_000, "{peak_kib} KiB");
}

#[test]
fn a_reader_who_has_enough_ends_the_child_by_sigpipe() {
    let mut child = sh("exec yes");
    let (mut printed, running, _drain) = pump(&mut child, Plan::default());
    expect(&mut printed, b"y\n");
    drop(printed);
    assert_eq!(child.wait().unwrap().signal(), Some(13));
    let tally = running.join().unwrap().close(false);
    assert_eq!(tally.printed.error.unwrap().kind(), io::ErrorKind::BrokenPipe);
    assert!(tally.printed.lost_bytes > 0);
}

#[test]
fn a_reader_who_has_enough_does_not_cut_the_log_short() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut child = sh("yes | head -n 500000");
    let plan = Plan { log: Some(Log::open(&log).unwrap()), ..Plan::default() };
    let (mut printed, running, _drain) = pump(&mut child, plan);
    expect(&mut printed, b"y\n");
    drop(printed);
    assert!(child.wait().unwrap().success());
    let tally = running.join().unwrap().close(true);
    assert_eq!(fs::metadata(&log).unwrap().len(), 1_000_000);
    assert_eq!(tally.printed.error.unwrap().kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn a_full_disk_behind_stdout_or_log_does_not_stop_the_run() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let mut child = sh("echo one; echo two >&2");
    let plan = Plan { log: Some(Log::open("/dev/full".as_ref()).unwrap()), ..Plan::default() };
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (pump, _drain) = Pump::new(stdout.into(), Some(stderr.into()), plan, full(), full()).unwrap();
    let tally = pump.run().close(true);
    assert!(child.wait().unwrap().success());
    assert_eq!(tally.printed.lost_bytes, 8);
    assert_eq!(tally.printed.error.unwrap().kind(), io::ErrorKind::StorageFull);
    let log = tally.log.unwrap();
    assert_eq!((log.bytes, log.lost), (0, Gap { lines: 2, bytes: 8 }));
    assert_eq!(log.error.unwrap().kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_quiet_run_says_nothing_if_it_succeeds_and_everything_if_not() {
    let script = "echo one; echo two >&2; echo no; printf three";
    for succeeded in [true, false] {
        let plan = Plan { filter: include("[oet][nhw][eor]"), quiet: true, ..Plan::default() };
        let (bytes, tally) = printed(script, plan, succeeded);
        let spool = tally.spool.unwrap();
        assert!(spool.error.is_none() && spool.left_out.is_empty());
        let mut words: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        words.sort_unstable(); // the order of one child's two streams is another test's matter
        assert_eq!(words, if succeeded { vec![&b""[..]] } else { vec![&b"one"[..], b"three", b"two"] });
    }
}

#[test]
fn a_quiet_run_that_fails_is_printed_in_order() {
    let mut child = sh("echo a; read x; echo b >&2; read x; echo c");
    let mut stdin = child.stdin.take().unwrap();
    // The log shows how far the pump has come.
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let plan = Plan { quiet: true, log: Some(Log::open(&log).unwrap()), ..Plan::default() };
    let (mut printed, running, _drain) = pump(&mut child, plan);
    for bytes in [2, 4] {
        while fs::metadata(&log).unwrap().len() < bytes {
            thread::yield_now();
        }
        stdin.write_all(b"\n").unwrap();
    }
    let output = running.join().unwrap();
    child.wait().unwrap();
    let _ = output.close(false);
    expect(&mut printed, b"a\nb\nc\n");
}

#[test]
fn a_quiet_run_that_fails_with_too_much_prints_beginning_and_end() {
    let script = "seq 10000000; exit 1"; // 79 MB
    let (bytes, tally) = printed(script, Plan { quiet: true, ..Plan::default() }, false);
    let left_out = tally.spool.unwrap().left_out;
    let gap = left_out.to_line("left out (spool limit)");
    assert!(bytes.starts_with(b"1\n2\n3\n") && bytes.ends_with(b"9999999\n10000000\n"));
    assert!(bytes.windows(gap.len()).any(|window| window == gap.as_bytes()), "{gap}");
    assert!((16_000_000..30_000_000).contains(&bytes.len()), "{}", bytes.len());
    let torn = bytes.len() as u64 + left_out.bytes - gap.len() as u64 - tally.stdout_bytes;
    assert!(torn <= 1, "all but what was left out is there, and at most a line end before the gap");
}

#[test]
fn a_stranger_who_holds_the_streams_does_not_hold_the_run() {
    let mut child = sh("echo all of it");
    let (out, stdout) = io::pipe().unwrap();
    let stranger = stdout.try_clone().unwrap();
    child.wait().unwrap();
    let (mut printed, running, drain) = pump_streams(out.into(), None, Plan::default());
    (&stdout).write_all(b"the tree's last words").unwrap();
    drop(stdout);
    drain.tree_gone();
    let tally = running.join().unwrap().close(true);
    expect(&mut printed, b"the tree's last words");
    assert!(tally.held_open);
    assert_eq!((&stranger).write_all(b"more").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn a_stranger_who_goes_on_writing_does_not_hold_the_run() {
    let (out, mut stranger) = io::pipe().unwrap();
    let (mut printed, running, drain) = pump_streams(out.into(), None, Plan::default());
    let reading = thread::spawn(move || io::copy(&mut printed, &mut io::sink()).unwrap());
    let writing = thread::spawn(move || while stranger.write_all(&[b'x'; 4096]).is_ok() {});
    drain.tree_gone();
    let tally = running.join().unwrap().close(true);
    assert!(tally.held_open);
    writing.join().unwrap();
    assert_eq!(reading.join().unwrap(), tally.stdout_bytes);
}

#[test]
fn an_ended_tree_holds_nothing_open() {
    let mut child = sh("echo out; echo err >&2");
    let (mut printed, running, drain) = pump(&mut child, Plan::default());
    child.wait().unwrap();
    drain.tree_gone();
    let tally = running.join().unwrap().close(true);
    let mut text = String::new();
    printed.read_to_string(&mut text).unwrap();
    assert!(text == "out\nerr\n" || text == "err\nout\n", "{text}");
    assert!(!tally.held_open && tally.read_error.is_none());
}

#[test]
fn a_terminal_is_one_stream_and_its_hangup_the_end() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "echo keep; echo no >&2; test -t 1 && echo keep"]);
    command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
    let mut child = command.spawn().unwrap();
    drop(command); // it holds the terminal too
    let plan = Plan { filter: include("keep$"), ..Plan::default() };
    let (printed, running, _drain) = pump_streams(master, None, plan);
    let (bytes, tally) = read_all(printed, running, true);
    assert_eq!(bytes, b"keep\r\nkeep\r\n");
    assert!(!tally.held_open && tally.read_error.is_none());
    assert_eq!(tally.stdout_bytes, 16);
    child.wait().unwrap();
}

#[test]
fn a_child_that_closes_its_output_and_lives_on_ends_the_pump_only() {
    let mut child = sh("echo said; exec >&- 2>&-; read x; exit 3");
    let mut stdin = child.stdin.take().unwrap();
    let (mut printed, running, _drain) = pump(&mut child, Plan::default());
    let _ = running.join().unwrap().close(true);
    expect(&mut printed, b"said\n");
    assert!(child.try_wait().unwrap().is_none());
    stdin.write_all(b"\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
}
