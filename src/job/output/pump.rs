//! The pump: reads the child's streams as they become readable, and gives their bytes on.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::{Errno, ioctl_fionread, read, retry_on_intr};

#[cfg(feature = "http")]
use super::live::Live;
use super::log::Log;
use super::show::{Output, Show};
use super::spool::Spool;
use super::{Stream, Tally};
use crate::clock::Moment;
use crate::flow::{Filter, MAX_LINE_BYTES};

/// How long a stranger who goes on writing is read after the child's tree has gone: 2 s.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// What a pipe holds unless somebody made it larger.
const READ_BYTES: usize = MAX_LINE_BYTES;
/// The epoll key of the [`Drain`]; the streams' are their indices.
const TREE_GONE: u64 = 2;

/// Where the output goes. By default all of it is printed at once.
#[derive(Debug, Default)]
pub struct Plan {
    /// What is printed of it, or spooled. The log has every line.
    pub filter: Option<Filter>,
    /// Where every line is appended. Defaults to nowhere.
    pub log: Option<Log>,
    /// Print only if the run fails, at its end. Defaults to `false`.
    pub quiet: bool,
    /// Where every line can be seen from elsewhere. Defaults to nowhere.
    #[cfg(feature = "http")]
    pub live: Option<Live>,
}

/// Says that the child's process tree has gone.
///
/// Everything it wrote is still delivered. Then the pump ends, though a
/// stranger may hold the streams: somebody whom the child sent its descriptors,
/// or who left the tree. Dropping it says the same.
#[derive(Debug)]
#[must_use = "dropping it ends the pump as soon as nothing is readable"]
pub struct Drain {
    _open: PipeWriter,
}

impl Drain {
    /// The tree has gone; what its streams hold now is the last of it. Doesn't block.
    pub fn tree_gone(self) {}
}

/// A child's streams on their way. Give [`Pump::run`] a thread of its own.
#[derive(Debug)]
pub struct Pump {
    epoll: OwnedFd,
    gone: PipeReader,
    sources: [Source; 2],
    /// When a stranger who goes on writing is left alone; `None` while the tree lives.
    overdue_at: Option<Moment>,
    show: Show,
    log: Option<Log>,
    #[cfg(feature = "http")]
    live: Option<Live>,
    tally: Tally,
}

/// The reading end of one stream.
#[derive(Debug)]
struct Source {
    /// `None` once it has ended.
    from: Option<OwnedFd>,
    /// What was in the pipe when the tree had gone: the tree's, so read in any case.
    owed_bytes: u64,
}

impl Pump {
    /// A pump from the child's `stdout` and `stderr` to our `out` and `err`.
    ///
    /// With a terminal (pty) for a child there is no `stderr`, and `stdout` is
    /// its master side. The streams must be pipes, terminals or sockets, and
    /// nobody else may read them. `out` and `err` are written without buffering.
    ///
    /// # Errors
    /// No descriptors or memory left for the epoll set, or (`EPERM`) a stream that can't be waited for, as a plain file.
    pub fn new(
        stdout: OwnedFd,
        stderr: Option<OwnedFd>,
        plan: Plan,
        out: impl Into<OwnedFd>,
        err: impl Into<OwnedFd>,
    ) -> io::Result<(Pump, Drain)> {
        let (gone, open) = io::pipe()?;
        let pump = Pump {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            gone,
            sources: [Some(stdout), stderr].map(|from| Source { from, owed_bytes: 0 }),
            overdue_at: None,
            show: Show::new(plan.filter, plan.quiet.then(Spool::new), [out.into(), err.into()]),
            log: plan.log,
            #[cfg(feature = "http")]
            live: plan.live,
            tally: Tally::default(),
        };
        for stream in Stream::BOTH {
            if let Some(from) = &pump.sources[stream.index()].from {
                epoll::add(&pump.epoll, from, key(stream), once_readable())?;
            }
        }
        epoll::add(&pump.epoll, &pump.gone, epoll::EventData::new_u64(TREE_GONE), epoll::EventFlags::IN)?;
        Ok((pump, Drain { _open: open }))
    }

    /// Pumps until both streams have ended, or the tree has gone and what it wrote is delivered.
    ///
    /// Blocks in between: unblocked by the child's output and by [`Drain`]. In a
    /// write, which slows the child as it should, by the reader of our streams
    /// alone: there is no deadline, as a terminal may be stopped for a week.
    pub fn run(mut self) -> Output {
        let mut buffer = vec![0; READ_BYTES];
        let mut ready = Vec::with_capacity(3);
        while self.is_open() && !self.is_overdue() {
            if let Err(error) = self.wait(&mut ready) {
                self.tally.read_error.get_or_insert(error.into());
                break;
            }
            if ready.is_empty() {
                break; // only without the tree: nothing more is readable
            }
            // The kernel's ready list is in the order in which they became readable.
            for event in ready.drain(..) {
                match event.data.u64() {
                    0 => self.serve(Stream::Stdout, &mut buffer),
                    1 => self.serve(Stream::Stderr, &mut buffer),
                    _ => self.tree_is_gone(),
                }
            }
        }
        self.tally.held_open = self.is_open();
        for stream in Stream::BOTH {
            self.end(stream);
        }
        Output { show: self.show, log: self.log, tally: self.tally }
    }

    fn wait(&self, ready: &mut Vec<epoll::Event>) -> Result<(), Errno> {
        // With the tree alive, its output or its end comes some time: no deadline is needed.
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = self.overdue_at.is_some().then_some(&now);
        retry_on_intr(|| epoll::wait(&self.epoll, rustix::buffer::spare_capacity(ready), timeout)).map(drop)
    }

    /// One read, and what comes of it.
    fn serve(&mut self, stream: Stream, buffer: &mut [u8]) {
        let source = &mut self.sources[stream.index()];
        let Some(from) = &source.from else { return };
        let count = match retry_on_intr(|| read(from, &mut *buffer)) {
            // EIO: a terminal whose other side has been closed.
            Ok(0) | Err(Errno::IO) => return self.end(stream),
            Ok(count) => count,
            Err(Errno::AGAIN) => 0,
            Err(error) => {
                self.tally.read_error.get_or_insert(error.into());
                return self.end(stream);
            }
        };
        // Before the bytes are delivered, which may take long: its place in the ready list is the next write's.
        if let Err(error) = epoll::modify(&self.epoll, from, key(stream), once_readable()) {
            self.tally.read_error.get_or_insert(error.into());
            self.close(stream);
        }
        let source = &mut self.sources[stream.index()];
        source.owed_bytes = source.owed_bytes.saturating_sub(count as u64);
        self.deliver(stream, &buffer[..count]);
    }

    fn deliver(&mut self, stream: Stream, chunk: &[u8]) {
        match stream {
            Stream::Stdout => self.tally.stdout_bytes += chunk.len() as u64,
            Stream::Stderr => self.tally.stderr_bytes += chunk.len() as u64,
        }
        // The log first: it is quicker than a terminal, and has it if the terminal never takes it.
        if let Some(log) = &mut self.log {
            log.append(stream, chunk);
        }
        #[cfg(feature = "http")]
        if let Some(live) = &mut self.live {
            live.push(stream, chunk);
        }
        self.show.push(stream, chunk);
        if !self.is_kept() && !self.show.wants(stream) {
            self.close(stream);
        }
    }

    /// Whether every line has somewhere to go, though our own streams are closed.
    fn is_kept(&self) -> bool {
        #[cfg(feature = "http")]
        if self.live.is_some() {
            return true;
        }
        self.log.is_some()
    }

    /// The stream has no more: the last line may be without an end.
    fn end(&mut self, stream: Stream) {
        self.close(stream);
        if let Some(log) = &mut self.log {
            log.finish(stream);
        }
        #[cfg(feature = "http")]
        if let Some(live) = &mut self.live {
            live.finish(stream);
        }
        self.show.finish(stream);
    }

    /// The writer's next write meets SIGPIPE.
    fn close(&mut self, stream: Stream) {
        if let Some(from) = self.sources[stream.index()].from.take() {
            // Closing alone isn't enough: a duplicate, as of a terminal, would stay in the set.
            let _ = epoll::delete(&self.epoll, from);
        }
    }

    fn tree_is_gone(&mut self) {
        let _ = epoll::delete(&self.epoll, &self.gone);
        self.overdue_at = Some(Moment::now() + DRAIN_LIMIT);
        for stream in Stream::BOTH {
            let source = &mut self.sources[stream.index()];
            let Some(from) = &source.from else { continue };
            source.owed_bytes = ioctl_fionread(from).unwrap_or(0);
            // Arming asks the stream afresh: a terminal hands its last bytes over only when asked.
            let _ = epoll::modify(&self.epoll, from, key(stream), once_readable());
        }
    }

    fn is_open(&self) -> bool {
        self.sources.iter().any(|source| source.from.is_some())
    }

    fn is_overdue(&self) -> bool {
        let owes = |source: &Source| source.from.is_some() && source.owed_bytes > 0;
        self.overdue_at.is_some_and(Moment::has_passed) && !self.sources.iter().any(owes)
    }
}

fn key(stream: Stream) -> epoll::EventData {
    epoll::EventData::new_u64(stream.index() as u64)
}

/// Told once, then armed again after the read. A level-triggered stream would
/// keep its place in the ready list after it was read empty, and what is
/// written to it later would come before what the other stream had earlier.
fn once_readable() -> epoll::EventFlags {
    epoll::EventFlags::IN | epoll::EventFlags::ONESHOT
}
