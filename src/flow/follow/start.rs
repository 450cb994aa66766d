//! Opening a file to read it, and finding the place to start.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use memchr::memrchr_iter;
use rustix::fs::OFlags;

use crate::flow::merge::StartAt;

/// Opens it without waiting for a FIFO's writer, and without making a terminal ours.
pub(in crate::flow) fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Where to start in a file, as it is now.
pub(in crate::flow) fn start_offset(file: &File, from: StartAt) -> io::Result<u64> {
    match from {
        StartAt::Beginning => Ok(0),
        StartAt::End | StartAt::Last(0) => Ok(file.metadata()?.len()),
        StartAt::Last(lines) => last_lines(file, lines),
    }
}

/// Looks for line ends from the back; one at the very end is not between lines.
fn last_lines(file: &File, lines: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 64 * 1024];
    let size = file.metadata()?.len();
    let mut end = size;
    let mut left = lines;
    while end > 0 {
        let start = end.saturating_sub(buffer.len() as u64);
        let block = &mut buffer[..(end - start) as usize];
        file.read_exact_at(block, start)?;
        for at in memrchr_iter(b'\n', block) {
            let behind = start + at as u64 + 1;
            if behind == size {
                continue;
            }
            left -= 1;
            if left == 0 {
                return Ok(behind);
            }
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn start_of(content: &[u8], from: StartAt) -> u64 {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        start_offset(&file, from).unwrap()
    }

    #[test]
    fn the_last_lines_start_where_they_should() {
        for (content, lines, offset) in [
            (&b""[..], 3, 0),
            (b"one\n", 1, 0),
            (b"one\ntwo\n", 1, 4),
            (b"one\ntwo", 1, 4),
            (b"one\ntwo\n\n", 2, 4),
            (b"one\ntwo\n", 2, 0),
            (b"one\ntwo\n", 9, 0),
            (b"one\ntwo\n", 0, 8),
            (b"\n\n\n", 1, 2),
        ] {
            assert_eq!(start_of(content, StartAt::Last(lines)), offset, "{lines} of {content:?}");
        }
        assert_eq!(start_of(b"one\ntw", StartAt::End), 6);
        assert_eq!(start_of(b"one\ntw", StartAt::Beginning), 0);
    }

    #[test]
    fn the_last_lines_are_found_across_blocks() {
        let line = [&[b'x'; 999][..], b"\n"].concat();
        let content = line.repeat(500);
        for lines in [1, 65, 66, 131, 499, 500, 501] {
            assert_eq!(start_of(&content, StartAt::Last(lines)), 500_000 - 1_000 * lines.min(500), "{lines}");
        }
    }
}
