//! `/log`: the lines as they are, gaps and the end as lines of their own.

use std::io::{self, IoSlice};
use std::time::Duration;

use super::broadcast::{BATCH_BYTES, BATCH_LINES};
use super::query::Query;
use super::record::Record;
use crate::flow::tail::{Ending, Item, Tail};
use crate::flow::{Filter, Sieve};
use crate::http::{ChunkWriter, Reply, Sent, Woken};

/// How long a quiet stream is waited for at a time; nothing happens after it.
const NAP: Duration = Duration::from_secs(60);

/// Streams until the end, the client's going, or the server's stop.
pub(super) fn serve(reply: Reply<'_>, query: &Query, tail: &Tail<Record>) -> io::Result<Sent> {
    let stream = reply.header("Content-Type", "text/plain; charset=utf-8").header("X-Content-Type-Options", "nosniff");
    let mut text = Text { out: stream.stream()?, sieve: sieve(&query.filter), ends_line: true };
    let mut cursor = tail.reader(query.start);
    loop {
        let batch = cursor.next_batch(BATCH_LINES, BATCH_BYTES);
        if let Some(missed) = &batch.missed {
            text.note(&missed.to_line(), &query.filter)?;
        }
        for item in &batch.items {
            match item {
                Item::Lines(lines) => text.lines(lines.bytes())?,
                Item::Record(Record::Gap(missed)) => text.note(&missed.to_line(), &query.filter)?,
                Item::Record(Record::End(_)) => {} // only ever the last
            }
        }
        match &batch.end {
            Some(Ending::Finished(Record::End(end))) => {
                text.note(&end.to_line(), &query.filter)?;
                return text.out.finish();
            }
            Some(Ending::Finished(Record::Gap(_)) | Ending::Cut) => {
                return text.out.fail("[towpath] cut: the run's towpath died");
            }
            None => {}
        }
        // While lines are waiting, so is their writing; only a quiet stream is waited for.
        if batch.items.is_empty() && batch.missed.is_none() {
            match text.out.wait(cursor.wake(), NAP) {
                Woken::Message(()) | Woken::Timeout => {}
                Woken::Gone => return Err(io::ErrorKind::BrokenPipe.into()),
                Woken::Disconnected | Woken::Stopped if tail.status().end.is_some() => {}
                Woken::Disconnected | Woken::Stopped => return text.out.fail("[towpath] cut: the server stops"),
            }
        }
    }
}

struct Text<'c> {
    out: ChunkWriter<'c>,
    sieve: Option<Sieve>,
    ends_line: bool,
}

impl Text<'_> {
    /// One batch is one chunk: it is on the wire when this returns.
    fn lines(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.sieve {
            None => self.write(bytes),
            Some(sieve) => {
                let mut passed = Vec::new();
                sieve.push(bytes, |line| passed.extend_from_slice(line));
                self.write(&passed)
            }
        }
    }

    /// A line of ours. A line of the run that is cut by it starts anew for the filter.
    fn note(&mut self, line: &str, filter: &Filter) -> io::Result<()> {
        if let Some(sieve) = &mut self.sieve {
            let mut rest = Vec::new();
            sieve.finish(|line| rest.extend_from_slice(line));
            self.sieve = self::sieve(filter);
            self.write(&rest)?;
        }
        let start: &[u8] = if self.ends_line { b"" } else { b"\n" };
        self.ends_line = true;
        self.out.write_chunk(&[IoSlice::new(start), IoSlice::new(line.as_bytes())])
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(last) = bytes.last() else { return Ok(()) };
        self.ends_line = *last == b'\n';
        self.out.write_chunk(&[IoSlice::new(bytes)])
    }
}

fn sieve(filter: &Filter) -> Option<Sieve> {
    (!filter.passes_all()).then(|| Sieve::new(filter.clone()))
}
