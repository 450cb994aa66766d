//! The command's environment: ours, without our own settings, with what the
//! command may want to know of its run.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Every variable with this prefix is a setting of ours, and may be a secret.
const PREFIX: &[u8] = b"TOWPATH_";

/// What a command is told of its run, each as a variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// `TOWPATH_KEY`: the lock's key.
    pub(super) key: Option<String>,
    /// `TOWPATH_FENCE`: the fencing token.
    pub(super) fence: Option<u64>,
    /// `TOWPATH_DEADLINE`: the time limit's end, Unix milliseconds.
    pub(super) deadline_unix_ms: Option<u128>,
    /// `TOWPATH_URL`: where the run can be watched.
    pub(super) url: Option<String>,
}

/// The environment for the command, made from `ours`.
pub(super) fn for_command(
    ours: impl Iterator<Item = (OsString, OsString)>,
    facts: &Facts,
) -> Vec<(OsString, OsString)> {
    let mut environment: Vec<_> = ours.filter(|(name, _)| !is_setting(name)).collect();
    environment.extend(facts.told().map(|(name, value)| (name.into(), value.into())));
    environment
}

impl Facts {
    /// Each as a variable.
    pub(super) fn told(&self) -> impl Iterator<Item = (&'static str, String)> {
        let told = [
            ("TOWPATH_KEY", self.key.clone()),
            ("TOWPATH_FENCE", self.fence.map(|fence| fence.to_string())),
            ("TOWPATH_DEADLINE", self.deadline_unix_ms.map(|ms| ms.to_string())),
            ("TOWPATH_URL", self.url.clone()),
        ];
        told.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

fn is_setting(name: &OsStr) -> bool {
    name.as_bytes().starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_settings_go_and_what_the_command_may_know_comes() {
        let ours =
            [("PATH", "/bin"), ("TOWPATH_STORE_PASSWORD", "secret"), ("TOWPATH_FENCE", "1"), ("MY_TOWPATH_", "x")];
        let ours = ours.into_iter().map(|(name, value)| (name.into(), value.into()));
        let facts =
            Facts { key: Some("k".into()), fence: Some(7), deadline_unix_ms: None, url: Some("http://h".into()) };
        let got = for_command(ours, &facts);
        let want = [
            ("PATH", "/bin"),
            ("MY_TOWPATH_", "x"),
            ("TOWPATH_KEY", "k"),
            ("TOWPATH_FENCE", "7"),
            ("TOWPATH_URL", "http://h"),
        ];
        assert_eq!(got, want.map(|(name, value)| (OsString::from(name), OsString::from(value))));
    }
}
