//! A job's command in a container.
//!
//! The kept command is then this very program in another role, the *attendant*
//! ([`attend`]): it makes the container, carries its output and signals, removes it, and
//! exits with its code. So keeper, deadlines, output and exit codes are those of any
//! command. An attendant that is killed leaves a container behind; the keeper then starts
//! the *sweeper* ([`sweep`]), and lets go of what it holds after that.

mod attend;
mod sweep;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde_json::{Value, json};

use crate::docker::{ContainerSpec, PullPolicy};

pub(super) use sweep::sweep_now;

/// The roles, as the program's first argument.
const ATTEND: &str = "--towpath-attendant";
const SWEEP: &str = "--towpath-sweeper";
/// What is told to an attendant is no longer than that.
const TOLD_BYTE: u64 = 16 << 20;

/// The container that a job's command runs in. It has no standard input.
#[derive(Clone, Debug)]
pub struct InContainer {
    /// The image, by name or id.
    pub image: String,
    /// When it is pulled, which is a part of the run. Defaults to when it is missing.
    pub pull: PullPolicy,
    /// All but the command, which is the job's.
    pub spec: ContainerSpec,
}

/// What an attendant is to do.
#[derive(Debug)]
struct Task {
    run: String,
    image: String,
    pull: PullPolicy,
    /// From TERM to the container's KILL.
    grace: Duration,
    spec: ContainerSpec,
}

impl InContainer {
    /// A container of this image, pulled if it is missing, with nothing else said.
    pub fn of(image: &str) -> InContainer {
        InContainer { image: image.to_owned(), pull: PullPolicy::default(), spec: ContainerSpec::new() }
    }

    /// The arguments of the attendant.
    pub(super) fn attendant() -> Vec<OsString> {
        vec![crate::process::keeper_program().into(), ATTEND.into()]
    }

    /// The arguments of the sweeper for this run.
    pub(super) fn sweeper(run: &str) -> Vec<OsString> {
        vec![crate::process::keeper_program().into(), SWEEP.into(), run.into()]
    }

    /// What the attendant reads as its standard input: variables of a container's
    /// environment may be secrets, which arguments show to everybody.
    pub(super) fn told(&self, run: &str, grace: Duration, spec: &ContainerSpec) -> io::Result<OwnedFd> {
        let task = Task { run: run.to_owned(), image: self.image.clone(), pull: self.pull, grace, spec: spec.clone() };
        let mut file = File::from(rustix::fs::memfd_create("towpath-container", rustix::fs::MemfdFlags::CLOEXEC)?);
        file.write_all(task.to_json().to_string().as_bytes())?;
        file.rewind()?;
        Ok(file.into())
    }
}

impl Task {
    fn to_json(&self) -> Value {
        json!({
            "run": self.run,
            "image": self.image,
            "pull": match self.pull { PullPolicy::Missing => "missing", PullPolicy::Always => "always", PullPolicy::Never => "never" },
            "grace_ms": u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX),
            "spec": self.spec.to_text(),
        })
    }

    fn read(from: impl Read) -> Option<Task> {
        let value: Value = serde_json::from_reader(from.take(TOLD_BYTE)).ok()?;
        Some(Task {
            run: value["run"].as_str()?.to_owned(),
            image: value["image"].as_str()?.to_owned(),
            pull: value["pull"].as_str()?.parse().ok()?,
            grace: Duration::from_millis(value["grace_ms"].as_u64()?),
            spec: ContainerSpec::from_text(value["spec"].as_str()?)?,
        })
    }
}

/// Turns this process into an attendant or a sweeper if it was started as one, and
/// doesn't come back then.
pub(super) fn entry() {
    let mut words = std::env::args_os().skip(1);
    let code = match words.next() {
        Some(role) if role == ATTEND => attend::main(),
        Some(role) if role == SWEEP => sweep::main(&words.next().unwrap_or_default().to_string_lossy()),
        _ => return,
    };
    std::process::exit(code);
}

/// One line on standard error, as a command's own.
fn say(text: &str) {
    // Nobody is left to be told that nobody listens.
    let _: io::Result<()> = io::stderr().write_all(format!("towpath: {text}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attendant_is_told_all_of_it() {
        let spec = ContainerSpec::new().command(["sh", "-c", "true"]).env("A=\"1\"\n").name("n").label("a", "b");
        let image = InContainer { pull: PullPolicy::Never, ..InContainer::of("busybox:1") };
        let told = File::from(image.told("r1", Duration::from_millis(1500), &spec).unwrap());
        let task = Task::read(told).unwrap();
        assert_eq!((task.run.as_str(), task.image.as_str(), task.pull), ("r1", "busybox:1", PullPolicy::Never));
        assert_eq!(task.grace, Duration::from_millis(1500));
        assert_eq!(task.spec.to_text(), spec.to_text());
        assert!(Task::read(&b"{}"[..]).is_none());
    }
}
