//! `expiry set`, `expiry cancel`, `expiry pending`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use serde_json::{Value, json};
use towpath::clock::{parse_duration, parse_rfc3339, rfc3339};
use towpath::expiry::{Cancelled, Deadline, Deadlines, Due, Entry};
use towpath::job::exit_code;

use super::{CommonArguments, Failure, shown};
use crate::voice;

#[derive(Args)]
pub(crate) struct SetArguments {
    /// What it is for: any bytes
    #[arg(value_name = "KEY")]
    key: OsString,
    /// How long from now
    #[arg(long = "in", value_name = "DURATION", value_parser = parse_duration, help_heading = "Options")]
    after: Option<Duration>,
    /// When, as 2026-11-22T08:00:00Z or with another zone
    #[arg(
        long,
        value_name = "RFC3339",
        conflicts_with = "after",
        required_unless_present = "after",
        help_heading = "Options"
    )]
    at: Option<String>,
    /// Keep what is in this file for the handler; - is standard input; at most 64 KiB
    #[arg(long, value_name = "FILE", help_heading = "Options")]
    payload: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArguments,
}

#[derive(Args)]
pub(crate) struct CancelArguments {
    /// The key it was set for
    #[arg(value_name = "KEY")]
    key: OsString,
    #[command(flatten)]
    common: CommonArguments,
}

#[derive(Args)]
pub(crate) struct PendingArguments {
    /// Only what has failed for good
    #[arg(long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Options")]
    failed: bool,
    /// At most so many, the soonest first
    #[arg(long, value_name = "N", default_value = "1000", help_heading = "Options")]
    limit: usize,
    /// Say it as JSON, a line each
    #[arg(long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Options")]
    json: bool,
    #[command(flatten)]
    common: CommonArguments,
}

pub(super) fn set(arguments: &SetArguments) -> Result<ExitCode, Failure> {
    let due = match (&arguments.at, arguments.after) {
        (Some(at), _) => {
            let time = parse_rfc3339(at);
            Due::At(time.ok_or_else(|| Failure::Usage(format!("--at: {at:?} isn't like 2026-11-22T08:00:00Z")))?)
        }
        (None, after) => Due::In(after.unwrap_or_default()),
    };
    let payload = arguments.payload.as_ref().map_or(Ok(Vec::new()), |path| {
        payload(path).map_err(|error| Failure::File(format!("--payload {}: {error}", path.display())))
    })?;
    let deadline = Deadline::new(arguments.key.as_bytes(), due, payload);
    let deadline = deadline.map_err(|error| Failure::Usage(error.to_string()))?;
    let due_ms = opened(&arguments.common)?.set(&deadline)?;
    voice::note(&format!("due at {}", time_of(due_ms)));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn cancel(arguments: &CancelArguments) -> Result<ExitCode, Failure> {
    let key = arguments.key.as_bytes();
    Ok(match opened(&arguments.common)?.cancel(key)? {
        Cancelled::Yes => ExitCode::SUCCESS,
        Cancelled::None => {
            voice::error(&format!("there is no deadline for {}", shown(key)));
            ExitCode::from(exit_code::CUT)
        }
        Cancelled::WhileHandled => {
            voice::error(&format!("the handler for {} is at work already; it won't be tried again", shown(key)));
            ExitCode::from(exit_code::HELD)
        }
    })
}

pub(super) fn pending(arguments: &PendingArguments) -> Result<ExitCode, Failure> {
    let mut deadlines = opened(&arguments.common)?;
    let entries =
        if arguments.failed { deadlines.failed(arguments.limit)? } else { deadlines.pending(arguments.limit)? };
    let mut out = io::stdout().lock();
    for entry in &entries {
        let line = if arguments.json { json_of(entry).to_string() } else { line_of(entry) };
        match writeln!(out, "{line}") {
            Ok(()) => {}
            // A reader who closed the pipe has seen what they wanted.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error) => return Err(Failure::File(format!("can't print what is pending: {error}"))),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn opened(common: &CommonArguments) -> Result<Deadlines, Failure> {
    let url = common.store.url().map_err(Failure::Usage)?;
    Ok(Deadlines::open(&url, common.group.clone())?)
}

/// At most a byte more than is allowed: the library says what is too much.
fn payload(path: &PathBuf) -> io::Result<Vec<u8>> {
    let from: Box<dyn Read> =
        if path.as_os_str() == "-" { Box::new(io::stdin().lock()) } else { Box::new(File::open(path)?) };
    let mut payload = Vec::new();
    from.take(Deadline::MAX_PAYLOAD_BYTES as u64 + 1).read_to_end(&mut payload)?;
    Ok(payload)
}

fn line_of(entry: &Entry) -> String {
    let attempts = match entry.attempts {
        0 => String::new(),
        1 => "  failed once".to_owned(),
        many => format!("  failed {many} times"),
    };
    format!("{}  {:10}  {}{attempts}", time_of(entry.due_ms), entry.kind.word(), shown(&entry.key))
}

fn json_of(entry: &Entry) -> Value {
    let mut object = json!({
        "due_ms": entry.due_ms,
        "id": entry.id,
        "kind": entry.kind.word(),
        "attempts": entry.attempts,
        "payload_bytes": entry.payload.len(),
    });
    towpath::expiry::add_bytes(&mut object, "key", &entry.key);
    object
}

fn time_of(due_ms: u64) -> String {
    rfc3339(UNIX_EPOCH + Duration::from_millis(due_ms))
}
