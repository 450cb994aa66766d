//! A descriptor that becomes readable at a moment on the clock that counts suspend.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::clock::Moment;

/// A `timerfd_create(2)` on `CLOCK_BOOTTIME`.
pub(super) struct Alarm {
    timer: OwnedFd,
}

impl Alarm {
    pub(super) fn new() -> io::Result<Alarm> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        Ok(Alarm { timer })
    }

    /// Sets the one moment; a past one rings at once, [`Moment::NEVER`] not at all.
    pub(super) fn set(&self, at: Moment) {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ns = if at == Moment::NEVER { 0 } else { at.since_boot_ns().max(1) };
        // Both parts fit: u64 nanoseconds are 584 years.
        let it_value = Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as _ };
        let setting = Itimerspec { it_interval: zero, it_value };
        // It fails only for a time that isn't one.
        let _: rustix::io::Result<Itimerspec> = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &setting);
    }

    /// Makes it unreadable until it rings again.
    pub(super) fn clear(&self) {
        // Nothing to read is what is wanted.
        let _: rustix::io::Result<usize> = rustix::io::read(&self.timer, &mut [0; 8]);
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
