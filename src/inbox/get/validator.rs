//! What tells one version of a file from another.

use std::time::Duration;

use crate::client::Reply;

/// How much older than its answer a file must be for its date to be strong:
/// two versions within one second have one date (RFC 9110, section 8.8.2.2).
const SETTLED: Duration = Duration::from_secs(60);

/// A strong validator, as it goes into If-Range; `None`: there is none, and no
/// part can be used.
pub(super) fn of(reply: &Reply) -> Option<String> {
    strong(reply.header("etag"), reply.header("last-modified"), reply.header("date"))
}

fn strong(etag: Option<&str>, modified: Option<&str>, date: Option<&str>) -> Option<String> {
    if let Some(etag) = etag.map(str::trim) {
        let is_strong = etag.len() >= 2 && etag.starts_with('"') && etag.ends_with('"');
        return is_strong.then(|| etag.to_owned());
    }
    let modified = modified?.trim();
    let age = httpdate::parse_http_date(date?).ok()?.duration_since(httpdate::parse_http_date(modified).ok()?).ok()?;
    (age >= SETTLED).then(|| modified.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_strong_validator_is_one() {
        let (old, new) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:37 GMT");
        assert_eq!(strong(Some("\"a\""), None, None).as_deref(), Some("\"a\""));
        assert_eq!(strong(Some("W/\"a\""), Some(old), Some(new)), None);
        assert_eq!(strong(Some("a"), None, None), None);
        assert_eq!(strong(None, Some(old), Some(new)).as_deref(), Some(old));
        assert_eq!(strong(None, Some(old), Some(old)), None);
        assert_eq!(strong(None, Some(old), None), None);
        assert_eq!(strong(None, None, Some(new)), None);
    }
}
