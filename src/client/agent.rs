//! Requests over ureq, each with a limit on its whole time.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use super::{Target, Token};

/// Which certificates an `https://` server may show.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    #[cfg(feature = "tls")]
    roots: Option<Vec<ureq::tls::Certificate<'static>>>,
    #[cfg(feature = "tls")]
    shown: Option<ureq::tls::ClientCert>,
}

impl Trust {
    /// Trusts the authorities in this PEM file, and no others. The default is
    /// Mozilla's list as built into this program.
    ///
    /// # Errors
    /// The file can't be read, or holds no certificate.
    #[cfg(feature = "tls")]
    pub fn in_file(path: &Path) -> io::Result<Trust> {
        let pem = std::fs::read(path)?;
        let mut roots = Vec::new();
        for item in ureq::tls::parse_pem(&pem) {
            if let ureq::tls::PemItem::Certificate(certificate) = item.map_err(io::Error::other)? {
                roots.push(certificate);
            }
        }
        if roots.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no certificate in it"));
        }
        Ok(Trust { roots: Some(roots), shown: None })
    }

    /// Without the feature `tls` there is nothing to trust.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "tls"))]
    pub fn in_file(_path: &Path) -> io::Result<Trust> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this build has no TLS"))
    }

    /// The same, with who we are, to a server that asks.
    #[cfg(all(feature = "docker", feature = "tls"))]
    pub(super) fn showing(self, identity: Option<&super::Identity>) -> Trust {
        Trust { shown: identity.map(|identity| identity.certificate.clone()), ..self }
    }

    /// Without the feature `tls` nobody asks.
    #[cfg(all(feature = "docker", not(feature = "tls")))]
    pub(super) fn showing(self, _identity: Option<&super::Identity>) -> Trust {
        self
    }
}

/// Why a request brought no success.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with this status, which isn't a success.
    #[error("{target} answered {status}")]
    Status {
        /// Where the request went: scheme and host.
        target: String,
        /// The status code.
        status: u16,
    },
    /// A token isn't sent over a connection that others can read.
    #[error("no token is sent to {target} unencrypted; use https://")]
    InClear {
        /// Where the request was to go: scheme and host.
        target: String,
    },
    /// No answer came: not reached, cut, too late, or not trusted.
    #[error("no answer from {target}{}", distrust(source))]
    Failed {
        /// Where the request went: scheme and host.
        target: String,
        /// What went wrong.
        source: Box<ureq::Error>,
    },
}

impl Error {
    /// The time for it passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Failed { source, .. } if matches!(**source, ureq::Error::Timeout(_)))
    }

    /// What the operating system said, if it did: `ConnectionRefused`, `NotFound`
    /// for a socket that isn't there, ...
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Error::Failed { source, .. } => match &**source {
                ureq::Error::Io(error) => Some(error.kind()),
                _ => None,
            },
            _ => None,
        }
    }

    /// What came isn't HTTP, or isn't within its limits.
    pub fn is_garbage(&self) -> bool {
        use ureq::Error::{Http, LargeResponseHeader, Protocol};
        matches!(self, Error::Failed { source, .. } if matches!(**source, Protocol(_) | Http(_) | LargeResponseHeader(..)))
    }

    pub(super) fn failed(target: &impl fmt::Display, error: ureq::Error) -> Error {
        Error::Failed { target: target.to_string(), source: Box::new(without_url(error)) }
    }
}

/// A client. Cloning shares its connections.
#[derive(Clone, Debug)]
pub struct Agent {
    agent: ureq::Agent,
    token: Option<Token>,
}

impl Agent {
    /// A client whose requests each take at most `timeout`, from resolving the
    /// name to the answer's last byte, redirects included.
    ///
    /// A proxy is taken from the environment, as curl does, but not for this very host.
    pub fn new(timeout: Duration, trust: &Trust) -> Agent {
        Agent { agent: build(ureq::Agent::config_builder().timeout_global(Some(timeout)), trust), token: None }
    }

    /// A client for answers that have no end in sight: connecting takes at most
    /// `connect`, and so does the answer's head; each read of the body takes at
    /// most `quiet`. Redirects aren't followed. A `token` goes with every request.
    pub fn for_streams(connect: Duration, quiet: Duration, trust: &Trust, token: Option<Token>) -> Agent {
        let config = ureq::Agent::config_builder()
            .timeout_resolve(Some(connect))
            .timeout_connect(Some(connect))
            .timeout_send_request(Some(connect))
            .timeout_recv_response(Some(connect))
            .timeout_per_read(Some(quiet))
            .max_redirects(0)
            // They are answers, and the status says so.
            .max_redirects_will_error(false);
        Agent { agent: build(config, trust), token }
    }

    /// Makes a GET request and drops what comes back. Blocks until the answer's
    /// head is there or the time-out passes; nothing else ends it.
    ///
    /// A redirect never leads from an encrypted connection to a plain one.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn get(&self, target: &Target) -> Result<(), Error> {
        let request = self.request(target).config().https_only(target.is_encrypted()).build();
        answer(target, request.call()).map(drop)
    }

    /// What goes to this very host doesn't leave it: a proxy would read it, a token too.
    fn request(&self, target: &Target) -> ureq::RequestBuilder<ureq::typestate::WithoutBody> {
        let request = self.agent.get(target.as_str());
        if target.is_loopback() { request.config().proxy(None).build() } else { request }
    }

    /// Makes a GET request with these headers, and gives the answer's body to
    /// read. Blocks until the answer's head is there or its time-out passes.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(&self, target: &Target, headers: &[(&str, &str)]) -> Result<Body, Error> {
        let mut request = self.request(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            if !target.is_encrypted() && !target.is_loopback() {
                return Err(Error::InClear { target: target.to_string() });
            }
            request = request.header("Authorization", token.as_bearer());
        }
        Ok(Body { reader: Reader::Ureq(answer(target, request.call())?.into_body().into_reader()) })
    }
}

/// The body of an answer, unbuffered. A read fails with `UnexpectedEof` when
/// the answer was cut, and with a time-out's error when nothing came for too long.
pub struct Body {
    reader: Reader,
}

enum Reader {
    Ureq(ureq::BodyReader<'static>),
    #[cfg(feature = "docker")]
    Bare(super::bare::Bare),
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.reader {
            Reader::Ureq(reader) => reader.read(buffer),
            #[cfg(feature = "docker")]
            Reader::Bare(bare) => bare.read(buffer),
        }
        .map_err(with_kind)
    }
}

#[cfg(feature = "docker")]
impl From<ureq::Body> for Body {
    fn from(body: ureq::Body) -> Body {
        Body { reader: Reader::Ureq(body.into_reader()) }
    }
}

#[cfg(feature = "docker")]
impl From<super::bare::Bare> for Body {
    fn from(bare: super::bare::Bare) -> Body {
        Body { reader: Reader::Bare(bare) }
    }
}

/// ureq's time-outs have no kind of their own among I/O errors.
fn with_kind(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    match inner {
        Some(ureq::Error::Timeout(_)) => io::Error::new(io::ErrorKind::TimedOut, error),
        _ => error,
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}

fn build(config: ureq::config::ConfigBuilder<ureq::typestate::AgentScope>, trust: &Trust) -> ureq::Agent {
    finish(config, trust).new_agent()
}

/// What all agents have in common.
pub(super) fn finish(
    config: ureq::config::ConfigBuilder<ureq::typestate::AgentScope>,
    trust: &Trust,
) -> ureq::config::Config {
    let config = config.http_status_as_error(false).user_agent(concat!("towpath/", env!("CARGO_PKG_VERSION")));
    #[cfg(feature = "tls")]
    let config = {
        let mut tls = ureq::tls::TlsConfig::builder().client_cert(trust.shown.clone());
        if let Some(roots) = &trust.roots {
            tls = tls.root_certs(ureq::tls::RootCerts::new_with_certs(roots));
        }
        config.tls_config(tls.build())
    };
    #[cfg(not(feature = "tls"))]
    let _: &Trust = trust;
    config.build()
}

fn answer(
    target: &Target,
    answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<ureq::http::Response<ureq::Body>, Error> {
    match answer {
        Ok(answer) if answer.status().is_success() => Ok(answer),
        Ok(answer) => Err(Error::Status { target: target.to_string(), status: answer.status().as_u16() }),
        Err(error) => Err(Error::failed(target, error)),
    }
}

/// The same error without the URL that some of them carry.
/// What is wrong with the server's certificate, if that is why, in words that say what to do.
#[cfg(feature = "tls")]
fn distrust(error: &ureq::Error) -> &'static str {
    use rustls::CertificateError::{Expired, ExpiredContext, NotValidForName, NotValidForNameContext, UnknownIssuer};
    let ureq::Error::Io(error) = error else { return "" };
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let Some(rustls::Error::InvalidCertificate(why)) = inner else { return "" };
    match why {
        UnknownIssuer => ", whose certificate is from nobody who is trusted here; --ca FILE names who is",
        Expired | ExpiredContext { .. } => ", whose certificate has expired",
        NotValidForName | NotValidForNameContext { .. } => ", whose certificate is for other names",
        // The library that checks has no kind of its own for it.
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            ", whose certificate is one for authorities; make it anew with basicConstraints=CA:FALSE"
        }
        _ => "",
    }
}

#[cfg(not(feature = "tls"))]
fn distrust(_error: &ureq::Error) -> &'static str {
    ""
}

pub(super) fn without_url(error: ureq::Error) -> ureq::Error {
    match error {
        ureq::Error::BadUri(_) => ureq::Error::BadUri("the URL".to_owned()),
        ureq::Error::RequireHttpsOnly(_) => ureq::Error::RequireHttpsOnly("a redirect".to_owned()),
        ureq::Error::ConnectProxyFailed(_) => ureq::Error::ConnectProxyFailed("the proxy refused".to_owned()),
        other => other,
    }
}
