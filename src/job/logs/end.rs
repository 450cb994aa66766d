//! How logs ended.

use std::io;
use std::time::Duration;

use signal_hook::consts::SIGPIPE;

use super::super::exit_code;
use super::super::listen::end_here;
use super::super::outcome::code_of_not_started;
use super::super::output::PrintTally;
use crate::live::End;
#[cfg(feature = "redis")]
use crate::live::relay::RelayError;
use crate::process::Status;
use crate::thread::ESSENTIAL_EXIT_CODE;

/// What became of the sources, the command and the lines.
#[derive(Debug, Default)]
#[must_use = "it says what was not read"]
pub struct LogsEnd {
    /// The sources that ended with an error, by their names.
    pub failed: Vec<(String, io::Error)>,
    /// The live view couldn't be served, so nothing was read. Why was told to [`Listen`](crate::job::Listen).
    pub not_served: bool,
    /// There were no means (descriptors, threads) to start; nothing was read.
    pub start_error: Option<io::Error>,
    /// How the command ended.
    pub status: Option<Status>,
    /// Why the command couldn't be executed.
    pub not_started: Option<io::Error>,
    /// The command's keeper was killed; processes of the command may still run.
    pub keeper_died: bool,
    /// A process of the command's that outlived SIGKILL.
    pub stuck: Option<i32>,
    /// The signal by which somebody asked for the end.
    pub asked_by: Option<i32>,
    /// SIGINT ended it: who runs us in a shell's loop expects us to die by it too.
    pub interrupted: bool,
    /// That SIGINT came from a terminal whose foreground was the command's, so
    /// that our own group hasn't seen it.
    pub interrupted_alone: bool,
    /// The reader of our stdout has gone, and nobody else was served: it ended for that.
    pub unwanted: bool,
    /// What our stdout didn't take.
    pub printed: PrintTally,
    /// Nobody took the last lines, and who asked for the end didn't wait for that.
    pub undelivered: bool,
    /// Lines of more than 64 KiB, judged by their beginning.
    pub long_lines: u64,
    /// How the relayed run ended that was read, if one was; else why its end isn't known.
    #[cfg(feature = "redis")]
    pub relayed: Option<Result<End, RelayError>>,
    /// The thread that carried the lines panicked; the log has its evidence.
    pub thread_died: bool,
}

impl LogsEnd {
    /// The exit code of `towpath logs`: the command's if there was one, else 0,
    /// or 128 + n if signal n asked for the end. A 0 is 125 if a source failed,
    /// and 74 if stdout didn't take all.
    pub fn exit_code(&self) -> u8 {
        if self.thread_died {
            return ESSENTIAL_EXIT_CODE;
        }
        if self.not_served || self.start_error.is_some() {
            return exit_code::INTERNAL;
        }
        if let Some(error) = &self.not_started {
            return code_of_not_started(error);
        }
        if self.keeper_died || self.stuck.is_some() {
            return exit_code::INTERNAL;
        }
        if self.unwanted {
            return Status::Signaled(SIGPIPE).code();
        }
        match self.code_of_run() {
            0 if !self.failed.is_empty() => exit_code::INTERNAL,
            0 if self.undelivered || self.unprinted().is_some() => exit_code::FILE,
            0 if self.status.is_none() => self.asked_by.map_or(0, |signal| Status::Signaled(signal).code()),
            code => code,
        }
    }

    /// Of the command, or of the relayed run.
    fn code_of_run(&self) -> u8 {
        #[cfg(feature = "redis")]
        match &self.relayed {
            Some(Ok(end)) => return end.exit_code,
            Some(Err(RelayError::Stopped)) | None => {}
            Some(Err(error)) => return error.exit_code(),
        }
        self.status.map_or(0, Status::code)
    }

    /// Why lines couldn't be printed, unless their reader had enough.
    pub fn unprinted(&self) -> Option<&io::Error> {
        self.printed.error.as_ref().filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
    }

    fn word(&self) -> &'static str {
        match self.status {
            Some(Status::Exited(_)) => "exited",
            Some(Status::Signaled(_)) => "signaled",
            None if self.not_started.is_some() => "cannot-execute",
            None if !self.failed.is_empty() || self.start_error.is_some() || self.thread_died => "failed",
            None if self.asked_by.is_some() => "interrupted",
            None => "ended",
        }
    }

    /// The end as live readers get it.
    pub(super) fn to_record(&self, run: String, ran: Duration) -> End {
        end_here(run, self.word(), self.exit_code(), self.status, ran)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_code_comes_first_and_no_success_hides_a_failure() {
        let failed = || vec![("a.log".to_owned(), io::Error::from(io::ErrorKind::NotFound))];
        let code = |end: LogsEnd| end.exit_code();
        assert_eq!(code(LogsEnd::default()), 0);
        assert_eq!(code(LogsEnd { failed: failed(), ..LogsEnd::default() }), 125);
        assert_eq!(code(LogsEnd { asked_by: Some(15), ..LogsEnd::default() }), 143);
        assert_eq!(code(LogsEnd { status: Some(Status::Exited(3)), failed: failed(), ..LogsEnd::default() }), 3);
        assert_eq!(code(LogsEnd { status: Some(Status::Exited(0)), failed: failed(), ..LogsEnd::default() }), 125);
        assert_eq!(code(LogsEnd { status: Some(Status::Exited(0)), asked_by: Some(15), ..LogsEnd::default() }), 0);
    }
}
