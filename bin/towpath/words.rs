//! An outcome in words.

use std::io;

use towpath::clock::rfc3339;
use towpath::job::{Outcome, Verdict, with_causes};
use towpath::lock::Lost;
use towpath::process::Status;

use crate::voice;

/// What a lock means that was found in other hands.
const NOT_ALONE: &str = "another run may have begun before this one's end; see who deleted or took it";

/// What the words about an outcome need beside it.
pub(crate) struct Words {
    pub(crate) command: String,
    pub(crate) timeout: String,
    pub(crate) log: String,
    pub(crate) report: String,
    pub(crate) is_quiet: bool,
    pub(crate) is_container: bool,
}

impl Words {
    /// What went wrong, always; what is only worth knowing, to a terminal and with `-v`.
    pub(crate) fn tell(&self, outcome: &Outcome) {
        match &outcome.verdict {
            // What cron mails shall say why it does.
            Verdict::Ended(status) if self.is_quiet && !status.success() => match status {
                Status::Exited(code) => voice::error(&format!("{} exited with code {code}", self.command)),
                Status::Signaled(signal) => voice::error(&format!("{} was ended by signal {signal}", self.command)),
            },
            Verdict::Ended(_) => {}
            Verdict::TimedOut(_) => {
                voice::error(&format!("{} was ended: it ran longer than {}", self.command, self.timeout));
            }
            Verdict::LeaseLost { lost, .. } => self.tell_lost(lost, outcome),
            Verdict::Held(holder) => {
                voice::note(&format!("{} is held by {holder}; nothing was run", outcome.key.as_deref().unwrap_or("")));
            }
            Verdict::Interrupted(_) => voice::note("the wait for the lock was interrupted; nothing was run"),
            Verdict::Store(error) => voice::error(&format!("{}; nothing was run", with_causes(error))),
            Verdict::Skipped(error) => voice::note(&format!("{}; skipped, nothing was run", with_causes(error))),
            Verdict::NotStarted(error) if error.kind() == io::ErrorKind::NotFound => {
                voice::error(&format!("{}: command not found", self.command));
            }
            Verdict::NotStarted(error) => voice::error(&format!("{} can't be executed: {error}", self.command)),
            Verdict::File { path, error } => {
                voice::error(&format!("can't write {}: {error}; nothing was run", path.display()));
            }
            Verdict::Start(error) => voice::error(&format!("can't start {}: {}", self.command, with_causes(error))),
            Verdict::Stuck(pid) => self.tell_stuck(*pid, outcome),
            Verdict::KeeperDied { whole_tree: true } => {
                voice::error(&format!("{} was ended: somebody killed its keeper", self.command));
            }
            Verdict::KeeperDied { whole_tree: false } => voice::error(&format!(
                "somebody killed the keeper of {}; processes that it started may still run",
                self.command
            )),
            Verdict::Essential { thread, .. } => {
                voice::error(&format!("{} was ended: towpath's thread {thread} died", self.command));
            }
        }
        self.tell_losses(outcome);
    }

    fn tell_lost(&self, lost: &Lost, outcome: &Outcome) {
        let at = rfc3339(lost.noticed.to_system_time());
        let lost = with_causes(lost);
        voice::error(&match outcome.started {
            None => format!("{lost}, noticed at {at}; nothing was run"),
            Some(_) => format!(
                "{} was ended: {lost}, noticed at {at}; see why its store failed or lost it, and what was left half done",
                self.command
            ),
        });
    }

    fn tell_stuck(&self, pid: i32, outcome: &Outcome) {
        if self.is_container && outcome.status.is_some() {
            voice::error(&format!(
                "the container of {} isn't known to be gone: its sweeper, process {pid}, goes on for 10 minutes; is the Docker daemon well?",
                self.command
            ));
            return;
        }
        let lock = match outcome.ttl {
            None => "its keeper stays with the lock until it is gone",
            Some(_) => "its lock in Redis lapses nevertheless",
        };
        voice::error(&format!("process {pid} of {} outlived SIGKILL; {lock}", self.command));
    }

    fn tell_losses(&self, outcome: &Outcome) {
        let by_itself = matches!(outcome.verdict, Verdict::Ended(_));
        if by_itself && outcome.left_behind > 0 {
            let what = if outcome.left_behind == 1 { "a process" } else { "processes" };
            voice::note(&format!("{} left {what} behind ({}), ended with it", self.command, outcome.left_behind));
        }
        if let (Some(pid), false) = (outcome.stuck, matches!(outcome.verdict, Verdict::Stuck(_))) {
            self.tell_stuck(pid, outcome);
        }
        if let (Some(lost), false) = (&outcome.lost, matches!(outcome.verdict, Verdict::LeaseLost { .. })) {
            let lost = with_causes(lost);
            if outcome.was_perhaps_not_alone() {
                voice::error(&format!("{lost}; {NOT_ALONE}"));
            } else {
                voice::note(&format!("{lost}; the command had ended before that"));
            }
        }
        if let Some(error) = &outcome.release_error {
            let after = if outcome.was_perhaps_not_alone() { format!("; {NOT_ALONE}") } else { String::new() };
            voice::error(&format!("the lock couldn't be given back: {}{after}", with_causes(error)));
        }
        if let Some(error) = &outcome.report_error {
            voice::error(&format!("can't write the report {}: {error}", self.report));
        }
        #[cfg(feature = "http")]
        for ping in outcome.pings.iter().flat_map(|pings| [&pings.start, &pings.end]) {
            if let Some(Err(error)) = ping {
                voice::note(&format!("a ping didn't arrive: {error}"));
            }
        }
        #[cfg(all(feature = "form", feature = "http"))]
        for shipping in &outcome.shipped {
            let (file, to) = (shipping.file.display(), &shipping.target);
            match &shipping.result {
                Ok(sent) => voice::note(&format!("shipped {file} to {to}: {} bytes", sent.bytes)),
                Err(why) => voice::error(&format!("can't ship {file} to {to}: {why}")),
            }
        }
        #[cfg(all(feature = "http", feature = "redis"))]
        if let Some(relay) = &outcome.relay {
            let why = relay.error.as_ref().map_or(String::new(), |error| format!(" ({error})"));
            if !relay.is_end_told {
                voice::note(&format!("the relay couldn't be told the end; who follows it is cut{why}"));
            } else if relay.lost_lines > 0 {
                voice::note(&format!("the relay lacks {} lines{why}", relay.lost_lines));
            }
        }
        if outcome.undelivered {
            voice::note("the last of the output was left out: nobody took it");
        }
        let Some(output) = &outcome.output else { return };
        if let Some(log) = output.log.as_ref().filter(|log| !log.lost.is_empty()) {
            let why = log.error.as_ref().map_or(String::new(), |error| format!(" ({error})"));
            voice::error(&format!("the log {} lost {} lines, {} bytes{why}", self.log, log.lost.lines, log.lost.bytes));
        }
        if let Some(error) = output.printed.error.as_ref().filter(|error| error.kind() != io::ErrorKind::BrokenPipe) {
            voice::error(&format!("{} bytes of output couldn't be printed: {error}", output.printed.lost_bytes));
        }
        if let Some(spool) = &output.spool
            && let Some(error) = &spool.error
        {
            voice::note(&format!("the output couldn't be kept back, so it was printed: {error}"));
        }
        if output.long_lines > 0 {
            voice::note(&format!("{} lines were longer than 64 KiB and judged by their beginning", output.long_lines));
        }
        if output.held_open {
            voice::note("a process outside the run still holds its output open");
        }
    }
}
