//! Tags: every line of a tail keeps the one that it was pushed with.

use towpath::flow::Piece;
use towpath::flow::tail::{Cursor, Item, Start, tail};

fn whole(bytes: &[u8]) -> Piece<'_> {
    Piece { bytes, start: true, end: true }
}

fn tags(cursor: &mut Cursor<()>) -> Vec<(u64, u8)> {
    let mut got = Vec::new();
    loop {
        let batch = cursor.next_batch(7, 1_000);
        if batch.is_empty() {
            return got;
        }
        for item in &batch.items {
            if let Item::Lines(lines) = item {
                got.extend(lines.iter().map(|line| (line.seq, line.tag)));
            }
        }
    }
}

#[test]
fn every_line_keeps_its_tag_through_blocks_that_are_put_together() {
    let (feed, tail) = tail::<()>(1 << 20);
    let mut live = tail.reader(Start::Beginning);
    let mut want = Vec::new();
    let mut seen = Vec::new();
    for turn in 0..2_000u64 {
        // Long runs of 0, so that blocks begin without tags, and then don't stay so.
        let tag = if turn % 97 < 80 { 0 } else { u8::try_from(turn % 5).unwrap() };
        if turn % 3 == 0 {
            feed.push_tagged(tag, whole(b"one\ntwo\n"));
            want.extend([tag, tag]);
        } else {
            feed.push_tagged(tag, whole(b"a line\n"));
            want.push(tag);
        }
        // A reader at every line makes small blocks, as on a quiet stream; later there are large ones.
        if turn < 1_000 {
            seen.extend(tags(&mut live));
        }
    }
    seen.extend(tags(&mut live));
    let want: Vec<(u64, u8)> = (1..).zip(want).collect();
    assert_eq!(seen, want, "a reader who was there");
    assert_eq!(tags(&mut tail.reader(Start::Beginning)), want, "a reader who comes late");
}
