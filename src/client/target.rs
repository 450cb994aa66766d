//! A URL that requests go to, checked once, printed without its secrets.

use std::fmt;
use std::net::IpAddr;

/// An `http://` or `https://` URL whose path, query and user never show in a text.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: String,
}

/// Why a text is no [`Target`]. It doesn't repeat the text, which may hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTarget {
    /// Neither `http://` nor `https://`, or no host after it.
    #[error("not an http:// or https:// URL with a host")]
    NotHttp,
    /// White space or a control character.
    #[error("the URL contains white space or control characters")]
    Characters,
    /// `https://` in a build without the feature `tls`.
    #[error("https:// needs a build with the feature tls")]
    NoTls,
}

impl Target {
    /// Checks a URL.
    ///
    /// # Errors
    /// It isn't one that this build can reach; see [`InvalidTarget`].
    pub fn parse(url: &str) -> Result<Target, InvalidTarget> {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let rest = rest.ok_or(InvalidTarget::NotHttp)?;
        if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(InvalidTarget::Characters);
        }
        if host_of(rest).is_empty() {
            return Err(InvalidTarget::NotHttp);
        }
        if url.starts_with("https://") && cfg!(not(feature = "tls")) {
            return Err(InvalidTarget::NoTls);
        }
        Ok(Target { url: url.to_owned() })
    }

    /// The same URL with a word added to its path, before any query.
    pub fn join(&self, word: &str) -> Target {
        let (path, query) = match self.url.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.url.as_str(), None),
        };
        let mut url = format!("{}/{word}", path.trim_end_matches('/'));
        if let Some(query) = query {
            url.push('?');
            url.push_str(query);
        }
        Target { url }
    }

    /// The URL that a reference in an answer of this one means (RFC 3986,
    /// section 5.2, without dot segments). `None` if this program can't go there.
    pub fn resolve(&self, reference: &str) -> Option<Target> {
        let reference = reference.split('#').next().unwrap_or("");
        let (scheme, rest) = self.url.split_once("://")?;
        let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_end);
        let path = path.split(['?', '#']).next().unwrap_or("");
        let url = if reference.contains("://") {
            reference.to_owned()
        } else if let Some(elsewhere) = reference.strip_prefix("//") {
            format!("{scheme}://{elsewhere}")
        } else if reference.starts_with('/') {
            format!("{scheme}://{authority}{reference}")
        } else if reference.starts_with('?') {
            format!("{scheme}://{authority}{path}{reference}")
        } else {
            let directory = path.rfind('/').map_or("/", |slash| &path[..=slash]);
            format!("{scheme}://{authority}{directory}{reference}")
        };
        Target::parse(&url).ok()
    }

    /// The URL of a name below this one, which ends in a slash. The query stays.
    pub fn child(&self, name: &str) -> Target {
        let (path, query) =
            self.url.split_once('?').map_or((self.url.as_str(), None), |(path, query)| (path, Some(query)));
        let mut url = path.to_owned();
        for &byte in name.as_bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                url.push(char::from(byte));
            } else {
                url.push_str(&format!("%{byte:02X}"));
            }
        }
        if let Some(query) = query {
            url.push('?');
            url.push_str(query);
        }
        Target { url }
    }

    /// Whether both are the same scheme, host and port: what may be told to one
    /// may be told to the other.
    pub fn has_origin_of(&self, other: &Target) -> bool {
        self.is_encrypted() == other.is_encrypted() && self.to_string().eq_ignore_ascii_case(&other.to_string())
    }

    /// The URL's path, as it is written in it.
    pub fn path(&self) -> &str {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let path = rest.find(['/', '?', '#']).map_or("", |start| &rest[start..]);
        path.split(['?', '#']).next().unwrap_or("")
    }

    /// Whether the URL names a user, and perhaps a password.
    pub fn has_user(&self) -> bool {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
    }

    /// Whether what is sent to it is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.url.starts_with("https://")
    }

    /// Whether it is this very host: what goes there, nobody else can read.
    pub fn is_loopback(&self) -> bool {
        is_loopback(host_of(self.url.split_once("://").map_or("", |(_, rest)| rest)))
    }

    /// The whole URL, secrets included: for a hash, not for a message.
    #[cfg(feature = "form")]
    pub(crate) fn unmasked(&self) -> String {
        self.url.clone()
    }

    pub(super) fn as_str(&self) -> &str {
        &self.url
    }
}

impl fmt::Display for Target {
    /// Scheme and host: `https://example.org`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        write!(f, "{scheme}://{}", host_of(rest))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self}/...)")
    }
}

/// Whether a host, with a port or without, is this very one.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Host and port of what follows the scheme.
fn host_of(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scheme_and_host_are_ever_printed() {
        let target = Target::parse("http://me:pass@h.example:81/secret?token=x").unwrap();
        assert_eq!(target.to_string(), "http://h.example:81");
        assert_eq!(format!("{target:?}"), "Target(http://h.example:81/...)");
    }

    #[test]
    fn a_word_joins_the_path_before_the_query() {
        let joined = |url: &str| Target::parse(url).unwrap().join("fail").url;
        assert_eq!(joined("http://h/a"), "http://h/a/fail");
        assert_eq!(joined("http://h/a/"), "http://h/a/fail");
        assert_eq!(joined("http://h?x=1"), "http://h/fail?x=1");
    }

    #[test]
    #[cfg(feature = "tls")]
    fn a_reference_leads_where_browsers_go() {
        let base = Target::parse("http://h:81/a/b?q#f").unwrap();
        let to = |reference: &str| base.resolve(reference).unwrap().url;
        assert_eq!(to("/x"), "http://h:81/x");
        assert_eq!(to("x?y"), "http://h:81/a/x?y");
        assert_eq!(to("?y"), "http://h:81/a/b?y");
        assert_eq!(to("//k/x"), "http://k/x");
        assert_eq!(to("http://k/x#f"), "http://k/x");
        assert_eq!(base.resolve("ftp://k/x"), None);
        assert!(base.has_origin_of(&Target::parse("http://H:81/other").unwrap()));
        for other in ["https://h:81/", "http://h/", "http://h:82/"] {
            assert!(!base.has_origin_of(&Target::parse(other).unwrap()), "{other}");
        }
        let child = Target::parse("http://h/files/?x=1").unwrap().child("a b;%/ü");
        assert_eq!(child.url, "http://h/files/a%20b%3B%25%2F%C3%BC?x=1");
        assert_eq!(base.path(), "/a/b");
        assert_eq!(Target::parse("http://h").unwrap().path(), "");
        assert!(Target::parse("http://me@h/").unwrap().has_user() && !Target::parse("http://h/@").unwrap().has_user());
    }

    #[test]
    fn loopback_is_told_from_names_that_only_look_like_it() {
        for (url, loopback) in [
            ("http://localhost:8080/x", true),
            ("http://127.0.0.1", true),
            ("http://[::1]:80/", true),
            ("http://[::1]/", true),
            ("http://127.0.0.1.example.org/", false),
            ("http://localhost@evil.example/", false),
            ("http://192.0.2.1:127/", false),
        ] {
            assert_eq!(Target::parse(url).unwrap().is_loopback(), loopback, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_repeated() {
        for text in
            ["", "h/secret", "ftp://secret", "http://", "http:///secret", "http://h/a secret", "http://h/\nsecret"]
        {
            let error = Target::parse(text).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
