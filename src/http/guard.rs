//! Who may ask: the token, the names a loopback server goes by, and where a
//! request that changes something may come from.

use std::net::SocketAddr;

use tiny_http::Method;

use super::address::Address;
use super::head::Head;
use super::refusal::Refusal;
use super::token::Token;

/// Decides about each request before its handler sees it.
#[derive(Debug)]
pub(super) struct Guard {
    token: Option<Token>,
    /// The names that a loopback server answers to. None: to all.
    names: Option<Vec<String>>,
    /// Names given by `allow_host`, also good as an origin.
    allowed: Vec<String>,
}

impl Guard {
    pub(super) fn new(address: &Address, token: Option<Token>, allowed: Vec<String>) -> Guard {
        let names = match address {
            Address::Tcp(bound) if address.is_local() => Some(own_names(*bound)),
            _ => None,
        };
        Guard { token, names, allowed }
    }

    pub(super) fn admit(&self, head: &Head) -> Result<(), Refusal> {
        self.check_host(head)?;
        self.check_token(head)?;
        self.check_origin(head)
    }

    /// A page from anywhere can make a name of its own point to 127.0.0.1 (DNS
    /// rebinding); its browser then sends that name. No `Host` at all is
    /// HTTP/1.0, which no browser speaks.
    fn check_host(&self, head: &Head) -> Result<(), Refusal> {
        let (Some(names), Some(authority)) = (&self.names, head.authority()) else { return Ok(()) };
        let name = without_port(authority);
        let known = names.iter().chain(&self.allowed).any(|n| n.eq_ignore_ascii_case(name));
        if known {
            Ok(())
        } else {
            Err(Refusal::new(403, "this server doesn't go by that Host; allow it with --allow-host"))
        }
    }

    fn check_token(&self, head: &Head) -> Result<(), Refusal> {
        let Some(token) = &self.token else { return Ok(()) };
        let mut given = head.all("authorization");
        match (given.next().and_then(|v| std::str::from_utf8(v).ok()), given.next()) {
            (Some(given), None) if token.opens(given) => Ok(()),
            _ => Err(Refusal {
                status: 401,
                why: "this server asks for its token",
                headers: &[
                    ("WWW-Authenticate", "Bearer realm=\"towpath\""),
                    ("WWW-Authenticate", "Basic realm=\"towpath\", charset=\"UTF-8\""),
                ],
            }),
        }
    }

    /// A page from anywhere can send requests here from its visitor's browser,
    /// which names the page's origin when they change something.
    fn check_origin(&self, head: &Head) -> Result<(), Refusal> {
        if matches!(head.method(), Method::Get | Method::Head | Method::Options | Method::Trace) {
            return Ok(());
        }
        let refused = Refusal::new(403, "a page from elsewhere may not change anything here");
        // One that is old enough to leave the origin out of a form may still say this.
        let from_elsewhere = |site: &[u8]| !matches!(site, b"same-origin" | b"none");
        if head.all("origin").next().is_none() && head.all("sec-fetch-site").any(from_elsewhere) {
            return Err(refused);
        }
        for origin in head.all("origin") {
            let origin = std::str::from_utf8(origin).map_err(|_| refused.clone())?;
            let Some((scheme, authority)) = origin.split_once("://") else { return Err(refused) };
            let same = head.authority().is_some_and(|host| is_same(scheme, authority, host));
            let allowed = self.allowed.iter().any(|name| name.eq_ignore_ascii_case(without_port(authority)));
            if !same && !allowed {
                return Err(refused);
            }
        }
        Ok(())
    }
}

fn own_names(bound: SocketAddr) -> Vec<String> {
    let bound = match bound {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned(), bound]
}

/// The host of `host:port`, with the brackets of an IPv6 address.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => authority,
    }
}

/// Whether an origin is this host; the port that a scheme implies may be left out.
fn is_same(scheme: &str, authority: &str, host: &str) -> bool {
    let default = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |text: &str| text.strip_suffix(default).unwrap_or(text).to_ascii_lowercase();
    bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(guard: &Guard, method: &str, lines: &str) -> Result<(), u16> {
        let head = Head::parse(format!("{method} / HTTP/1.1\r\n{lines}\r\n").as_bytes()).unwrap();
        guard.admit(&head).map_err(|refusal| refusal.status)
    }

    #[test]
    fn a_loopback_server_answers_to_its_own_names_only() {
        let guard = Guard::new(&Address::Tcp("127.0.0.2:80".parse().unwrap()), None, vec!["build.example".to_owned()]);
        for host in ["localhost", "LOCALHOST:9", "127.0.0.1:80", "[::1]:80", "[::1]", "127.0.0.2", "build.example:443"]
        {
            assert_eq!(admits(&guard, "GET", &format!("Host: {host}\r\n")), Ok(()), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.3", "", "::1", "[::1].evil", "localhost:x"] {
            assert_eq!(admits(&guard, "GET", &format!("Host: {host}\r\n")), Err(403), "{host}");
        }
        let everywhere = Guard::new(&Address::Tcp("0.0.0.0:80".parse().unwrap()), None, Vec::new());
        assert_eq!(admits(&everywhere, "GET", "Host: evil.example\r\n"), Ok(()));
        let unix = Guard::new(&Address::Unix("/x".into()), None, Vec::new());
        assert_eq!(admits(&unix, "GET", "Host: docker\r\n"), Ok(()));
    }

    #[test]
    fn only_a_page_of_its_own_may_change_something() {
        let guard = Guard::new(&Address::Tcp("127.0.0.1:80".parse().unwrap()), None, vec!["build.example".to_owned()]);
        for origin in ["http://localhost", "http://LOCALHOST:80", "https://build.example"] {
            assert_eq!(admits(&guard, "POST", &format!("Host: localhost\r\nOrigin: {origin}\r\n")), Ok(()), "{origin}");
        }
        for origin in ["null", "http://evil.example", "http://localhost:81", "ftp://localhost", ""] {
            assert_eq!(
                admits(&guard, "PUT", &format!("Host: localhost\r\nOrigin: {origin}\r\n")),
                Err(403),
                "{origin}"
            );
            assert_eq!(admits(&guard, "GET", &format!("Host: localhost\r\nOrigin: {origin}\r\n")), Ok(()), "{origin}");
        }
        assert_eq!(admits(&guard, "DELETE", "Host: localhost\r\n"), Ok(()));
        for (site, want) in
            [("same-origin", Ok(())), ("none", Ok(())), ("same-site", Err(403)), ("cross-site", Err(403))]
        {
            assert_eq!(
                admits(&guard, "POST", &format!("Host: localhost\r\nSec-Fetch-Site: {site}\r\n")),
                want,
                "{site}"
            );
            assert_eq!(
                admits(&guard, "GET", &format!("Host: localhost\r\nSec-Fetch-Site: {site}\r\n")),
                Ok(()),
                "{site}"
            );
        }
        let ours = "Host: localhost\r\nOrigin: https://build.example\r\nSec-Fetch-Site: cross-site\r\n";
        assert_eq!(admits(&guard, "POST", ours), Ok(()), "who is allowed by name may come from elsewhere");
    }

    #[test]
    fn with_a_token_nothing_is_open_without_it() {
        let guard =
            Guard::new(&Address::Tcp("0.0.0.0:80".parse().unwrap()), Some(Token::new("s").unwrap()), Vec::new());
        assert_eq!(admits(&guard, "GET", "Host: h\r\n"), Err(401));
        assert_eq!(admits(&guard, "GET", "Host: h\r\nAuthorization: Bearer t\r\n"), Err(401));
        assert_eq!(admits(&guard, "GET", "Host: h\r\nAuthorization: Bearer s\r\n"), Ok(()));
        assert_eq!(
            admits(&guard, "GET", "Host: h\r\nAuthorization: Bearer s\r\nAuthorization: Bearer s\r\n"),
            Err(401)
        );
    }
}
