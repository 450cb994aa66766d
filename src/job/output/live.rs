//! The lines of a run on their way to readers elsewhere, who can't slow it.

use super::super::feeding::Feeding;
use super::Stream;
use crate::flow::Splitter;

/// The names of the two streams, by their tags.
pub const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// Both streams, split into lines, into one tail.
#[derive(Debug)]
pub struct Live {
    feeding: Feeding,
    splitters: [Splitter; 2],
}

impl Live {
    /// Feeds these readers, whose end somebody else knows.
    pub(in crate::job) fn new(feeding: Feeding) -> Live {
        Live { feeding, splitters: [Splitter::new(), Splitter::new()] }
    }

    pub(super) fn push(&mut self, stream: Stream, chunk: &[u8]) {
        let Live { feeding, splitters } = self;
        splitters[stream.index()].push_blocks(chunk, |piece| feeding.line(stream.index(), piece));
    }

    /// The stream has no more; what is left of it is a line without an end.
    pub(super) fn finish(&mut self, stream: Stream) {
        let Live { feeding, splitters } = self;
        splitters[stream.index()].finish(|piece| feeding.line(stream.index(), piece));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tail::{Item, Start, tail};
    use crate::live::Record;

    #[test]
    fn the_other_stream_comes_between_lines_and_never_into_one() {
        let (feed, tail) = tail::<Record>(1 << 20);
        let mut live = Live::new(Feeding::new(feed));
        live.push(Stream::Stdout, b"one\nhalf");
        live.push(Stream::Stderr, b"err\n");
        live.push(Stream::Stdout, b" and half\n");
        let long = vec![b'x'; 70_000];
        live.push(Stream::Stdout, &long);
        live.push(Stream::Stderr, b"between\n");
        live.push(Stream::Stdout, b"rest\nlast");
        live.finish(Stream::Stdout);
        let mut lines: Vec<(u8, Vec<u8>)> = Vec::new();
        let mut cursor = tail.reader(Start::Beginning);
        loop {
            let batch = cursor.next_batch(100, 1 << 20);
            if batch.is_empty() {
                break;
            }
            for item in &batch.items {
                let Item::Lines(some) = item else { continue };
                for line in some.iter() {
                    match lines.last_mut() {
                        Some((_, last)) if !line.piece.start => last.extend_from_slice(line.piece.bytes),
                        _ => lines.push((line.tag, line.piece.bytes.to_vec())),
                    }
                }
            }
        }
        let (tags, texts): (Vec<u8>, Vec<Vec<u8>>) = lines.into_iter().unzip();
        assert_eq!(tags, [0, 1, 0, 0, 1, 0, 0]);
        assert_eq!(texts[..3], [b"one\n".to_vec(), b"err\n".to_vec(), b"half and half\n".to_vec()]);
        assert_eq!(texts[4], b"between\n");
        assert_eq!(texts[6], b"last");
        let all_of_it: usize = texts[3].len() - 1 + texts[5].len();
        assert_eq!(all_of_it, long.len() + b"rest\n".len());
    }
}
