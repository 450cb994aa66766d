//! Who we are, to a server that asks for a certificate.

use std::fmt;
use std::io;
use std::path::Path;

/// A certificate and its key, proven to belong together.
#[derive(Clone)]
pub struct Identity {
    #[cfg(feature = "tls")]
    pub(super) certificate: ureq::tls::ClientCert,
}

impl Identity {
    /// Reads both from PEM files: a certificate with those that vouch for it, and
    /// a private key (PKCS#8, PKCS#1 or SEC1; not one under a password).
    ///
    /// # Errors
    /// A file can't be read or lacks what it is for, the key is of a kind that TLS
    /// doesn't know here, or is the key of another certificate. The text names the file.
    #[cfg(feature = "tls")]
    pub fn in_files(certificate: &Path, key: &Path) -> io::Result<Identity> {
        let mut chain = Vec::new();
        for item in items(certificate)? {
            if let ureq::tls::PemItem::Certificate(one) = item {
                chain.push(one);
            }
        }
        if chain.is_empty() {
            return Err(of(certificate, "no certificate in it"));
        }
        let private = items(key)?.into_iter().find_map(|item| match item {
            ureq::tls::PemItem::PrivateKey(key) => Some(key),
            _ => None,
        });
        let private = private.ok_or_else(|| of(key, "no private key in it, or one under a password"))?;
        belong_together(&chain, &private).map_err(|error| of(key, error))?;
        Ok(Identity { certificate: ureq::tls::ClientCert::new_with_certs(&chain, private) })
    }

    /// Without the feature `tls` nobody asks who we are.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "tls"))]
    pub fn in_files(_certificate: &Path, _key: &Path) -> io::Result<Identity> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this build has no TLS"))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(...)")
    }
}

#[cfg(feature = "tls")]
fn items(path: &Path) -> io::Result<Vec<ureq::tls::PemItem<'static>>> {
    let pem = std::fs::read(path).map_err(|error| io::Error::new(error.kind(), NoFile { path: path.into(), error }))?;
    ureq::tls::parse_pem(&pem).collect::<Result<_, _>>().map_err(|error| of(path, error))
}

/// ureq panics at the first connection if they don't.
#[cfg(feature = "tls")]
fn belong_together(
    chain: &[ureq::tls::Certificate<'static>],
    key: &ureq::tls::PrivateKey<'static>,
) -> Result<(), rustls::Error> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let key = PrivateKeyDer::try_from(key.der().to_vec()).map_err(|what| rustls::Error::General(what.to_owned()))?;
    let chain = chain.iter().map(|one| CertificateDer::from(one.der().to_vec())).collect();
    rustls::sign::CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider()).map(drop)
}

#[cfg(feature = "tls")]
fn of(path: &Path, error: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
}

#[cfg(feature = "tls")]
#[derive(Debug, thiserror::Error)]
#[error("{} can't be read", path.display())]
struct NoFile {
    path: std::path::PathBuf,
    #[source]
    error: io::Error,
}

#[cfg(feature = "tls")]
#[cfg(test)]
mod tests {
    use super::*;

    fn made(dir: &Path, name: &str) -> (std::path::PathBuf, std::path::PathBuf) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["me".to_owned()]).unwrap().self_signed(&key).unwrap();
        let (cert_file, key_file) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        std::fs::write(&cert_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        (cert_file, key_file)
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_before_it_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let (mine, my_key) = made(dir.path(), "mine");
        let (_, other_key) = made(dir.path(), "other");
        assert!(Identity::in_files(&mine, &my_key).is_ok());
        let error = Identity::in_files(&mine, &other_key).unwrap_err();
        assert!(error.to_string().contains("other.key"), "{error}");
    }

    #[test]
    fn a_file_that_lacks_what_it_is_for_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = made(dir.path(), "mine");
        for (certificate, key, named) in [
            (&key, &key, "mine.key: no certificate"),
            (&certificate, &certificate, "mine.crt: no private key"),
            (&dir.path().join("gone"), &key, "gone can't be read"),
        ] {
            let error = Identity::in_files(certificate, key).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
