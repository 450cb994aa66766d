//! Many readers of one stream, on one thread: what loads the servers must cost
//! little, and the same for each.
//!
//! A line carries a `~`, by which it is counted whatever the framing around it,
//! and may start with `@` and the moment of its writing, by which it is timed.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use memchr::{memchr, memchr_iter};
use rustix::event::{Timespec, epoll};

/// A line's length, as a log's are, its end included.
pub(crate) const LINE_BYTES: usize = 107;
/// The mark and the digits of a moment, in nanoseconds.
const MOMENT_BYTES: usize = 1 + 20;
/// Read at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// A line that carries the moment of its writing, on the clock of `began`.
pub(crate) fn timed_line(began: Instant) -> Vec<u8> {
    line(&format!("@{:0width$} ", began.elapsed().as_nanos(), width = MOMENT_BYTES - 1))
}

/// A line without a moment: what a flood is made of.
pub(crate) fn plain_line() -> Vec<u8> {
    line("")
}

fn line(start: &str) -> Vec<u8> {
    let text = format!("{start}INFO job: copied another 4096 bytes to the archive ");
    format!("{text:.<width$}~\n", width = LINE_BYTES - 2).into_bytes()
}

/// What the readers have got so far, together.
#[derive(Default)]
pub(crate) struct Tally {
    lines: AtomicU64,
    timed_lines: AtomicU64,
    /// How many readers have got a line.
    reached: AtomicUsize,
    leave: AtomicBool,
    failure: Mutex<Option<String>>,
}

pub(crate) struct Readers {
    pub(crate) tally: Arc<Tally>,
    thread: JoinHandle<Vec<u64>>,
}

impl Readers {
    /// Connects `count` readers, each asking for what comes next.
    pub(crate) fn connect(address: SocketAddr, count: usize, began: Instant) -> Result<Readers, String> {
        let readers = (0..count).map(|_| Reader::connect(address)).collect::<Result<Vec<_>, _>>()?;
        let tally = Arc::new(Tally::default());
        let theirs = Arc::clone(&tally);
        let thread = std::thread::spawn(move || {
            let mut latencies = Vec::new();
            if let Err(why) = read(readers, &theirs, began, &mut latencies) {
                *theirs.failure.lock().unwrap() = Some(why);
            }
            latencies
        });
        Ok(Readers { tally, thread })
    }

    /// Takes them off: what each timed line took to each reader, in nanoseconds.
    pub(crate) fn leave(self) -> Result<Vec<u64>, String> {
        self.tally.leave.store(true, Ordering::Relaxed);
        let latencies = self.thread.join().map_err(|_| "the readers' thread panicked".to_owned())?;
        self.tally.check().map(|()| latencies)
    }
}

impl Tally {
    pub(crate) fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Those of [`timed_line`].
    pub(crate) fn timed_lines(&self) -> u64 {
        self.timed_lines.load(Ordering::Relaxed)
    }

    pub(crate) fn reached(&self) -> usize {
        self.reached.load(Ordering::Relaxed)
    }

    /// Fails if a reader was refused, or cut off.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.failure.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

/// Reads for all of them until they are to leave.
fn read(mut readers: Vec<Reader>, tally: &Tally, began: Instant, latencies: &mut Vec<u64>) -> Result<(), String> {
    let say = |error: rustix::io::Errno| error.to_string();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(say)?;
    for (index, reader) in readers.iter().enumerate() {
        epoll::add(&epoll, &reader.socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)
            .map_err(say)?;
    }
    let mut piece = vec![0; PIECE_BYTES];
    let mut events = Vec::with_capacity(256);
    // So often it looks whether it is to leave, though nothing comes.
    let nap = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    while !tally.leave.load(Ordering::Relaxed) {
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&nap)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.to_string()),
        }
        for event in events.drain(..) {
            let data = event.data;
            readers[data.u64() as usize].read(&mut piece, tally, began, latencies)?;
        }
    }
    Ok(())
}

struct Reader {
    socket: TcpStream,
    was_answered: bool,
    was_reached: bool,
    /// The start of a moment whose end is still to come.
    partial: Vec<u8>,
}

impl Reader {
    fn connect(address: SocketAddr) -> Result<Reader, String> {
        let say = |error: std::io::Error| format!("a reader of {address}: {error}");
        let mut socket = TcpStream::connect_timeout(&address, Duration::from_secs(20)).map_err(say)?;
        let request = format!("GET /log?tail=0 HTTP/1.1\r\nHost: {address}\r\n\r\n");
        socket.write_all(request.as_bytes()).map_err(say)?;
        socket.set_nonblocking(true).map_err(say)?;
        Ok(Reader { socket, was_answered: false, was_reached: false, partial: Vec::new() })
    }

    fn read(
        &mut self,
        piece: &mut [u8],
        tally: &Tally,
        began: Instant,
        latencies: &mut Vec<u64>,
    ) -> Result<(), String> {
        let read = match self.socket.read(piece) {
            Ok(0) => return Err("a reader was cut off".to_owned()),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(error) => return Err(format!("a reader was cut off: {error}")),
        };
        let now = began.elapsed().as_nanos() as u64;
        let piece = &piece[..read];
        if !self.was_answered && !piece.starts_with(b"HTTP/1.1 200 ") {
            let line = piece.split(|byte| *byte == b'\r').next().unwrap_or_default();
            return Err(format!("a reader got {:?}", String::from_utf8_lossy(line)));
        }
        self.was_answered = true;
        let lines = memchr_iter(b'~', piece).count() as u64;
        if lines > 0 {
            tally.lines.fetch_add(lines, Ordering::Relaxed);
            if !self.was_reached {
                self.was_reached = true;
                tally.reached.fetch_add(1, Ordering::Relaxed);
            }
        }
        let before = latencies.len();
        self.time(piece, now, latencies);
        tally.timed_lines.fetch_add((latencies.len() - before) as u64, Ordering::Relaxed);
        Ok(())
    }

    fn time(&mut self, mut piece: &[u8], now: u64, latencies: &mut Vec<u64>) {
        while let Some(rest) = self.next_moment(piece) {
            piece = rest;
            if self.partial.len() == MOMENT_BYTES {
                let digits = std::str::from_utf8(&self.partial[1..]).unwrap_or_default();
                latencies.extend(digits.parse::<u64>().ok().map(|then| now.saturating_sub(then)));
                self.partial.clear();
            }
        }
    }

    /// Takes a moment, or its start, out of the piece: what is behind it.
    fn next_moment<'p>(&mut self, piece: &'p [u8]) -> Option<&'p [u8]> {
        let start = if self.partial.is_empty() { memchr(b'@', piece)? } else { 0 };
        let taken = (MOMENT_BYTES - self.partial.len()).min(piece.len() - start);
        self.partial.extend_from_slice(&piece[start..start + taken]);
        (taken > 0).then(|| &piece[start + taken..])
    }
}
