//! When the daemon starts a container again: `--restart`.

use std::str::FromStr;

use serde_json::{Value, json};

/// When the daemon starts a container again by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Never. The default.
    #[default]
    No,
    /// Whenever it has ended.
    Always,
    /// Whenever it has ended, unless it was stopped.
    UnlessStopped,
    /// When it has failed, so many times at most; 0 is without a limit.
    OnFailure(u32),
}

/// A text that is no [`Restart`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no restart policy; there are no, always, unless-stopped, on-failure and on-failure:TIMES")]
pub struct InvalidRestart {
    text: String,
}

impl FromStr for Restart {
    type Err = InvalidRestart;

    fn from_str(text: &str) -> Result<Restart, InvalidRestart> {
        match text {
            "no" => Ok(Restart::No),
            "always" => Ok(Restart::Always),
            "unless-stopped" => Ok(Restart::UnlessStopped),
            "on-failure" => Ok(Restart::OnFailure(0)),
            _ => text
                .strip_prefix("on-failure:")
                .and_then(|times| times.parse().ok())
                .map(Restart::OnFailure)
                .ok_or_else(|| InvalidRestart { text: text.to_owned() }),
        }
    }
}

impl Restart {
    pub(super) fn to_json(self) -> Value {
        match self {
            Restart::No => json!({ "Name": "no" }),
            Restart::Always => json!({ "Name": "always" }),
            Restart::UnlessStopped => json!({ "Name": "unless-stopped" }),
            Restart::OnFailure(times) => json!({ "Name": "on-failure", "MaximumRetryCount": times }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_the_docker_cli_reads_them() {
        assert_eq!("on-failure:3".parse(), Ok(Restart::OnFailure(3)));
        assert_eq!("unless-stopped".parse(), Ok(Restart::UnlessStopped));
        for text in ["", "Always", "always:3", "on-failure:", "on-failure:-1"] {
            assert!(text.parse::<Restart>().is_err(), "{text}");
        }
    }
}
