//! The spool of a quiet run: a bounded temporary file without a name.
//!
//! It keeps the first 4 MiB and at least the last 12 MiB of what would have
//! been printed, 28 MiB at most: a head, and two tail segments of which the
//! older is overwritten. Each record is tagged by its stream.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, Mode, OFlags};

use super::printer::Printer;
use super::{SpoolTally, Stream};
use crate::clock::Moment;
use crate::flow::Gap;

const HEAD_BYTES: u64 = 4 * 1024 * 1024;
const TAIL_BYTES: u64 = 12 * 1024 * 1024;
/// A record's header: the stream, and the length of what follows.
const HEADER_BYTES: usize = 5;

#[derive(Debug)]
pub(super) struct Spool {
    dirs: Vec<PathBuf>,
    /// Made when there is something to keep: most quiet runs say nothing.
    file: Option<File>,
    /// The head, and the two tails.
    segments: [Segment; 3],
    /// Which of them grows.
    current: usize,
    left_out: Gap,
}

/// A part of the file that is filled from its start.
#[derive(Debug)]
struct Segment {
    start: u64,
    capacity_bytes: u64,
    used_bytes: u64,
    holds: Gap,
}

impl Segment {
    fn new(start: u64, capacity_bytes: u64) -> Segment {
        Segment { start, capacity_bytes, used_bytes: 0, holds: Gap::default() }
    }
}

impl Spool {
    /// In the first of `$TMPDIR`, `/tmp` and `/var/tmp` that will have it, else in memory.
    pub(super) fn new() -> Spool {
        let dirs = std::env::var_os("TMPDIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let dirs = dirs.into_iter().chain(["/tmp".into(), "/var/tmp".into()]).collect();
        Spool::with_limits(dirs, HEAD_BYTES, TAIL_BYTES)
    }

    pub(super) fn with_limits(dirs: Vec<PathBuf>, head_bytes: u64, tail_bytes: u64) -> Spool {
        let segments = [
            Segment::new(0, head_bytes),
            Segment::new(head_bytes, tail_bytes),
            Segment::new(head_bytes + tail_bytes, tail_bytes),
        ];
        Spool { dirs, file: None, segments, current: 0, left_out: Gap::default() }
    }

    /// Keeps `bytes`, all or nothing.
    ///
    /// # Errors
    /// The file can't be made or written: play what is there, and print the rest.
    pub(super) fn add(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let record_bytes = (HEADER_BYTES + bytes.len()) as u64;
        self.make_room(record_bytes)?;
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(temporary_file(&self.dirs)?),
        };
        let segment = &mut self.segments[self.current];
        let at = segment.start + segment.used_bytes;
        let [l0, l1, l2, l3] = length.to_le_bytes();
        file.write_all_at(&[stream.index() as u8, l0, l1, l2, l3], at)?;
        file.write_all_at(bytes, at + HEADER_BYTES as u64)?;
        segment.used_bytes += record_bytes;
        segment.holds.miss(bytes);
        Ok(())
    }

    /// Turns to the next segment if the current one is full; the older tail is given up for it.
    fn make_room(&mut self, record_bytes: u64) -> io::Result<()> {
        let fits = |segment: &Segment| segment.used_bytes + record_bytes <= segment.capacity_bytes;
        if fits(&self.segments[self.current]) {
            return Ok(());
        }
        let next = if self.current == 1 { 2 } else { 1 };
        if record_bytes > self.segments[next].capacity_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.current = next;
        let segment = &mut self.segments[next];
        self.left_out.join(std::mem::take(&mut segment.holds));
        segment.used_bytes = 0;
        Ok(())
    }

    /// Nothing is to be printed.
    pub(super) fn discard(self) -> SpoolTally {
        SpoolTally { left_out: self.left_out, error: None }
    }

    /// Prints what was kept, each stream to its own, in order.
    pub(super) fn play(self, to: &mut [Printer; 2]) -> SpoolTally {
        let error = self.play_segments(to).err();
        SpoolTally { left_out: self.left_out, error }
    }

    fn play_segments(&self, to: &mut [Printer; 2]) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        play_segment(file, &self.segments[0], to)?;
        if !self.left_out.is_empty() {
            let out = &mut to[Stream::Stdout.index()];
            if out.is_mid_line() {
                out.print(b"\n");
            }
            out.print(self.left_out.to_line("left out (spool limit)").as_bytes());
        }
        let older = if self.current == 1 { 2 } else { 1 };
        play_segment(file, &self.segments[older], to)?;
        play_segment(file, &self.segments[3 - older], to)
    }
}

fn play_segment(file: &File, segment: &Segment, to: &mut [Printer; 2]) -> io::Result<()> {
    let mut at = segment.start;
    let end = segment.start + segment.used_bytes;
    let mut bytes = Vec::new();
    while at < end {
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, at)?;
        let [stream, l0, l1, l2, l3] = header;
        bytes.resize(u32::from_le_bytes([l0, l1, l2, l3]) as usize, 0);
        file.read_exact_at(&mut bytes, at + HEADER_BYTES as u64)?;
        to[usize::from(stream.min(1))].print(&bytes);
        at += (HEADER_BYTES + bytes.len()) as u64;
    }
    Ok(())
}

/// A file that nobody else can open, and that is gone with us.
fn temporary_file(dirs: &[PathBuf]) -> io::Result<File> {
    for dir in dirs {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR) {
            return Ok(file.into());
        }
        if let Ok(file) = unlinked_file(dir) {
            return Ok(file);
        }
    }
    Ok(rustix::fs::memfd_create("towpath-spool", MemfdFlags::CLOEXEC)?.into())
}

/// For file systems without `O_TMPFILE`. `O_EXCL` guards against whoever waits at the name.
fn unlinked_file(dir: &Path) -> io::Result<File> {
    let path = dir.join(format!(".towpath-{}-{:x}", std::process::id(), Moment::now().since_boot_ns()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::Stream::{Stderr, Stdout};
    use super::*;

    /// What comes out of stdout and stderr, and the account.
    fn played(spool: Spool) -> (Vec<u8>, Vec<u8>, SpoolTally) {
        let (mut out, out_end) = io::pipe().unwrap();
        let (mut err, err_end) = io::pipe().unwrap();
        let playing =
            std::thread::spawn(move || spool.play(&mut [out_end, err_end].map(|end| Printer::new(end.into()))));
        let reading_err = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            err.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).unwrap();
        (bytes, reading_err.join().unwrap(), playing.join().unwrap())
    }

    fn in_dir(dir: &Path) -> Spool {
        Spool::with_limits(vec![dir.to_owned()], 1_000, 2_000)
    }

    #[test]
    fn each_stream_gets_its_own_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = in_dir(dir.path());
        for (stream, bytes) in [(Stdout, &b"a\n"[..]), (Stderr, b"b\xff"), (Stdout, b"c"), (Stderr, b"")] {
            spool.add(stream, bytes).unwrap();
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
        let (out, err, tally) = played(spool);
        assert_eq!((&out[..], &err[..]), (&b"a\nc"[..], &b"b\xff"[..]));
        assert!(tally.left_out.is_empty() && tally.error.is_none());
    }

    #[test]
    fn more_than_the_limit_keeps_the_beginning_and_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = in_dir(dir.path());
        let lines: Vec<String> = (0..1_000).map(|n| format!("line {n:03}\n")).collect();
        for line in &lines {
            spool.add(Stdout, line.as_bytes()).unwrap();
        }
        assert!(spool.file.as_ref().unwrap().metadata().unwrap().len() <= 5_000);
        let (out, _, tally) = played(spool);
        let text = String::from_utf8(out).unwrap();
        let (head, rest) = text.split_once("[towpath]").unwrap();
        let (gap, tail) = rest.split_once('\n').unwrap();
        assert!(lines.concat().starts_with(head) && head.len() > 500);
        assert!(lines.concat().ends_with(tail) && tail.len() > 1_000);
        let left_out = Gap {
            lines: (1_000 - head.lines().count() - tail.lines().count()) as u64,
            bytes: (lines.concat().len() - head.len() - tail.len()) as u64,
        };
        assert_eq!(tally.left_out, left_out);
        assert_eq!(format!("[towpath]{gap}\n"), left_out.to_line("left out (spool limit)"));
    }

    #[test]
    fn the_gap_line_starts_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = in_dir(dir.path());
        for _ in 0..10 {
            spool.add(Stdout, &[b'x'; 900]).unwrap();
        }
        let (out, ..) = played(spool);
        assert!(out.starts_with(&[&[b'x'; 900][..], b"\n[towpath] gap: 0 lines, "].concat()));
    }

    #[test]
    fn without_a_directory_it_is_kept_in_memory() {
        let mut spool = in_dir(Path::new("/nowhere/at/all"));
        spool.add(Stderr, b"kept").unwrap();
        assert_eq!(played(spool).1, b"kept");
    }

    #[test]
    fn a_file_system_without_tmpfile_has_an_unlinked_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = unlinked_file(dir.path()).unwrap();
        file.write_all_at(b"x", 0).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
