//! The headers of the draft: items of structured fields (RFC 9651).

use super::super::inbox::Shared;
use crate::http::Request;

/// The largest integer of a structured field: 15 digits.
const LARGEST: u64 = 999_999_999_999_999;

/// A header that is an integer; as the draft wants it, one that is none is as
/// good as missing.
pub(super) fn header_integer(request: &Request<'_>, name: &str) -> Option<u64> {
    let text = bare(request, name)?;
    let is_integer = (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| is_integer)
}

/// A header that is a boolean; one that is none is as good as missing.
pub(in super::super) fn header_bool(request: &Request<'_>, name: &str) -> Option<bool> {
    match bare(request, name)? {
        "?1" => Some(true),
        "?0" => Some(false),
        _ => None,
    }
}

/// An item without its parameters. Two lines of it are none.
fn bare<'c>(request: &Request<'c>, name: &str) -> Option<&'c str> {
    let mut lines = request.headers().filter(|(line, _)| line.eq_ignore_ascii_case(name));
    let (_, value) = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    Some(std::str::from_utf8(value).ok()?.split(';').next()?.trim())
}

/// The value of `Upload-Limit`.
pub(super) fn limits(shared: &Shared) -> String {
    let settings = &shared.settings;
    let mut limits = format!("max-age={}", settings.keep_partial.as_secs().min(LARGEST));
    for (name, limit) in [("max-size", settings.max_file_bytes), ("max-append-size", settings.max_request_bytes)] {
        if let Some(limit) = limit {
            limits.push_str(&format!(", {name}={}", limit.min(LARGEST)));
        }
    }
    limits
}

pub(super) fn boolean(value: bool) -> String {
    if value { "?1" } else { "?0" }.to_owned()
}
