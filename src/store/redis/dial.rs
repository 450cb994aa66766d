//! Connections to one server: TCP, TLS or a Unix socket, with our credentials,
//! and a limit on every wait.

use std::path::Path;
use std::time::Duration;

use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    RedisResult,
};

use super::super::Error;
use super::super::url::{Address, Secret, Servers, StoreAccess};
use super::tls::Tls;

/// What it takes to connect to the servers of one store.
#[derive(Clone, Debug)]
pub(super) struct Dialer {
    user: Option<String>,
    password: Option<Secret>,
    db: i64,
    tls: Option<Tls>,
}

impl Dialer {
    /// Reads the files that the store is opened with.
    ///
    /// # Errors
    /// A file can't be read, or is not what it should be.
    pub(super) fn new(servers: &Servers, files: &StoreAccess) -> Result<Dialer, Error> {
        let password = match &files.password {
            Some(path) => Some(password_in(path)?),
            None => servers.password.clone(),
        };
        let tls = servers.tls.then(|| Tls::new(files)).transpose()?;
        Ok(Dialer { user: servers.user.clone(), password, db: servers.db, tls })
    }

    /// The same for Sentinels, which have no databases, and as a rule neither
    /// the servers' users nor their password.
    pub(super) fn for_sentinels(&self) -> Dialer {
        Dialer { user: None, password: None, db: 0, tls: self.tls.clone() }
    }

    /// Connects within `limit`, for each address that a name stands for; each
    /// read and write then has the same limit. To resolve a name is the
    /// system's, which has a limit of its own (`resolv.conf(5)`).
    pub(super) fn dial(&self, address: &Address, limit: Duration) -> RedisResult<Connection> {
        // Zero would mean no limit to the socket.
        let limit = limit.max(Duration::from_millis(1));
        let connection = self.client(address)?.get_connection_with_timeout(limit)?;
        set_limit(&connection, limit)?;
        Ok(connection)
    }

    fn client(&self, address: &Address) -> RedisResult<Client> {
        match (address, &self.tls) {
            (Address::Unix(path), _) => Client::open(self.info(ConnectionAddr::Unix(path.clone()))?),
            (Address::Tcp { host, port }, None) => Client::open(self.info(ConnectionAddr::Tcp(host.clone(), *port))?),
            (Address::Tcp { host, port }, Some(tls)) => tls.client(self.info(Tls::address(host, *port))?),
        }
    }

    fn info(&self, address: ConnectionAddr) -> RedisResult<ConnectionInfo> {
        // The library's name isn't told to the server: that would cost each run a round trip.
        let mut settings =
            RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_db(self.db).set_skip_set_lib_name();
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        if let Some(Secret(password)) = &self.password {
            settings = settings.set_password(password);
        }
        Ok(address.into_connection_info()?.set_redis_settings(settings))
    }
}

/// Sets the limit of each read and write from now on.
pub(super) fn set_limit(connection: &Connection, limit: Duration) -> RedisResult<()> {
    let limit = Some(limit.max(Duration::from_millis(1)));
    connection.set_read_timeout(limit)?;
    connection.set_write_timeout(limit)
}

fn password_in(path: &Path) -> Result<Secret, Error> {
    let text = String::from_utf8(read(path, "the store's password")?)
        .map_err(|_| Error::unreachable(format!("the store's password in {} is no UTF-8", path.display())))?;
    match text.trim() {
        "" => Err(Error::unreachable(format!("the store's password file {} is empty", path.display()))),
        password => Ok(Secret(password.to_owned())),
    }
}

pub(super) fn read(path: &Path, what: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(path)
        .map_err(|error| Error::unreachable(format!("{what} can't be read from {}", path.display())).because(error))
}
