//! What `send` and `get` have in common: flags, and how it is said how it went.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use towpath::client::{Patience, Target, Token, Trust};
use towpath::clock::parse_duration;
use towpath::inbox::{Retry, Sha};
use towpath::job::with_causes;

use crate::cli::parse_bytes;
use crate::{flags, progress};

/// How a transfer is made, for every command that moves files.
#[derive(Args)]
#[command(next_help_heading = "Transfer")]
pub(crate) struct TransferArguments {
    /// Add a header to each request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", action = ArgAction::Append)]
    pub(crate) header: Vec<String>,
    /// Send the token in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Trust the certificates in this PEM file, instead of the built-in list
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Don't take a SHA-256, and don't ask the server for its own
    #[arg(long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub(crate) no_verify: bool,
    /// Read and write at most so much at once
    #[arg(long, value_name = "SIZE", default_value = "128KiB", value_parser = parse_bytes)]
    pub(crate) buffer: usize,
    /// Give up when nothing has moved for so long
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_duration)]
    pub(crate) stall: Duration,
    /// Try again so often after what may pass
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) retries: u32,
    /// Don't try again after so long without progress
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    pub(crate) retry_max_time: Duration,
    /// Print the result as one line of JSON
    #[arg(long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,

    /// Read settings from this file [default: /etc/towpath.conf]
    #[arg(long, value_name = "FILE", help_heading = "Options")]
    pub(crate) config: Option<PathBuf>,
    /// Say more on standard error
    #[arg(short, long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Options")]
    pub(crate) verbose: bool,
}

impl TransferArguments {
    pub(crate) fn retry(&self) -> Retry {
        Retry { times: self.retries, within: self.retry_max_time }
    }

    pub(crate) fn patience(&self) -> Patience {
        let patience = Patience::default();
        Patience { stall: self.stall, answer: patience.answer.max(self.stall), ..patience }
    }

    pub(crate) fn token(&self) -> Result<Option<Token>, String> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let token = Token::in_file(path);
        token.map(Some).map_err(|error| format!("--token-file {}: {}", path.display(), with_causes(&error)))
    }

    pub(crate) fn trust(&self) -> Result<Trust, String> {
        #[cfg(feature = "tls")]
        return flags::trust(self.ca.as_deref());
        #[cfg(not(feature = "tls"))]
        flags::trust(None)
    }

    /// The headers, each taken apart. Those that say how a message is framed are ours.
    pub(crate) fn headers(&self) -> Result<Vec<(String, String)>, String> {
        self.header.iter().map(|header| split(header)).collect()
    }
}

/// A URL from the command line, which may hold a secret and isn't repeated.
pub(crate) fn target(url: &str) -> Result<Target, String> {
    Target::parse(url).map_err(|error| format!("the URL: {error}"))
}

const OURS: [&str; 10] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "if-range",
    "range",
    "te",
    "transfer-encoding",
    "upgrade",
];

fn split(header: &str) -> Result<(String, String), String> {
    // What stands after the colon may be a secret.
    let name = header.split(':').next().unwrap_or("").trim();
    let (_, value) = header.split_once(':').ok_or("--header: not NAME: VALUE")?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err("--header: not a header's name before the colon".to_owned());
    }
    if value.chars().any(char::is_control) {
        return Err(format!("--header {name}: the value has a control character"));
    }
    if OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
        return Err(format!("--header {name}: that one is towpath's own"));
    }
    Ok((name.to_owned(), value.trim().to_owned()))
}

/// `252.3 MiB in 1.2 s (210.2 MiB/s), sha256 0123... verified`.
pub(crate) fn figures(bytes: u64, took: Duration, sha256: Option<&Sha>, is_verified: bool) -> String {
    let rate = bytes as f64 / took.as_secs_f64().max(0.001);
    let mut line =
        format!("{} in {:.1} s ({}/s)", progress::bytes(bytes), took.as_secs_f64(), progress::bytes(rate as u64));
    if let Some(sha256) = sha256 {
        line.push_str(&format!(", sha256 {sha256}{}", if is_verified { " verified" } else { "" }));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_value() {
        assert_eq!(split("X-A:b: c "), Ok(("X-A".to_owned(), "b: c".to_owned())));
        assert_eq!(split("X-A:"), Ok(("X-A".to_owned(), String::new())));
        for bad in ["", "X", ": b", "X A: b", "X: a\r\nY: b", "content-length: 3", "Range: bytes=0-"] {
            assert!(split(bad).is_err(), "{bad}");
        }
        assert!(!split("Secret").unwrap_err().contains("Secret"));
    }
}
