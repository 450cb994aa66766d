//! A container's two streams, told apart.
//!
//! Without a terminal both come in one body, in frames: a type (0 and 1 standard
//! output, 2 standard error, 3 an error of the daemon's own), three zeros, a length of
//! four bytes, the content. A terminal's output comes as it is. Which of the two it is,
//! the container's settings say; it is never guessed.
//!
//! Promises: memory is bounded, however long a frame is; any split of the body gives
//! the same bytes in the same order; what isn't a frame is an error, and so is an end
//! within one.

use std::io::{Read, Write};

use super::super::Error;
use super::super::error::{ErrorKind, one_line};

const HEADER_BYTE: usize = 8;
/// What is read at once.
const BUFFER_BYTE: usize = 64 * 1024;
/// A longer frame is taken for garbage. The daemon's own are of 32 KiB, or one line of
/// a log, 1 MB at most.
const FRAME_BYTE: usize = 64 << 20;
/// A longer message of a log is taken for garbage; the daemon's own are of 1 MB at most.
const MESSAGE_OF_LOG_BYTE: usize = 4 << 20;
/// How much of the daemon's own error is kept.
const MESSAGE_BYTE: usize = 4096;

/// One of a container's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Std {
    /// Standard output; all that a terminal shows.
    Out,
    /// Standard error.
    Err,
}

/// Some bytes of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Which stream.
    pub from: Std,
    /// The bytes; never none.
    pub bytes: &'a [u8],
}

impl Chunk<'_> {
    /// Writes it to the one of the two that it is for, past any buffer.
    ///
    /// # Errors
    /// [`ErrorKind::Local`]: the writer's.
    pub fn write_to(&self, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Error> {
        let written = match self.from {
            Std::Out => out.write_all(self.bytes).and_then(|()| out.flush()),
            Std::Err => err.write_all(self.bytes).and_then(|()| err.flush()),
        };
        written.map_err(|error| Error::new(ErrorKind::Local, "can't write a container's output").because(error))
    }
}

/// Takes frames apart, as they are read.
#[derive(Debug)]
pub struct Frames<R> {
    source: R,
    doing: String,
    framed: bool,
    buffer: Box<[u8]>,
    /// What is read and not looked at yet.
    unread: std::ops::Range<usize>,
    /// The frame that is being read, and how much of it is still to come.
    kind: Kind,
    left: usize,
    message: Vec<u8>,
    failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Content(Std),
    Failure,
}

impl<R: Read> Frames<R> {
    /// Reads frames. `doing` begins the text of its errors: "can't read the output of web".
    pub fn framed(source: R, doing: impl Into<String>) -> Frames<R> {
        Frames {
            source,
            doing: doing.into(),
            framed: true,
            buffer: vec![0; BUFFER_BYTE].into_boxed_slice(),
            unread: 0..0,
            kind: Kind::Content(Std::Out),
            left: 0,
            message: Vec::new(),
            failed: false,
        }
    }

    /// Reads a terminal's output, which has no frames.
    pub fn raw(source: R, doing: impl Into<String>) -> Frames<R> {
        Frames { framed: false, ..Frames::framed(source, doing) }
    }

    pub(super) fn source(&self) -> &R {
        &self.source
    }

    /// What comes next, in the order it was sent: as much of one stream as one read
    /// brought. `None` is the end. Blocks for one read of the source.
    ///
    /// # Errors
    /// [`ErrorKind::Garbage`]: no frames. [`ErrorKind::Failed`]: the daemon's own error
    /// within them. [`ErrorKind::Cut`]: the source failed, or ended within a frame. After
    /// an error there is nothing more to be had.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk<'_>>, Error> {
        if self.failed {
            return Err(self.cut("was given up after an error"));
        }
        self.failed = true;
        let batch = self.gather()?;
        self.failed = false;
        let Some((from, start, end)) = batch else { return Ok(None) };
        Ok(Some(Chunk { from, bytes: &self.buffer[start..end] }))
    }

    /// Whether there is more without a read.
    pub(super) fn has_more(&self) -> bool {
        self.unread.len() >= if self.framed && self.left == 0 { HEADER_BYTE } else { 1 }
    }

    /// One message of a log, whole: a frame, or what `ends` finds the end of in a
    /// terminal's output, given what there is of it. `None` is the end.
    ///
    /// # Errors
    /// As [`Frames::next_chunk`]; also a message of more than 4 MiB.
    pub(super) fn next_message(
        &mut self,
        into: &mut Vec<u8>,
        ends: impl Fn(&[u8]) -> Option<usize>,
    ) -> Result<Option<Std>, Error> {
        into.clear();
        loop {
            match self.next_piece()? {
                Some(Kind::Content(std)) => {
                    let before = into.len();
                    let count = self.left.min(self.unread.len());
                    into.extend_from_slice(&self.buffer[self.unread.start..self.unread.start + count]);
                    let end = if self.framed { (self.left == count).then_some(into.len()) } else { ends(into) };
                    into.truncate(end.unwrap_or(into.len()));
                    self.unread.start += into.len() - before;
                    self.left -= into.len() - before;
                    if end.is_some() {
                        return Ok(Some(std));
                    }
                    if into.len() > MESSAGE_OF_LOG_BYTE {
                        return Err(Error::garbage(&self.doing, "has a line of more than 4 MiB"));
                    }
                }
                // It ends with an error, always.
                Some(Kind::Failure) => return self.gather().map(|_| None),
                None if self.fill()? => {}
                None => return Ok((!into.is_empty()).then_some(Std::Out)),
            }
        }
    }

    /// The next bytes of one stream, moved together in the buffer.
    fn gather(&mut self) -> Result<Option<(Std, usize, usize)>, Error> {
        loop {
            let start = self.unread.start;
            let (mut end, mut from) = (start, None);
            loop {
                let kind = match self.next_piece() {
                    Ok(Some(kind)) => kind,
                    // What came before an error is given first; it is found again.
                    Err(error) if from.is_none() => return Err(error),
                    Ok(None) | Err(_) => break,
                };
                let count = self.left.min(self.unread.len());
                let piece = self.unread.start..self.unread.start + count;
                match kind {
                    Kind::Content(std) if from.is_none_or(|from| from == std) => {
                        // Headers between frames of one stream are closed over.
                        self.buffer.copy_within(piece, end);
                        (end, from) = (end + count, Some(std));
                    }
                    Kind::Failure if from.is_none() => {
                        let room = MESSAGE_BYTE.saturating_sub(self.message.len()).min(count);
                        self.message.extend_from_slice(&self.buffer[piece][..room]);
                        if self.left == count {
                            return Err(self.daemons_own());
                        }
                    }
                    _ => break,
                }
                self.unread.start += count;
                self.left -= count;
            }
            match from {
                Some(from) => return Ok(Some((from, start, end))),
                None if !self.fill()? => return Ok(None),
                None => {}
            }
        }
    }

    /// Whose bytes come next in the buffer; `None` if more must be read to tell.
    fn next_piece(&mut self) -> Result<Option<Kind>, Error> {
        if !self.framed {
            self.left = self.unread.len();
        }
        while self.framed && self.left == 0 {
            let Some(header) = self.buffer[self.unread.clone()].first_chunk::<HEADER_BYTE>().copied() else {
                return Ok(None);
            };
            self.kind = match header {
                [0 | 1, 0, 0, 0, ..] => Kind::Content(Std::Out),
                [2, 0, 0, 0, ..] => Kind::Content(Std::Err),
                [3, 0, 0, 0, ..] => Kind::Failure,
                _ => return Err(Error::garbage(&self.doing, "has something else where a frame should begin")),
            };
            let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
            if length > FRAME_BYTE {
                return Err(Error::garbage(&self.doing, "has a frame of more than 64 MiB"));
            }
            if self.kind == Kind::Failure && length == 0 {
                return Err(self.daemons_own());
            }
            self.unread.start += HEADER_BYTE;
            self.left = length;
        }
        Ok((!self.unread.is_empty()).then_some(self.kind))
    }

    /// Reads once; `false` at the end.
    fn fill(&mut self) -> Result<bool, Error> {
        // At most a part of a header.
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        let count = loop {
            match self.source.read(&mut self.buffer[self.unread.end..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other.map_err(|error| Error::unread(&self.doing, error))?,
            }
        };
        self.unread.end += count;
        if count == 0 && (self.left > 0 && self.framed || !self.unread.is_empty()) {
            return Err(self.cut("ended within a frame"));
        }
        Ok(count > 0)
    }

    fn daemons_own(&self) -> Error {
        Error::new(ErrorKind::Failed, format!("{}: {}", self.doing, one_line(&String::from_utf8_lossy(&self.message))))
    }

    fn cut(&self, what: &str) -> Error {
        Error::new(ErrorKind::Cut, format!("{}: the stream {what}", self.doing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind, 0, 0, 0];
        frame.extend((content.len() as u32).to_be_bytes());
        frame.extend(content);
        frame
    }

    /// Gives its parts one a read.
    struct Parts(std::collections::VecDeque<Vec<u8>>);

    impl Read for Parts {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let Some(mut part) = self.0.pop_front() else { return Ok(0) };
            let count = part.len().min(buffer.len());
            buffer[..count].copy_from_slice(&part[..count]);
            if count < part.len() {
                self.0.push_front(part.split_off(count));
            }
            Ok(count)
        }
    }

    type Streams = (Vec<u8>, Vec<u8>, Vec<(Std, u8)>);

    /// All of it: the two streams, and in which order.
    fn read(frames: &mut Frames<impl Read>) -> Result<Streams, Error> {
        let (mut out, mut err, mut order) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(chunk) = frames.next_chunk()? {
            assert!(!chunk.bytes.is_empty());
            order.extend(chunk.bytes.iter().map(|byte| (chunk.from, *byte)));
            match chunk.from {
                Std::Out => out.extend(chunk.bytes),
                Std::Err => err.extend(chunk.bytes),
            }
        }
        Ok((out, err, order))
    }

    fn split(body: &[u8], at: &[usize]) -> Frames<Parts> {
        let mut parts = std::collections::VecDeque::new();
        let mut rest = body;
        for at in at {
            let (part, after) = rest.split_at((*at).min(rest.len()));
            if !part.is_empty() {
                parts.push_back(part.to_vec());
            }
            rest = after;
        }
        if !rest.is_empty() {
            parts.push_back(rest.to_vec());
        }
        Frames::framed(Parts(parts), "x")
    }

    fn sample() -> Vec<u8> {
        [
            frame(1, b"one\n"),
            frame(2, b"two\n"),
            frame(1, b""),
            frame(1, b"three\n"),
            frame(0, b"four\n"),
            frame(2, b""),
        ]
        .concat()
    }

    #[test]
    fn every_split_gives_the_same_streams_in_the_same_order() {
        let body = sample();
        let whole = read(&mut split(&body, &[])).unwrap();
        assert_eq!((&whole.0[..], &whole.1[..]), (&b"one\nthree\nfour\n"[..], &b"two\n"[..]));
        for first in 0..=body.len() {
            for second in 0..=body.len() - first {
                assert_eq!(read(&mut split(&body, &[first, second])).unwrap(), whole, "{first} {second}");
            }
        }
        assert_eq!(read(&mut split(&body, &vec![1; body.len()])).unwrap(), whole);
    }

    #[test]
    fn every_end_within_a_frame_is_an_error() {
        let body = [frame(1, b"one\n"), frame(2, b"two\n")].concat();
        for length in 0..=body.len() {
            let whole = [0, 12, 24].contains(&length);
            let result = read(&mut split(&body[..length], &[]));
            assert_eq!(result.is_ok(), whole, "{length}");
            assert!(result.err().is_none_or(|error| error.kind() == ErrorKind::Cut));
        }
    }

    #[test]
    fn what_is_no_frame_is_garbage() {
        for header in
            [[4, 0, 0, 0, 0, 0, 0, 1], [1, 1, 0, 0, 0, 0, 0, 1], *b"HTTP/1.1", [1, 0, 0, 0, 255, 255, 255, 255]]
        {
            let mut frames = split(&[frame(1, b"a"), header.to_vec(), b"b".to_vec()].concat(), &[]);
            assert_eq!(frames.next_chunk().unwrap().unwrap().bytes, b"a", "what came before is given");
            assert_eq!(frames.next_chunk().unwrap_err().kind(), ErrorKind::Garbage, "{header:?}");
            assert!(frames.next_chunk().is_err(), "an error is the last word");
        }
    }

    #[test]
    fn the_daemons_own_error_comes_after_what_came_before_it() {
        for body in [frame(3, b"log file\n vanished"), [frame(3, b"log file "), frame(3, b"")].concat()] {
            let body = [frame(1, b"a"), body].concat();
            for at in 0..body.len() {
                let mut frames = split(&body, &[at]);
                assert_eq!(frames.next_chunk().unwrap().unwrap().bytes, b"a");
                let error = frames.next_chunk().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Failed);
                assert!(error.to_string().starts_with("x: log file"), "{error}");
            }
        }
        let endless = frame(3, &vec![b'x'; 1 << 20]);
        assert!(split(&endless, &[]).next_chunk().unwrap_err().to_string().len() <= MESSAGE_BYTE + 10);
    }

    #[test]
    fn a_long_frame_comes_in_pieces_of_the_buffer() {
        let content = vec![7; 3 * BUFFER_BYTE + 5];
        let mut frames = split(&frame(2, &content), &[]);
        assert_eq!(read(&mut frames).unwrap().1, content);
        assert_eq!(frames.buffer.len(), BUFFER_BYTE);
    }

    #[test]
    fn a_terminals_output_is_passed_on_as_it_is() {
        let body = [frame(1, b"x"), b"\x02\x00".to_vec()].concat();
        assert_eq!(read(&mut Frames::raw(&body[..], "x")).unwrap().0, body);
    }

    proptest! {
        #[test]
        fn any_frames_in_any_pieces(
            content in prop::collection::vec((0u8..3, prop::collection::vec(any::<u8>(), 0..300)), 0..40),
            cuts in prop::collection::vec(1usize..500, 0..60),
        ) {
            let body: Vec<u8> = content.iter().flat_map(|(kind, bytes)| frame(*kind, bytes)).collect();
            let expected: Vec<(Std, u8)> = content
                .iter()
                .flat_map(|(kind, bytes)| bytes.iter().map(|byte| (if *kind == 2 { Std::Err } else { Std::Out }, *byte)))
                .collect();
            prop_assert_eq!(read(&mut split(&body, &cuts)).unwrap().2, expected);
        }

        #[test]
        fn any_garbage_ends(bytes in prop::collection::vec(any::<u8>(), 0..2000), cuts in prop::collection::vec(1usize..50, 0..60)) {
            // It ends, and never gives more than it got.
            if let Ok((out, err, _)) = read(&mut split(&bytes, &cuts)) {
                prop_assert!(out.len() + err.len() <= bytes.len());
            }
        }
    }
}
