//! JSON objects, one after the other, in a stream that may split them anywhere.

use std::io::{self, Read};

use serde_json::Value;

/// How long one object may be.
const OBJECT_BYTE: usize = 1 << 20;
/// How much is read at once.
const READ_BYTE: usize = 16 << 10;

/// Reads objects until the stream's proven end.
pub(super) struct Objects<R> {
    stream: R,
    buffer: Vec<u8>,
    /// What was looked at of the buffer.
    seen: usize,
    depth: usize,
    string: Option<Escape>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escape {
    No,
    Yes,
}

impl<R: Read> Objects<R> {
    pub(super) fn new(stream: R) -> Objects<R> {
        Objects { stream, buffer: Vec::new(), seen: 0, depth: 0, string: None }
    }

    /// The next object, or `None` at the stream's end. Blocks as long as a read does.
    ///
    /// `InvalidData`: what isn't an object, or is longer than 1 MiB.
    /// `UnexpectedEof`: the stream ended inside of one.
    pub(super) fn next(&mut self) -> io::Result<Option<Value>> {
        loop {
            if let Some(length) = self.scan()? {
                let value = serde_json::from_slice(&self.buffer[..length]);
                self.buffer.drain(..length);
                return value.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
            }
            if self.buffer.len() > OBJECT_BYTE {
                return Err(invalid("an object is longer than 1 MiB"));
            }
            let had = self.buffer.len();
            self.buffer.resize(had + READ_BYTE, 0);
            let read = read(&mut self.stream, &mut self.buffer[had..]);
            self.buffer.truncate(had + read.as_ref().map_or(0, |read| *read));
            match read? {
                0 if self.depth == 0 => return Ok(None),
                0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended inside of an object")),
                _ => {}
            }
        }
    }

    /// How long the object at the buffer's start is, once it is whole. White space before it goes.
    fn scan(&mut self) -> io::Result<Option<usize>> {
        if self.depth == 0 {
            let blank = self.buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.buffer.drain(..blank);
        }
        for (index, byte) in self.buffer.iter().enumerate().skip(self.seen) {
            match (self.string, byte) {
                (Some(Escape::Yes), _) => self.string = Some(Escape::No),
                (Some(Escape::No), b'\\') => self.string = Some(Escape::Yes),
                (Some(Escape::No), b'"') => self.string = None,
                (Some(Escape::No), _) => {}
                (None, b'{') => self.depth += 1,
                (None, _) if self.depth == 0 => return Err(invalid("it isn't JSON objects")),
                (None, b'"') => self.string = Some(Escape::No),
                (None, b'}') => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        self.seen = 0;
                        return Ok(Some(index + 1));
                    }
                }
                (None, _) => {}
            }
        }
        self.seen = self.buffer.len();
        Ok(None)
    }
}

fn read(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives so many bytes a read.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(self.1).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn all(text: &[u8], step: usize) -> io::Result<Vec<Value>> {
        let mut objects = Objects::new(Slow(text, step));
        let mut found = Vec::new();
        while let Some(object) = objects.next()? {
            found.push(object);
        }
        Ok(found)
    }

    #[test]
    fn objects_come_whole_however_they_are_split() {
        let text = b"  {\"a\":\"}\\\"{\"}{\"b\":{\"c\":[{}]}}\r\n\n {\"d\":\"\\\\\"} ";
        let whole = all(text, usize::MAX).unwrap();
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[0]["a"], "}\"{");
        for step in 1..text.len() {
            assert_eq!(all(text, step).unwrap(), whole, "{step} bytes a read");
        }
        assert_eq!(all(b"", 1).unwrap(), Vec::<Value>::new());
    }

    #[test]
    fn half_an_object_and_what_is_none_are_errors() {
        let text = b"{\"a\":{\"b\":1}}";
        for end in 1..text.len() {
            let error = all(&text[..end], 3).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{end} bytes");
        }
        for text in [&b"[1]"[..], b"}", b"null", b"{}x", b"<html>", b"\"{}\"", b"{nonsense}", b"{\"a\":1]}"] {
            assert_eq!(all(text, 2).unwrap_err().kind(), io::ErrorKind::InvalidData, "{text:?}");
        }
    }

    #[test]
    fn an_object_without_end_stops_at_its_limit() {
        let mut text = b"{\"a\":\"".to_vec();
        text.resize(2 * OBJECT_BYTE, b'x');
        assert_eq!(all(&text, usize::MAX).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
