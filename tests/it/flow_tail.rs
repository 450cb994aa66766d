//! Fan-out: what each reader of a shared tail gets, whatever the others do.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;
use towpath::flow::tail::{Batch, Cursor, DEFAULT_KEEP_BYTES, Ending, Feed, Item, Start, Tail, tail};
use towpath::flow::{Gap, Missed, Piece, Why};

use crate::support::groups::long;

const ALL: usize = usize::MAX;
/// Only a test that has gone wrong waits so long.
const LIMIT: Duration = Duration::from_secs(60);

fn push(feed: &Feed<u32>, lines: &str) {
    feed.push(Piece { bytes: lines.as_bytes(), start: true, end: true });
}

/// Lines as they are, records in brackets.
fn text(batch: &Batch<u32>) -> String {
    let part = |item: &Item<u32>| match item {
        Item::Lines(lines) => String::from_utf8_lossy(lines.bytes()).into_owned(),
        Item::Record(record) => format!("<{record}>"),
    };
    batch.items.iter().map(part).collect()
}

fn all_from(tail: &Tail<u32>, start: Start) -> String {
    text(&tail.reader(start).next_batch(ALL, ALL))
}

#[test]
fn each_start_gives_what_it_names() {
    let (feed, tail) = tail(DEFAULT_KEEP_BYTES);
    push(&feed, "1\n2\n3\n");
    feed.record(7);
    let mut now = tail.reader(Start::Now);
    assert!(now.next_batch(ALL, ALL).is_empty());
    push(&feed, "4\n");
    assert_eq!(text(&now.next_batch(ALL, ALL)), "4\n");
    assert_eq!(all_from(&tail, Start::Beginning), "1\n2\n3\n<7>4\n");
    assert_eq!(all_from(&tail, Start::Tail(0)), "");
    assert_eq!(all_from(&tail, Start::Tail(2)), "3\n<7>4\n");
    assert_eq!(all_from(&tail, Start::Tail(99)), "1\n2\n3\n<7>4\n");
    assert_eq!(all_from(&tail, Start::Since(0)), "1\n2\n3\n<7>4\n");
    assert_eq!(all_from(&tail, Start::Since(2)), "3\n<7>4\n");
    assert_eq!(all_from(&tail, Start::Since(3)), "<7>4\n", "a record has no number: who resumes gets it again");
    assert_eq!(all_from(&tail, Start::Since(4)), "");
    assert_eq!(all_from(&tail, Start::Since(99)), "", "not given out yet");
}

#[test]
fn a_batch_stays_within_its_limits() {
    let (feed, tail) = tail(DEFAULT_KEEP_BYTES);
    push(&feed, "one\ntwo\nthree\nfour\n");
    let mut cursor = tail.reader(Start::Beginning);
    assert_eq!(text(&cursor.next_batch(1, ALL)), "one\n");
    assert_eq!(text(&cursor.next_batch(ALL, 10)), "two\nthree\n");
    assert_eq!(text(&cursor.next_batch(ALL, 1)), "four\n", "a whole line at least");
    assert_eq!(cursor.last_seq(), 4);
    assert!(cursor.next_batch(0, 0).is_empty());
    push(&feed, "five\n");
    assert_eq!(text(&cursor.next_batch(0, 0)), "five\n");
}

#[test]
fn lines_carry_their_number_and_their_pieces() {
    let (feed, tail) = tail::<u32>(DEFAULT_KEEP_BYTES);
    let long = vec![b'x'; 64 * 1024];
    let sent = [
        Piece { bytes: b"a\n", start: true, end: true },
        Piece { bytes: &long, start: true, end: false },
        Piece { bytes: &long[..100], start: false, end: false },
        Piece { bytes: b"", start: false, end: true },
        Piece { bytes: b"no end", start: true, end: true },
    ];
    sent.iter().for_each(|&piece| feed.push(piece));
    let batch = tail.reader(Start::Beginning).next_batch(ALL, ALL);
    let lines = batch.items.iter().flat_map(|item| match item {
        Item::Lines(lines) => lines.iter().collect(),
        Item::Record(_) => vec![],
    });
    let got: Vec<_> = lines.map(|line| (line.seq, line.piece)).collect();
    assert_eq!(got, (1..).zip(sent).collect::<Vec<_>>());
    assert_eq!(tail.status().lines, 3);
    assert_eq!(text(&tail.reader(Start::Tail(1)).next_batch(ALL, ALL)), "no end");
    assert_eq!(tail.reader(Start::Tail(2)).next_batch(ALL, ALL).items.len(), batch.items.len() - 1);
}

#[test]
fn nothing_comes_right_behind_a_line_without_an_end() {
    let (feed, tail) = tail::<u32>(DEFAULT_KEEP_BYTES);
    let mut reader = tail.reader(Start::Now);
    for _ in 0..100 {
        push(&feed, "whole\n");
        push(&feed, "no end");
        assert!(!reader.next_batch(ALL, ALL).items.is_empty());
    }
    for item in tail.reader(Start::Beginning).next_batch(ALL, ALL).items {
        let Item::Lines(lines) = item else { panic!("{item:?}") };
        assert!(lines.iter().take(lines.len() - 1).all(|line| line.piece.bytes == b"whole\n"), "{lines:?}");
    }
}

#[test]
fn a_late_reader_gets_the_end_too() {
    let (feed, tail) = tail(DEFAULT_KEEP_BYTES);
    let mut early = tail.reader(Start::Beginning);
    push(&feed, "last\n");
    feed.finish(3);
    for cursor in [&mut early, &mut tail.reader(Start::Tail(5))] {
        let batch = cursor.next_batch(ALL, ALL);
        assert_eq!((text(&batch), batch.end), ("last\n".to_owned(), Some(Ending::Finished(3))));
        let again = cursor.next_batch(ALL, ALL);
        assert_eq!((again.items.len(), again.end), (0, Some(Ending::Finished(3))));
    }
    assert_eq!(tail.status().end, Some(Ending::Finished(3)));
}

#[test]
fn a_feed_dropped_without_a_word_cuts_its_readers_off() {
    let (feed, tail) = tail(DEFAULT_KEEP_BYTES);
    push(&feed, "last\n");
    drop(feed);
    assert_eq!(tail.reader(Start::Beginning).next_batch(ALL, ALL).end, Some(Ending::Cut));
}

#[test]
fn who_comes_too_late_is_told_what_is_no_longer_kept() {
    let (feed, tail) = tail(4 * 1024);
    for number in 1..=1_000 {
        push(&feed, &format!("{number:04}\n"));
    }
    let status = tail.status();
    let dropped = status.first_seq - 1;
    assert!(dropped > 0 && status.kept_bytes <= 4 * 1024, "{status:?}");
    let missed = |start| tail.reader(start).next_batch(ALL, ALL).missed;
    let counted = Missed::counted(Gap { lines: dropped, bytes: 5 * dropped }, Why::NotKept);
    assert_eq!(missed(Start::Beginning), Some(counted));
    assert_eq!(missed(Start::Tail(5_000)), Some(counted));
    let lines_only = |lines| Some(Missed { lines: Some(lines), bytes: None, why: Why::NotKept });
    assert_eq!(missed(Start::Tail(999)), lines_only(dropped - 1));
    assert_eq!(missed(Start::Since(1)), lines_only(dropped - 1));
    assert_eq!(missed(Start::Since(dropped)), None);
    assert_eq!(missed(Start::Tail(1)), None);
}

#[test]
fn as_much_is_kept_of_many_lines_at_once_as_of_one_after_the_other() {
    let budget = 64 * 1024;
    let (feed, tail) = tail(budget);
    // A single read of a pipe can be as long as all that may be kept.
    push(&feed, &"0123456\n".repeat(budget / 8));
    push(&feed, "last\n");
    let (status, kept) = (tail.status(), all_from(&tail, Start::Beginning));
    assert!(status.kept_bytes <= budget && status.kept_bytes > budget / 2, "{status:?}");
    assert!(kept.len() > budget / 4 && kept.ends_with("0123456\nlast\n"), "{} bytes", kept.len());
    // A line that is longer than a block has one of its own.
    push(&feed, &format!("a\n{}\nz\n", "b".repeat(20_000)));
    let kept = all_from(&tail, Start::Tail(4));
    assert_eq!((kept.len(), &kept[..8]), (5 + 2 + 20_001 + 2, "last\na\nb"));
}

#[test]
fn a_sleeping_reader_is_woken_by_each_push_and_by_a_ring() {
    const READERS: usize = 20;
    let (feed, tail) = tail(DEFAULT_KEEP_BYTES);
    let (done, acknowledged) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            let (mut cursor, done) = (tail.reader(Start::Now), done.clone());
            scope.spawn(move || {
                loop {
                    let batch = cursor.next_batch(ALL, ALL);
                    if batch.end.is_some() {
                        return;
                    }
                    if batch.is_empty() {
                        assert!(cursor.wait(LIMIT), "nobody woke it");
                        done.send(()).unwrap();
                    }
                }
            });
        }
        let all_woke = |by: &str| (0..READERS).for_each(|_| acknowledged.recv_timeout(LIMIT).expect(by));
        // One that doesn't sleep yet finds the line by itself, and isn't woken for it.
        let all_sleep = || {
            let start = Instant::now();
            while tail.sleeping() < READERS {
                assert!(start.elapsed() < LIMIT);
                std::thread::yield_now();
            }
        };
        for round in 0..300 {
            all_sleep();
            if round % 2 == 0 {
                push(&feed, "line\n");
            } else {
                tail.ring();
            }
            all_woke("each push and each ring wakes all");
        }
        all_sleep();
        feed.finish(0);
        all_woke("the end wakes all");
    });
}

#[test]
fn who_never_reads_changes_nothing_for_the_others() {
    let lines: u64 = if long() { 20_000_000 } else { 1_000_000 };
    let budget = 256 * 1024;
    let (feed, tail) = tail::<u64>(budget);
    let mut idle = tail.reader(Start::Beginning);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4).map(|_| scope.spawn(|| follow(tail.reader(Start::Beginning)))).collect();
        scope.spawn(|| {
            let mut most = 0;
            while tail.status().end.is_none() {
                most = most.max(tail.status().kept_bytes);
                std::thread::yield_now();
            }
            assert!(most <= budget + 32 * 1024, "{most}");
        });
        for number in 0..lines {
            feed.push(Piece { bytes: format!("{number}\n").as_bytes(), start: true, end: true });
        }
        feed.finish(lines);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), lines);
        }
    });
    let missed = idle.next_batch(ALL, ALL).missed.unwrap();
    assert_eq!(missed.lines, Some(tail.status().first_seq - 1), "it is told when it resumes");
}

/// Reads to the end; how many lines were got or told as missed.
fn follow(mut cursor: Cursor<u64>) -> u64 {
    let mut next = 0;
    loop {
        let batch = cursor.next_batch(1_000, 16 * 1024);
        next += batch.missed.map_or(0, |missed| missed.lines.unwrap());
        for item in &batch.items {
            let Item::Lines(lines) = item else { panic!("{item:?}") };
            for line in lines.iter() {
                assert_eq!((line.seq, line.piece.bytes), (next + 1, format!("{next}\n").as_bytes()));
                next += 1;
            }
        }
        match batch.end {
            Some(end) => {
                assert_eq!(end, Ending::Finished(next));
                return next;
            }
            None if batch.is_empty() => assert!(cursor.wait(LIMIT), "nobody woke it"),
            None => {}
        }
    }
}

#[test]
fn a_reader_that_resumes_where_a_record_is_no_longer_kept_is_told() {
    let (feed, tail) = tail(4_096);
    // One block, with the record; so large that dropping it makes room for what comes.
    let (first, line) = ([&[b'x'; 249][..], b"\n"].concat(), [&[b'x'; 99][..], b"\n"].concat());
    feed.push(Piece { bytes: &first, start: true, end: true });
    feed.record(7);
    while tail.status().first_seq < 2 {
        feed.push(Piece { bytes: &line, start: true, end: true });
    }
    let missed = |start| tail.reader(start).next_batch(1, 1).missed;
    assert_eq!(tail.status().first_seq, 2, "the record and its line went together");
    assert_eq!(missed(Start::Since(2)), None);
    let told = missed(Start::Since(1)).unwrap();
    assert_eq!((told.lines, told.bytes), (None, None));
    feed.finish(0);
}

#[derive(Clone, Debug)]
enum Step {
    /// Whole lines, of so many bytes each.
    Lines(Vec<usize>),
    /// So many short lines, each read by everybody at once.
    Quiet(usize),
    /// A long line, in pieces of so many bytes.
    Long(Vec<usize>),
    Record,
    Enter(Start),
    Leave(Index),
    Read(Index, usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let start = prop_oneof![
        Just(Start::Beginning),
        Just(Start::Now),
        (0..40u64).prop_map(Start::Tail),
        (0..100u64).prop_map(Start::Since),
    ];
    let step = prop_oneof![
        6 => prop::collection::vec(1usize..60, 1..8).prop_map(Step::Lines),
        2 => prop::collection::vec(0usize..60, 2..5).prop_map(Step::Long),
        1 => (1usize..100).prop_map(Step::Quiet),
        1 => Just(Step::Record),
        2 => start.prop_map(Step::Enter),
        1 => any::<Index>().prop_map(Step::Leave),
        6 => (any::<Index>(), 1usize..20, 1usize..400).prop_map(|(who, lines, bytes)| Step::Read(who, lines, bytes)),
    ];
    prop::collection::vec(step, 1..100)
}

/// Everything that ever went in, in order.
#[derive(Clone, Debug, PartialEq)]
enum Entry {
    Piece { bytes: Vec<u8>, start: bool, end: bool },
    Record(u32),
}

#[derive(Default)]
struct History {
    entries: Vec<Entry>,
    pieces: u64,
    records: u32,
}

impl History {
    fn piece(&mut self, length: usize, start: bool, end: bool) -> Vec<u8> {
        self.pieces += 1;
        let mut bytes = vec![b'a' + (self.pieces % 26) as u8; length];
        if let Some(last) = bytes.last_mut().filter(|_| end) {
            *last = b'\n';
        }
        self.entries.push(Entry::Piece { bytes: bytes.clone(), start, end });
        bytes
    }

    /// The entry behind piece `seq`.
    fn behind(&self, seq: u64) -> usize {
        let pieces = self.entries.iter().enumerate().filter(|(_, entry)| matches!(entry, Entry::Piece { .. }));
        if seq == 0 { 0 } else { pieces.map(|(at, _)| at + 1).nth(seq as usize - 1).unwrap_or(self.entries.len()) }
    }

    fn start(&self, start: Start) -> usize {
        match start {
            Start::Beginning => 0,
            Start::Now | Start::Tail(0) => self.entries.len(),
            Start::Since(seq) => self.behind(seq),
            Start::Tail(lines) => {
                let starts = self.entries.iter().enumerate().rev();
                let starts = starts.filter(|(_, entry)| matches!(entry, Entry::Piece { start: true, .. }));
                starts.map(|(at, _)| at).nth(lines as usize - 1).unwrap_or(0)
            }
        }
    }

    /// What a reader lacks that skips from one entry to another.
    fn gap(&self, from: usize, to: usize) -> Gap {
        let mut gap = Gap::default();
        let mut mid_line = false;
        for entry in &self.entries[from..to] {
            if let Entry::Piece { bytes, end, .. } = entry {
                gap.bytes += bytes.len() as u64;
                gap.lines += u64::from(*end);
                mid_line = !end;
            }
        }
        gap.lines += u64::from(mid_line);
        gap
    }
}

struct Reader {
    cursor: Cursor<u32>,
    at: usize,
}

impl Reader {
    /// Checks a batch against all that ever went in.
    fn read(&mut self, history: &History, max_lines: usize, max_bytes: usize) -> Result<bool, TestCaseError> {
        let batch = self.cursor.next_batch(max_lines, max_bytes);
        let got: Vec<Entry> = batch.items.iter().flat_map(entries).collect();
        let lengths = got
            .iter()
            .filter_map(|entry| if let Entry::Piece { bytes, .. } = entry { Some(bytes.len()) } else { None });
        let (pieces, bytes) = (lengths.clone().count(), lengths.clone().sum::<usize>());
        let is_one = lengths.filter(|&length| length > 0).count() == 1;
        prop_assert!(pieces <= max_lines && (bytes <= max_bytes || is_one), "{pieces} pieces, {bytes} bytes");
        let to = match batch.items.first() {
            None => self.at,
            Some(Item::Lines(lines)) => history.behind(lines.iter().next().unwrap().seq) - 1,
            Some(Item::Record(id)) => history.entries.iter().position(|entry| *entry == Entry::Record(*id)).unwrap(),
        };
        prop_assert!(to >= self.at, "nothing comes twice");
        match batch.missed {
            None => prop_assert_eq!(to, self.at, "nothing is skipped in silence"),
            Some(missed) => {
                let gap = history.gap(self.at, to);
                prop_assert!(to > self.at);
                prop_assert!(missed.lines.is_none_or(|lines| lines == gap.lines), "{:?} is {:?}", missed, gap);
                prop_assert!(missed.bytes.is_none_or(|bytes| bytes == gap.bytes), "{:?} is {:?}", missed, gap);
                prop_assert!(missed.bytes.is_some() || missed.why == Why::NotKept, "{:?}", missed);
            }
        }
        prop_assert_eq!(&got[..], &history.entries[to..to + got.len()]);
        self.at = to + got.len();
        prop_assert!(!got.is_empty() || self.at == history.entries.len(), "an empty batch has read all");
        Ok(batch.end.is_some())
    }
}

fn entries(item: &Item<u32>) -> Vec<Entry> {
    match item {
        Item::Record(record) => vec![Entry::Record(*record)],
        Item::Lines(lines) => {
            let pieces = lines.iter().map(|line| line.piece);
            pieces.map(|Piece { bytes, start, end }| Entry::Piece { bytes: bytes.to_vec(), start, end }).collect()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if long() { 20_000 } else { 300 }))]
    #[test]
    fn each_line_comes_once_and_in_order_or_is_counted_in_a_gap(steps in steps(), budget in prop_oneof![0usize..6_000, 0usize..100_000],) {
        let (feed, tail) = tail(budget);
        let mut history = History::default();
        let mut readers: Vec<Reader> = Vec::new();
        for step in steps {
            match step {
                Step::Lines(lengths) => {
                    let lines: Vec<u8> = lengths.iter().flat_map(|&length| history.piece(length, true, true)).collect();
                    feed.push(Piece { bytes: &lines, start: true, end: true });
                }
                Step::Quiet(lines) => {
                    for _ in 0..lines {
                        feed.push(Piece { bytes: &history.piece(3, true, true), start: true, end: true });
                        for reader in &mut readers {
                            reader.read(&history, 50, 500)?;
                        }
                    }
                }
                Step::Long(lengths) => {
                    let last = lengths.len() - 1;
                    for (index, &length) in lengths.iter().enumerate() {
                        let (start, end) = (index == 0, index == last);
                        feed.push(Piece { bytes: &history.piece(length, start, end), start, end });
                    }
                }
                Step::Record => {
                    history.records += 1;
                    history.entries.push(Entry::Record(history.records));
                    feed.record(history.records);
                }
                Step::Enter(start) => readers.push(Reader { cursor: tail.reader(start), at: history.start(start) }),
                Step::Leave(who) if !readers.is_empty() => drop(readers.remove(who.index(readers.len()))),
                Step::Read(who, lines, bytes) if !readers.is_empty() => {
                    let who = who.index(readers.len());
                    readers[who].read(&history, lines, bytes)?;
                }
                Step::Leave(_) | Step::Read(..) => {}
            }
            prop_assert_eq!(tail.status().last_seq, history.pieces);
            prop_assert_eq!(tail.status().readers, readers.len());
        }
        feed.finish(0);
        for reader in &mut readers {
            while !reader.read(&history, 50, 500)? {}
            prop_assert_eq!(reader.at, history.entries.len(), "the end comes last");
        }
    }
}
