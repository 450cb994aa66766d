//! How a process ended.

use rustix::process::WaitStatus;

/// How a process ended: by itself, or by a signal (`wait(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It exited with this code, 0 to 255.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
}

impl Status {
    /// The code a shell shows: the exit code, or 128 + n for signal n.
    pub fn code(self) -> u8 {
        let code = match self {
            Status::Exited(code) => code,
            Status::Signaled(signal) => 128 + signal,
        };
        u8::try_from(code).unwrap_or(u8::MAX)
    }

    /// Whether it exited with code 0.
    pub fn success(self) -> bool {
        self == Status::Exited(0)
    }

    /// The signal that ended it, if one did.
    pub fn signal(self) -> Option<i32> {
        match self {
            Status::Exited(_) => None,
            Status::Signaled(signal) => Some(signal),
        }
    }

    pub(super) fn of(status: WaitStatus) -> Option<Status> {
        status.exit_status().map(Status::Exited).or_else(|| status.terminating_signal().map(Status::Signaled))
    }
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn a_code_is_what_a_shell_shows() {
        assert_eq!(Status::Exited(3).code(), 3);
        assert_eq!(Status::Signaled(9).code(), 137);
        assert!(Status::Exited(0).success());
        assert!(!Status::Signaled(15).success());
    }
}
