//! Reading server-sent events (the HTML standard, 9.2), bounded.

use std::io::{self, Read};

/// An event's largest size in bytes: a line of 64 KiB in JSON at its longest, and room.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// How much is read at a time.
const READ_BYTES: usize = 16 * 1024;

/// One event. What had no field is empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) data: String,
}

/// Events out of a stream.
#[derive(Debug)]
pub(super) struct Events<R> {
    from: R,
    received: Vec<u8>,
    /// How much of it has been looked at.
    taken: usize,
    event: Event,
    /// Whether there was an event: what comes before the first must look like one.
    begun: bool,
}

impl<R: Read> Events<R> {
    pub(super) fn new(from: R) -> Events<R> {
        Events { from, received: Vec::new(), taken: 0, event: Event::default(), begun: false }
    }

    /// The next event of what was read; `None`: it takes another
    /// [`read`](Events::read). An event without data is one that only sets the id.
    ///
    /// # Errors
    /// `InvalidData` for what can't be events.
    pub(super) fn received(&mut self) -> io::Result<Option<Event>> {
        while let Some(length) = memchr::memchr(b'\n', &self.received[self.taken..]) {
            let line = &self.received[self.taken..self.taken + length];
            let line = std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)).map_err(|_| garbled())?;
            let is_end = line.is_empty();
            if !take_in(&mut self.event, line) && !self.begun {
                return Err(garbled());
            }
            self.taken += length + 1;
            if is_end {
                let event = std::mem::take(&mut self.event);
                self.begun |= !event.data.is_empty();
                if !event.data.is_empty() || event.id.is_some() {
                    return Ok(Some(event));
                }
            }
        }
        Ok(None)
    }

    /// Reads once. Blocks as the stream's reads do.
    ///
    /// # Errors
    /// Those of the stream; `UnexpectedEof` when it ends, in order or not: only
    /// what the last event says counts. `InvalidData` for an event without an end.
    pub(super) fn read(&mut self) -> io::Result<()> {
        self.received.drain(..self.taken);
        self.taken = 0;
        if self.received.len() + self.event.data.len() > MAX_EVENT_BYTES {
            return Err(garbled());
        }
        let before = self.received.len();
        self.received.resize(before + READ_BYTES, 0);
        let read = self.from.read(&mut self.received[before..]);
        self.received.truncate(before + *read.as_ref().unwrap_or(&0));
        if read? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// Whether it is a line that events are made of; others are ignored, as the
/// standard has it, but a page that came in place of events has only such.
fn take_in(event: &mut Event, line: &str) -> bool {
    let (field, value) = line.split_once(':').unwrap_or((line, ""));
    let value = value.strip_prefix(' ').unwrap_or(value);
    match field {
        "id" => event.id = Some(value.to_owned()),
        "event" => value.clone_into(&mut event.name),
        "data" => {
            if !event.data.is_empty() {
                event.data.push('\n');
            }
            event.data.push_str(value);
        }
        // A comment, or the event's end.
        "" | "retry" => {}
        // A field of a later version.
        _ => return false,
    }
    true
}

fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "these are no server-sent events")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(events: &mut Events<impl Read>) -> io::Result<Event> {
        loop {
            match events.received()? {
                Some(event) => return Ok(event),
                None => events.read()?,
            }
        }
    }

    /// A stream that gives so many bytes a read.
    struct Slowly<'a>(&'a [u8], usize);

    impl Read for Slowly<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(buffer.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    #[test]
    fn events_arrive_whole_however_they_are_cut() {
        let stream = b": hello\n\nid: r-1\nevent: line\ndata: {\"a\":1}\n\nevent: end\r\ndata: x\r\n\r\ndata: cut of";
        for step in [1, 2, 7, 1000] {
            let mut events = Events::new(Slowly(stream, step));
            let first = next(&mut events).unwrap();
            assert_eq!(first, Event { id: Some("r-1".into()), name: "line".into(), data: "{\"a\":1}".into() });
            assert_eq!(next(&mut events).unwrap(), Event { id: None, name: "end".into(), data: "x".into() });
            assert_eq!(next(&mut events).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn an_id_comes_without_data_and_a_name_without_data_is_dropped() {
        let mut events = Events::new(&b"id: r-9\n: still here\n\nevent: x\n\ndata: y\n\n"[..]);
        assert_eq!(next(&mut events).unwrap(), Event { id: Some("r-9".into()), ..Event::default() });
        assert_eq!(next(&mut events).unwrap(), Event { data: "y".into(), ..Event::default() });
    }

    #[test]
    fn what_has_no_end_takes_no_memory_without_end() {
        let mut events = Events::new(io::repeat(b'x'));
        assert_eq!(next(&mut events).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut events = Events::new(&b"<!DOCTYPE html>\n<p>Hello</p>\n"[..]);
        assert_eq!(next(&mut events).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut events = Events::new(&b"data: \xff\n\n"[..]);
        assert_eq!(next(&mut events).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
