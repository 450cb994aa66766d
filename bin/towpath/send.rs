//! `towpath send`: a shipment made of flags, and what came of it in words.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use serde_json::{Value, json};
use towpath::inbox::Meter;
use towpath::inbox::send::{How, Item, SendError, Shipment, Shipped, ShippedFile};
use towpath::job::{exit_code, with_causes};
use towpath::thread::Stop;

use crate::progress::Bar;
use crate::transfer::{TransferArguments, figures, target};
use crate::voice;

pub(crate) const EXAMPLES: &str = "\
Examples:
  Two files and two fields in one form:
    towpath send -F host=db1 -F kind=nightly dump.sql schema.sql http://127.0.0.1:8080/upload

  A PUT below a URL that ends in a slash, going on where it is cut:
    towpath send --token-file /etc/towpath.token dump.sql https://files.example.org/files/

  A command's output:
    pg_dump db | towpath send --name dump.sql - https://files.example.org/upload

Exit codes: 0 the server said that it has everything; 76 it refused, cut for good,
or has something else; 69 it can't be reached, retries used up; 74 a local file
can't be read, or changed while it was sent; 2 wrong usage; 125 an error of towpath's own.";

#[derive(Args)]
#[command(override_usage = "towpath send [OPTIONS] <FILE>... <URL>")]
pub(crate) struct SendArguments {
    /// Files to send, - is standard input; then where to: http:// or https://
    #[arg(required = true, value_name = "FILE|URL")]
    pub(crate) words: Vec<OsString>,

    /// Add a field to the form, before the files; may be repeated
    #[arg(short = 'F', long = "form", value_name = "NAME=VALUE", action = ArgAction::Append, help_heading = "What is sent")]
    pub(crate) form: Vec<String>,
    /// The form's field of the files
    #[arg(long, value_name = "NAME", default_value = "file", help_heading = "What is sent")]
    pub(crate) field: String,
    /// The name to send a single file under; needed for standard input
    #[arg(long, value_name = "NAME", help_heading = "What is sent")]
    pub(crate) name: Option<String>,
    /// The files' Content-Type
    #[arg(long = "type", value_name = "TYPE", help_heading = "What is sent")]
    pub(crate) content_type: Option<String>,
    /// PUT one file to the very URL
    #[arg(long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "What is sent")]
    pub(crate) put: bool,

    #[command(flatten)]
    pub(crate) transfer: TransferArguments,
}

pub(crate) fn send(arguments: &SendArguments) -> ExitCode {
    voice::begin(arguments.transfer.verbose);
    let shipment = match shipment(arguments) {
        Ok(shipment) => shipment,
        Err(Unfit::Usage(line)) => return failed(exit_code::USAGE, &line),
        Err(Unfit::File(line)) => return failed(exit_code::FILE, &line),
    };
    let meter = Meter::default();
    // A signal ends us by its default action: the server has nothing whole then.
    let sent = {
        let _bar = Bar::begin(&meter, !arguments.transfer.json);
        shipment.send(&meter, &Stop::never())
    };
    tell(arguments, sent)
}

fn failed(code: u8, line: &str) -> ExitCode {
    voice::error(line);
    ExitCode::from(code)
}

/// Why there is nothing to send.
enum Unfit {
    Usage(String),
    File(String),
}

impl From<String> for Unfit {
    fn from(line: String) -> Unfit {
        Unfit::Usage(line)
    }
}

fn shipment(arguments: &SendArguments) -> Result<Shipment, Unfit> {
    let (url, files) = arguments.words.split_last().ok_or("missing: FILE and URL".to_owned())?;
    if files.is_empty() {
        return Err(Unfit::Usage("a file and a URL are needed: towpath send FILE... URL".to_owned()));
    }
    let url = url.to_str().ok_or("the URL isn't UTF-8".to_owned())?;
    let to = target(url).map_err(|line| format!("{line}; the last argument is where to send"))?;
    let is_below = to.path().ends_with('/');
    let transfer = &arguments.transfer;
    let mut shipment = Shipment::new(to)
        .file_field(&arguments.field)
        .buffer_bytes(transfer.buffer)
        .retry(transfer.retry())
        .patience(transfer.patience())
        .trust(transfer.trust()?);
    if arguments.put {
        if files.len() > 1 {
            return Err(Unfit::Usage("--put sends one file; for more, use a URL that ends in a slash".to_owned()));
        }
        shipment = shipment.how(How::Put);
    }
    if (arguments.put || is_below) && !arguments.form.is_empty() {
        return Err(Unfit::Usage(
            "--form: a PUT has no fields; a form goes to a URL without a slash at its end".to_owned(),
        ));
    }
    if arguments.name.is_some() && files.len() > 1 {
        return Err(Unfit::Usage("--name is for a single file".to_owned()));
    }
    for field in &arguments.form {
        let (name, value) = field.split_once('=').ok_or_else(|| format!("--form {field}: not NAME=VALUE"))?;
        shipment = shipment.field(name, value);
    }
    for file in files {
        shipment = shipment.item(item(Path::new(file), arguments)?);
    }
    for (name, value) in transfer.headers()? {
        shipment = shipment.header(name, value);
    }
    if let Some(content_type) = &arguments.content_type {
        shipment = shipment.content_type(content_type);
    }
    if let Some(token) = transfer.token()? {
        shipment = shipment.token(token);
    }
    Ok(if transfer.no_verify { shipment.no_verify() } else { shipment })
}

fn item(path: &Path, arguments: &SendArguments) -> Result<Item, Unfit> {
    if path == Path::new("-") {
        return match &arguments.name {
            Some(name) => Ok(Item::stdin(name)),
            None if arguments.put => Ok(Item::stdin("-")),
            None => Err(Unfit::Usage("standard input has no name; give it one with --name".to_owned())),
        };
    }
    let unreadable = |error: std::io::Error| Unfit::File(format!("can't send {}: {error}", path.display()));
    match &arguments.name {
        Some(name) => {
            std::fs::metadata(path).map_err(unreadable)?;
            Ok(Item::named(PathBuf::from(path), name))
        }
        None => Item::file(path).map_err(unreadable),
    }
}

/// Says what came of it; on standard output what arrived, on standard error what didn't.
fn tell(arguments: &SendArguments, sent: Result<Shipped, SendError>) -> ExitCode {
    let count = arguments.words.len() - 1;
    let (untried, failures, files) = match sent {
        Ok(shipped) => (count - shipped.files.len(), shipped.failures, shipped.files),
        Err(error) => (0, 0, vec![Err(error)]),
    };
    if arguments.transfer.json {
        let ok = files.iter().all(Result::is_ok) && untried == 0;
        let files: Vec<Value> = files.iter().map(json_of).collect();
        print(&json!({ "ok": ok, "files": files, "failed_tries": failures }).to_string());
    }
    let mut code = 0;
    for file in &files {
        match file {
            Ok(file) if !arguments.transfer.json => print(&words(file)),
            Ok(_) => {}
            Err(error) => {
                voice::error(&format!("{}{}", with_causes(error), hint(error)));
                code = if code == 0 { code_of(error) } else { code };
            }
        }
        if let Ok(ShippedFile { is_verified: false, name, .. }) = file
            && !arguments.transfer.no_verify
        {
            voice::note(&format!("the server names no SHA-256 of {name}: its own word is what there is"));
        }
    }
    if untried > 0 {
        voice::error(&format!("not tried after that: {untried} of {count} files"));
    }
    ExitCode::from(code)
}

fn words(file: &ShippedFile) -> String {
    let renamed = file.stored_as.as_ref().filter(|name| **name != file.name);
    let renamed = renamed.map_or(String::new(), |name| format!(" as {name}"));
    let figures = figures(file.bytes, file.took, file.sha256.as_ref(), file.is_verified);
    voice::printable(&format!("{}{renamed}: {figures}", file.name))
}

fn json_of(file: &Result<ShippedFile, SendError>) -> Value {
    match file {
        Ok(file) => json!({
            "name": file.name,
            "stored_as": file.stored_as,
            "bytes": file.bytes,
            "sha256": file.sha256.map(|sha256| sha256.to_string()),
            "verified": file.is_verified,
            "seconds": file.took.as_secs_f64(),
        }),
        Err(error) => json!({ "error": with_causes(error), "code": code_of(error) }),
    }
}

/// Who doesn't read what we print doesn't change what was sent.
fn print(line: &str) {
    let _: std::io::Result<()> = writeln!(std::io::stdout(), "{line}");
}

fn hint(error: &SendError) -> &'static str {
    match error {
        SendError::Refused { status: 401, .. } => "; give it a token with --token-file",
        SendError::Refused { status: 405, .. } => "; a form goes to towpath's /upload, a PUT to /files/",
        _ => "",
    }
}

fn code_of(error: &SendError) -> u8 {
    match error {
        SendError::File { .. } => exit_code::FILE,
        SendError::Unreachable { .. } => exit_code::UNREACHABLE,
        SendError::Unsendable(_) => exit_code::USAGE,
        SendError::Hash(_) => exit_code::INTERNAL,
        _ => exit_code::CUT,
    }
}
