//! `/log`: the lines as they are, gaps and the end as lines of their own.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use super::broadcast::{BATCH_BYTES, BATCH_LINES, Shared};
use super::parked::Parking;
use super::query::Query;
use super::record::Record;
use crate::flow::tail::{Batch, Cursor, Ending, Item, Lines};
use crate::flow::{Filter, Sieve};
use crate::http::{ChunkWriter, Course, Gate, Reply, Sent, Step, Woken};

/// How long a quiet stream is waited for at a time; nothing happens after it.
const NAP: Duration = Duration::from_secs(60);

/// So many are written to a parked reader before the others get their turn.
const BATCHES_AT_A_TIME: usize = 4;

/// Streams until the end, the client's going, or the server's stop.
pub(super) fn serve(reply: Reply<'_>, query: Query, of: &Arc<Shared>) -> io::Result<Sent> {
    let wants_body = reply.wants_body();
    let stream = reply.header("Content-Type", "text/plain; charset=utf-8").header("X-Content-Type-Options", "nosniff");
    let out = stream.stream()?;
    if !wants_body {
        return out.finish();
    }
    let cursor = of.tail.reader(query.start);
    Box::new(Reader { cursor, untold: None, text: Text::new(query), of: Arc::clone(of), parking: Parking::new() })
        .stream(out)
}

/// One reader of the log, with a thread or without.
struct Reader {
    cursor: Cursor<Record>,
    /// Taken from the cursor, and still to be written.
    untold: Option<Batch<Record>>,
    text: Text,
    of: Arc<Shared>,
    parking: Parking,
}

impl Reader {
    fn stream(mut self: Box<Self>, mut out: ChunkWriter<'_>) -> io::Result<Sent> {
        loop {
            let mut batch = self.untold.take().unwrap_or_else(|| self.cursor.try_batch(BATCH_LINES, BATCH_BYTES));
            if batch.is_empty() {
                if self.text.passes_all() && self.parking.may_park(&out, &self.of) {
                    return out.park(self);
                }
                batch = self.cursor.next_batch(BATCH_LINES, BATCH_BYTES);
            }
            let wrote = self.text.batch(&batch, &mut out)?;
            match &batch.end {
                Some(Ending::Finished(Record::End(end))) => {
                    self.text.note(&end.to_line(), &mut out)?;
                    return out.finish();
                }
                Some(Ending::Finished(Record::Gap(_)) | Ending::Cut) => {
                    return self.text.fail("[towpath] cut: the run's towpath died", out);
                }
                None => {}
            }
            // While lines are waiting, so is their writing; only a quiet stream is waited
            // for. Where lines came and none passed, it looks whether it shall go on.
            if wrote {
                continue;
            }
            match out.wait(self.cursor.wake(), if batch.is_empty() { self.nap() } else { Duration::ZERO }) {
                // The cursor has the channel's other end: it doesn't disconnect.
                Woken::Message(()) | Woken::Timeout | Woken::Disconnected => {}
                Woken::Gone => return Err(io::ErrorKind::BrokenPipe.into()),
                Woken::Stopped if self.of.tail.status().end.is_some() => {}
                Woken::Stopped => return self.text.fail("[towpath] cut: the server stops", out),
            }
        }
    }

    /// Writes lines, without waiting, as far as it gets: what is left for a thread.
    /// Whatever isn't a line is.
    fn write_lines(&mut self, mut batch: Batch<Record>, out: &mut Gate<'_>) -> Option<Batch<Record>> {
        let mut written = 0;
        while let (None, Some(Item::Lines(lines))) = (&batch.missed, batch.items.get(written)) {
            if self.text.needs_line_end(lines) {
                break;
            }
            written += 1;
            self.text.wrote(lines.bytes());
            if !out.write_chunk(&[IoSlice::new(lines.bytes())]) {
                break;
            }
        }
        batch.items.drain(..written);
        Some(batch).filter(|batch| !batch.is_empty())
    }

    fn nap(&self) -> Duration {
        let time_left = self.parking.time_left();
        if time_left.is_zero() { NAP } else { time_left }
    }
}

impl Course for Reader {
    fn advance(&mut self, out: &mut Gate<'_>) -> Step {
        for _ in 0..BATCHES_AT_A_TIME {
            let batch = self.cursor.try_batch(BATCH_LINES, BATCH_BYTES);
            if batch.is_empty() {
                return Step::Wait(Duration::MAX);
            }
            self.untold = self.write_lines(batch, out);
            if self.untold.is_some() {
                return Step::Resume;
            }
        }
        Step::Wait(Duration::ZERO)
    }

    fn resume(mut self: Box<Self>, out: ChunkWriter<'_>) -> io::Result<Sent> {
        self.parking.resumed();
        self.stream(out)
    }
}

/// What was written, as far as it decides about what comes next.
struct Text {
    filter: Filter,
    /// `None`: every line passes.
    sieve: Option<Sieve>,
    /// Whether the next line can begin where the last bytes ended.
    ends_line: bool,
    /// The reader has what is before the next line, which may be the beginning of it.
    resumes: bool,
}

impl Text {
    fn new(query: Query) -> Text {
        let sieve = (!query.filter.passes_all()).then(|| Sieve::new(query.filter.clone()));
        Text { filter: query.filter, sieve, ends_line: true, resumes: query.resumed }
    }

    fn passes_all(&self) -> bool {
        self.sieve.is_none()
    }

    /// All of a batch but its end. Whether anything was written.
    fn batch(&mut self, batch: &Batch<Record>, out: &mut ChunkWriter<'_>) -> io::Result<bool> {
        let mut wrote = false;
        if let Some(missed) = &batch.missed {
            self.note(&missed.to_line(), out)?;
            wrote = true;
        }
        for item in &batch.items {
            match item {
                Item::Lines(lines) => wrote |= self.lines(lines, out)?,
                Item::Record(Record::Gap(missed)) => {
                    self.note(&missed.to_line(), out)?;
                    wrote = true;
                }
                Item::Record(Record::End(_)) => {} // only ever the last
            }
        }
        Ok(wrote)
    }

    /// Neighbouring lines are one chunk: it is on the wire when this returns. Whether any passed.
    fn lines(&mut self, lines: &Lines, out: &mut ChunkWriter<'_>) -> io::Result<bool> {
        let starts = starts_line(lines);
        let resumes = std::mem::take(&mut self.resumes);
        if starts {
            // The line before may have no end: this is not the rest of it.
            self.end_line(out)?;
        }
        let Some(sieve) = &mut self.sieve else {
            self.write(lines.bytes(), out)?;
            return Ok(true);
        };
        if resumes && !starts {
            // Who has a line's beginning has got it, so it passed.
            *sieve = Sieve::within_line(self.filter.clone());
        }
        let mut passed = Vec::new();
        sieve.push(lines.bytes(), |line| passed.extend_from_slice(line));
        self.write(&passed, out)?;
        Ok(!passed.is_empty())
    }

    /// Whether the line before has to be ended first.
    fn needs_line_end(&self, lines: &Lines) -> bool {
        !self.ends_line && starts_line(lines)
    }

    /// A line of ours. A line of the run that is cut by it starts anew for the filter.
    fn note(&mut self, line: &str, out: &mut ChunkWriter<'_>) -> io::Result<()> {
        self.resumes = false;
        self.end_line(out)?;
        self.write(line.as_bytes(), out)
    }

    /// Says why, on a line of its own, and cuts the reply.
    fn fail(mut self, why: &str, mut out: ChunkWriter<'_>) -> io::Result<Sent> {
        self.end_line(&mut out)?;
        out.fail(why)
    }

    /// Ends the line that is open, if it was or is to be seen.
    fn end_line(&mut self, out: &mut ChunkWriter<'_>) -> io::Result<()> {
        let mut rest = Vec::new();
        if let Some(sieve) = &mut self.sieve {
            sieve.finish(|line| rest.extend_from_slice(line));
        }
        if rest.last().map_or(!self.ends_line, |last| *last != b'\n') {
            rest.push(b'\n');
        }
        self.write(&rest, out)
    }

    fn write(&mut self, bytes: &[u8], out: &mut ChunkWriter<'_>) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.wrote(bytes);
        out.write_chunk(&[IoSlice::new(bytes)])
    }

    fn wrote(&mut self, bytes: &[u8]) {
        self.ends_line = bytes.last().is_none_or(|last| *last == b'\n');
    }
}

fn starts_line(lines: &Lines) -> bool {
    lines.iter().next().is_some_and(|line| line.piece.start)
}
