//! How a server is set up.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use super::Limits;
use super::address::Address;
#[cfg(feature = "tls")]
use super::tls::Tls;
use super::token::Token;
use crate::thread::Panic;

/// A server's settings. The default: the default [`Limits`], no token, no TLS,
/// loopback and Unix sockets only.
#[derive(Clone, Default)]
pub struct Config {
    pub(super) limits: Limits,
    pub(super) token: Option<Token>,
    pub(super) is_open: bool,
    pub(super) hosts: Vec<String>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Tls>,
    pub(super) on_panic: Option<OnPanic>,
}

pub(super) type OnPanic = Arc<dyn Fn(&Panic) + Send + Sync>;

impl Config {
    /// The default settings.
    pub fn new() -> Config {
        Config::default()
    }

    /// Sets the limits.
    pub fn limits(mut self, limits: Limits) -> Config {
        self.limits = limits;
        self
    }

    /// Sets how long a stop waits for active requests, alone of the limits.
    pub fn stop_time(mut self, stop_time: Duration) -> Config {
        self.limits.stop_time = stop_time;
        self
    }

    /// Whether it speaks TLS.
    pub fn speaks_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    /// Demands this token of every request, on loopback too.
    pub fn token(mut self, token: Token) -> Config {
        self.token = Some(token);
        self
    }

    /// Lets everybody in who reaches an address that isn't loopback. Without
    /// it, such an address demands a token.
    pub fn open(mut self) -> Config {
        self.is_open = true;
        self
    }

    /// Adds a name (without port) that a loopback server answers to, beside
    /// `localhost`, `127.0.0.1`, `[::1]` and its own address: for one behind a
    /// proxy. Pages served under it may send what changes something.
    pub fn allow_host(mut self, name: &str) -> Config {
        self.hosts.push(name.to_owned());
        self
    }

    /// Speaks TLS, and nothing else.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Config {
        self.tls = Some(tls);
        self
    }

    /// What to do with a handler's panic, on the thread that caught it, with
    /// peer and request line in its context. Defaults to [`Panic::log`].
    pub fn on_panic(mut self, record: impl Fn(&Panic) + Send + Sync + 'static) -> Config {
        self.on_panic = Some(Arc::new(record));
        self
    }

    /// Refuses what can't serve, or would serve whom it shouldn't.
    pub(super) fn check(&self, address: &Address) -> io::Result<()> {
        self.limits.check()?;
        if address.is_local() || self.token.is_some() || self.is_open {
            return Ok(());
        }
        let text = format!(
            "{address} can be reached from other hosts: give a token (--token-file), or let everybody in (--open)"
        );
        Err(io::Error::new(ErrorKind::InvalidInput, text))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("limits", &self.limits)
            .field("token", &self.token)
            .field("is_open", &self.is_open)
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_everybody_needs_a_token_or_an_open_door() {
        let everywhere: Address = "0.0.0.0:0".parse().unwrap();
        let refused = Config::new().check(&everywhere).unwrap_err();
        assert!(refused.to_string().contains("--token-file") && refused.to_string().contains("--open"), "{refused}");
        Config::new().token(Token::new("s").unwrap()).check(&everywhere).unwrap();
        Config::new().open().check(&everywhere).unwrap();
        Config::new().check(&"127.0.0.1:0".parse().unwrap()).unwrap();
    }
}
