//! Writing server-sent events (the HTML standard, 9.2).
//!
//! Each call is one event; flush after it, or after several.
//!
//! ```
//! use towpath::http::sse::Event;
//!
//! let mut stream = Vec::new(); // or a ChunkWriter
//! Event { id: Some("run-1"), event: Some("line"), data: "one\ntwo" }.write_to(&mut stream)?;
//! assert_eq!(stream, b"id: run-1\nevent: line\ndata: one\ndata: two\n\n");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io::{self, ErrorKind, Write};
use std::time::Duration;

/// One event. An empty `id` makes the client forget the last one; `None`
/// leaves it be, as control records must, or resuming would skip data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// What the client sends back as `Last-Event-ID` when it comes again.
    pub id: Option<&'a str>,
    /// Its name; without one it is a `message`.
    pub event: Option<&'a str>,
    /// Its text, of any number of lines; CR LF and CR count as line ends, as
    /// the client would take them for one.
    pub data: &'a str,
}

impl Event<'_> {
    /// Writes it, with the empty line that makes the client take it.
    ///
    /// # Errors
    /// `InvalidInput` for a line end or NUL in `id` or `event`, before
    /// anything is written; otherwise the writer's.
    pub fn write_to(&self, to: &mut impl Write) -> io::Result<()> {
        for field in [self.id, self.event].into_iter().flatten() {
            if field.contains(['\r', '\n', '\0']) {
                return Err(io::Error::new(ErrorKind::InvalidInput, "a line end or NUL in an event's id or name"));
            }
        }
        if let Some(id) = self.id {
            writeln!(to, "id: {id}")?;
        }
        if let Some(event) = self.event {
            writeln!(to, "event: {event}")?;
        }
        for line in lines(self.data) {
            writeln!(to, "data: {line}")?;
        }
        to.write_all(b"\n")
    }
}

/// Writes a comment, which clients skip: a heartbeat that keeps proxies from
/// closing a quiet stream. Send one every 15 s.
///
/// # Errors
/// The writer's.
pub fn write_comment(to: &mut impl Write, text: &str) -> io::Result<()> {
    for line in lines(text) {
        writeln!(to, ": {line}")?;
    }
    to.write_all(b"\n")
}

/// Writes how long the client shall wait before it connects again.
///
/// # Errors
/// The writer's.
pub fn write_retry(to: &mut impl Write, after: Duration) -> io::Result<()> {
    write!(to, "retry: {}\n\n", after.as_millis())
}

/// Split at LF, CR LF, and CR: each would end a line for the client.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(event: Event<'_>) -> String {
        let mut bytes = Vec::new();
        event.write_to(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_line_of_the_data_can_become_a_field() {
        let event = written(Event { data: "a\nid: 1\r\nevent: x\rretry: 1\n", ..Event::default() });
        assert_eq!(event, "data: a\ndata: id: 1\ndata: event: x\ndata: retry: 1\ndata: \n\n");
        assert_eq!(written(Event::default()), "data: \n\n");
    }

    #[test]
    fn a_line_end_in_an_id_or_a_name_is_refused_unwritten() {
        for bad in ["a\nb", "a\rb", "a\0b"] {
            for event in [Event { id: Some(bad), ..Event::default() }, Event { event: Some(bad), ..Event::default() }] {
                let mut bytes = Vec::new();
                assert_eq!(event.write_to(&mut bytes).unwrap_err().kind(), ErrorKind::InvalidInput);
                assert!(bytes.is_empty());
            }
        }
    }

    #[test]
    fn comments_and_retries_are_what_clients_skip_and_heed() {
        let mut bytes = Vec::new();
        write_comment(&mut bytes, "alive\ndata: no").unwrap();
        write_retry(&mut bytes, Duration::from_secs(2)).unwrap();
        assert_eq!(bytes, b": alive\n: data: no\n\nretry: 2000\n\n");
    }
}
