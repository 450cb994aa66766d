//! `/log`: the lines as they are, gaps and the end as lines of their own.

use std::io::{self, IoSlice};
use std::time::Duration;

use super::broadcast::{BATCH_BYTES, BATCH_LINES};
use super::query::Query;
use super::record::Record;
use crate::flow::tail::{Ending, Item, Lines, Tail};
use crate::flow::{Filter, Sieve};
use crate::http::{ChunkWriter, Reply, Sent, Woken};

/// How long a quiet stream is waited for at a time; nothing happens after it.
const NAP: Duration = Duration::from_secs(60);

/// Streams until the end, the client's going, or the server's stop.
pub(super) fn serve(reply: Reply<'_>, query: &Query, tail: &Tail<Record>) -> io::Result<Sent> {
    let wants_body = reply.wants_body();
    let stream = reply.header("Content-Type", "text/plain; charset=utf-8").header("X-Content-Type-Options", "nosniff");
    let out = stream.stream()?;
    if !wants_body {
        return out.finish();
    }
    let mut text = Text::new(out, query);
    let mut cursor = tail.reader(query.start);
    loop {
        let batch = cursor.next_batch(BATCH_LINES, BATCH_BYTES);
        let mut wrote = false;
        if let Some(missed) = &batch.missed {
            text.note(&missed.to_line())?;
            wrote = true;
        }
        for item in &batch.items {
            match item {
                Item::Lines(lines) => wrote |= text.lines(lines)?,
                Item::Record(Record::Gap(missed)) => {
                    text.note(&missed.to_line())?;
                    wrote = true;
                }
                Item::Record(Record::End(_)) => {} // only ever the last
            }
        }
        match &batch.end {
            Some(Ending::Finished(Record::End(end))) => {
                text.note(&end.to_line())?;
                return text.out.finish();
            }
            Some(Ending::Finished(Record::Gap(_)) | Ending::Cut) => {
                return text.fail("[towpath] cut: the run's towpath died");
            }
            None => {}
        }
        // While lines are waiting, so is their writing; only a quiet stream is waited
        // for. Where lines came and none passed, it looks whether it shall go on.
        if wrote {
            continue;
        }
        match text.out.wait(cursor.wake(), if batch.is_empty() { NAP } else { Duration::ZERO }) {
            // The cursor has the channel's other end: it doesn't disconnect.
            Woken::Message(()) | Woken::Timeout | Woken::Disconnected => {}
            Woken::Gone => return Err(io::ErrorKind::BrokenPipe.into()),
            Woken::Stopped if tail.status().end.is_some() => {}
            Woken::Stopped => return text.fail("[towpath] cut: the server stops"),
        }
    }
}

struct Text<'q, 'c> {
    out: ChunkWriter<'c>,
    filter: &'q Filter,
    /// `None`: every line passes.
    sieve: Option<Sieve>,
    /// Whether the next line can begin where the last bytes ended.
    ends_line: bool,
    /// The reader has what is before the next line, which may be the beginning of it.
    resumes: bool,
}

impl<'q, 'c> Text<'q, 'c> {
    fn new(out: ChunkWriter<'c>, query: &'q Query) -> Text<'q, 'c> {
        let filter = &query.filter;
        let sieve = (!filter.passes_all()).then(|| Sieve::new(filter.clone()));
        Text { out, filter, sieve, ends_line: true, resumes: query.resumed }
    }

    /// Neighbouring lines are one chunk: it is on the wire when this returns. Whether any passed.
    fn lines(&mut self, lines: &Lines) -> io::Result<bool> {
        let starts = lines.iter().next().is_some_and(|line| line.piece.start);
        let resumes = std::mem::take(&mut self.resumes);
        if starts {
            // The line before may have no end: this is not the rest of it.
            self.end_line()?;
        }
        let Some(sieve) = &mut self.sieve else {
            self.write(lines.bytes())?;
            return Ok(true);
        };
        if resumes && !starts {
            // Who has a line's beginning has got it, so it passed.
            *sieve = Sieve::within_line(self.filter.clone());
        }
        let mut passed = Vec::new();
        sieve.push(lines.bytes(), |line| passed.extend_from_slice(line));
        self.write(&passed)?;
        Ok(!passed.is_empty())
    }

    /// A line of ours. A line of the run that is cut by it starts anew for the filter.
    fn note(&mut self, line: &str) -> io::Result<()> {
        self.resumes = false;
        self.end_line()?;
        self.write(line.as_bytes())
    }

    /// Says why, on a line of its own, and cuts the reply.
    fn fail(mut self, why: &str) -> io::Result<Sent> {
        self.end_line()?;
        self.out.fail(why)
    }

    /// Ends the line that is open, if it was or is to be seen.
    fn end_line(&mut self) -> io::Result<()> {
        let mut rest = Vec::new();
        if let Some(sieve) = &mut self.sieve {
            sieve.finish(|line| rest.extend_from_slice(line));
        }
        if rest.last().map_or(!self.ends_line, |last| *last != b'\n') {
            rest.push(b'\n');
        }
        self.write(&rest)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(last) = bytes.last() else { return Ok(()) };
        self.ends_line = *last == b'\n';
        self.out.write_chunk(&[IoSlice::new(bytes)])
    }
}
