//! Whose a container is, and whether they are gone.
//!
//! Who stays with a container until its end puts labels on it that name its process.
//! If that process dies by force, the container goes on, and the labels tell whoever
//! looks that nobody waits for it any more. Only what is proven counts: the same boot of
//! the same host and namespace, where the process isn't to be found or is another by now;
//! or an earlier boot of this host.

use std::collections::BTreeMap;
use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::container::{Filters, Listed};
use super::{ContainerSpec, Docker, Error};

/// The label of the run's name; a container with it is one of ours.
const RUN: &str = "towpath.run";
const HOST: &str = "towpath.host";
const MACHINE: &str = "towpath.machine";
const BOOT: &str = "towpath.boot";
const NAMESPACE: &str = "towpath.pidns";
const PID: &str = "towpath.pid";
const STARTED: &str = "towpath.started";

/// A process that stays with a container until its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    labels: BTreeMap<String, String>,
}

impl Owner {
    /// This process, in a run of this name. What can't be known here (an empty root
    /// directory has no `/proc`) is left out, and then its end can't be proven.
    pub fn this_process(run: &str) -> Owner {
        let pid = rustix::process::getpid();
        let known = [
            (RUN, Some(run.to_owned())),
            (HOST, Some(hostname())),
            (MACHINE, machine()),
            (BOOT, boot()),
            (NAMESPACE, namespace()),
            (PID, Some(pid.as_raw_nonzero().to_string())),
            (STARTED, started(pid)),
        ];
        let labels = known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        Owner { labels }
    }

    /// The labels that name it.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }
}

impl ContainerSpec {
    /// Puts the labels on it by which [`Docker::orphans`] finds it when its owner is gone.
    pub fn owned_by(self, owner: &Owner) -> Self {
        owner.labels.iter().fold(self, |spec, (key, value)| spec.label(key, value))
    }
}

impl Docker {
    /// The containers, running or not, whose owner was on this host and is provably gone.
    /// Those of other hosts, which may share the daemon, are not among them.
    ///
    /// # Errors
    /// The daemon can't say.
    pub fn orphans(&self) -> Result<Vec<Listed>, Error> {
        let mut owned = self.containers(true, &Filters::new().with("label", RUN))?;
        owned.retain(|container| is_gone(&container.labels));
        Ok(owned)
    }

    /// The containers, running or not, of the run of this name.
    ///
    /// # Errors
    /// The daemon can't say.
    pub fn containers_of_run(&self, run: &str) -> Result<Vec<Listed>, Error> {
        self.containers(true, &Filters::new().with("label", &format!("{RUN}={run}")))
    }
}

/// Whether the process that these labels name is proven to be gone.
fn is_gone(labels: &BTreeMap<String, String>) -> bool {
    let same = |key: &str, here: Option<String>| here.is_some() && labels.get(key) == here.as_ref();
    if !labels.contains_key(BOOT) {
        return false;
    }
    if !same(BOOT, boot()) {
        // A copied machine has the same id, but hardly the same name too.
        return same(MACHINE, machine()) && same(HOST, Some(hostname()));
    }
    if !same(NAMESPACE, namespace()) {
        return false;
    }
    let pid = labels.get(PID).and_then(|pid| Pid::from_raw(pid.parse().ok().filter(|pid| *pid > 0)?));
    let (Some(pid), Some(then)) = (pid, labels.get(STARTED)) else { return false };
    match seen(pid) {
        Some(Seen::Ended) => true,
        Some(Seen::Since(started)) => started != *then,
        // Another user's may be hidden from us, as `hidepid` has it; signals know of it.
        None => test_kill_process(pid) == Err(Errno::SRCH),
    }
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn machine() -> Option<String> {
    line_of("/etc/machine-id")
}

fn boot() -> Option<String> {
    line_of("/proc/sys/kernel/random/boot_id")
}

fn line_of(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The namespace that process ids are of: numbers mean others elsewhere.
fn namespace() -> Option<String> {
    Some(fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned())
}

/// What `/proc` shows of a process.
enum Seen {
    /// It is a zombie, or about to be gone.
    Ended,
    /// It started at this time, in ticks since boot.
    Since(String),
}

/// When a process started, if that can be seen and it hasn't ended.
fn started(pid: Pid) -> Option<String> {
    match seen(pid)? {
        Seen::Since(started) => Some(started),
        Seen::Ended => None,
    }
}

/// Fields 3 and 22 of `/proc/PID/stat` (proc(5)).
fn seen(pid: Pid) -> Option<Seen> {
    let pid = pid.as_raw_nonzero();
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may have anything in it, brackets too.
    let behind_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = std::str::from_utf8(&stat[behind_name..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    match state {
        "Z" | "X" => Some(Seen::Ended),
        _ => fields.nth(18).map(|started| Seen::Since(started.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(changes: &[(&str, Option<&str>)]) -> BTreeMap<String, String> {
        let mut labels = Owner::this_process("r").labels;
        for (key, value) in changes {
            match value {
                Some(value) => labels.insert((*key).to_owned(), (*value).to_owned()),
                None => labels.remove(*key),
            };
        }
        labels
    }

    #[test]
    fn only_what_is_proven_to_be_gone_is() {
        assert!(!is_gone(&with(&[])), "we live");
        assert!(is_gone(&with(&[(STARTED, Some("1"))])), "the number is another's by now");
        assert!(is_gone(&with(&[(PID, Some("4194305"))])), "no such process");
        assert!(!is_gone(&with(&[(PID, Some("4194305")), (NAMESPACE, Some("pid:[1]"))])), "numbers of elsewhere");
        assert!(!is_gone(&with(&[(PID, Some("x"))])));
        assert!(!is_gone(&with(&[(PID, Some("0"))])), "no number of a process");
        assert!(!is_gone(&with(&[(STARTED, None)])));
        assert!(!is_gone(&with(&[(BOOT, Some("b")), (HOST, Some("another"))])), "another host");
        assert!(!is_gone(&with(&[(BOOT, None), (PID, Some("4194305"))])));
    }

    #[test]
    fn a_process_that_has_ended_has_no_start() {
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let labels = with(&[(PID, Some(&child.id().to_string())), (STARTED, started(pid).as_deref())]);
        assert!(!is_gone(&labels));
        drop(child.stdin.take());
        // A zombie for as long as nobody has asked how it ended.
        let status = || std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        while !status().contains(") Z ") {
            std::thread::yield_now();
        }
        assert!(is_gone(&labels) && started(pid).is_none());
        child.wait().unwrap();
        assert!(is_gone(&labels) && started(pid).is_none());
        assert!(started(Pid::INIT).is_some());
    }
}
