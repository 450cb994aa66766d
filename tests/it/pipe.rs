//! Pipes: each way a stream ends, and what its reader sees.

use std::error::Error;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use crossbeam_channel::bounded;
use rustix::event::{PollFd, PollFlags, poll};
use towpath::pipe::{Source, WriterFailed, copy, pair, pair_with_capacity, produce};
use towpath::thread::{Panic, context, spawn};

/// For what must come: far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

// The ends.

#[test]
fn a_finished_pipe_ends_with_zero_again_and_again() {
    let (mut sink, mut source) = pair().unwrap();
    sink.write_all(b"all of it").unwrap();
    assert!(source.verdict().is_none());
    sink.finish();
    assert_eq!(read_all(&mut source).0, b"all of it");
    assert_eq!(source.read(&mut [0; 8]).unwrap(), 0);
    source.verdict().unwrap().unwrap();
}

#[test]
fn a_forgotten_sink_is_an_error_after_its_bytes() {
    let (mut sink, mut source) = pair().unwrap();
    sink.write_all(b"half of").unwrap();
    drop(sink);
    let (bytes, error) = read_all(&mut source);
    assert_eq!(bytes, b"half of");
    let error = error.unwrap();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains("dropped before it said how it ended"), "{error}");
}

#[test]
fn a_failure_follows_the_bytes_and_is_the_same_at_every_read() {
    let (mut sink, mut source) = pair().unwrap();
    sink.write_all(b"half of").unwrap();
    sink.fail(io::Error::new(ErrorKind::InvalidData, "torn"));
    let (bytes, error) = read_all(&mut source);
    assert_eq!(bytes, b"half of");
    for error in [error.unwrap(), source.read(&mut [0; 8]).unwrap_err(), source.verdict().unwrap().unwrap_err()] {
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidData, "torn"));
        let carried = error.get_ref().and_then(|inner| inner.downcast_ref::<WriterFailed>()).unwrap();
        assert_eq!(carried.error().kind(), ErrorKind::InvalidData);
        assert!(error.source().is_none(), "it would repeat the text");
    }
}

#[test]
fn an_error_of_the_system_keeps_its_number() {
    let (sink, mut source) = pair().unwrap();
    sink.fail(rustix::io::Errno::NOSPC.into());
    let error = source.read(&mut [0; 8]).unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::StorageFull, Some(28)));
}

/// `read_to_end` and `io::copy` repeat an interrupted call, for ever if it always is.
#[test]
fn a_failure_that_says_try_again_does_not_make_its_reader_spin() {
    for kind in [ErrorKind::Interrupted, ErrorKind::WouldBlock] {
        let (sink, mut source) = pair().unwrap();
        sink.fail(io::Error::new(kind, "again"));
        let error = read_all(&mut source).1.unwrap();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Other, "again"));
    }
}

#[test]
fn unwinding_over_a_sink_is_told_to_its_reader() {
    let (mut sink, mut source) = pair().unwrap();
    let worker = spawn("writer", move |_| -> () {
        sink.write_all(b"half of").unwrap();
        panic!("no more")
    })
    .unwrap();
    let (bytes, error) = read_all(&mut source);
    assert_eq!(bytes, b"half of");
    assert_eq!(error.unwrap().to_string(), "thread \"writer\" panicked before it finished the pipe");
    assert_eq!(worker.join().unwrap_err().message(), "no more");
}

#[test]
fn a_reader_that_waits_is_woken_by_a_failure() {
    let (sink, mut source) = pair().unwrap();
    let (reading, begun) = bounded::<()>(0);
    let reader = spawn("reader", move |_| {
        drop(reading);
        source.read(&mut [0; 8]).unwrap_err().kind()
    })
    .unwrap();
    let _ = begun.recv();
    sink.fail(ErrorKind::TimedOut.into());
    assert_eq!(reader.join_within(PATIENCE).unwrap().unwrap(), ErrorKind::TimedOut);
}

#[test]
fn a_writer_whose_reader_is_gone_gets_a_broken_pipe() {
    let (mut sink, source) = pair().unwrap();
    drop(source);
    assert_eq!(sink.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn reading_into_nothing_is_no_end() {
    let (mut sink, mut source) = pair().unwrap();
    assert_eq!(source.read(&mut []).unwrap(), 0);
    sink.write_all(b"x").unwrap();
    drop(sink);
    assert_eq!(source.read(&mut []).unwrap(), 0);
    assert_eq!(source.read(&mut [0; 8]).unwrap(), 1);
    source.read(&mut [0; 8]).unwrap_err();
}

#[test]
fn several_slices_go_out_in_one_write() {
    let (mut sink, mut source) = pair().unwrap();
    let written = sink.write_vectored(&[IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"write")]).unwrap();
    sink.finish();
    assert_eq!(written, 9);
    assert_eq!(read_all(&mut source).0, b"one write");
}

#[test]
fn a_source_can_be_polled_with_a_deadline() {
    let (mut sink, source) = pair().unwrap();
    let readable = |source: &Source| {
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::from_borrowed_fd(source.as_fd(), PollFlags::IN)], Some(&now)).unwrap() == 1
    };
    assert!(!readable(&source));
    sink.write_all(b"x").unwrap();
    assert!(readable(&source));
}

#[test]
fn the_capacity_is_the_callers_choice() {
    assert_eq!(pair_with_capacity(4096).unwrap().0.capacity().unwrap(), 4096);
    let rounded = pair_with_capacity(100_000).unwrap().0.capacity().unwrap();
    assert!(rounded >= 100_000, "{rounded}");
    pair_with_capacity(usize::MAX).unwrap_err();
}

// A thread at the writing end.

#[test]
fn what_produce_returns_is_what_its_reader_gets() {
    let mut finished = produce("good", |sink| sink.write_all(b"done")).unwrap();
    let (bytes, error) = read_all(&mut finished);
    assert_eq!((bytes.as_slice(), error.is_none()), (b"done".as_slice(), true));

    let mut failed = produce("bad", |sink| {
        sink.write_all(b"half")?;
        Err(io::Error::new(ErrorKind::NotFound, "no more"))
    })
    .unwrap();
    let (bytes, error) = read_all(&mut failed);
    assert_eq!((bytes.as_slice(), error.unwrap().to_string().as_str()), (b"half".as_slice(), "no more"));
}

#[test]
fn a_panic_of_a_producer_reaches_the_reader_with_its_evidence() {
    let mut source = produce("careless", |sink| {
        sink.write_all(b"half")?;
        let _image = context("image", "alpine");
        panic!("mid-way")
    })
    .unwrap();
    let (bytes, first) = read_all(&mut source);
    assert_eq!(bytes, b"half");
    for error in [first.unwrap(), source.read(&mut [0; 8]).unwrap_err()] {
        assert_eq!(error.to_string(), "the writing side of the pipe panicked");
        let panic = error.source().and_then(|source| source.downcast_ref::<Panic>()).unwrap();
        assert_eq!((panic.thread(), panic.message()), ("careless", "mid-way"));
        assert_eq!(panic.context(), [("image", "alpine".to_owned())]);
    }
}

#[test]
fn dropping_the_source_ends_a_producer_that_writes_without_end() {
    let (ended, end) = bounded(1);
    let mut source = produce("endless", move |sink| {
        let error = io::copy(&mut io::repeat(b'x'), sink).unwrap_err();
        ended.send(error.kind()).unwrap();
        Err(error)
    })
    .unwrap();
    source.read_exact(&mut [0; 100_000]).unwrap();
    drop(source);
    assert_eq!(end.recv_timeout(PATIENCE).unwrap(), ErrorKind::BrokenPipe);
}

#[test]
fn dropping_the_source_of_a_producer_that_does_not_write_does_not_block() {
    let (release, held) = bounded::<()>(0);
    let source = produce("deaf", move |_| {
        let _ = held.recv();
        Ok(())
    });
    drop(source); // would block until the next line otherwise
    drop(release);
}

// Ends given to children.

#[test]
fn a_child_writes_into_a_lent_end_and_its_owner_says_how_it_ended() {
    for code in [0, 3] {
        let (sink, mut source) = pair().unwrap();
        let script = format!("printf 'from the child'; exit {code}");
        let mut child = Command::new("sh").args(["-c", &script]).stdout(sink.lend().unwrap()).spawn().unwrap();
        let waiter = spawn("waiter", move |_| match child.wait().unwrap() {
            status if status.success() => sink.finish(),
            status => sink.fail(io::Error::other(status.to_string())),
        })
        .unwrap();
        let (bytes, error) = read_all(&mut source);
        waiter.join().unwrap();
        assert_eq!(bytes, b"from the child");
        assert_eq!(error.map(|error| error.to_string()), (code != 0).then(|| format!("exit status: {code}")));
    }
}

#[test]
fn a_lent_end_that_is_still_open_holds_back_the_end_and_loses_nothing() {
    let (sink, mut source) = pair().unwrap();
    let mut lent = io::PipeWriter::from(sink.lend().unwrap());
    sink.fail(ErrorKind::ConnectionReset.into());
    lent.write_all(b"late").unwrap();
    let mut bytes = [0; 8];
    assert_eq!(source.read(&mut bytes).unwrap(), 4);
    assert_eq!(source.verdict().unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
    drop(lent);
    assert_eq!(source.read(&mut bytes).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_child_reads_a_lent_source_and_the_verdict_tells_what_it_can_not_see() {
    for fails in [false, true] {
        let source = produce("feeder", move |sink| {
            sink.write_all(b"for the child")?;
            if fails { Err(ErrorKind::ConnectionReset.into()) } else { Ok(()) }
        })
        .unwrap();
        let output = Command::new("cat").stdin(source.lend().unwrap()).output().unwrap();
        assert_eq!(output.stdout, b"for the child");
        assert_eq!(source.verdict().unwrap().is_err(), fails);
    }
}

// Copying.

#[test]
fn copy_passes_on_through_a_buffer_of_any_size_and_refuses_none() {
    let text = b"0123456789".repeat(100);
    for buffer_len in [1, 7, 4096] {
        let mut copied = Vec::new();
        assert_eq!(copy(&mut Interrupted::before(&text), &mut copied, buffer_len).unwrap(), 1000);
        assert_eq!(copied, text);
    }
    let error = copy(&mut text.as_slice(), &mut io::sink(), 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn copy_hands_on_the_failure_of_its_source() {
    let mut source = produce("bad", |_| Err(io::Error::other("no more"))).unwrap();
    assert_eq!(copy(&mut source, &mut io::sink(), 16).unwrap_err().to_string(), "no more");
}

/// In a process of its own, as other tests' memory would be counted too.
#[test]
fn memory_does_not_grow_with_the_stream() {
    const CHILD: &str = "TOWPATH_TEST_CHILD";
    let long = std::env::var_os("TOWPATH_TEST_LONG").is_some();
    let total_mib: u64 = if long { 1024 } else { 64 };
    if std::env::var_os(CHILD).is_none() {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "pipe::memory_does_not_grow_with_the_stream"])
            .env(CHILD, "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let mut source =
        produce("source", move |sink| copy(&mut io::repeat(b'x').take(total_mib << 20), sink, 32 * 1024).map(drop))
            .unwrap();
    copy(&mut (&mut source).take(1 << 20), &mut io::sink(), 32 * 1024).unwrap();
    let before_kib = anonymous_memory_kib();
    let mut left_mib = total_mib - 1;
    while left_mib > 0 {
        let step_mib = left_mib.min(8);
        copy(&mut (&mut source).take(step_mib << 20), &mut io::sink(), 32 * 1024).unwrap();
        left_mib -= step_mib;
        let grown_kib = anonymous_memory_kib().saturating_sub(before_kib);
        assert!(grown_kib < 512, "{grown_kib} KiB more with {left_mib} MiB to go");
    }
    assert_eq!(source.read(&mut [0; 1]).unwrap(), 0);
}

// Helpers.

/// What a source gave, and the error that ended it, if one did.
fn read_all(source: &mut Source) -> (Vec<u8>, Option<io::Error>) {
    let mut bytes = Vec::new();
    let error = source.read_to_end(&mut bytes).err();
    (bytes, error)
}

fn anonymous_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Interrupts every second read.
struct Interrupted<'a> {
    rest: &'a [u8],
    next: bool,
}

impl<'a> Interrupted<'a> {
    fn before(rest: &'a [u8]) -> Interrupted<'a> {
        Interrupted { rest, next: true }
    }
}

impl Read for Interrupted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.next = !self.next;
        if !self.next {
            return Err(ErrorKind::Interrupted.into());
        }
        self.rest.read(buffer)
    }
}
