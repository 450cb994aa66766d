//! `/events`: lines, gaps and the end as server-sent events, each with JSON as
//! its data, so that any bytes and any line end arrive as they were.

use std::io::{self, IoSlice, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::broadcast::{BATCH_BYTES, BATCH_LINES, Shared};
use super::parked::Parking;
use super::query::Query;
use super::record::Record;
use crate::flow::tail::{Batch, Cursor, Ending, Item, Line, Lines};
use crate::flow::{Filter, Missed};
use crate::http::sse::{Event, write_comment};
use crate::http::{ChunkWriter, Course, Gate, Reply, Sent, Step, Woken};

/// A batch's text begins with so much room. Grown from nothing it leaves each size
/// that it had with malloc's cache, of which every reader's thread has its own.
const TEXT_BYTES: usize = 4096;

/// So many lines are put into JSON on a thread that isn't the reader's own.
const PARKED_LINES: usize = 64;

/// Streams until the end, the client's going, or the server's stop.
///
/// Each batch is one write. A stream that is quiet, or whose lines are filtered
/// out, has a comment every `of.heartbeat`.
pub(super) fn serve(reply: Reply<'_>, query: Query, of: &Arc<Shared>) -> io::Result<Sent> {
    let wants_body = reply.wants_body();
    let mut out = reply.header("X-Content-Type-Options", "nosniff").event_stream()?;
    if !wants_body {
        return out.finish();
    }
    out.write_chunk(&[IoSlice::new(&first(&query, of)?)])?;
    let cursor = of.tail.reader(query.start);
    let (lines, sent_at, parking) = (LineEvents::new(query, of), Instant::now(), Parking::new());
    Box::new(Reader { cursor, untold: None, lines, sent_at, parking }).stream(out)
}

/// One reader of the events, with a thread or without.
struct Reader {
    cursor: Cursor<Record>,
    /// Taken from the cursor, and still to be written.
    untold: Option<Batch<Record>>,
    lines: LineEvents,
    sent_at: Instant,
    parking: Parking,
}

impl Reader {
    fn stream(mut self: Box<Self>, mut out: ChunkWriter<'_>) -> io::Result<Sent> {
        loop {
            let mut batch = self.untold.take().unwrap_or_else(|| self.cursor.try_batch(BATCH_LINES, BATCH_BYTES));
            if batch.is_empty() {
                if self.lines.filter.passes_all() && self.parking.may_park(&out, &self.lines.of) {
                    return out.park(self);
                }
                batch = self.cursor.next_batch(BATCH_LINES, BATCH_BYTES);
            }
            let mut text = self.lines.text_of(&batch)?;
            match &batch.end {
                Some(Ending::Finished(Record::End(end))) => {
                    control(&mut text, "end", &end.to_json())?;
                    out.write_all(&text)?;
                    return out.finish();
                }
                Some(Ending::Finished(Record::Gap(_)) | Ending::Cut) => {
                    out.write_all(&text)?;
                    return out.fail(": cut\n");
                }
                None => {}
            }
            let is_quiet = batch.is_empty();
            // A client that is slow to take the text needn't hold the lines too.
            drop(batch);
            if text.is_empty() {
                text = self.heartbeat_if_due()?;
            }
            if !text.is_empty() {
                out.write_chunk(&[IoSlice::new(&text)])?;
                self.sent_at = Instant::now();
                continue;
            }
            // Where lines came and none passed it doesn't wait, but looks whether it shall go on.
            let limit = if is_quiet { self.nap() } else { Duration::ZERO };
            match out.wait(self.cursor.wake(), limit) {
                // The cursor has the channel's other end: it doesn't disconnect.
                Woken::Message(()) | Woken::Timeout | Woken::Disconnected => {}
                Woken::Gone => return Err(io::ErrorKind::BrokenPipe.into()),
                Woken::Stopped if self.lines.of.tail.status().end.is_some() => {}
                Woken::Stopped => return out.fail(": the server stops\n"),
            }
        }
    }

    fn heartbeat_in(&self) -> Duration {
        self.lines.of.heartbeat.saturating_sub(self.sent_at.elapsed())
    }

    fn heartbeat_if_due(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        if self.heartbeat_in().is_zero() {
            self.lines.heartbeat(self.cursor.last_seq(), &mut text)?;
        }
        Ok(text)
    }

    fn nap(&self) -> Duration {
        let time_left = self.parking.time_left();
        if time_left.is_zero() { self.heartbeat_in() } else { time_left.min(self.heartbeat_in()) }
    }

    /// What is new, or a sign of life if one is due; `None` where it takes a thread.
    fn news(&mut self) -> Option<Vec<u8>> {
        let batch = self.cursor.try_batch(PARKED_LINES, BATCH_BYTES);
        let count: usize =
            batch.items.iter().map(|item| if let Item::Lines(lines) = item { lines.len() } else { 1 }).sum();
        if batch.end.is_some() || count >= PARKED_LINES {
            self.untold = Some(batch);
            return None;
        }
        let text = if batch.is_empty() { self.heartbeat_if_due() } else { self.lines.text_of(&batch) };
        // Only an id that holds a line end would be refused, and a run's name has none.
        text.ok()
    }
}

impl Course for Reader {
    fn advance(&mut self, out: &mut Gate<'_>) -> Step {
        match self.news() {
            None => return Step::Resume,
            Some(text) if text.is_empty() => {}
            Some(text) => {
                self.sent_at = Instant::now();
                if !out.write_chunk(&[IoSlice::new(&text)]) {
                    return Step::Resume;
                }
            }
        }
        Step::Wait(self.heartbeat_in())
    }

    fn resume(mut self: Box<Self>, out: ChunkWriter<'_>) -> io::Result<Sent> {
        self.parking.resumed();
        self.stream(out)
    }
}

/// The first record: which run it is.
fn first(query: &Query, of: &Shared) -> io::Result<Vec<u8>> {
    let mut first = of.run.to_json();
    first["resumed"] = query.resumed.into();
    first["asked"] = query.asked.clone().into();
    first["elapsed_ms"] = u64::try_from(of.began.elapsed().as_millis()).unwrap_or(u64::MAX).into();
    let mut text = Vec::with_capacity(TEXT_BYTES);
    control(&mut text, "run", &first)?;
    Ok(text)
}

/// A record of ours: without an id, or resuming would skip lines.
fn control(text: &mut Vec<u8>, name: &str, data: &Value) -> io::Result<()> {
    Event { id: None, event: Some(name), data: &data.to_string() }.write_to(text)
}

struct LineEvents {
    of: Arc<Shared>,
    filter: Filter,
    /// The verdict on the line that is going on; `None` if its beginning wasn't
    /// seen, so that what is seen of it has to speak for it.
    verdict: Option<bool>,
    /// Whether a line goes on in the next piece.
    mid_line: bool,
}

impl LineEvents {
    fn new(query: Query, of: &Arc<Shared>) -> LineEvents {
        // Who has the id of a line's beginning has got it, so it passed.
        let verdict = query.resumed.then_some(true);
        LineEvents { of: Arc::clone(of), filter: query.filter, verdict, mid_line: false }
    }

    /// All of a batch but its end.
    fn text_of(&mut self, batch: &Batch<Record>) -> io::Result<Vec<u8>> {
        let mut text = Vec::with_capacity(if batch.is_empty() { 0 } else { TEXT_BYTES });
        if let Some(missed) = &batch.missed {
            self.gap(missed, &mut text)?;
        }
        for item in &batch.items {
            match item {
                Item::Lines(some) => self.write(some, &mut text)?,
                Item::Record(Record::Gap(missed)) => self.gap(missed, &mut text)?,
                Item::Record(Record::End(_)) => {} // only ever the last
            }
        }
        Ok(text)
    }

    fn write(&mut self, lines: &Lines, text: &mut Vec<u8>) -> io::Result<()> {
        for line in lines.iter() {
            let passes = match self.verdict {
                Some(verdict) if !line.piece.start => verdict,
                _ => self.filter.passes(line.piece.bytes),
            };
            self.verdict = Some(passes);
            self.mid_line = !line.piece.end;
            if passes {
                let id = self.id(line.seq);
                Event { id: Some(&id), event: Some("line"), data: &self.data(&line).to_string() }.write_to(text)?;
            }
        }
        Ok(())
    }

    fn gap(&mut self, missed: &Missed, text: &mut Vec<u8>) -> io::Result<()> {
        self.verdict = None;
        let data = json!({ "lines": missed.lines, "bytes": missed.bytes, "why": missed.why.to_string() });
        control(text, "gap", &data)
    }

    /// A comment, and how far the reader has come: lines that it didn't want are
    /// no gap when it comes again. Not from within such a line, whose rest would
    /// be taken for one that passed.
    fn heartbeat(&self, last_seq: u64, text: &mut Vec<u8>) -> io::Result<()> {
        if last_seq > 0 && !(self.mid_line && self.verdict == Some(false)) {
            // The standard has clients take the id though there is no event with it.
            writeln!(text, "id: {}", self.id(last_seq))?;
        }
        write_comment(text, "still here")
    }

    fn id(&self, seq: u64) -> String {
        format!("{}-{seq}", self.of.run.run)
    }

    fn data(&self, line: &Line<'_>) -> Value {
        // Its `\r` stays: a terminal would have shown what it does.
        let bytes = line.piece.bytes.strip_suffix(b"\n").unwrap_or(line.piece.bytes);
        let mut data = match std::str::from_utf8(bytes) {
            Ok(text) => json!({ "text": text }),
            Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
        };
        if let Some(source) = self.of.sources.get(usize::from(line.tag)) {
            data["stream"] = source.as_str().into();
        }
        if !line.piece.end {
            data["more"] = true.into();
        } else if line.piece.bytes.last() != Some(&b'\n') {
            // The last line of a stream may have no end; a reader that writes bytes wants to know.
            data["unended"] = true.into();
        }
        data
    }
}
