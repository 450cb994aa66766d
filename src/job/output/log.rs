//! The log file: whole lines of both streams, through full disks and rotation.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::printer::write_all;
use super::{LogTally, Stream};
use crate::flow::{Gap, Splitter};

/// A file to which a run's lines are appended.
///
/// One write for all the whole lines of a read. A line of more than 64 KiB is
/// written as it comes, and ended by a `\n` of ours if the other stream has
/// something to say meanwhile: holding that back could block the child for ever.
/// The same goes for a last line without an end, also one of an earlier run.
///
/// Copied and truncated by a log rotation, it goes on at the file's new end;
/// renamed, it goes on in the renamed file.
///
/// A write that fails (`ENOSPC`, `EDQUOT`, `EIO`) doesn't stop the run: what
/// is lost is counted, every later write tries again, and when it works there
/// is first a line that tells the [`Gap`].
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    /// `None` as long as there was no room to create it.
    file: Option<File>,
    splitters: [Splitter; 2],
    batch: Vec<u8>,
    /// The file's last byte is no line end, and whose line it is.
    mid_line: bool,
    whose: Option<Stream>,
    /// Lost, and not yet told in the file.
    untold: Gap,
    reason: String,
    tally: LogTally,
}

impl Log {
    /// Opens `path` for appending; a new file has mode 0640. A FIFO must have a reader.
    ///
    /// # Errors
    /// Any of `open(2)`, but for a full disk or quota: then each write tries
    /// to open it again. Check the path and its permissions, before the job starts.
    pub fn open(path: &Path) -> io::Result<Log> {
        let mut log = Log {
            path: path.to_owned(),
            file: None,
            splitters: [Splitter::new(), Splitter::new()],
            batch: Vec::new(),
            mid_line: false,
            whose: None,
            untold: Gap::default(),
            reason: String::new(),
            tally: LogTally::default(),
        };
        match log.open_file() {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => log.note(error),
            Err(error) => return Err(error),
        }
        Ok(log)
    }

    /// Takes the next bytes of a stream, and writes those lines that are whole.
    pub(super) fn append(&mut self, stream: Stream, chunk: &[u8]) {
        let Log { splitters, batch, .. } = self;
        batch.clear();
        splitters[stream.index()].push_blocks(chunk, |block| batch.extend_from_slice(block.bytes));
        self.write_batch(stream);
    }

    /// The stream has ended: its last line is written, with an end or without.
    pub(super) fn finish(&mut self, stream: Stream) {
        let Log { splitters, batch, .. } = self;
        batch.clear();
        splitters[stream.index()].finish(|block| batch.extend_from_slice(block.bytes));
        let rest = !batch.is_empty();
        if !self.write_batch(stream) && rest {
            // It has no `\n` to be counted by.
            let line = Gap { lines: 1, bytes: 0 };
            self.untold.join(line);
            self.tally.lost.join(line);
        }
    }

    pub(super) fn long_lines(&self) -> u64 {
        self.splitters.iter().map(Splitter::long_lines).sum()
    }

    /// Both streams have ended: tells the last gap, if there is room now.
    pub(super) fn close(mut self) -> LogTally {
        self.tell_gap();
        self.tally
    }

    /// Whether all of it was written.
    fn write_batch(&mut self, stream: Stream) -> bool {
        if self.batch.is_empty() {
            return true;
        }
        if !self.tell_gap() {
            return self.lose(0);
        }
        if self.mid_line && self.whose != Some(stream) && !self.write(b"\n") {
            return self.lose(0);
        }
        let batch = std::mem::take(&mut self.batch);
        let before = self.tally.bytes;
        let whole = self.write(&batch);
        self.batch = batch;
        if whole {
            self.whose = self.mid_line.then_some(stream);
            return true;
        }
        self.lose((self.tally.bytes - before) as usize)
    }

    /// Counts the batch from `written` on as lost.
    fn lose(&mut self, written: usize) -> bool {
        self.untold.miss(&self.batch[written..]);
        self.tally.lost.miss(&self.batch[written..]);
        self.whose = None;
        false
    }

    /// Whether the file has the truth: nothing was lost, or the file says so.
    fn tell_gap(&mut self) -> bool {
        if self.untold.is_empty() && self.file.is_some() {
            return true;
        }
        if let Err(error) = self.open_file() {
            self.note(error);
            return false;
        }
        if self.untold.is_empty() {
            return true;
        }
        let torn = if self.mid_line { "\n" } else { "" };
        let line = format!("{torn}{}", self.untold.to_line(&format!("lost ({})", self.reason)));
        if !self.write(line.as_bytes()) {
            return false;
        }
        self.untold = Gap::default();
        true
    }

    fn open_file(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            // Not blocking: a FIFO that nobody reads is an error, not a wait.
            let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
            let mut options = OpenOptions::new();
            options.append(true).create(true).mode(0o640).custom_flags(flags.bits() as i32);
            let file = options.open(&self.path)?;
            rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
            self.mid_line = ends_mid_line(&self.path, &file);
            self.file = Some(file);
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        let Some(file) = &self.file else { return false };
        let (written, result) = write_all(file, bytes);
        self.tally.bytes += written as u64;
        if let Some(last) = bytes[..written].last() {
            self.mid_line = *last != b'\n';
        }
        match result {
            Ok(()) => true,
            Err(error) => {
                self.note(error);
                false
            }
        }
    }

    fn note(&mut self, error: io::Error) {
        let text = error.to_string();
        self.reason = text.split(" (os error").next().unwrap_or(&text).to_owned();
        self.tally.error.get_or_insert(error);
    }
}

/// Whether an earlier run left a line without an end; `false` where that can't be seen.
fn ends_mid_line(path: &Path, file: &File) -> bool {
    let Ok(metadata) = file.metadata() else { return false };
    if !metadata.is_file() || metadata.len() == 0 {
        return false;
    }
    let Ok(reader) = File::open(path) else { return false };
    let same = reader.metadata().is_ok_and(|other| (other.dev(), other.ino()) == (metadata.dev(), metadata.ino()));
    let mut last = [b'\n'];
    same && reader.read_exact_at(&mut last, metadata.len() - 1).is_ok() && last != [b'\n']
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Stream::{Stderr, Stdout};
    use super::*;
    use crate::job::output::testing::SmallDisk;

    fn log_in(dir: &Path) -> (Log, PathBuf) {
        let path = dir.join("log");
        (Log::open(&path).unwrap(), path)
    }

    #[test]
    fn lines_of_two_streams_stay_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, path) = log_in(dir.path());
        log.append(Stdout, b"out ");
        log.append(Stderr, b"err\ner");
        log.append(Stdout, b"one\nout two\nrest of out");
        log.append(Stderr, b"r two\nrest of err");
        log.finish(Stdout);
        log.finish(Stderr);
        let tally = log.close();
        let got = fs::read_to_string(&path).unwrap();
        assert_eq!(got, "err\nout one\nout two\nerr two\nrest of out\nrest of err");
        assert_eq!((tally.bytes, tally.lost), (got.len() as u64, Gap::default()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o137, 0, "0640, less what the umask takes");
    }

    #[test]
    fn a_line_too_long_to_hold_is_ended_for_the_other_stream() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, path) = log_in(dir.path());
        let long = "x".repeat(70_000);
        log.append(Stdout, long.as_bytes());
        log.append(Stdout, b"y");
        log.append(Stderr, b"err\n");
        log.append(Stdout, b"z\nnext\n");
        assert_eq!(log.long_lines(), 1);
        assert_eq!(log.close().lost, Gap::default());
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{long}y\nerr\nz\nnext\n"));
    }

    #[test]
    fn the_next_run_starts_on_a_line_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        for last in [&b"no end"[..], b"an end\n", b"more\n"] {
            let (mut log, _) = log_in(dir.path());
            log.append(Stdout, last);
            log.finish(Stdout);
            assert!(log.close().error.is_none());
        }
        assert_eq!(fs::read_to_string(dir.path().join("log")).unwrap(), "no end\nan end\nmore\n");
    }

    #[test]
    fn a_truncated_log_goes_on_at_its_new_end() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, path) = log_in(dir.path());
        log.append(Stdout, b"before\n");
        fs::copy(&path, dir.path().join("log.1")).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        log.append(Stdout, b"after\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "after\n");
        assert_eq!(fs::read_to_string(dir.path().join("log.1")).unwrap(), "before\n");
    }

    #[test]
    fn a_loss_that_lasts_to_the_end_is_counted() {
        let mut log = Log::open(Path::new("/dev/full")).unwrap();
        log.append(Stdout, b"one\ntwo\nthr");
        log.append(Stderr, b"four");
        log.finish(Stdout);
        log.finish(Stderr);
        let tally = log.close();
        assert_eq!((tally.bytes, tally.lost), (0, Gap { lines: 4, bytes: 15 }));
        assert_eq!(tally.error.unwrap().kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn a_path_that_cannot_be_opened_is_an_error_at_once() {
        assert_eq!(Log::open(Path::new("/nowhere/at/all")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_full_disk_leaves_a_gap_line_when_there_is_room_again() {
        let Some(disk) = SmallDisk::new(64 * 1024) else { return };
        let (mut log, path) = log_in(disk.path());
        log.append(Stdout, b"before\n");
        let ballast = disk.fill();
        // What is left of the file's own block is still written: the line is torn.
        let line = [&[b'x'; 6_000][..], b"\n"].concat();
        log.append(Stdout, &line);
        log.append(Stderr, b"lost\n");
        fs::remove_file(ballast).unwrap();
        log.append(Stdout, b"after\n");
        let tally = log.close();

        let got = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = got.split('\n').collect();
        let [before, torn, gap, after, ""] = lines[..] else { panic!("{lines:?}") };
        assert_eq!((before, after), ("before", "after"));
        assert!(torn.bytes().all(|byte| byte == b'x') && torn.len() < 6_000);
        let lost = Gap { lines: 2, bytes: (line.len() + 5 - torn.len()) as u64 };
        assert_eq!(format!("{gap}\n"), lost.to_line("lost (No space left on device)"));
        assert_eq!((tally.lost, tally.bytes), (lost, got.len() as u64));
        assert_eq!(tally.error.unwrap().kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn a_log_that_cannot_be_created_for_want_of_room_is_created_later() {
        let Some(disk) = SmallDisk::new(64 * 1024) else { return };
        let inodes = disk.use_up_inodes();
        let (mut log, path) = log_in(disk.path());
        log.append(Stdout, b"lost\n");
        assert!(!path.exists());
        fs::remove_file(&inodes[0]).unwrap();
        log.append(Stdout, b"kept\n");
        assert_eq!(log.close().lost, Gap { lines: 1, bytes: 5 });
        let gap = "[towpath] gap: 1 lines, 5 bytes lost (No space left on device)\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{gap}kept\n"));
    }
}
