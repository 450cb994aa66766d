//! How a daemon is to be set up.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::certificates::Certificates;
use super::super::port::Port;

/// Settings of one daemon. By default: a Unix socket, no networks, a data root
/// on the disk of the temporary directory.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    tls: Option<Arc<Tls>>,
    plain: Option<(Ipv4Addr, Arc<Port>)>,
    bridged: bool,
    disk_bytes: Option<u64>,
}

/// TLS on a port of the loopback, with certificates of its own.
pub(super) struct Tls {
    pub(super) port: Port,
    pub(super) certificates: Certificates,
    /// `ca.pem`, `cert.pem`, `key.pem`, as `DOCKER_CERT_PATH` wants them.
    pub(super) client: PathBuf,
}

impl Settings {
    pub(crate) fn new() -> Settings {
        Settings::default()
    }

    /// It also listens on a TCP port, with TLS, for clients with a certificate.
    pub(crate) fn tls(mut self) -> Settings {
        let certificates = Certificates::new();
        let client = certificates.for_docker("client");
        self.tls = Some(Arc::new(Tls { port: Port::keep(), certificates, client }));
        self
    }

    /// It also listens on a plain TCP port.
    pub(crate) fn plain(self) -> Settings {
        self.plain_on(Ipv4Addr::LOCALHOST)
    }

    /// It also listens on a plain TCP port of this address.
    pub(crate) fn plain_on(mut self, address: Ipv4Addr) -> Settings {
        self.plain = Some((address, Arc::new(Port::keep_on(address))));
        self
    }

    /// A bridge for its containers, in a network namespace of its own: their
    /// ports are published there, not here.
    pub(crate) fn bridged(mut self) -> Settings {
        self.bridged = true;
        self
    }

    /// A disk of this size for images and containers.
    pub(crate) fn disk(mut self, bytes: u64) -> Settings {
        self.disk_bytes = Some(bytes);
        self
    }

    pub(super) fn tls_port(&self) -> Option<&Tls> {
        self.tls.as_deref()
    }

    /// Its plain port, as `DOCKER_HOST` names it.
    pub(super) fn plain_host(&self) -> Option<String> {
        self.plain.as_ref().map(|(address, port)| format!("tcp://{address}:{}", port.number()))
    }

    /// The command that starts it in `dir`.
    pub(super) fn command(&self, dir: &Path) -> Vec<String> {
        let place = |name: &str| format!("{}/{name}", dir.display());
        let mut words = Vec::new();
        if let Some(bytes) = self.disk_bytes {
            let mount = format!("mount -t tmpfs -o size={bytes} tmpfs {} && exec \"$@\"", place("data"));
            words.extend(["sh", "-c", &mount, "sh"].map(str::to_owned));
        }
        if self.bridged {
            let loopback = "ip link set lo up && exec \"$@\"";
            words.extend(["unshare", "--net", "sh", "-c", loopback, "sh"].map(str::to_owned));
        }
        words.extend(["dockerd", "--data-root", &place("data"), "--exec-root", &place("exec")].map(str::to_owned));
        words.extend(["-p".to_owned(), place("pid"), "-H".to_owned(), format!("unix://{}", place("socket"))]);
        // Its rules would be the machine's, and it needs none.
        words.push("--iptables=false".to_owned());
        if !self.bridged {
            words.push("--bridge=none".to_owned());
        }
        if let Some(tls) = &self.tls {
            let (certificate, key) = tls.certificates.pair("server");
            words.push("--tlsverify".to_owned());
            words.push(format!("--tlscacert={}", tls.certificates.ca().display()));
            words.push(format!("--tlscert={}", certificate.display()));
            words.push(format!("--tlskey={}", key.display()));
            words.extend(["-H".to_owned(), format!("tcp://127.0.0.1:{}", tls.port.number())]);
        }
        if let Some(host) = self.plain_host() {
            words.extend(["-H".to_owned(), host]);
        }
        words
    }
}
