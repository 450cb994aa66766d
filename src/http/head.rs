//! A request's head, parsed and judged.
//!
//! httparse takes it apart; what it lets through and two readers of one
//! connection might understand differently is refused here: RFC 9112, 3, 6 and 7.

use std::ops::Range;

use tiny_http::{HTTPVersion, Method};

use super::refusal::Refusal;

/// How the body behind a head is delimited (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes follow; zero: none.
    Length(u64),
    Chunked,
}

/// The head of one request. Its texts are ranges of the bytes as they came.
#[derive(Debug)]
pub(super) struct Head {
    raw: Box<[u8]>,
    method: Method,
    target: Range<usize>,
    /// The path and the query within the target.
    path: Range<usize>,
    query: Option<Range<usize>>,
    /// The authority of an absolute target, which stands in Host's place.
    authority: Option<Range<usize>>,
    minor: u8,
    headers: Vec<(Range<usize>, Range<usize>)>,
    pub(super) framing: Framing,
    pub(super) expects_continue: bool,
    pub(super) wants_keep_alive: bool,
}

impl Head {
    /// Parses what [`Scanner`](super::scan::Scanner) found: from the request
    /// line to the empty line.
    pub(super) fn parse(raw: &[u8]) -> Result<Head, Refusal> {
        let lines = memchr::memchr_iter(b'\n', raw).count();
        let mut slots = vec![httparse::EMPTY_HEADER; lines];
        let mut parsed = httparse::Request::new(&mut slots);
        match parsed.parse(raw) {
            Ok(httparse::Status::Complete(length)) if length == raw.len() => {}
            Ok(_) => return Err(Refusal::bad("a malformed head")),
            Err(httparse::Error::Version) => return Err(Refusal::new(505, "this server speaks HTTP/1.1 and HTTP/1.0")),
            Err(_) => return Err(Refusal::bad("a malformed head")),
        }
        let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(Refusal::bad("a malformed request line"));
        };
        let headers = parsed.headers.iter();
        let mut head = Head {
            method: method.parse().map_err(|()| Refusal::bad("a malformed method"))?,
            target: range_in(raw, target.as_bytes()),
            path: 0..0,
            query: None,
            authority: None,
            minor,
            headers: headers.map(|h| (range_in(raw, h.name.as_bytes()), range_in(raw, h.value))).collect(),
            raw: raw.into(),
            framing: Framing::Length(0),
            expects_continue: false,
            wants_keep_alive: false,
        };
        head.split_target()?;
        head.check_host()?;
        head.framing = head.read_framing()?;
        head.expects_continue = head.read_expectation()?;
        let wants = if minor == 0 { head.has_option("keep-alive") } else { true };
        head.wants_keep_alive = wants && !head.has_option("close");
        Ok(head)
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn version(&self) -> HTTPVersion {
        HTTPVersion(1, self.minor)
    }

    pub(super) fn is_http_1_0(&self) -> bool {
        self.minor == 0
    }

    pub(super) fn target(&self) -> &str {
        self.text(&self.target)
    }

    pub(super) fn path(&self) -> &str {
        // A target such as `http://host` has none of its own.
        if self.path.is_empty() { "/" } else { self.text(&self.path) }
    }

    pub(super) fn query(&self) -> Option<&str> {
        self.query.as_ref().map(|query| self.text(query))
    }

    /// Host and port that the client asked for.
    pub(super) fn authority(&self) -> Option<&str> {
        match &self.authority {
            Some(authority) => Some(self.text(authority)),
            None => self.header("host"),
        }
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (self.text(name), &self.raw[value.clone()]))
    }

    /// The values of all lines of this name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The first value of this name, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(n, _)| n.eq_ignore_ascii_case(name)).and_then(|(_, v)| std::str::from_utf8(v).ok())
    }

    fn text(&self, range: &Range<usize>) -> &str {
        // Only names and parts of the target come here, all ASCII.
        std::str::from_utf8(&self.raw[range.clone()]).unwrap_or("")
    }

    /// Whether a `Connection` header names this option.
    fn has_option(&self, option: &str) -> bool {
        let named =
            |value: &[u8]| value.split(|b| *b == b',').any(|o| o.trim_ascii().eq_ignore_ascii_case(option.as_bytes()));
        self.all("connection").any(named)
    }

    /// The four forms of RFC 9112, 3.2.
    fn split_target(&mut self) -> Result<(), Refusal> {
        let target = self.target().to_owned();
        let start = self.target.start;
        let mut path_at = 0;
        if self.method == Method::Connect {
            return Err(Refusal::new(501, "this server is no proxy"));
        } else if target == "*" && self.method == Method::Options {
            self.path = self.target.clone();
            return Ok(());
        } else if !target.starts_with('/') {
            let Some(scheme) = ["http://", "https://"].iter().find(|s| starts_with_ignoring_case(&target, s)) else {
                return Err(Refusal::bad("the target is no path"));
            };
            let rest = &target[scheme.len()..];
            let length = rest.find(['/', '?']).unwrap_or(rest.len());
            check_authority(&rest.as_bytes()[..length])?;
            path_at = scheme.len() + length;
            self.authority = Some(start + scheme.len()..start + path_at);
        }
        let path_length = target[path_at..].find('?').unwrap_or(target.len() - path_at);
        self.path = start + path_at..start + path_at + path_length;
        if path_at + path_length < target.len() {
            self.query = Some(self.path.end + 1..self.target.end);
        }
        Ok(())
    }

    fn check_host(&self) -> Result<(), Refusal> {
        let mut hosts = self.all("host");
        match (hosts.next(), hosts.next()) {
            (_, Some(_)) => Err(Refusal::bad("more than one Host")),
            (None, None) if self.minor == 0 => Ok(()),
            (None, None) => Err(Refusal::bad("no Host")),
            (Some(host), None) => check_authority(host),
        }
    }

    fn read_framing(&self) -> Result<Framing, Refusal> {
        let mut encodings = self.all("transfer-encoding");
        let mut lengths = self.all("content-length");
        if let Some(encoding) = encodings.next() {
            if lengths.next().is_some() {
                return Err(Refusal::bad("Content-Length beside Transfer-Encoding"));
            }
            if self.minor == 0 {
                return Err(Refusal::bad("Transfer-Encoding in HTTP/1.0"));
            }
            if encodings.next().is_some() || !encoding.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::new(501, "a Transfer-Encoding other than chunked"));
            }
            return Ok(Framing::Chunked);
        }
        let Some(length) = lengths.next() else { return Ok(Framing::Length(0)) };
        if lengths.next().is_some() {
            return Err(Refusal::bad("more than one Content-Length"));
        }
        digits(length).map(Framing::Length).ok_or(Refusal::bad("Content-Length is no number"))
    }

    fn read_expectation(&self) -> Result<bool, Refusal> {
        let mut expectations = self.all("expect").filter(|_| self.minor > 0);
        match (expectations.next(), expectations.next()) {
            (None, _) => Ok(false),
            // Nobody waits for a go-ahead to send nothing.
            (Some(e), None) if e.eq_ignore_ascii_case(b"100-continue") => Ok(self.framing != Framing::Length(0)),
            _ => Err(Refusal::new(417, "an expectation other than 100-continue")),
        }
    }
}

/// Where `part` lies in `whole`.
fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    if part.is_empty() {
        return 0..0;
    }
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

/// A decimal number of digits only, as the RFCs write them.
pub(super) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Host and port: no user, no list, nothing that a log or a page could trip over.
fn check_authority(text: &[u8]) -> Result<(), Refusal> {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-._~:[]%".contains(b);
    if text.iter().all(allowed) { Ok(()) } else { Err(Refusal::bad("a malformed Host")) }
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Limits;
    use super::super::scan::Scanner;
    use super::*;

    /// As a connection reads: in pieces that end at these places.
    fn read(bytes: &[u8], splits: &[usize]) -> Result<Option<(Head, usize)>, Refusal> {
        let limits = Limits { head_bytes: 512, request_line_bytes: 128, headers: 4, ..Limits::default() };
        let mut scanner = Scanner::default();
        let mut ends: Vec<usize> = splits.iter().map(|at| at % (bytes.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(bytes.len());
        for end in ends {
            if let Some((start, end)) = scanner.scan(&bytes[..end], &limits)? {
                return Head::parse(&bytes[start..end]).map(|head| Some((head, end)));
            }
        }
        Ok(None)
    }

    fn head(text: &str) -> Head {
        read(text.as_bytes(), &[]).unwrap().unwrap().0
    }

    fn status(text: impl AsRef<[u8]>) -> u16 {
        read(text.as_ref(), &[]).unwrap_err().status
    }

    #[test]
    fn a_head_is_taken_apart() {
        let head = head("POST /a/b?c=d&e HTTP/1.1\r\nHost: h:80\r\nContent-Length: 12\r\nX: \t y z \r\n\r\n");
        assert_eq!((head.method(), head.path(), head.query()), (&Method::Post, "/a/b", Some("c=d&e")));
        assert_eq!((head.authority(), head.header("x")), (Some("h:80"), Some("y z")));
        assert_eq!(
            (head.framing, head.wants_keep_alive, head.version()),
            (Framing::Length(12), true, HTTPVersion(1, 1))
        );
    }

    #[test]
    fn all_forms_of_a_target_are_understood() {
        let absolute = head("GET HTTP://me.example:81?q HTTP/1.1\r\nHost: other\r\n\r\n");
        assert_eq!((absolute.path(), absolute.query(), absolute.authority()), ("/", Some("q"), Some("me.example:81")));
        assert_eq!(head("OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n").path(), "*");
        assert_eq!(head("\r\nGET /? HTTP/1.0\r\n\r\n").query(), Some(""));
        for refused in ["GET * HTTP/1.1", "GET a HTTP/1.1", "GET ftp://h/ HTTP/1.1", "GET http://me@h/ HTTP/1.1"] {
            assert_eq!(status(format!("{refused}\r\nHost: h\r\n\r\n")), 400, "{refused}");
        }
        assert_eq!(status("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"), 501);
    }

    #[test]
    fn framing_that_could_be_read_in_two_ways_is_refused() {
        let with = |lines: &str| status(format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n"));
        for length in ["abc", "+3", "-1", "", "3 3", "30, 30", "0x10", "99999999999999999999", "3\r\nContent-Length: 3"]
        {
            assert_eq!(with(&format!("Content-Length: {length}")), 400, "{length}");
        }
        assert_eq!(with("Content-Length: 3\r\nTransfer-Encoding: chunked"), 400);
        for encoding in [
            "gzip",
            "gzip, chunked",
            "chunked, chunked",
            "identity",
            "xchunked",
            "",
            "chunked\r\nTransfer-Encoding: chunked",
        ] {
            assert_eq!(with(&format!("Transfer-Encoding: {encoding}")), 501, "{encoding}");
        }
        assert_eq!(status("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
        assert_eq!(with("Content-Length: 1\r\nExpect: gold"), 417);
    }

    #[test]
    fn lenient_spellings_are_refused() {
        for bad in [
            "GET / HTTP/1.1\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\n\n",
            "GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nnot a header\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\n: y\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /\tHTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /\u{e9} HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
            "GET /\r\n\r\n",
            "G@T / HTTP/1.1\r\nHost: h\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
            " GET / HTTP/1.1\r\nHost: h\r\n\r\n",
            "\u{16}\u{3}\u{1}",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: me@h\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(status(bad), 400, "{bad:?}");
        }
        for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/3"] {
            assert_eq!(status(format!("GET / {version}\r\nHost: h\r\n\r\n")), 505, "{version}");
        }
    }

    #[test]
    fn each_limit_has_its_status() {
        assert_eq!(status(format!("GET /{}", "a".repeat(200))), 414);
        assert_eq!(status(format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(600))), 431);
        assert_eq!(status(format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(5))), 431);
        assert_eq!(head(&format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(3))).headers().count(), 4);
    }

    #[test]
    fn connections_are_kept_as_each_version_does_it() {
        let keeps =
            |version: &str, line: &str| head(&format!("GET / {version}\r\nHost: h\r\n{line}\r\n")).wants_keep_alive;
        assert!(keeps("HTTP/1.1", ""));
        assert!(!keeps("HTTP/1.1", "Connection: foo, Close\r\n"));
        assert!(!keeps("HTTP/1.0", ""));
        assert!(keeps("HTTP/1.0", "Connection: Keep-Alive\r\n"));
    }

    /// Pieces that heads are made of, good and bad, so that most of what is
    /// tried gets further than its first byte.
    fn heads() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"GET / HTTP/1.1\r\n".to_vec()),
            Just(b"Host: h\r\n".to_vec()),
            Just(b"Content-Length: 7\r\n".to_vec()),
            Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\n".to_vec()),
            Just(b": ".to_vec()),
            Just(b"GET http://x?y HTTP/1.0\r\n\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..6),
            proptest::collection::vec(32_u8..127, 0..80),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_bytes_and_no_split_of_them_make_a_difference(bytes in heads(), splits in proptest::collection::vec(any::<usize>(), 0..5)) {
            let whole = read(&bytes, &[]).map(|found| found.map(|(head, end)| (head.raw.clone(), end)));
            let pieces = read(&bytes, &splits).map(|found| found.map(|(head, end)| (head.raw.clone(), end)));
            prop_assert_eq!(&whole, &pieces);
            if let Ok(Some((raw, end))) = whole {
                // What counts as the head is what stood there, up to the first empty line.
                prop_assert!(end <= bytes.len() && raw.ends_with(b"\r\n\r\n"));
                prop_assert_eq!(&bytes[end - raw.len()..end], &raw[..]);
                let head = Head::parse(&raw).unwrap();
                let _ = (head.path(), head.query(), head.authority(), head.headers().count());
            }
        }
    }
}
