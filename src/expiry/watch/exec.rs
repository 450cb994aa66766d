//! One command for one entry, under a keeper.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crossbeam_channel::{after, never, select};
use rustix::fs::{MemfdFlags, memfd_create};

use super::handler::Terms;
use crate::clock::{Moment, format_duration};
use crate::process::{Event, Kept, Limit, Place, Reason, Spec, Status};

const SIGTERM: i32 = 15;

/// From TERM to KILL.
const KILL_AFTER: Duration = Duration::from_secs(2);
/// How often the keeper is told of a renewed lease.
const LOOK: Duration = Duration::from_millis(500);

/// Runs the command to the end of its whole tree: why it failed, if it did.
pub(super) fn exec(
    argv: &[OsString],
    environment: Vec<(OsString, OsString)>,
    payload: &[u8],
    terms: &Terms<'_>,
) -> Result<(), String> {
    let until = Moment::now() + terms.timeout;
    let words = |error: io::Error| format!("it can't be started: {error}");
    let kept = start(argv, environment, payload, terms).map_err(words)?;
    let limit = Limit { term_at: until, kill_at: until + KILL_AFTER };
    kept.limit(Reason::Timeout, limit).map_err(words)?;
    let (mut status, mut cause, mut is_asked) = (None, None, false);
    loop {
        let stopped = if is_asked { never() } else { terms.stop.receiver().clone() };
        select! {
            recv(kept.events()) -> event => match event {
                Ok(Event::Exited { status: its, .. }) => status = Some(its),
                Ok(Event::Ending { reason }) if reason != Reason::Left => cause = cause.or(Some(reason)),
                Ok(Event::NotStarted { errno }) => {
                    return Err(format!("it can't be executed: {}", io::Error::from_raw_os_error(errno)));
                }
                Ok(Event::TooLate) => return Err("the leadership was over".to_owned()),
                Ok(Event::Stuck { pid }) => return Err(format!("process {pid} outlives SIGKILL")),
                Ok(Event::KeeperDied) | Err(_) => return Err("its keeper was killed".to_owned()),
                Ok(Event::Gone) => return outcome(status, cause, terms.timeout),
                Ok(_) => {}
            },
            recv(stopped) -> _ => {
                is_asked = true;
                kept.end(SIGTERM, Moment::now() + KILL_AFTER).map_err(words)?;
            }
            // A lease that was renewed: its deadline is moved with it.
            recv(after(LOOK)) -> _ => kept.limit(Reason::Lease, by_lease(terms)).map_err(words)?,
        }
    }
}

fn outcome(status: Option<Status>, cause: Option<Reason>, timeout: Duration) -> Result<(), String> {
    match (cause, status) {
        (Some(Reason::Timeout), _) => Err(format!("it took longer than {}, and was ended", format_duration(timeout))),
        (Some(Reason::Lease), _) => Err("it was ended with the leadership".to_owned()),
        (_, Some(status)) if status.success() => Ok(()),
        (_, Some(Status::Exited(code))) => Err(format!("it exited with code {code}")),
        (_, Some(Status::Signaled(signal))) => Err(format!("it was ended by signal {signal}")),
        (_, None) => Err("it ended without a status".to_owned()),
    }
}

fn start(
    argv: &[OsString],
    environment: Vec<(OsString, OsString)>,
    payload: &[u8],
    terms: &Terms<'_>,
) -> io::Result<Kept> {
    // In memory, and no pipe: nobody has to read for it to be written.
    let mut stdin = File::from(memfd_create("towpath-payload", MemfdFlags::CLOEXEC)?);
    stdin.write_all(payload)?;
    stdin.rewind()?;
    Kept::start(Spec {
        argv: argv.to_vec(),
        env: environment,
        stdin: OwnedFd::from(stdin),
        stdout: io::stdout().as_fd().try_clone_to_owned()?,
        stderr: io::stderr().as_fd().try_clone_to_owned()?,
        place: Place::Background,
        held: Vec::new(),
        last: Vec::new(),
        kill_after: KILL_AFTER,
        lease: Some(by_lease(terms)),
    })
}

/// The command is dead before the lease can be anybody else's.
fn by_lease(terms: &Terms<'_>) -> Limit {
    let kill_at = terms.lease.valid_until() - terms.ttl / 20;
    Limit { term_at: kill_at - KILL_AFTER.min(terms.ttl / 4), kill_at }
}
