//! How a Redis server is to be set up.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::certificates::Certificates;

/// What the fixtures' own commands are run as, whatever a test makes of the
/// other users: it may do everything, with any password.
pub(super) const OURS: &str = "fixture";

/// Settings of one server, or of each server of a group. By default: no
/// password, no TLS, nothing kept on disk, no limit of memory.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    lines: Vec<String>,
    password: Option<String>,
    certificates: Option<Arc<Certificates>>,
}

impl Settings {
    pub(crate) fn new() -> Settings {
        Settings::default()
    }

    /// A line of redis.conf.
    pub(crate) fn line(mut self, line: impl Into<String>) -> Settings {
        self.lines.push(line.into());
        self
    }

    /// The default user's password; it will be part of `url()`.
    pub(crate) fn password(mut self, password: &str) -> Settings {
        self.password = Some(password.to_owned());
        self.line(format!("requirepass {password}"))
    }

    /// One more user, with the rules of `ACL SETUSER`.
    pub(crate) fn user(self, name: &str, password: &str, rules: &str) -> Settings {
        self.line(format!("user {name} on >{password} {rules}"))
    }

    /// A limit of memory, and which keys go when it is reached.
    pub(crate) fn memory(self, limit: &str, policy: &str) -> Settings {
        self.line(format!("maxmemory {limit}")).line(format!("maxmemory-policy {policy}"))
    }

    /// Every write is on disk before it is answered.
    pub(crate) fn persistent(self) -> Settings {
        self.line("appendonly yes").line("appendfsync always")
    }

    /// TLS alone, for clients with a certificate or without.
    pub(crate) fn tls(mut self) -> Settings {
        self.certificates = Some(Arc::new(Certificates::new()));
        self.line("tls-auth-clients optional")
    }

    /// What a client has to trust, if there is TLS.
    #[track_caller]
    pub(crate) fn ca(&self) -> PathBuf {
        self.certificates.as_ref().expect("settings with TLS").ca()
    }

    /// A client's certificate and key, if there is TLS.
    #[track_caller]
    pub(crate) fn client_pair(&self) -> (PathBuf, PathBuf) {
        self.certificates.as_ref().expect("settings with TLS").pair("client")
    }

    pub(super) fn has_tls(&self) -> bool {
        self.certificates.is_some()
    }

    /// What begins a URL: `redis://:PASSWORD@`, with `KIND` as in `redis-KIND://`.
    pub(super) fn url_start(&self, kind: &str) -> String {
        let scheme = if self.has_tls() { "rediss" } else { "redis" };
        let password = self.password.as_ref().map(|password| format!(":{password}@"));
        format!("{scheme}{kind}://{}", password.unwrap_or_default())
    }

    /// The host's name in URLs: with TLS the one in the certificate.
    pub(super) fn host(&self) -> &'static str {
        if self.has_tls() { "localhost" } else { "127.0.0.1" }
    }

    /// For a sentinel: TLS as here, and nothing else.
    pub(super) fn of_sentinel(&self) -> Settings {
        let settings = Settings { certificates: self.certificates.clone(), ..Settings::new() };
        if self.has_tls() { settings.line("tls-auth-clients optional") } else { settings }
    }

    /// The lines of redis.conf for a server on this port.
    pub(super) fn lines(&self, port: u16) -> Vec<String> {
        let mut lines = vec![format!("user {OURS} on nopass ~* &* +@all")];
        if let Some(certificates) = &self.certificates {
            let (certificate, key) = certificates.pair("server");
            lines.extend([
                "port 0".to_owned(),
                format!("tls-port {port}"),
                format!("tls-cert-file {}", certificate.display()),
                format!("tls-key-file {}", key.display()),
                format!("tls-ca-cert-file {}", certificates.ca().display()),
                "tls-replication yes".to_owned(),
            ]);
        } else {
            lines.push(format!("port {port}"));
        }
        lines.extend(self.lines.iter().cloned());
        lines
    }
}
