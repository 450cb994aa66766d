//! The docker CLI's credential helpers: a program that is told a registry and
//! answers with a secret.

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::super::error::one_line;

/// How long a helper may take: it may ask somebody.
const LIMIT: Duration = Duration::from_secs(30);
/// How much it may answer.
const ANSWER_BYTE: usize = 1 << 20;
/// What it says when it has nothing, word for word.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// What `docker-credential-NAME get` answers for a registry; `None` if it has nothing.
pub(super) fn get(name: &str, registry: &str) -> io::Result<Option<Vec<u8>>> {
    if name.contains('/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "its name isn't one"));
    }
    run(&format!("docker-credential-{name}"), registry, LIMIT)
}

pub(super) fn run(program: &str, registry: &str, limit: Duration) -> io::Result<Option<Vec<u8>>> {
    let deadline = Instant::now() + limit;
    let mut command = Command::new(program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let answer = converse(&mut child, registry, deadline).and_then(|answer| {
        wait_end(&child, deadline)?;
        Ok(answer)
    });
    if answer.is_err() {
        // It may have ended by itself.
        let _: io::Result<()> = child.kill();
    }
    let status = child.wait()?;
    let answer = answer?;
    if status.success() {
        return Ok(Some(answer));
    }
    match one_line(&String::from_utf8_lossy(&answer)) {
        said if said.contains(NOT_FOUND) => Ok(None),
        said if said.is_empty() => Err(io::Error::other(status.to_string())),
        said => Err(io::Error::other(said)),
    }
}

/// Tells it the registry, and reads what it says.
fn converse(child: &mut Child, registry: &str, deadline: Instant) -> io::Result<Vec<u8>> {
    if let Some(mut stdin) = child.stdin.take() {
        // A line is less than the pipe holds, so that this doesn't wait. Who doesn't read it may still answer.
        match stdin.write_all(registry.as_bytes()).and_then(|()| stdin.write_all(b"\n")) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    let mut answer = Vec::new();
    let Some(mut stdout) = child.stdout.take() else { return Ok(answer) };
    let mut buffer = [0; 4096];
    loop {
        await_until(PollFd::new(&stdout, PollFlags::IN), deadline)?;
        match stdout.read(&mut buffer) {
            Ok(0) => return Ok(answer),
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if answer.len() > ANSWER_BYTE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it says more than 1 MiB"));
        }
    }
}

fn wait_end(child: &Child, deadline: Instant) -> io::Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("a process without an id"))?;
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    await_until(PollFd::new(&handle, PollFlags::IN), deadline)
}

fn await_until(descriptor: PollFd<'_>, deadline: Instant) -> io::Result<()> {
    let mut descriptors = [descriptor];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left =
            Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut descriptors, Some(&left)) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "it doesn't end in time")),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_that_does_not_end_is_ended() {
        // `yes` takes "get" for what to repeat, without end.
        let error = run("yes", "x", Duration::from_secs(60)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hangs");
        std::fs::write(&path, "#!/bin/sh\nexec sleep 1000\n").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let error = run(path.to_str().unwrap(), "x", Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_helper_is_a_name_on_path() {
        assert_eq!(get("../x", "y").unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
