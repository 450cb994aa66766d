//! Where a server listens.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// A TCP address, or the path of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address of this host; port 0 lets the system choose one.
    Tcp(SocketAddr),
    /// A socket in the file system, made with mode 0600: only its owner (and
    /// root) can connect.
    Unix(PathBuf),
}

/// A text that is no [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no address to listen on; write 127.0.0.1:8080, [::1]:8080, localhost:8080, :8080 or unix:/run/x.sock"
)]
pub struct InvalidAddress {
    text: String,
}

impl Address {
    /// Whether only this host can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Address::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Address::Unix(_) => true,
        }
    }
}

impl Address {
    /// The URL that others on the network reach it by: of any address, this
    /// host's name; of a Unix socket, its path.
    pub fn url(&self, with_tls: bool) -> String {
        let scheme = if with_tls { "https" } else { "http" };
        match self {
            Address::Tcp(address) if address.ip().is_unspecified() => {
                format!("{scheme}://{}:{}", rustix::system::uname().nodename().to_string_lossy(), address.port())
            }
            Address::Tcp(address) => format!("{scheme}://{address}"),
            Address::Unix(_) => self.to_string(),
        }
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    /// Reads `127.0.0.1:8080`, `[::1]:8080`, `unix:PATH`, and, for loopback,
    /// `localhost:8080`, `:8080` and `8080`. Other names aren't looked up: which
    /// address they stand for is not a server's to guess.
    fn from_str(text: &str) -> Result<Address, InvalidAddress> {
        let invalid = || InvalidAddress { text: text.to_owned() };
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(invalid()) } else { Ok(Address::Unix(path.into())) };
        }
        if let Ok(address) = text.parse() {
            return Ok(Address::Tcp(address));
        }
        let port = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
        // `parse` alone would take a sign.
        let port =
            Some(port).filter(|port| port.bytes().all(|b| b.is_ascii_digit())).and_then(|port| port.parse().ok());
        port.map(|port| Address::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))).ok_or_else(invalid)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_no_address_is_loopback() {
        for text in ["127.0.0.1:80", "localhost:80", ":80", "80"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), "127.0.0.1:80", "{text}");
        }
        for (text, local) in [
            ("[::1]:0", true),
            ("127.9.9.9:1", true),
            ("unix:/a/b", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("[::ffff:127.0.0.1]:1", true),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.is_local(), address.to_string().as_str()), (local, text));
        }
    }

    #[test]
    fn names_and_nonsense_are_refused() {
        for text in ["", "example.org:80", "unix:", "+80", "65536", "127.0.0.1", ":", "localhost", "a b"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
