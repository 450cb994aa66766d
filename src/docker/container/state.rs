//! How a container is.

use std::time::SystemTime;

use serde_json::Value;

use super::super::Error;
use super::super::call::text_at;

/// What the daemon says of one container.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct State {
    /// Its id.
    pub id: String,
    /// Its name, without the slash that the daemon begins it with.
    pub name: String,
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`.
    pub status: String,
    /// Whether a process of it runs.
    pub running: bool,
    /// The code that it last ended with; 0 before.
    pub exit_code: i64,
    /// The kernel ended it for want of memory.
    pub oom_killed: bool,
    /// Why it could not be started; empty if it could.
    pub error: String,
    /// Whether its output is a terminal's: one stream, not two in frames.
    pub tty: bool,
    /// When it was last started, if ever.
    pub started: Option<SystemTime>,
    /// What keeps its log: `json-file`, `local`, `none`.
    pub log_driver: String,
    /// All that the daemon said.
    pub json: Value,
}

impl State {
    pub(super) fn read(json: Value, doing: &str) -> Result<State, Error> {
        let (state, config) = (&json["State"], &json["Config"]);
        let missing = |name: &str| Error::garbage(doing, &format!("has no {name}"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(State {
            id: text_at(&json, "Id", doing)?.to_owned(),
            name: text(&json["Name"]).trim_start_matches('/').to_owned(),
            status: text(&state["Status"]),
            running: state["Running"].as_bool().ok_or_else(|| missing("State.Running"))?,
            exit_code: state["ExitCode"].as_i64().ok_or_else(|| missing("State.ExitCode"))?,
            oom_killed: state["OOMKilled"] == Value::Bool(true),
            error: text(&state["Error"]),
            tty: config["Tty"].as_bool().ok_or_else(|| missing("Config.Tty"))?,
            started: state["StartedAt"].as_str().and_then(moment),
            log_driver: text(&json["HostConfig"]["LogConfig"]["Type"]),
            json,
        })
    }
}

/// A time as the daemon writes it, in UTC or not; its year 1 means never.
fn moment(text: &str) -> Option<SystemTime> {
    crate::clock::parse_rfc3339(text).filter(|time| *time > SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_state_without_what_decides_is_garbage() {
        let whole = json!({
            "Id": "ab", "Name": "/web", "Config": {"Tty": false},
            "State": {"Status": "created", "Running": false, "ExitCode": 0, "StartedAt": "0001-01-01T00:00:00Z"},
        });
        let state = State::read(whole.clone(), "x").unwrap();
        assert_eq!((state.name.as_str(), state.started), ("web", None));
        let mut started = whole.clone();
        started["State"]["StartedAt"] = json!("2026-11-22T04:39:55.5+01:00");
        assert!(State::read(started, "x").unwrap().started.is_some());
        for (part, name) in [("State", "Running"), ("State", "ExitCode"), ("Config", "Tty")] {
            let mut less = whole.clone();
            less[part].as_object_mut().unwrap().remove(name);
            assert!(State::read(less, "x").is_err(), "{name}");
        }
    }
}
