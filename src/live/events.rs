//! `/events`: lines, gaps and the end as server-sent events, each with JSON as
//! its data, so that any bytes and any line end arrive as they were.

use std::io::{self, Write};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::broadcast::{BATCH_BYTES, BATCH_LINES, Shared};
use super::query::Query;
use super::record::Record;
use crate::flow::tail::{Ending, Item, Line, Lines};
use crate::flow::{Filter, Missed};
use crate::http::sse::{Event, write_comment};
use crate::http::{ChunkWriter, Reply, Sent, Woken};

/// Between two signs of life of a quiet stream: proxies close those.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Streams until the end, the client's going, or the server's stop.
pub(super) fn serve(reply: Reply<'_>, query: &Query, of: &Shared) -> io::Result<Sent> {
    let Shared { run, sources, began, tail, .. } = of;
    let mut out = reply.header("X-Content-Type-Options", "nosniff").event_stream()?;
    let mut first = run.to_json();
    first["resumed"] = query.resumed.into();
    first["asked"] = query.asked.clone().into();
    first["elapsed_ms"] = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX).into();
    control(&mut out, "run", &first)?;
    out.flush()?;
    let mut lines = LineEvents { run: &run.run, sources, filter: &query.filter, passes: true };
    let mut cursor = tail.reader(query.start);
    loop {
        let batch = cursor.next_batch(BATCH_LINES, BATCH_BYTES);
        if let Some(missed) = &batch.missed {
            control(&mut out, "gap", &gap(missed))?;
        }
        for item in &batch.items {
            match item {
                Item::Lines(some) => lines.write(some, &mut out)?,
                Item::Record(Record::Gap(missed)) => control(&mut out, "gap", &gap(missed))?,
                Item::Record(Record::End(_)) => {} // only ever the last
            }
        }
        match &batch.end {
            Some(Ending::Finished(Record::End(end))) => {
                control(&mut out, "end", &end.to_json())?;
                return out.finish();
            }
            Some(Ending::Finished(Record::Gap(_)) | Ending::Cut) => return out.fail(": cut\n"),
            None => out.flush()?,
        }
        if batch.items.is_empty() && batch.missed.is_none() {
            match out.wait(cursor.wake(), HEARTBEAT) {
                Woken::Message(()) => {}
                Woken::Timeout => {
                    write_comment(&mut out, "still here")?;
                    out.flush()?;
                }
                Woken::Gone => return Err(io::ErrorKind::BrokenPipe.into()),
                Woken::Disconnected | Woken::Stopped if tail.status().end.is_some() => {}
                Woken::Disconnected | Woken::Stopped => return out.fail(": the server stops\n"),
            }
        }
    }
}

/// A record of ours: without an id, or resuming would skip lines.
fn control(out: &mut ChunkWriter<'_>, name: &str, data: &Value) -> io::Result<()> {
    Event { id: None, event: Some(name), data: &data.to_string() }.write_to(out)
}

fn gap(missed: &Missed) -> Value {
    json!({ "lines": missed.lines, "bytes": missed.bytes, "why": missed.why.to_string() })
}

struct LineEvents<'a> {
    run: &'a str,
    sources: &'a [String],
    filter: &'a Filter,
    /// The verdict on the line that is going on.
    passes: bool,
}

impl LineEvents<'_> {
    fn write(&mut self, lines: &Lines, out: &mut ChunkWriter<'_>) -> io::Result<()> {
        for line in lines.iter() {
            if line.piece.start {
                self.passes = self.filter.passes(without_end(line.piece.bytes));
            }
            if self.passes {
                let id = format!("{}-{}", self.run, line.seq);
                Event { id: Some(&id), event: Some("line"), data: &self.data(&line).to_string() }.write_to(out)?;
            }
        }
        Ok(())
    }

    fn data(&self, line: &Line<'_>) -> Value {
        let text = without_end(line.piece.bytes);
        let mut data = match std::str::from_utf8(text) {
            Ok(text) => json!({ "text": text }),
            Err(_) => json!({ "base64": STANDARD.encode(text) }),
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

fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}
