//! `towpath get`: a fetch made of flags, and what came in words.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};
use serde_json::{Value, json};
use signal_hook::consts::SIGPIPE;
use towpath::inbox::Meter;
use towpath::inbox::folder::OnConflict;
use towpath::inbox::get::{Fetch, Fetched, FetchedFile, GetError, Out, To};
use towpath::job::{exit_code, with_causes};
use towpath::process::Status;
use towpath::thread::Stop;

use crate::cli::parse_bytes;
use crate::ending::outlive_file_limit;
use crate::progress::Bar;
use crate::transfer::{TransferArguments, figures, target};
use crate::voice;

pub(crate) const EXAMPLES: &str = "\
Examples:
  Into this directory, under the name that the server or the URL gives; the same
  command once more goes on where it was cut:
    towpath get https://files.example.org/files/dump.sql

  To a path, in the place of what is there:
    towpath get --on-conflict replace -o /srv/dump.sql https://files.example.org/files/dump.sql

  Several files in one form, into a directory:
    towpath get -o /srv 'http://127.0.0.1:8080/form?file=a.txt&file=b.txt'

Exit codes: 0 all of it is there; 76 the server refused, cut for good, or sent
something else; 69 it can't be reached, retries used up; 74 a local file can't be
written, or is there already; 2 wrong usage; 125 an error of towpath's own.";

#[derive(Args)]
pub(crate) struct GetArguments {
    /// What to fetch: http:// or https://
    #[arg(value_name = "URL")]
    pub(crate) url: String,

    /// Where to: a file, a directory, or - for standard output [default: this directory]
    #[arg(short, long, value_name = "PATH", help_heading = "What is kept")]
    pub(crate) output: Option<PathBuf>,
    /// What to do if something has the name: reject it (exit 74), rename the new one, or replace the old
    #[arg(long, value_name = "CHOICE", default_value = "reject", help_heading = "What is kept")]
    pub(crate) on_conflict: Choice,
    /// Take what ends with its connection for whole
    #[arg(long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "What is kept")]
    pub(crate) accept_unproven: bool,
    /// Take at most so much
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, help_heading = "What is kept")]
    pub(crate) max_size: Option<usize>,
    /// Take at most so many parts of a form
    #[arg(long, value_name = "N", default_value_t = 1000, help_heading = "What is kept")]
    pub(crate) max_files: u64,

    #[command(flatten)]
    pub(crate) transfer: TransferArguments,
}

/// `--on-conflict`.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Choice {
    Reject,
    Rename,
    Replace,
}

pub(crate) fn get(arguments: &GetArguments) -> ExitCode {
    voice::begin(arguments.transfer.verbose);
    // What fails is seen when it is needed: the write then ends us.
    let _: io::Result<()> = outlive_file_limit();
    let fetch = match fetch(arguments) {
        Ok(fetch) => fetch,
        Err(line) => {
            voice::error(&line);
            return ExitCode::from(exit_code::USAGE);
        }
    };
    let meter = Meter::default();
    let fetched = {
        let _bar = Bar::begin(&meter, !arguments.transfer.json);
        // A signal ends us by its default action: what came stays for the next time.
        fetch.get(&meter, &Stop::never())
    };
    match fetched {
        Ok(fetched) => {
            tell(arguments, &fetched);
            ExitCode::SUCCESS
        }
        Err(error) => failed(arguments, &error),
    }
}

fn fetch(arguments: &GetArguments) -> Result<Fetch, String> {
    let transfer = &arguments.transfer;
    let mut fetch = Fetch::new(target(&arguments.url)?, to(arguments.output.as_deref())?)
        .on_conflict(match arguments.on_conflict {
            Choice::Reject => OnConflict::Reject,
            Choice::Rename => OnConflict::Rename,
            Choice::Replace => OnConflict::Replace,
        })
        .max_files(arguments.max_files)
        .buffer_bytes(transfer.buffer)
        .retry(transfer.retry())
        .patience(transfer.patience())
        .trust(transfer.trust()?);
    for (name, value) in transfer.headers()? {
        fetch = fetch.header(name, value);
    }
    if let Some(token) = transfer.token()? {
        fetch = fetch.token(token);
    }
    if let Some(size) = arguments.max_size {
        fetch = fetch.max_bytes(size as u64);
    }
    if arguments.accept_unproven {
        fetch = fetch.accept_unproven();
    }
    Ok(if transfer.no_verify { fetch.no_verify() } else { fetch })
}

fn to(output: Option<&Path>) -> Result<To, String> {
    let Some(path) = output else { return Ok(To::Directory(PathBuf::from("."))) };
    if path == Path::new("-") {
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        let stdout = stdout.map_err(|error| format!("--output -: can't use standard output: {error}"))?;
        return Ok(To::Stream(Out::new(File::from(stdout))));
    }
    if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Ok(To::Directory(path.to_owned()));
    }
    // A pipe or a device is written to, not replaced.
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let opened = File::options().write(true).open(path);
        let opened = opened.map_err(|error| format!("--output {}: {error}", path.display()))?;
        return Ok(To::Stream(Out::new(opened)));
    }
    Ok(To::File(path.to_owned()))
}

fn is_stdout(arguments: &GetArguments) -> bool {
    arguments.output.as_deref() == Some(Path::new("-"))
}

/// Says what came: on standard output, unless that is where it went.
fn tell(arguments: &GetArguments, fetched: &Fetched) {
    let say = |line: &str| {
        if is_stdout(arguments) {
            voice::note(line);
        } else {
            // Who doesn't read what we print doesn't change what was fetched.
            let _: io::Result<()> = writeln!(io::stdout(), "{line}");
        }
    };
    if arguments.transfer.json {
        let files: Vec<Value> = fetched.files.iter().map(json_of).collect();
        let fields: Vec<Value> =
            fetched.fields.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let seconds = fetched.took.as_secs_f64();
        let failures = fetched.failures;
        let told =
            json!({ "ok": true, "files": files, "fields": fields, "seconds": seconds, "failed_tries": failures });
        return say(&told.to_string());
    }
    let is_one = fetched.files.len() == 1;
    for file in &fetched.files {
        let name = file.path.as_ref().map_or("standard output".to_owned(), |path| path.display().to_string());
        let took = figures(file.bytes - file.had, fetched.took, file.sha256.as_ref(), file.is_verified);
        let had = if file.had > 0 { format!(", {} were there", file.had) } else { String::new() };
        let hash = file.sha256.map_or(String::new(), |sha256| format!(", sha256 {sha256}"));
        let line = if is_one { format!("{name}: {took}{had}") } else { format!("{name}: {} bytes{hash}", file.bytes) };
        say(&voice::printable(&line));
        if is_one && !file.is_verified && !arguments.transfer.no_verify {
            voice::note("the server names no SHA-256 of it: its length is what there is");
        }
    }
}

fn json_of(file: &FetchedFile) -> Value {
    json!({
        "path": file.path.as_ref().map(|path| path.display().to_string()),
        "bytes": file.bytes,
        "had": file.had,
        "sha256": file.sha256.map(|sha256| sha256.to_string()),
        "verified": file.is_verified,
    })
}

fn failed(arguments: &GetArguments, error: &GetError) -> ExitCode {
    if let GetError::File { source, .. } = error
        && source.kind() == io::ErrorKind::BrokenPipe
        && is_stdout(arguments)
    {
        // A reader who has seen enough, as in `| head`.
        return ExitCode::from(Status::Signaled(SIGPIPE).code());
    }
    let hint = match error {
        GetError::Refused { status: 401, .. } => "; give it a token with --token-file",
        GetError::Unproven { .. } => "; --accept-unproven takes it all the same",
        GetError::File { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
            "; choose with --on-conflict or --output"
        }
        _ => "",
    };
    let code = code_of(error);
    if arguments.transfer.json {
        let told = json!({ "ok": false, "error": with_causes(error), "code": code }).to_string();
        let _: io::Result<()> = if is_stdout(arguments) { Ok(()) } else { writeln!(io::stdout(), "{told}") };
    }
    voice::error(&format!("{}{hint}", with_causes(error)));
    ExitCode::from(code)
}

fn code_of(error: &GetError) -> u8 {
    match error {
        GetError::File { .. } | GetError::NeedsDirectory { .. } => exit_code::FILE,
        GetError::Unreachable { .. } => exit_code::UNREACHABLE,
        GetError::InClear(_) => exit_code::USAGE,
        GetError::Hash(_) => exit_code::INTERNAL,
        _ => exit_code::CUT,
    }
}
