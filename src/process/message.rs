//! What towpath and its keeper say to each other: frames over a Unix stream
//! socket, each a length, a tag and its fields, all little-endian.
//!
//! Both ends are the same program file, and the first frame carries its
//! version, so the format may change with any release.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use super::Status;
use crate::clock::Moment;

/// A frame's largest size in bytes. Linux allows 6 MiB of arguments (`execve(2)`).
const MAX_FRAME_BYTES: usize = 8 << 20;

/// Why the keeper ends a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The command ended and left processes behind.
    Left,
    /// The time limit passed.
    Timeout,
    /// The lease's deadline passed without being moved.
    Lease,
    /// The owner asked for it.
    Asked,
    /// The owner died, or closed its end.
    Orphaned,
}

const REASONS: [Reason; 5] = [Reason::Left, Reason::Timeout, Reason::Lease, Reason::Asked, Reason::Orphaned];

/// A deadline the keeper holds: TERM at the first moment, KILL at the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// When the tree is asked to end.
    pub term_at: Moment,
    /// When what is left of it is killed.
    pub kill_at: Moment,
}

/// From towpath to the keeper.
#[derive(Debug, PartialEq)]
pub(super) enum Order {
    Start {
        version: String,
        argv: Vec<OsString>,
        /// What is started when a killed command's tree is gone; empty: nothing.
        last: Vec<OsString>,
        /// How many came with it.
        descriptors: u64,
        foreground: bool,
        pty: bool,
        kill_after: Duration,
        lease: Option<Limit>,
    },
    Limit {
        reason: Reason,
        limit: Limit,
    },
    Signal {
        signal: i32,
    },
    End {
        signal: i32,
        kill_at: Moment,
    },
}

/// From the keeper to towpath.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The command runs under this process id, which is its group's too.
    Started {
        /// The process id.
        pid: i32,
    },
    /// The command couldn't be executed: the system's error number (`execve(2)`).
    NotStarted {
        /// The error number.
        errno: i32,
    },
    /// The lease's deadline had passed before the command could be started, and so it wasn't.
    TooLate,
    /// The command was stopped by this signal, as by Ctrl-Z.
    Stopped {
        /// The signal.
        signal: i32,
    },
    /// The command goes on after a stop.
    Continued,
    /// The keeper began to end the tree.
    Ending {
        /// Why.
        reason: Reason,
    },
    /// The command ended; processes it left behind may still be ending.
    Exited {
        /// How it ended.
        status: Status,
        /// How many processes of the tree were alive then.
        left_behind: u32,
    },
    /// Some process of the tree outlived SIGKILL for 10 s. The keeper stays, and
    /// holds what it holds, until the process is gone.
    Stuck {
        /// One such process.
        pid: i32,
    },
    /// No process of the tree is left.
    Gone,
    /// The keeper is gone before the tree was; nobody ends it but us.
    KeeperDied,
}

impl Order {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Order::Start { version, argv, last, descriptors, foreground, pty, kill_after, lease } => {
                let mut frame = Writer::new(1);
                frame.bytes(version.as_bytes());
                frame.u64(*descriptors);
                frame.u64(u64::from(*foreground) | u64::from(*pty) << 1);
                frame.u64(u64::try_from(kill_after.as_nanos()).unwrap_or(u64::MAX));
                frame.moment(lease.map_or(Moment::NEVER, |limit| limit.term_at));
                frame.moment(lease.map_or(Moment::NEVER, |limit| limit.kill_at));
                frame.u64(last.len() as u64);
                for argument in last.iter().chain(argv) {
                    frame.bytes(argument.as_bytes());
                }
                frame.end()
            }
            Order::Limit { reason, limit } => {
                let mut frame = Writer::new(2);
                frame.u64(*reason as u64);
                frame.moment(limit.term_at);
                frame.moment(limit.kill_at);
                frame.end()
            }
            Order::Signal { signal } => Writer::of_number(3, *signal),
            Order::End { signal, kill_at } => {
                let mut frame = Writer::new(4);
                frame.i32(*signal);
                frame.moment(*kill_at);
                frame.end()
            }
        }
    }

    pub(super) fn decode(frame: &[u8]) -> io::Result<Order> {
        let (tag, mut fields) = Fields::of(frame)?;
        Ok(match tag {
            1 => {
                let version = String::from_utf8_lossy(fields.bytes()?).into_owned();
                let descriptors = fields.u64()?;
                let flags = fields.u64()?;
                let kill_after = Duration::from_nanos(fields.u64()?);
                let lease = Limit { term_at: fields.moment()?, kill_at: fields.moment()? };
                let lease = Some(lease).filter(|limit| limit.kill_at != Moment::NEVER);
                let of_last = fields.u64()?;
                let (mut last, mut argv) = (Vec::new(), Vec::new());
                while !fields.rest.is_empty() {
                    let list = if (last.len() as u64) < of_last { &mut last } else { &mut argv };
                    list.push(OsString::from_vec(fields.bytes()?.to_vec()));
                }
                let (foreground, pty) = (flags & 1 != 0, flags & 2 != 0);
                Order::Start { version, argv, last, descriptors, foreground, pty, kill_after, lease }
            }
            2 => Order::Limit {
                reason: fields.reason()?,
                limit: Limit { term_at: fields.moment()?, kill_at: fields.moment()? },
            },
            3 => Order::Signal { signal: fields.i32()? },
            4 => Order::End { signal: fields.i32()?, kill_at: fields.moment()? },
            _ => return Err(garbled()),
        })
    }
}

impl Event {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Event::Started { pid } => Writer::of_number(1, *pid),
            Event::NotStarted { errno } => Writer::of_number(2, *errno),
            Event::Stopped { signal } => Writer::of_number(3, *signal),
            Event::Continued => Writer::new(4).end(),
            Event::Ending { reason } => Writer::of_number(5, *reason as i32),
            Event::Exited { status, left_behind } => {
                let mut frame = Writer::new(6);
                let (kind, number) = match status {
                    Status::Exited(code) => (0, *code),
                    Status::Signaled(signal) => (1, *signal),
                };
                frame.i32(kind);
                frame.i32(number);
                frame.u64(u64::from(*left_behind));
                frame.end()
            }
            Event::Stuck { pid } => Writer::of_number(7, *pid),
            Event::Gone => Writer::new(8).end(),
            Event::KeeperDied => Writer::new(9).end(),
            Event::TooLate => Writer::new(10).end(),
        }
    }

    pub(super) fn decode(frame: &[u8]) -> io::Result<Event> {
        let (tag, mut fields) = Fields::of(frame)?;
        Ok(match tag {
            1 => Event::Started { pid: fields.i32()? },
            2 => Event::NotStarted { errno: fields.i32()? },
            3 => Event::Stopped { signal: fields.i32()? },
            4 => Event::Continued,
            5 => Event::Ending {
                reason: *usize::try_from(fields.i32()?).ok().and_then(|n| REASONS.get(n)).ok_or_else(garbled)?,
            },
            6 => {
                let (kind, number) = (fields.i32()?, fields.i32()?);
                let status = if kind == 0 { Status::Exited(number) } else { Status::Signaled(number) };
                Event::Exited { status, left_behind: u32::try_from(fields.u64()?).unwrap_or(u32::MAX) }
            }
            7 => Event::Stuck { pid: fields.i32()? },
            8 => Event::Gone,
            9 => Event::KeeperDied,
            10 => Event::TooLate,
            _ => return Err(garbled()),
        })
    }
}

/// Cuts whole frames out of what has been received so far.
#[derive(Default)]
pub(super) struct Frames {
    received: Vec<u8>,
}

impl Frames {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// The next whole frame, without its length.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some((head, rest)) = self.received.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(garbled());
        }
        if rest.len() < length {
            return Ok(None);
        }
        let frame = rest[..length].to_vec();
        self.received.drain(..4 + length);
        Ok(Some(frame))
    }
}

/// Whether these arguments fit a frame.
pub(super) fn fits(argv: &[OsString]) -> bool {
    argv.iter().map(|argument| argument.len() + 4).sum::<usize>() < MAX_FRAME_BYTES - 1024
}

fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a frame between towpath and its keeper is garbled")
}

struct Writer {
    frame: Vec<u8>,
}

impl Writer {
    fn new(tag: u8) -> Writer {
        Writer { frame: vec![0, 0, 0, 0, tag] }
    }

    fn of_number(tag: u8, number: i32) -> Vec<u8> {
        let mut frame = Writer::new(tag);
        frame.i32(number);
        frame.end()
    }

    fn i32(&mut self, number: i32) {
        self.frame.extend_from_slice(&number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.frame.extend_from_slice(&number.to_le_bytes());
    }

    fn moment(&mut self, moment: Moment) {
        self.u64(moment.since_boot_ns());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // `fits` bounds what comes here far below 4 GiB.
        self.frame.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.frame.extend_from_slice(bytes);
    }

    fn end(mut self) -> Vec<u8> {
        let length = u32::try_from(self.frame.len() - 4).unwrap_or(u32::MAX);
        self.frame[..4].copy_from_slice(&length.to_le_bytes());
        self.frame
    }
}

struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn of(frame: &'a [u8]) -> io::Result<(u8, Fields<'a>)> {
        let (tag, rest) = frame.split_first().ok_or_else(garbled)?;
        Ok((*tag, Fields { rest }))
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or_else(garbled)?;
        self.rest = rest;
        Ok(*field)
    }

    fn i32(&mut self) -> io::Result<i32> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn moment(&mut self) -> io::Result<Moment> {
        Ok(Moment::from_since_boot_ns(self.u64()?))
    }

    fn reason(&mut self) -> io::Result<Reason> {
        usize::try_from(self.u64()?).ok().and_then(|n| REASONS.get(n)).copied().ok_or_else(garbled)
    }

    fn bytes(&mut self) -> io::Result<&'a [u8]> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        let (field, rest) = self.rest.split_at_checked(length).ok_or_else(garbled)?;
        self.rest = rest;
        Ok(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through_the_wire(frame: &[u8], step: usize) -> Vec<u8> {
        let mut frames = Frames::default();
        for part in frame.chunks(step) {
            assert_eq!(frames.next().unwrap(), None);
            frames.push(part);
        }
        frames.next().unwrap().unwrap()
    }

    #[test]
    fn orders_and_events_survive_any_split() {
        let orders = [
            Order::Start {
                version: "1".into(),
                argv: vec!["a".into(), OsString::from_vec(vec![0xff, b'\n']), "".into()],
                last: vec!["b".into(), "".into()],
                descriptors: 5,
                foreground: true,
                pty: false,
                kill_after: Duration::from_millis(1_500),
                lease: Some(Limit { term_at: Moment::BOOT, kill_at: Moment::now() }),
            },
            Order::Limit { reason: Reason::Lease, limit: Limit { term_at: Moment::BOOT, kill_at: Moment::NEVER } },
            Order::Signal { signal: 10 },
            Order::End { signal: 15, kill_at: Moment::now() },
        ];
        for order in orders {
            for step in [1, 3, 1024] {
                assert_eq!(Order::decode(&through_the_wire(&order.encode(), step)).unwrap(), order);
            }
        }
        let mut events = vec![
            Event::Started { pid: 7 },
            Event::NotStarted { errno: 2 },
            Event::Stopped { signal: 20 },
            Event::Continued,
            Event::Exited { status: Status::Exited(3), left_behind: 2 },
            Event::Exited { status: Status::Signaled(9), left_behind: 0 },
            Event::Stuck { pid: 9 },
            Event::Gone,
            Event::KeeperDied,
            Event::TooLate,
        ];
        events.extend(REASONS.map(|reason| Event::Ending { reason }));
        for event in events {
            assert_eq!(Event::decode(&through_the_wire(&event.encode(), 2)).unwrap(), event);
        }
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic() {
        for garbage in [&[][..], &[99], &[2, 1], &[1, 255, 255, 255, 255], &[5, 99, 0, 0, 0]] {
            assert!(Order::decode(garbage).is_err(), "{garbage:?}");
        }
        for garbage in [&[][..], &[99], &[1, 1], &[5, 99, 0, 0, 0], &[5, 255, 255, 255, 255], &[6, 0]] {
            assert!(Event::decode(garbage).is_err(), "{garbage:?}");
        }
        let mut frames = Frames::default();
        frames.push(&u32::MAX.to_le_bytes());
        assert!(frames.next().is_err());
    }
}
