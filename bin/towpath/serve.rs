//! `towpath serve`: a folder's server made of flags; what happens to its files in words.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use signal_hook::consts as sig;
use towpath::clock::parse_duration;
use towpath::http::Address;
use towpath::inbox::folder::{Folder, OnConflict};
use towpath::inbox::serve::{End, Event, KeepFree, Service, Settings};
use towpath::job::{exit_code, with_causes};
use towpath::process::Status;
use towpath::thread::signals::Signals;

use crate::cli::{ServerArguments, parse_size};
use crate::ending::{outlive_file_limit, pass_on_interrupt, raise_descriptor_limit};
use crate::{listen, voice};

pub(crate) const EXAMPLES: &str = "\
Examples:
  Receive files from this host, and see them at http://127.0.0.1:8080:
    towpath serve /srv/inbox --listen :8080

  From other hosts, with a token, a certificate, and limits:
    towpath serve /srv/inbox --listen 0.0.0.0:8443 --token-file /etc/towpath.token \\
      --tls-cert cert.pem --tls-key key.pem --max-file 10GiB --keep-free 5%

  Send two files and a field, fetch one back:
    curl -F note=nightly -F file=@a.csv -F file=@b.csv http://127.0.0.1:8080/upload
    curl -O http://127.0.0.1:8080/files/a.csv

What is acknowledged is whole, synced, and has its name; anything else isn't there.
Exit codes: 128+n ended by signal n; 74 the folder can't be used; 125 it can't be
served; 70 a thread of towpath's died; 2 wrong usage.";

/// What ends it, in order the first time.
const ENDING: [i32; 4] = [sig::SIGHUP, sig::SIGINT, sig::SIGQUIT, sig::SIGTERM];

#[derive(Args)]
pub(crate) struct ServeArguments {
    /// The folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Serve at this address: 127.0.0.1:8080, :8080, unix:/PATH
    #[arg(long, value_name = "ADDR", value_parser = Address::from_str, help_heading = "Server")]
    listen: Option<Address>,
    #[command(flatten, next_help_heading = "Server")]
    server: ServerArguments,

    /// What to do with a file whose name is taken
    #[arg(long, value_name = "CHOICE", default_value = "reject", help_heading = "Files")]
    on_conflict: Conflict,
    /// Let clients delete files
    #[arg(long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Files")]
    allow_delete: bool,
    /// Take the SHA-256 of every upload; else of those whose client asks for it
    #[arg(long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Files")]
    hash: bool,
    /// Keep a form's other fields in NAME.fields.json beside each file
    #[arg(long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Files")]
    keep_fields: bool,
    /// The longest file [default: none]
    #[arg(long, value_name = "BYTES", value_parser = parse_size, help_heading = "Limits")]
    max_file: Option<u64>,
    /// The longest request [default: none]
    #[arg(long, value_name = "BYTES", value_parser = parse_size, help_heading = "Limits")]
    max_request: Option<u64>,
    /// Files in a request
    #[arg(long, value_name = "N", default_value_t = 256, help_heading = "Limits")]
    max_files: usize,
    /// What stays free on the disk, in bytes or percent
    #[arg(long, value_name = "BYTES|N%", default_value = "1%", value_parser = parse_share, help_heading = "Limits")]
    keep_free: KeepFree,
    /// How long an upload that was cut is kept for its client to go on
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = parse_duration, help_heading = "Limits")]
    keep_partial: Duration,

    /// Read settings from this file [default: /etc/towpath.conf]
    #[arg(long, value_name = "FILE", help_heading = "Options")]
    pub(crate) config: Option<PathBuf>,
    /// Say more on standard error
    #[arg(short, long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Options")]
    verbose: bool,
}

/// `--on-conflict`.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Conflict {
    /// Refuse it: 409
    Reject,
    /// Store it under the next free name
    Rename,
    /// Let it take the other's place
    Replace,
}

/// `5%`, or bytes with or without a unit.
fn parse_share(text: &str) -> Result<KeepFree, String> {
    if text.ends_with('%') {
        return text.parse().map_err(|error: towpath::inbox::serve::InvalidKeepFree| error.to_string());
    }
    parse_size(text).map(KeepFree::Bytes)
}

pub(crate) fn serve(arguments: &ServeArguments) -> ExitCode {
    voice::begin(arguments.verbose);
    let shown = arguments.folder.display().to_string();
    let service = match bind(arguments) {
        Ok(service) => service,
        Err((code, line)) => {
            voice::error(&line);
            return ExitCode::from(code);
        }
    };
    raise_descriptor_limit();
    let signals = match outlive_file_limit().and_then(|()| Signals::listen(&ENDING)) {
        Ok(signals) => signals,
        Err(error) => {
            voice::error(&format!("can't prepare to serve: {error}"));
            return ExitCode::from(exit_code::INTERNAL);
        }
    };
    voice::event(&format!("serving {shown} at {}", service.url()));
    match service.run(signals.receiver()) {
        End::Asked(signal) => {
            pass_on_interrupt(signal == sig::SIGINT, false);
            ExitCode::from(Status::Signaled(signal).code())
        }
        End::Failed(error) => {
            voice::error(&format!("can't serve {shown} any more: {}", with_causes(&error)));
            ExitCode::from(exit_code::INTERNAL)
        }
        End::Died(panic) => {
            panic.log();
            ExitCode::from(towpath::thread::ESSENTIAL_EXIT_CODE)
        }
    }
}

/// The service as the flags describe it; the exit code and one line if it can't be.
fn bind(arguments: &ServeArguments) -> Result<Service, (u8, String)> {
    let usage = |line: String| (exit_code::USAGE, line);
    let Some(address) = &arguments.listen else {
        return Err(usage("say where to serve: --listen 127.0.0.1:8080 (see towpath serve --help)".to_owned()));
    };
    let config = listen::config(&arguments.server).map_err(usage)?;
    let in_folder =
        |error: std::io::Error| (exit_code::FILE, format!("{}: {}", arguments.folder.display(), with_causes(&error)));
    let folder = Folder::open(&arguments.folder).map_err(in_folder)?;
    let mut settings = Settings::default();
    settings.on_conflict = match arguments.on_conflict {
        Conflict::Reject => OnConflict::Reject,
        Conflict::Rename => OnConflict::Rename,
        Conflict::Replace => OnConflict::Replace,
    };
    settings.allow_delete = arguments.allow_delete;
    settings.hash = arguments.hash;
    settings.keep_fields = arguments.keep_fields;
    settings.max_file_bytes = arguments.max_file;
    settings.max_request_bytes = arguments.max_request;
    settings.max_files = arguments.max_files;
    settings.keep_free = arguments.keep_free;
    settings.keep_partial = arguments.keep_partial;
    Service::bind(folder, address, config, settings, Box::new(tell)).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidInput => usage(error.to_string()),
        _ => (exit_code::INTERNAL, format!("can't serve at {address}: {}", with_causes(&error))),
    })
}

/// What changed is said always: it is the server's log. A client's own mistakes
/// are for those who watch.
fn tell(event: &Event<'_>) {
    match event {
        Event::Stored { peer, name, size } => voice::event(&format!("stored {name} ({size} bytes) from {peer}")),
        Event::Deleted { peer, name } => voice::event(&format!("deleted {name}, asked by {peer}")),
        Event::Refused { peer, name, status, why } => {
            let what = name.unwrap_or("an upload");
            let line = format!("not stored: {what} from {peer}: {status}, {why}");
            if *status >= 500 { voice::event(&line) } else { voice::note(&line) }
        }
        _ => {}
    }
}
