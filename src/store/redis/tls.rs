//! TLS to a server; where this build has none, saying so.

use redis::{Client, ConnectionAddr, ConnectionInfo, RedisResult};

use super::super::Error;
use super::super::url::StoreAccess;

/// Whom to trust, and who we are.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    #[cfg(feature = "tls")]
    certificates: redis::TlsCertificates,
}

impl Tls {
    pub(super) fn address(host: &str, port: u16) -> ConnectionAddr {
        ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None }
    }

    #[cfg(not(feature = "tls"))]
    pub(super) fn new(_files: &StoreAccess) -> Result<Tls, Error> {
        Err(Error::unreachable("this build has no TLS; use one that has, or a store without it"))
    }

    #[cfg(not(feature = "tls"))]
    pub(super) fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        Client::open(info)
    }

    #[cfg(feature = "tls")]
    pub(super) fn new(files: &StoreAccess) -> Result<Tls, Error> {
        use super::dial::read;

        let root_cert =
            files.ca.as_deref().map(|path| read(path, "the certificates to trust for the store")).transpose()?;
        let client_tls = match (&files.cert, &files.key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(redis::ClientTlsConfig {
                client_cert: read(cert, "our certificate for the store")?,
                client_key: read(key, "our key for the store")?,
            }),
            _ => return Err(Error::unreachable("a certificate for the store needs its key too, and the reverse")),
        };
        Ok(Tls { certificates: redis::TlsCertificates { client_tls, root_cert } })
    }

    #[cfg(feature = "tls")]
    pub(super) fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        Client::build_with_tls(info, self.certificates.clone())
    }
}
