//! `/events`: lines, gaps and the end as server-sent events, each with JSON as
//! its data, so that any bytes and any line end arrive as they were.

use std::io::{self, IoSlice, Write};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::broadcast::{BATCH_BYTES, BATCH_LINES, Shared};
use super::query::Query;
use super::record::Record;
use crate::flow::tail::{Ending, Item, Line, Lines};
use crate::flow::{Filter, Missed};
use crate::http::sse::{Event, write_comment};
use crate::http::{Reply, Sent, Woken};

/// A batch's text begins with so much room. Grown from nothing it leaves each size
/// that it had with malloc's cache, of which every reader's thread has its own.
const TEXT_BYTES: usize = 4096;

/// Streams until the end, the client's going, or the server's stop.
///
/// Each batch is one write. A stream that is quiet, or whose lines are filtered
/// out, has a comment every `of.heartbeat`.
pub(super) fn serve(reply: Reply<'_>, query: &Query, of: &Shared) -> io::Result<Sent> {
    let wants_body = reply.wants_body();
    let mut out = reply.header("X-Content-Type-Options", "nosniff").event_stream()?;
    if !wants_body {
        return out.finish();
    }
    out.write_chunk(&[IoSlice::new(&first(query, of)?)])?;
    let mut lines = LineEvents::new(query, of);
    let mut cursor = of.tail.reader(query.start);
    let mut sent_at = Instant::now();
    loop {
        let batch = cursor.next_batch(BATCH_LINES, BATCH_BYTES);
        let mut text = Vec::with_capacity(if batch.is_empty() { 0 } else { TEXT_BYTES });
        if let Some(missed) = &batch.missed {
            lines.gap(missed, &mut text)?;
        }
        for item in &batch.items {
            match item {
                Item::Lines(some) => lines.write(some, &mut text)?,
                Item::Record(Record::Gap(missed)) => lines.gap(missed, &mut text)?,
                Item::Record(Record::End(_)) => {} // only ever the last
            }
        }
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
        if text.is_empty() && sent_at.elapsed() >= of.heartbeat {
            lines.heartbeat(cursor.last_seq(), &mut text)?;
        }
        if !text.is_empty() {
            out.write_chunk(&[IoSlice::new(&text)])?;
            sent_at = Instant::now();
            continue;
        }
        // Where lines came and none passed it doesn't wait, but looks whether it shall go on.
        let limit = if is_quiet { of.heartbeat.saturating_sub(sent_at.elapsed()) } else { Duration::ZERO };
        match out.wait(cursor.wake(), limit) {
            // The cursor has the channel's other end: it doesn't disconnect.
            Woken::Message(()) | Woken::Timeout | Woken::Disconnected => {}
            Woken::Gone => return Err(io::ErrorKind::BrokenPipe.into()),
            Woken::Stopped if of.tail.status().end.is_some() => {}
            Woken::Stopped => return out.fail(": the server stops\n"),
        }
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

struct LineEvents<'a> {
    run: &'a str,
    sources: &'a [String],
    filter: &'a Filter,
    /// The verdict on the line that is going on; `None` if its beginning wasn't
    /// seen, so that what is seen of it has to speak for it.
    verdict: Option<bool>,
    /// Whether a line goes on in the next piece.
    mid_line: bool,
}

impl<'a> LineEvents<'a> {
    fn new(query: &'a Query, of: &'a Shared) -> LineEvents<'a> {
        // Who has the id of a line's beginning has got it, so it passed.
        let verdict = query.resumed.then_some(true);
        LineEvents { run: &of.run.run, sources: &of.sources, filter: &query.filter, verdict, mid_line: false }
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
        format!("{}-{seq}", self.run)
    }

    fn data(&self, line: &Line<'_>) -> Value {
        // Its `\r` stays: a terminal would have shown what it does.
        let bytes = line.piece.bytes.strip_suffix(b"\n").unwrap_or(line.piece.bytes);
        let mut data = match std::str::from_utf8(bytes) {
            Ok(text) => json!({ "text": text }),
            Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
        };
        if let Some(source) = self.sources.get(usize::from(line.tag)) {
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
