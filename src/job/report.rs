//! `--report`: the outcome as JSON, replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::system::uname;
use serde_json::{Map, Value, json};

use super::causes::with_causes;
use super::outcome::{Outcome, Verdict};
use super::output::Tally;
use crate::clock::rfc3339;
use crate::process::Status;

/// What the fields mean is in `docs/run.md`; a change that breaks a reader adds one here.
const FORMAT: u32 = 1;

/// Writes that a run has begun: what stands there if it never tells its end.
///
/// A stream (a pipe, `/dev/stderr`) is only told the end.
pub(super) fn write_begun(
    path: &Path,
    run: &str,
    argv: &[String],
    key: Option<&str>,
    began: SystemTime,
) -> io::Result<()> {
    let mut report = head(run, argv, key, began);
    report.insert("outcome".into(), "running".into());
    if is_stream(path) {
        return open_stream(path).map(drop);
    }
    replace(path, &Value::Object(report))
}

/// Writes how a run ended.
pub(super) fn write_ended(path: &Path, outcome: &Outcome, busy: u8) -> io::Result<()> {
    replace(path, &to_json(outcome, busy))
}

/// The outcome as JSON; `busy` as in [`Outcome::exit_code`].
pub(super) fn to_json(outcome: &Outcome, busy: u8) -> Value {
    let argv: Vec<String> = outcome.argv.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let mut report = head(&outcome.run, &argv, outcome.key.as_deref(), outcome.began);
    let status = outcome.status;
    let fields = json!({
        "outcome": outcome.word(),
        "exit_code": outcome.exit_code(busy),
        "error": error_of(&outcome.verdict),
        "fence": outcome.fence,
        "lease": outcome.ttl.map(|ttl| json!({
            "ttl_ms": ms(ttl),
            "lost": outcome.lost.as_ref().map(|lost| with_causes(lost)),
            "lost_noticed": outcome.lost.as_ref().map(|lost| rfc3339(lost.noticed.to_system_time())),
        })),
        "ran_without_lock": outcome.unlocked.as_ref().map(|error| with_causes(error)),
        "holder": holder_of(&outcome.verdict),
        "waited_ms": ms(outcome.waited),
        "started": outcome.started.map(rfc3339),
        "ended": outcome.started.map(|at| rfc3339(at + outcome.ran)),
        "ran_ms": outcome.started.map(|_| ms(outcome.ran)),
        "command_pid": outcome.pid,
        "command_exit_code": status.and_then(|status| match status { Status::Exited(code) => Some(code), Status::Signaled(_) => None }),
        "command_signal": status.and_then(Status::signal),
        "asked_to_end_by_signal": outcome.asked_by,
        "left_behind": outcome.left_behind,
        "stuck_pid": outcome.stuck,
        "output": outcome.output.as_ref().map(output_of),
        "output_undelivered": outcome.undelivered,
        "release_error": outcome.release_error.as_ref().map(|error| with_causes(error)),
    });
    if let Value::Object(fields) = fields {
        report.extend(fields);
    }
    #[cfg(feature = "http")]
    report.insert("ping".into(), pings_of(outcome));
    #[cfg(all(feature = "http", feature = "redis"))]
    report.insert("relay".into(), relay_of(outcome));
    #[cfg(all(feature = "form", feature = "http"))]
    report.insert("shipped".into(), outcome.shipped.iter().map(shipping_of).collect());
    Value::Object(report)
}

fn head(run: &str, argv: &[String], key: Option<&str>, began: SystemTime) -> Map<String, Value> {
    let host = uname().nodename().to_string_lossy().into_owned();
    let head = json!({
        "format": FORMAT,
        "towpath": env!("CARGO_PKG_VERSION"),
        "run": run,
        "host": host,
        "pid": std::process::id(),
        "command": argv,
        "key": key,
        "began": rfc3339(began),
    });
    if let Value::Object(head) = head { head } else { Map::new() }
}

fn output_of(tally: &Tally) -> Value {
    json!({
        "stdout_bytes": tally.stdout_bytes,
        "stderr_bytes": tally.stderr_bytes,
        "long_lines": tally.long_lines,
        "held_open_by_a_stranger": tally.held_open,
        "not_printed_bytes": tally.printed.lost_bytes,
        "not_printed_error": tally.printed.error.as_ref().map(ToString::to_string),
        "log": tally.log.as_ref().map(|log| json!({
            "bytes": log.bytes,
            "lost_lines": log.lost.lines,
            "lost_bytes": log.lost.bytes,
            "error": log.error.as_ref().map(ToString::to_string),
        })),
        "spool": tally.spool.as_ref().map(|spool| json!({
            "left_out_lines": spool.left_out.lines,
            "left_out_bytes": spool.left_out.bytes,
            "error": spool.error.as_ref().map(ToString::to_string),
        })),
    })
}

#[cfg(all(feature = "form", feature = "http"))]
fn shipping_of(shipping: &super::ship::Shipping) -> Value {
    let sent = shipping.result.as_ref().ok();
    json!({
        "file": shipping.file.to_string_lossy(),
        "to": shipping.target,
        "bytes": sent.map(|file| file.bytes),
        "sha256": sent.and_then(|file| file.sha256).map(|sha256| sha256.to_string()),
        "verified": sent.map(|file| file.is_verified),
        "error": shipping.result.as_ref().err(),
    })
}

#[cfg(feature = "http")]
fn pings_of(outcome: &Outcome) -> Value {
    let one = |ping: &Option<Result<(), String>>| match ping {
        None => Value::Null,
        Some(Ok(())) => "ok".into(),
        Some(Err(error)) => error.clone().into(),
    };
    outcome.pings.as_ref().map_or(Value::Null, |pings| json!({ "start": one(&pings.start), "end": one(&pings.end) }))
}

#[cfg(all(feature = "http", feature = "redis"))]
fn relay_of(outcome: &Outcome) -> Value {
    outcome.relay.as_ref().map_or(
        Value::Null,
        |relay| json!({ "end_told": relay.is_end_told, "lost_lines": relay.lost_lines, "error": relay.error }),
    )
}

fn holder_of(verdict: &Verdict) -> Value {
    let Verdict::Held(holder) = verdict else { return Value::Null };
    json!({
        "record": holder.record.as_ref().map(crate::store::Record::to_json),
        "ended": holder.ended,
        "free_at": holder.free_at.map(|at| rfc3339(at.to_system_time())),
    })
}

fn error_of(verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Store(error) | Verdict::Skipped(error) => with_causes(error).into(),
        Verdict::LeaseLost { lost, .. } => with_causes(lost).into(),
        Verdict::NotStarted(error) | Verdict::Start(error) => with_causes(error).into(),
        Verdict::File { path, error } => format!("{}: {error}", path.display()).into(),
        Verdict::Stuck(pid) => format!("process {pid} outlived SIGKILL").into(),
        Verdict::KeeperDied { .. } => "the keeper was killed".into(),
        Verdict::Essential { thread, panic } => {
            panic.as_ref().map_or_else(|| format!("thread {thread} ended"), ToString::to_string).into()
        }
        _ => Value::Null,
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Puts a new file in the old one's place, so that a reader sees one or the
/// other. What isn't a regular file (a pipe, `/dev/stderr`) is written to.
fn replace(path: &Path, report: &Value) -> io::Result<()> {
    let text = format!("{report:#}\n");
    if is_stream(path) {
        return open_stream(path)?.write_all(text.as_bytes());
    }
    // A link's target is replaced, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| pointed_to(path));
    let beside = beside(&path)?;
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&beside, &path)).inspect_err(|_| {
        // What is half written is of no use; the first error is the one to tell.
        let _: io::Result<()> = fs::remove_file(&beside);
    })
}

/// Where a link points that leads to nothing yet; any other path is its own.
fn pointed_to(path: &Path) -> PathBuf {
    let directory = path.parent().unwrap_or(Path::new(""));
    fs::read_link(path).map_or_else(|_| path.to_owned(), |target| directory.join(target))
}

/// Whether it is there, and no regular file.
pub(super) fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// Opens a stream. One that nobody reads is an error now, not a wait.
fn open_stream(path: &Path) -> io::Result<File> {
    let file = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    rustix::fs::fcntl_setfl(&file, rustix::fs::OFlags::empty())?;
    Ok(file)
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    Ok(path.with_file_name(name))
}
