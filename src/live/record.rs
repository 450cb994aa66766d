//! What goes through a live stream beside lines: which run it is, and its end.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::flow::Missed;

/// Which run a stream is of.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Run {
    /// Its name, unlike any other run's. Letters and digits.
    pub run: String,
    /// The command, or the sources, for people.
    pub command: Vec<String>,
    /// The lock's key, if it runs under one.
    pub key: Option<String>,
    /// The host it runs on.
    pub host: String,
    /// The process id of the towpath that runs it.
    pub pid: u32,
    /// When it was asked for, RFC 3339.
    pub began: String,
}

/// What goes through a live stream between its lines, and as its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Lines that are missing at this place, for every reader.
    Gap(Missed),
    /// The end, with which a feed is finished.
    End(End),
}

/// How a run ended. In a stream it is the last record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The run that ended.
    pub run: String,
    /// A word: `exited`, `signaled`, `timed-out`; see the report's `outcome`.
    pub outcome: String,
    /// What towpath exits with, and so who watches it.
    pub exit_code: u8,
    /// The command's own exit code, if it exited.
    pub command_exit_code: Option<i32>,
    /// The signal that ended the command, if one did.
    pub signal: Option<i32>,
    /// How long the command ran, in milliseconds.
    pub duration_ms: u64,
}

/// The place of a line in a run: `RUN-SEQ`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    /// The run.
    pub run: String,
    /// The line's number; the first has 1.
    pub seq: u64,
}

/// A text that is no [`Id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is RUN-NUMBER, as the stream gave it")]
pub struct InvalidId;

impl FromStr for Id {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Id, InvalidId> {
        let (run, seq) = text.rsplit_once('-').ok_or(InvalidId)?;
        let is_number = !seq.is_empty() && seq.bytes().all(|byte| byte.is_ascii_digit());
        if run.is_empty() || run.len() > 64 || !run.bytes().all(|byte| byte.is_ascii_alphanumeric()) || !is_number {
            return Err(InvalidId);
        }
        Ok(Id { run: run.to_owned(), seq: seq.parse().map_err(|_| InvalidId)? })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.run, self.seq)
    }
}

impl Run {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "run": self.run,
            "command": self.command,
            "key": self.key,
            "host": self.host,
            "pid": self.pid,
            "began": self.began,
        })
    }

    pub(super) fn from_json(value: &Value) -> Option<Run> {
        let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        Some(Run {
            run: text("run")?,
            command: value
                .get("command")
                .and_then(Value::as_array)
                .map(|words| words.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                .unwrap_or_default(),
            key: text("key"),
            host: text("host").unwrap_or_default(),
            pid: value.get("pid").and_then(Value::as_u64).and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0),
            began: text("began").unwrap_or_default(),
        })
    }
}

impl End {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "run": self.run,
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "command_exit_code": self.command_exit_code,
            "signal": self.signal,
            "duration_ms": self.duration_ms,
        })
    }

    pub(super) fn from_json(value: &Value) -> Option<End> {
        let number = |name: &str| value.get(name).and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok());
        Some(End {
            run: value.get("run")?.as_str()?.to_owned(),
            outcome: value.get("outcome")?.as_str()?.to_owned(),
            exit_code: u8::try_from(number("exit_code")?).ok()?,
            command_exit_code: number("command_exit_code"),
            signal: number("signal"),
            duration_ms: value.get("duration_ms").and_then(Value::as_u64).unwrap_or(0),
        })
    }

    /// The line that stands for it in plain text, with its end.
    pub fn to_line(&self) -> String {
        format!("[towpath] end: {self}\n")
    }
}

impl fmt::Display for End {
    /// For people: `exited with code 3 after 3.012 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.outcome.as_str(), self.signal, self.command_exit_code) {
            ("exited", _, Some(code)) => write!(f, "exited with code {code}")?,
            ("signaled", Some(signal), _) => write!(f, "ended by signal {signal}")?,
            (outcome, _, _) => write!(f, "{outcome}, exit code {}", self.exit_code)?,
        }
        write!(f, " after {}.{:03} s", self.duration_ms / 1000, self.duration_ms % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_run_and_a_number() {
        let id: Id = "0660cf8feec-12".parse().unwrap();
        assert_eq!((id.run.as_str(), id.seq), ("0660cf8feec", 12));
        assert_eq!(id.to_string(), "0660cf8feec-12");
        for text in ["", "-", "a-", "-1", "a-1x", "a-+1", "a-99999999999999999999", "a b-1", "a\n-1", "12"] {
            assert_eq!(text.parse::<Id>(), Err(InvalidId), "{text:?}");
        }
    }

    #[test]
    fn records_survive_their_json() {
        let end = End {
            run: "r".into(),
            outcome: "exited".into(),
            exit_code: 3,
            command_exit_code: Some(3),
            signal: None,
            duration_ms: 3_012,
        };
        assert_eq!(End::from_json(&end.to_json()), Some(end.clone()));
        assert_eq!(end.to_line(), "[towpath] end: exited with code 3 after 3.012 s\n");
        let run = Run { run: "r".into(), command: vec!["a".into()], key: None, ..Run::default() };
        assert_eq!(Run::from_json(&run.to_json()), Some(run));
        assert_eq!(End::from_json(&json!({"run": "r"})), None);
    }
}
