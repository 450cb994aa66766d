//! The flags of a live view, as the library takes them.

use std::path::Path;

use towpath::http::{Config, Limits, Token};
use towpath::job::Listen;

use crate::cli::{ListenArguments, ServerArguments};
use crate::voice;

/// Where to serve, if anywhere; `without` says what follows if that can't be.
pub(crate) fn listen(arguments: ListenArguments, without: &'static str) -> Result<Option<Listen>, String> {
    let Some(address) = arguments.listen.clone() else { return Ok(None) };
    let config = config(&arguments.server)?;
    let at = address.to_string();
    let told = Box::new(move |told: Result<&str, &std::io::Error>| match told {
        Ok(url) => voice::note(&format!("live at {url}")),
        Err(error) => voice::error(&format!("no live view at {at}: {error}; {without}")),
    });
    let ListenArguments { advertise, linger, keep: keep_bytes, .. } = arguments;
    Ok(Some(Listen { address, config, advertise, linger, keep_bytes, told }))
}

/// The server's settings.
pub(crate) fn config(arguments: &ServerArguments) -> Result<Config, String> {
    let mut limits = Limits::default();
    limits.connections = arguments.max_connections;
    limits.head_time = arguments.header_timeout;
    limits.idle_time = arguments.idle_timeout;
    let mut config = Config::new().limits(limits);
    if let Some(path) = &arguments.token_file {
        config = config.token(Token::from_file(path).map_err(|error| about("--token-file", path, &error))?);
    }
    if arguments.open {
        config = config.open();
    }
    for name in &arguments.allow_host {
        config = config.allow_host(name);
    }
    with_tls(config, arguments)
}

#[cfg(feature = "tls")]
fn with_tls(config: Config, arguments: &ServerArguments) -> Result<Config, String> {
    match (&arguments.tls_cert, &arguments.tls_key) {
        (None, None) => Ok(config),
        (Some(cert), Some(key)) => towpath::http::Tls::from_pem_files(cert, key)
            .map(|tls| config.tls(tls))
            .map_err(|error| about("--tls-cert", cert, &error)),
        _ => Err("--tls-cert and --tls-key go together".to_owned()),
    }
}

#[cfg(not(feature = "tls"))]
fn with_tls(config: Config, _arguments: &ServerArguments) -> Result<Config, String> {
    Ok(config)
}

fn about(flag: &str, path: &Path, error: &std::io::Error) -> String {
    format!("{flag} {}: {}", path.display(), towpath::job::with_causes(error))
}
