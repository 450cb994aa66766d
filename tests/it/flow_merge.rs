//! Fan-in: many sources, each with its thread, its order and its end.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use towpath::flow::merge::{Event, Item, LogFile, Merge, QUEUED_ITEMS, Source};
use towpath::thread::Panic;

/// Only a test that has gone wrong waits so long.
const LIMIT: Duration = Duration::from_secs(60);

/// Everything until the channel disconnects.
fn all(merge: &Merge) -> Vec<Item> {
    let mut items = Vec::new();
    loop {
        match merge.items().recv_timeout(LIMIT) {
            Ok(item) => items.push(item),
            Err(error) if error.is_disconnected() => return items,
            Err(_) => panic!("the sources don't end: {items:?}"),
        }
    }
}

fn bytes_of(items: &[Item], source: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in items.iter().filter(|item| item.source == source) {
        if let Event::Lines(lines) = &item.event {
            bytes.extend_from_slice(&lines.bytes);
        }
    }
    bytes
}

/// How the source ended: its last item, and its only end.
fn end_of(items: &[Item], source: usize) -> Result<(), String> {
    let mut of_source = items.iter().filter(|item| item.source == source);
    let ends = of_source.clone().filter(|item| matches!(item.event, Event::End(_))).count();
    assert_eq!(ends, 1, "one end a source");
    match &of_source.next_back().unwrap().event {
        Event::End(result) => result.as_ref().copied().map_err(ToString::to_string),
        other => panic!("{other:?} after the end"),
    }
}

#[test]
fn each_source_comes_in_order_and_ends_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let lines = |name: &str| (0..20_000).map(|number| format!("{name} {number}\n")).collect::<String>();
    std::fs::write(&path, lines("file")).unwrap();
    let reader = io::Cursor::new(lines("reader") + "no end");
    let merge = Merge::start([LogFile::new(&path).into(), Source::reader("a reader", reader)]).unwrap();
    assert_eq!((merge.name(0), merge.name(1)), (path.to_str().unwrap(), "a reader"));
    let items = all(&merge);
    assert_eq!(bytes_of(&items, 0), lines("file").into_bytes());
    assert_eq!(bytes_of(&items, 1), (lines("reader") + "no end").into_bytes());
    assert_eq!((end_of(&items, 0), end_of(&items, 1)), (Ok(()), Ok(())));
}

#[test]
fn without_sources_it_has_ended() {
    assert!(all(&Merge::start([]).unwrap()).is_empty());
}

#[test]
fn one_that_cannot_be_read_is_its_own_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let directory = LogFile::new(dir.path());
    let sources: [Source; 4] = [
        LogFile::new(dir.path().join("nothing")).into(),
        directory.clone().into(),
        directory.follow(true).into(),
        Source::reader("well", &b"line\n"[..]),
    ];
    let items = all(&Merge::start(sources).unwrap());
    assert!(end_of(&items, 0).unwrap_err().contains("No such file"));
    assert!(end_of(&items, 1).unwrap_err().contains("directory"));
    assert!(end_of(&items, 2).unwrap_err().contains("directory"));
    assert_eq!((bytes_of(&items, 3), end_of(&items, 3)), (b"line\n".to_vec(), Ok(())));
}

#[test]
fn a_panic_in_a_source_is_how_it_ended() {
    struct Panicking;
    impl Read for Panicking {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("no reader at all")
        }
    }
    let merge = Merge::start([Source::reader("bad", Panicking), Source::reader("good", &b"line\n"[..])]).unwrap();
    let items = all(&merge);
    assert_eq!(bytes_of(&items, 1), b"line\n");
    let end = items.into_iter().find_map(|item| match item.event {
        Event::End(Err(error)) => error.into_inner(),
        _ => None,
    });
    assert_eq!(end.unwrap().downcast::<Panic>().unwrap().message(), "no reader at all");
}

#[test]
fn the_proof_of_a_pipe_s_end_goes_through() {
    let source = |end: fn(towpath::pipe::Sink)| {
        let (mut sink, source) = towpath::pipe::pair().unwrap();
        sink.write_all(b"line\n").unwrap();
        end(sink);
        Source::pollable("pipe", source)
    };
    let failed = source(|sink| sink.fail(io::Error::other("it broke")));
    let items = all(&Merge::start([source(towpath::pipe::Sink::finish), failed]).unwrap());
    assert_eq!(end_of(&items, 0), Ok(()));
    assert!(end_of(&items, 1).unwrap_err().contains("it broke"));
    assert_eq!((bytes_of(&items, 0), bytes_of(&items, 1)), (b"line\n".to_vec(), b"line\n".to_vec()));
}

#[test]
fn a_stop_wakes_a_source_that_waits_and_gives_its_last_line() {
    let (mut sink, source) = towpath::pipe::pair().unwrap();
    let fifo = tempfile::tempdir().unwrap();
    let path = fifo.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let merge = Merge::start([Source::pollable("pipe", source), LogFile::new(&path).into()]).unwrap();
    sink.write_all(b"whole\nno end").unwrap();
    let first = merge.items().recv_timeout(LIMIT).unwrap();
    assert!(matches!(&first.event, Event::Lines(lines) if lines.bytes == b"whole\n"), "{first:?}");
    merge.stop();
    let items = all(&merge);
    assert_eq!((bytes_of(&items, 0), end_of(&items, 0), end_of(&items, 1)), (b"no end".to_vec(), Ok(()), Ok(())));
}

#[test]
fn a_line_too_long_to_hold_comes_in_pieces() {
    let long = "x".repeat(200_000);
    let merge = Merge::start([Source::reader("long", io::Cursor::new(format!("a\nb\n{long}\nc\n")))]).unwrap();
    let items = all(&merge);
    assert_eq!(bytes_of(&items, 0), format!("a\nb\n{long}\nc\n").into_bytes());
    let flags = items.iter().filter_map(|item| match &item.event {
        Event::Lines(lines) => Some((lines.start, lines.end)),
        _ => None,
    });
    let flags: Vec<_> = flags.collect();
    assert_eq!((flags[0], flags[1], flags[flags.len() - 1]), ((true, true), (true, false), (true, true)), "{flags:?}");
    assert_eq!(flags[flags.len() - 2], (false, true), "{flags:?}");
}

/// Endless lines; counts how often it was read.
struct Endless(Arc<AtomicUsize>);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.fetch_add(1, Ordering::SeqCst);
        buffer.fill(b'\n');
        Ok(buffer.len())
    }
}

#[test]
fn who_does_not_take_makes_the_source_wait() {
    let reads = Arc::new(AtomicUsize::new(0));
    let merge = Merge::start([Source::reader("endless", Endless(Arc::clone(&reads)))]).unwrap();
    let start = Instant::now();
    while !merge.items().is_full() {
        assert!(start.elapsed() < LIMIT);
        std::thread::yield_now();
    }
    let taken = 100;
    for _ in 0..taken {
        assert!(matches!(merge.items().recv_timeout(LIMIT).unwrap().event, Event::Lines(_)));
    }
    assert!(reads.load(Ordering::SeqCst) <= taken + QUEUED_ITEMS + 2, "it read ahead");
    // Dropping it unblocks the source.
    drop(merge);
    let start = Instant::now();
    while Arc::strong_count(&reads) > 1 {
        assert!(start.elapsed() < LIMIT, "its thread still runs");
        std::thread::yield_now();
    }
}
