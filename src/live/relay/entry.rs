//! One batch of a run as one entry of a stream: which lines, from which source,
//! what is missing between them, and perhaps the end.
//!
//! An entry's fields, in their order: `seqs`, the numbers of the last piece
//! before it and of its last; `gap`, JSON; `lines`, where each piece ends and
//! whose it is, and `data`, their bytes; `end`, JSON, or `cut`. A field that
//! isn't known is a later version's, and left out.
//!
//! In `lines`, after the number of the first piece, `0*12` is twelve whole lines
//! of the first source; `1=70:s` is a piece of 70 bytes of the second, with which
//! a line starts (`s`) and none ends (`e`).

use serde_json::{Value, json};

use super::super::record::{End, Record};
use crate::flow::tail::{Batch, Ending, Item, Lines};
use crate::flow::{Missed, Why};

/// The fields of one entry.
pub(super) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What is in an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A line, or a piece of a long one.
    Piece { seq: u64, tag: u8, start: bool, end: bool, bytes: Vec<u8> },
    /// Lines that are missing.
    Gap(Missed),
    /// The run's end.
    End(End),
    /// The run's lines ended without a word.
    Cut,
}

/// An entry that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// The number of the last piece before it, and of its last.
    pub(super) seqs: (u64, u64),
    pub(super) parts: Vec<Part>,
}

/// The fields for a batch that lies between two pieces of these numbers.
pub(super) fn pack(seqs: (u64, u64), batch: &Batch<Record>) -> Vec<(&'static str, Vec<u8>)> {
    let mut fields = vec![("seqs", format!("{} {}", seqs.0, seqs.1).into_bytes())];
    // Whatever the tail says: it is the relay that didn't keep up.
    let missed = batch.missed.map(|missed| Missed { why: Why::SlowRelay, ..missed });
    fields.extend(missed.map(gap));
    for item in &batch.items {
        match item {
            Item::Lines(lines) => {
                fields.push(("lines", marks(lines).into_bytes()));
                fields.push(("data", lines.bytes().to_vec()));
            }
            Item::Record(Record::Gap(missed)) => fields.push(gap(*missed)),
            Item::Record(Record::End(_)) => {}
        }
    }
    match &batch.end {
        Some(Ending::Finished(Record::End(end))) => fields.push(("end", end.to_json().to_string().into_bytes())),
        Some(Ending::Finished(Record::Gap(_)) | Ending::Cut) => fields.push(("cut", Vec::new())),
        None => {}
    }
    fields
}

/// Whether the fields have the last of a run.
pub(super) fn has_end(fields: &Fields) -> bool {
    fields.iter().any(|(name, _)| matches!(name.as_slice(), b"end" | b"cut"))
}

fn gap(missed: Missed) -> (&'static str, Vec<u8>) {
    let value = json!({ "lines": missed.lines, "bytes": missed.bytes, "why": missed.why.to_string() });
    ("gap", value.to_string().into_bytes())
}

/// Where the pieces end, and whose they are.
fn marks(lines: &Lines) -> String {
    use std::fmt::Write;

    let first = lines.last_seq() + 1 - lines.len() as u64;
    let mut text = first.to_string();
    // Whole lines of one source that haven't been written down yet.
    let (mut tag, mut whole) = (0, 0_u64);
    // Writing to a string doesn't fail.
    let flush = |text: &mut String, tag: u8, whole: u64| {
        if whole > 0 {
            let _: std::fmt::Result = write!(text, " {tag}*{whole}");
        }
    };
    for line in lines.iter() {
        let piece = line.piece;
        if piece.start && piece.end && piece.bytes.last() == Some(&b'\n') {
            if line.tag != tag {
                flush(&mut text, tag, std::mem::take(&mut whole));
            }
            (tag, whole) = (line.tag, whole + 1);
            continue;
        }
        flush(&mut text, tag, std::mem::take(&mut whole));
        let (start, end) = (if piece.start { "s" } else { "" }, if piece.end { "e" } else { "" });
        let _: std::fmt::Result = write!(text, " {}={}:{start}{end}", line.tag, piece.bytes.len());
    }
    flush(&mut text, tag, whole);
    text
}

/// Reads an entry's fields.
///
/// # Errors
/// What is wrong with them.
pub(super) fn unpack(fields: Fields) -> Result<Entry, &'static str> {
    let mut entry = Entry::default();
    let mut marks = None;
    let mut has_seqs = false;
    for (name, value) in fields {
        let text = || std::str::from_utf8(&value).map_err(|_| "a field that is no text");
        let parsed = || serde_json::from_str::<Value>(text()?).map_err(|_| "a record that is no JSON");
        match name.as_slice() {
            b"seqs" => {
                let (from, to) = text()?.split_once(' ').ok_or("numbers that aren't two")?;
                entry.seqs = (number(from)?, number(to)?);
                has_seqs = true;
            }
            b"gap" => entry.parts.push(Part::Gap(missed(&parsed()?))),
            b"lines" => marks = Some(text()?.to_owned()),
            b"data" => read_pieces(&marks.take().ok_or("lines without their marks")?, &value, &mut entry.parts)?,
            b"end" => entry.parts.push(Part::End(End::from_json(&parsed()?).ok_or("an end without how it ended")?)),
            b"cut" => entry.parts.push(Part::Cut),
            _ => {}
        }
    }
    if has_seqs { Ok(entry) } else { Err("an entry without its numbers") }
}

fn number(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "a number that is none")
}

fn missed(value: &Value) -> Missed {
    let count = |name: &str| value.get(name).and_then(Value::as_u64);
    let why = value.get("why").and_then(Value::as_str).unwrap_or_default();
    Missed { lines: count("lines"), bytes: count("bytes"), why: Why::of_words(why) }
}

fn read_pieces(marks: &str, mut data: &[u8], parts: &mut Vec<Part>) -> Result<(), &'static str> {
    const LESS: &str = "less bytes than its marks say";
    let mut words = marks.split(' ');
    let mut seq = number(words.next().unwrap_or_default())?;
    let mut push = |tag: &str, start, end, bytes: &[u8]| -> Result<(), &'static str> {
        let tag = tag.parse().map_err(|_| "a source that is none")?;
        parts.push(Part::Piece { seq, tag, start, end, bytes: bytes.to_vec() });
        seq = seq.checked_add(1).ok_or("a number that is none")?;
        Ok(())
    };
    for word in words {
        if let Some((tag, count)) = word.split_once('*') {
            for _ in 0..number(count)? {
                let end = memchr::memchr(b'\n', data).ok_or(LESS)? + 1;
                let (line, rest) = data.split_at(end);
                push(tag, true, true, line)?;
                data = rest;
            }
        } else if let Some((tag, piece)) = word.split_once('=')
            && let Some((length, flags)) = piece.split_once(':')
        {
            let length = usize::try_from(number(length)?).map_err(|_| LESS)?;
            let (bytes, rest) = data.split_at_checked(length).ok_or(LESS)?;
            push(tag, flags.contains('s'), flags.contains('e'), bytes)?;
            data = rest;
        } else {
            return Err("a mark that is none");
        }
    }
    if data.is_empty() { Ok(()) } else { Err("more bytes than its marks say") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::Piece;
    use crate::flow::tail::{Start, tail};

    fn owned(fields: Vec<(&'static str, Vec<u8>)>) -> Fields {
        fields.into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value)).collect()
    }

    fn end() -> End {
        let (command_exit_code, signal, duration_ms) = (Some(3), None, 7);
        End { run: "r1".into(), outcome: "exited".into(), exit_code: 3, command_exit_code, signal, duration_ms }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_as_it_was(
            pieces in prop::collection::vec((0_u8..3, prop::collection::vec(any::<u8>(), 0..9), any::<bool>(), any::<bool>()), 0..40),
            gap_at in 0_usize..40,
        ) {
            let (feed, tail) = tail::<Record>(1 << 20);
            let mut expected = Vec::new();
            let missed = Missed { lines: Some(2), bytes: None, why: Why::NotRead };
            for (at, (tag, mut bytes, start, end)) in pieces.into_iter().enumerate() {
                if at == gap_at {
                    feed.record(Record::Gap(missed));
                    expected.push(Part::Gap(missed));
                }
                bytes.retain(|byte| *byte != b'\n');
                if end {
                    bytes.push(b'\n');
                }
                if bytes.is_empty() {
                    continue;
                }
                feed.push_tagged(tag, Piece { bytes: &bytes, start, end });
                let seq = expected.iter().filter(|part| matches!(part, Part::Piece { .. })).count() as u64 + 1;
                expected.push(Part::Piece { seq, tag, start, end, bytes });
            }
            feed.finish(Record::End(end()));
            expected.push(Part::End(end()));
            let mut cursor = tail.reader(Start::Beginning);
            let batch = cursor.next_batch(1_000, 1 << 20);
            let fields = owned(pack((0, cursor.last_seq()), &batch));
            prop_assert!(has_end(&fields));
            let entry = unpack(fields).unwrap();
            prop_assert_eq!(entry.seqs, (0, cursor.last_seq()));
            prop_assert_eq!(entry.parts, expected);
        }
    }

    #[test]
    fn garbage_is_an_error_and_a_later_versions_field_is_none() {
        let fields = |pairs: &[(&str, &str)]| -> Fields {
            pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
        };
        let seqs = ("seqs", "0 9");
        for bad in [
            &[][..],
            &[("seqs", "1")],
            &[("seqs", "1 x")],
            &[seqs, ("data", "x\n")],
            &[seqs, ("lines", "1 0*2"), ("data", "x\n")],
            &[seqs, ("lines", "1 0*99999999999999"), ("data", "x\n")],
            &[seqs, ("lines", "1 0*1"), ("data", "x\ny")],
            &[seqs, ("lines", "1 0=5:s"), ("data", "x")],
            &[seqs, ("lines", "1 0=18446744073709551615:s"), ("data", "x")],
            &[seqs, ("lines", "18446744073709551615 0*2"), ("data", "x\ny\n")],
            &[seqs, ("lines", "1 300*1"), ("data", "x\n")],
            &[seqs, ("lines", "1 what"), ("data", "x\n")],
            &[seqs, ("gap", "{")],
            &[seqs, ("end", "{}")],
        ] {
            assert!(unpack(fields(bad)).is_err(), "{bad:?}");
        }
        let later = unpack(fields(&[seqs, ("colour", "red"), ("gap", "{}")])).unwrap();
        assert_eq!(later.parts, [Part::Gap(Missed { lines: None, bytes: None, why: Why::Unknown })]);
    }
}
