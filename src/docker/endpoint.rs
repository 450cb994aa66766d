//! Where the daemon is, and how it is spoken to safely.

use std::path::{Path, PathBuf};

use crate::client::{Identity, Place, Trust};

use super::error::{Error, ErrorKind};
use super::settings::Settings;

/// Where a client looks that was told nothing.
pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// A daemon's address, checked, with the certificates that go with it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    place: Place,
    insecure: bool,
}

impl Endpoint {
    /// A daemon's socket.
    pub fn socket(path: impl Into<PathBuf>) -> Endpoint {
        Endpoint { place: Place::Socket(path.into()), insecure: false }
    }

    /// A daemon over TCP, `HOST:PORT`, unencrypted. To another host than this one
    /// it is refused when used, unless [`insecure`](Endpoint::insecure) says otherwise.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`]: not a host with a port.
    pub fn plain(address: &str) -> Result<Endpoint, Error> {
        Ok(Endpoint { place: Place::Plain(authority(address, PLAIN_PORT)?), insecure: false })
    }

    /// A daemon over TLS, `HOST:PORT`.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`]: not a host with a port.
    pub fn encrypted(address: &str, trust: Trust, identity: Option<Identity>) -> Result<Endpoint, Error> {
        Ok(Endpoint { place: Place::Encrypted(authority(address, TLS_PORT)?, trust, identity), insecure: false })
    }

    /// The daemon that these settings name, as the docker CLI finds it: the host,
    /// else the context, else the context in the configuration file, else
    /// [`DEFAULT_SOCKET`].
    ///
    /// # Errors
    /// [`ErrorKind::Settings`]: an address that is none or of a kind that isn't
    /// known here (`ssh://`, `npipe://`, `fd://`), a context that doesn't exist, a
    /// certificate that can't be read, or a key that isn't the certificate's.
    pub fn of(settings: &Settings) -> Result<Endpoint, Error> {
        match (&settings.host, settings.context_name()?) {
            (Some(host), _) => Endpoint::named(host, settings.tls_verify.then(|| settings.certificates()).as_deref()),
            (None, Some(name)) => {
                let context = settings.context(&name)?;
                Endpoint::named(&context.host, context.certificates.as_deref())
            }
            (None, None) => Ok(Endpoint::socket(DEFAULT_SOCKET)),
        }
    }

    /// Whether a plain connection to another host is allowed, to whoever can read
    /// and change what goes by. Off by default; passwords aren't sent over it even so.
    #[must_use]
    pub fn insecure(mut self, allowed: bool) -> Endpoint {
        self.insecure = allowed;
        self
    }

    /// Whether a password may be sent to it: it stays on this host or is encrypted.
    pub fn is_private(&self) -> bool {
        self.place.is_private()
    }

    /// Where it is, if it may be spoken to.
    pub(super) fn place(&self) -> Result<&Place, Error> {
        if self.insecure || self.is_private() {
            return Ok(&self.place);
        }
        let text = format!(
            "{} is neither this host nor encrypted: anybody on the way could take the daemon over; \
             set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH, or say --insecure",
            self.place
        );
        Err(Error::new(ErrorKind::Insecure, text))
    }

    /// An address as in `DOCKER_HOST`; with a directory of certificates, over TLS.
    fn named(host: &str, certificates: Option<&Path>) -> Result<Endpoint, Error> {
        let host = host.trim();
        let (scheme, rest) = host.split_once("://").unwrap_or(("tcp", host));
        match scheme {
            "unix" if !rest.is_empty() => Ok(Endpoint::socket(rest)),
            "unix" => Ok(Endpoint::socket(DEFAULT_SOCKET)),
            "tcp" | "http" | "https" => match certificates {
                Some(dir) => Endpoint::encrypted(rest, authority_in(dir)?, identity_in(dir)?),
                None if scheme == "https" => Err(unusable(host, "needs certificates: set DOCKER_TLS_VERIFY=1")),
                None => Endpoint::plain(rest),
            },
            _ => Err(unusable(host, "is of a kind that isn't known here; use unix:// or tcp://")),
        }
    }
}

/// `HOST:PORT`, with what is missing put in: this host, the customary port.
fn authority(address: &str, port: u16) -> Result<String, Error> {
    let bare = address.strip_suffix('/').unwrap_or(address);
    if bare.contains(['/', '?', '#', '@']) || bare.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(unusable(address, "isn't HOST:PORT"));
    }
    let (host, number) = match bare.rsplit_once(':') {
        Some((host, number)) if !number.ends_with(']') => (host, number.to_owned()),
        _ => (bare, port.to_string()),
    };
    if number.parse::<u16>().map_or(true, |number| number == 0) || host.contains(':') && !host.starts_with('[') {
        return Err(unusable(address, "isn't HOST:PORT"));
    }
    Ok(format!("{}:{number}", if host.is_empty() { "localhost" } else { host }))
}

fn authority_in(dir: &Path) -> Result<Trust, Error> {
    let path = dir.join("ca.pem");
    Trust::in_file(&path).map_err(|error| {
        Error::new(
            ErrorKind::Settings,
            format!("the certificates to trust for Docker, {}, can't be used", path.display()),
        )
        .because(error)
    })
}

/// Both files, or neither: a daemon may do without.
fn identity_in(dir: &Path) -> Result<Option<Identity>, Error> {
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    if !certificate.exists() && !key.exists() {
        return Ok(None);
    }
    let identity = Identity::in_files(&certificate, &key);
    identity.map(Some).map_err(|error| {
        Error::new(ErrorKind::Settings, "our certificate for Docker can't be used, or isn't its key's").because(error)
    })
}

fn unusable(host: &str, why: &str) -> Error {
    Error::new(ErrorKind::Settings, format!("the Docker host '{}' {why}", super::error::one_line(host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(host: &str) -> String {
        match Endpoint::named(host, None) {
            Ok(endpoint) => endpoint.place.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_address_is_read_as_the_docker_cli_reads_it() {
        assert_eq!(named("unix:///run/x.sock"), "unix:///run/x.sock");
        assert_eq!(named("unix://"), "unix:///var/run/docker.sock");
        assert_eq!(named("tcp://h.example:2376/"), "tcp://h.example:2376");
        assert_eq!(named("tcp://h.example"), "tcp://h.example:2375");
        assert_eq!(named("tcp://:4243"), "tcp://localhost:4243");
        assert_eq!(named("h.example:1"), "tcp://h.example:1");
        assert_eq!(named("tcp://[::1]"), "tcp://[::1]:2375");
        assert_eq!(named("tcp://[::1]:7"), "tcp://[::1]:7");
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_to_do() {
        for host in ["ssh://me@h", "npipe:////./pipe/x", "fd://"] {
            assert!(named(host).contains("use unix:// or tcp://"), "{host}");
        }
        for host in ["tcp://h:0", "tcp://h:x", "tcp://h:1/base", "tcp://u@h:1", "tcp://::1:80", "tcp://a b:1"] {
            assert!(named(host).contains("isn't HOST:PORT"), "{host}");
        }
        assert!(named("https://h").contains("DOCKER_TLS_VERIFY"));
    }

    #[test]
    fn plain_tcp_stays_on_this_host_unless_it_is_said_otherwise() {
        for (host, private) in [("127.0.0.1:1", true), ("localhost:1", true), ("[::1]:1", true), ("192.0.2.1:1", false)]
        {
            let endpoint = Endpoint::plain(host).unwrap();
            assert_eq!(endpoint.is_private(), private, "{host}");
            assert_eq!(endpoint.place().is_ok(), private, "{host}");
            let insecure = endpoint.insecure(true);
            assert!(insecure.place().is_ok());
            assert_eq!(insecure.is_private(), private, "passwords aren't sent even so: {host}");
        }
    }
}
