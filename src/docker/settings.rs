//! What the environment and the docker CLI's files say: which daemon, which
//! context.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::error::{Error, ErrorKind};

/// A configuration file is small.
const FILE_BYTE: u64 = 4 << 20;

/// What the docker CLI reads from its environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `DOCKER_HOST`: the daemon's address.
    pub host: Option<String>,
    /// `DOCKER_TLS_VERIFY`, if it isn't empty: over TLS, and only to a daemon whose
    /// certificate is trusted.
    pub tls_verify: bool,
    /// `DOCKER_CERT_PATH`: the directory of `ca.pem`, `cert.pem` and `key.pem`.
    /// Default: the one of the configuration.
    pub cert_path: Option<PathBuf>,
    /// `DOCKER_CONTEXT`: the name of a context.
    pub context: Option<String>,
    /// `DOCKER_CONFIG`: the directory of `config.json`. Default: `~/.docker`; none
    /// without a home.
    pub config: Option<PathBuf>,
}

/// A context: an address under a name.
pub(super) struct Context {
    pub(super) host: String,
    pub(super) certificates: Option<PathBuf>,
}

impl Settings {
    /// Reads the environment. What is set but empty counts as not set.
    pub fn from_environment() -> Settings {
        let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name: &str| var(name).map(|value| value.to_string_lossy().into_owned());
        Settings {
            host: text("DOCKER_HOST"),
            tls_verify: var("DOCKER_TLS_VERIFY").is_some(),
            cert_path: var("DOCKER_CERT_PATH").map(PathBuf::from),
            context: text("DOCKER_CONTEXT"),
            config: var("DOCKER_CONFIG")
                .map(PathBuf::from)
                .or_else(|| var("HOME").map(|home| Path::new(&home).join(".docker"))),
        }
    }

    /// The configuration file, `config.json`; an empty object if there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`]: it can't be read, or isn't a JSON object.
    pub fn configuration(&self) -> Result<Value, Error> {
        let Some(dir) = &self.config else { return Ok(Value::Object(serde_json::Map::new())) };
        let path = dir.join("config.json");
        match object_in(&path) {
            Err(Unread::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Value::Object(serde_json::Map::new()))
            }
            other => other.map_err(|error| error.on(&path)),
        }
    }

    /// The context that is in force, if it isn't the default one.
    pub(super) fn context_name(&self) -> Result<Option<String>, Error> {
        let name = match (&self.host, &self.context) {
            (Some(_), _) => return Ok(None),
            (None, Some(name)) => name.clone(),
            (None, None) => self.configuration()?["currentContext"].as_str().unwrap_or_default().to_owned(),
        };
        Ok(Some(name).filter(|name| !name.is_empty() && name != "default"))
    }

    /// Where the certificates are.
    pub(super) fn certificates(&self) -> PathBuf {
        self.cert_path.clone().or_else(|| self.config.clone()).unwrap_or_default()
    }

    /// A context as the CLI stores it: under the hash of its name.
    pub(super) fn context(&self, name: &str) -> Result<Context, Error> {
        let missing = || {
            let text = format!("no Docker context '{}'; `docker context ls` shows them", super::error::one_line(name));
            Error::new(ErrorKind::Settings, text)
        };
        let dir = self.config.as_ref().ok_or_else(missing)?.join("contexts");
        let id: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
        let path = dir.join("meta").join(&id).join("meta.json");
        let meta = match object_in(&path) {
            Err(Unread::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
            other => other.map_err(|error| error.on(&path))?,
        };
        let endpoint = &meta["Endpoints"]["docker"];
        if endpoint["SkipTLSVerify"] == Value::Bool(true) {
            let text =
                format!("the Docker context '{name}' trusts any certificate, which isn't done here; give it a ca.pem");
            return Err(Error::new(ErrorKind::Settings, text));
        }
        let host = endpoint["Host"].as_str().filter(|host| !host.is_empty());
        let host =
            host.ok_or_else(|| Error::new(ErrorKind::Settings, format!("{} names no Docker host", path.display())))?;
        let certificates = dir.join("tls").join(&id).join("docker");
        Ok(Context {
            host: host.to_owned(),
            certificates: certificates.join("ca.pem").exists().then_some(certificates),
        })
    }
}

enum Unread {
    Io(std::io::Error),
    TooLarge,
    NotJson(Option<serde_json::Error>),
}

impl Unread {
    fn on(self, path: &Path) -> Error {
        let path = path.display();
        let text = |what: &str| Error::new(ErrorKind::Settings, format!("Docker's {path} {what}"));
        match self {
            Unread::Io(error) => text("can't be read").because(error),
            Unread::TooLarge => text("is larger than 4 MiB"),
            Unread::NotJson(None) => text("isn't a JSON object"),
            // Where in the file, never what is there: it may be a password.
            Unread::NotJson(Some(error)) => {
                text(&format!("isn't JSON: line {}, column {}", error.line(), error.column()))
            }
        }
    }
}

fn object_in(path: &Path) -> Result<Value, Unread> {
    use std::io::Read;

    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(Unread::Io)?;
    file.take(FILE_BYTE + 1).read_to_end(&mut text).map_err(Unread::Io)?;
    if text.len() as u64 > FILE_BYTE {
        return Err(Unread::TooLarge);
    }
    let value: Value = serde_json::from_slice(&text).map_err(|error| Unread::NotJson(Some(error)))?;
    if value.is_object() { Ok(value) } else { Err(Unread::NotJson(None)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(config: &str) -> (tempfile::TempDir, Settings) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        let config = Some(dir.path().to_owned());
        (dir, Settings { config, ..Settings::default() })
    }

    #[test]
    fn the_host_goes_before_the_context_and_that_before_the_files() {
        let (_dir, mut settings) = with(r#"{"currentContext":"far"}"#);
        assert_eq!(settings.context_name().unwrap().as_deref(), Some("far"));
        settings.context = Some("near".to_owned());
        assert_eq!(settings.context_name().unwrap().as_deref(), Some("near"));
        settings.context = Some("default".to_owned());
        assert_eq!(settings.context_name().unwrap(), None);
        settings.host = Some("unix:///x".to_owned());
        settings.context = Some("near".to_owned());
        assert_eq!(settings.context_name().unwrap(), None);
    }

    #[test]
    fn a_context_is_found_under_the_hash_of_its_name() {
        let (dir, settings) = with("{}");
        assert!(settings.context("far").is_err_and(|error| error.to_string().contains("no Docker context")));
        let hash: String = Sha256::digest("far").iter().map(|byte| format!("{byte:02x}")).collect();
        let meta = dir.path().join("contexts/meta").join(&hash);
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::write(meta.join("meta.json"), r#"{"Endpoints":{"docker":{"Host":"tcp://h:1"}}}"#).unwrap();
        let context = settings.context("far").unwrap();
        assert_eq!((context.host.as_str(), context.certificates), ("tcp://h:1", None));
    }

    #[test]
    fn a_broken_file_is_named_and_its_content_isnt_repeated() {
        let (_dir, settings) = with(r#"{"auths": secret"#);
        let error = settings.configuration().unwrap_err().to_string();
        assert!(error.contains("config.json isn't JSON: line 1") && !error.contains("secret"), "{error}");
        let (_dir, settings) = with("[]");
        assert!(settings.configuration().unwrap_err().to_string().contains("isn't a JSON object"));
        assert_eq!(Settings::default().configuration().unwrap(), serde_json::json!({}));
    }
}
