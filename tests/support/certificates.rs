//! Certificates for a server on this host and for its clients, by an authority
//! of one test's own.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

/// PEM files, there until this is dropped.
pub(crate) struct Certificates {
    dir: TempDir,
}

impl Certificates {
    pub(crate) fn new() -> Certificates {
        let dir = tempfile::Builder::new().prefix("towpath-certificates-").tempdir().unwrap();
        let mut params = named("authority", CertificateParams::default());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        for (name, host) in [("server", "localhost"), ("client", "client")] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new([host.to_owned(), "127.0.0.1".to_owned()]).unwrap();
            let params = named(name, params);
            let certificate = params.signed_by(&key, &authority).unwrap();
            std::fs::write(dir.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
            std::fs::write(dir.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Certificates { dir }
    }

    /// The authority's certificate, which a client has to trust.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A directory with `ca.pem`, `cert.pem` and `key.pem`, as `DOCKER_CERT_PATH`
    /// names one, for one of the pairs.
    #[cfg(feature = "docker")]
    pub(crate) fn for_docker(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join(format!("docker-{name}"));
        std::fs::create_dir(&dir).unwrap();
        let (certificate, key) = self.pair(name);
        for (from, to) in [(self.ca(), "ca.pem"), (certificate, "cert.pem"), (key, "key.pem")] {
            std::fs::copy(from, dir.join(to)).unwrap();
        }
        dir
    }

    /// Certificate and key of a server, or of a client.
    pub(crate) fn pair(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.dir.path().join(format!("{name}.pem")), self.dir.path().join(format!("{name}.key")))
    }
}

/// With names of their own, or OpenSSL takes each for its own issuer.
fn named(name: &str, mut params: CertificateParams) -> CertificateParams {
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
