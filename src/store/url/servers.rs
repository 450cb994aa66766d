//! Redis URLs taken apart.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The servers that a Redis URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Servers {
    pub(in super::super) kind: Kind,
    pub(in super::super) tls: bool,
    pub(in super::super) nodes: Vec<Address>,
    pub(in super::super) db: i64,
    pub(in super::super) user: Option<String>,
    pub(in super::super) password: Option<Secret>,
}

/// How the servers of one URL belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    Single,
    Cluster,
    Quorum,
    Sentinel { name: String },
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// A password. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct Secret(pub(in super::super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(...)")
    }
}

impl Servers {
    /// Reads what follows `scheme:`; `None` if the scheme isn't one of Redis.
    /// The errors complete a sentence that begins with "the store", and repeat
    /// nothing that may be a password.
    pub(super) fn parse(scheme: &str, rest: &str) -> Result<Option<Servers>, String> {
        let Some(after) = scheme.strip_prefix("redis") else { return Ok(None) };
        let (tls, flavour) = match after.strip_prefix('s') {
            Some(flavour) if flavour.is_empty() || flavour.starts_with('-') => (true, flavour),
            _ => (false, after),
        };
        let servers = match flavour {
            "+unix" => unix(rest)?,
            "" | "-cluster" | "-quorum" | "-sentinel" => tcp(flavour, tls, rest)?,
            _ => return Ok(None),
        };
        servers.checked().map(Some)
    }

    fn checked(self) -> Result<Servers, String> {
        let count = self.nodes.len();
        match &self.kind {
            Kind::Single if count != 1 => {
                Err(format!("names {count} servers; write redis-cluster://, redis-quorum:// or redis-sentinel://"))
            }
            Kind::Cluster if self.db != 0 => Err("names a database, and a Cluster has only 0; leave it out".to_owned()),
            Kind::Quorum if count < 3 || count.is_multiple_of(2) => Err(format!(
                "names {count} servers for a quorum; it takes an odd number from 3, so that one half never ties with the other"
            )),
            Kind::Quorum if has_duplicates(&self.nodes) => {
                Err("names a server of the quorum twice; each has one vote".to_owned())
            }
            _ => Ok(self),
        }
    }
}

/// `//[USER[:PASSWORD]@]HOST[:PORT][,...][/DB]`, with a Sentinel's `/NAME?db=N`.
fn tcp(flavour: &str, tls: bool, rest: &str) -> Result<Servers, String> {
    let rest = rest.strip_prefix("//").ok_or("has no // after its scheme")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    // The last one: a password may have an @ that somebody forgot to encode.
    let (login, hosts) = authority.rsplit_once('@').map_or((None, authority), |(login, hosts)| (Some(login), hosts));
    let (user, password) = login.map(login_of).transpose()?.unwrap_or((None, None));
    let port = if flavour == "-sentinel" { SENTINEL_PORT } else { REDIS_PORT };
    let nodes = hosts.split(',').map(|host| address(host, port)).collect::<Result<Vec<_>, _>>()?;
    let mut options = Options::parse(query)?;
    let kind = match flavour {
        "" => Kind::Single,
        "-cluster" => Kind::Cluster,
        "-quorum" => Kind::Quorum,
        _ if path.is_empty() => return Err("doesn't name the master: write redis-sentinel://HOST/NAME".to_owned()),
        _ => Kind::Sentinel { name: decoded(path, "name of a master")? },
    };
    if !matches!(kind, Kind::Sentinel { .. }) && !path.is_empty() {
        options.db = Some(database(path)?);
    }
    let user = options.user.or(user);
    let password = options.password.or(password);
    Ok(Servers { kind, tls, nodes, db: options.db.unwrap_or(0), user, password })
}

/// `PATH[?db=N&user=U&pass=P]`.
fn unix(rest: &str) -> Result<Servers, String> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') || path.contains('\0') {
        return Err("has no absolute path to its socket; write redis+unix:/PATH".to_owned());
    }
    let Options { db, user, password } = Options::parse(query)?;
    let nodes = vec![Address::Unix(PathBuf::from(path))];
    Ok(Servers { kind: Kind::Single, tls: false, nodes, db: db.unwrap_or(0), user, password })
}

/// What follows a question mark.
#[derive(Default)]
struct Options {
    db: Option<i64>,
    user: Option<String>,
    password: Option<Secret>,
}

impl Options {
    fn parse(query: &str) -> Result<Options, String> {
        let mut options = Options::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "db" => options.db = Some(database(value)?),
                "user" => options.user = Some(decoded(value, "user")?),
                "pass" => options.password = Some(Secret(decoded(value, "password")?)),
                _ => return Err("has an option that is none of db, user and pass".to_owned()),
            }
        }
        Ok(options)
    }
}

fn login_of(login: &str) -> Result<(Option<String>, Option<Secret>), String> {
    let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
    let user = (!user.is_empty()).then(|| decoded(user, "user")).transpose()?;
    let password = password.filter(|text| !text.is_empty()).map(|text| decoded(text, "password")).transpose()?;
    Ok((user, password.map(Secret)))
}

/// `HOST`, `HOST:PORT`, `[IPV6]`, `[IPV6]:PORT`.
fn address(text: &str, default_port: u16) -> Result<Address, String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("has an address with [ and no ]")?;
            (host, after.strip_prefix(':').or(after.is_empty().then_some("")).ok_or("has something after a ]")?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte);
    if host.is_empty() || !host.bytes().all(known) {
        return Err("has an empty host, or one with other characters than letters, digits, dots and dashes".to_owned());
    }
    let port = match port {
        "" => default_port,
        port => port.parse().ok().filter(|port| *port != 0).ok_or("has a port that is no number from 1 to 65535")?,
    };
    Ok(Address::Tcp { host: host.to_owned(), port })
}

fn database(text: &str) -> Result<i64, String> {
    let number = text.parse().ok().filter(|number| (0..=i64::from(u16::MAX)).contains(number));
    number.ok_or_else(|| "has a database that is no number; write redis://HOST/0".to_owned())
}

fn decoded(text: &str, what: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8().ok().filter(|text| !text.contains('\0'));
    Ok(decoded.ok_or_else(|| format!("has a {what} that is no percent-encoded UTF-8"))?.into_owned())
}

fn has_duplicates(nodes: &[Address]) -> bool {
    nodes.iter().enumerate().any(|(at, node)| nodes[..at].contains(node))
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.tls { "s" } else { "" };
        let flavour = match self.kind {
            Kind::Single => "",
            Kind::Cluster => "-cluster",
            Kind::Quorum => "-quorum",
            Kind::Sentinel { .. } => "-sentinel",
        };
        if let [Address::Unix(path)] = self.nodes.as_slice() {
            return write!(f, "redis+unix:{}", path.display());
        }
        write!(f, "redis{s}{flavour}://")?;
        for (at, node) in self.nodes.iter().enumerate() {
            write!(f, "{}{node}", if at == 0 { "" } else { "," })?;
        }
        match &self.kind {
            Kind::Sentinel { name } => write!(f, "/{name}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Servers {
        let (scheme, rest) = text.split_once(':').unwrap();
        Servers::parse(scheme, rest).unwrap().unwrap()
    }

    fn refused(text: &str) -> String {
        let (scheme, rest) = text.split_once(':').unwrap();
        Servers::parse(scheme, rest).unwrap_err()
    }

    #[test]
    fn every_scheme_with_its_defaults() {
        for (text, shown) in [
            ("redis://h", "redis://h:6379"),
            ("rediss://h:1/3", "rediss://h:1"),
            ("redis://[::1]:7/", "redis://[::1]:7"),
            ("redis+unix:/run/r.sock", "redis+unix:/run/r.sock"),
            ("redis+unix:///run/r.sock?db=2", "redis+unix:/run/r.sock"),
            ("redis-cluster://a,b:2", "redis-cluster://a:6379,b:2"),
            ("rediss-cluster://a", "rediss-cluster://a:6379"),
            ("redis-quorum://a,b,c/4", "redis-quorum://a:6379,b:6379,c:6379"),
            ("redis-sentinel://a,b/main?db=1", "redis-sentinel://a:26379,b:26379/main"),
        ] {
            assert_eq!(parsed(text).to_string(), shown, "{text}");
        }
        assert_eq!(parsed("rediss://h:1/3").db, 3);
        assert_eq!(parsed("redis-sentinel://a/main?db=1").db, 1);
        assert_eq!(parsed("redis+unix:/r?user=u&pass=p").user.unwrap(), "u");
    }

    #[test]
    fn user_and_password_are_decoded_and_never_shown() {
        let servers = parsed("redis://me:s%40fe%3A%2F@h,".trim_end_matches(','));
        assert_eq!((servers.user.as_deref(), servers.password.clone().unwrap().0.as_str()), (Some("me"), "s@fe:/"));
        assert!(!format!("{servers:?} {servers}").contains("fe:"), "{servers:?}");
        assert_eq!(parsed("redis://:pw@h").user, None);
        assert_eq!(parsed("redis://u@h").password, None);
        assert_eq!(parsed("redis://:a@b@h").password.unwrap().0, "a@b");
    }

    #[test]
    fn what_names_no_servers_is_refused_without_repeating_it() {
        for (text, why) in [
            ("redis:h", "no //"),
            ("redis://", "empty host"),
            ("redis://a,b", "names 2 servers"),
            ("redis://h:0", "port"),
            ("redis://h:secret", "port"),
            ("redis://h/x", "database"),
            ("redis://h?tls=1", "option"),
            ("redis://%ff@h", "user"),
            ("redis-cluster://a/1", "has only 0"),
            ("redis-quorum://a,b", "odd number"),
            ("redis-quorum://a,b,c,d", "odd number"),
            ("redis-quorum://a,b,a", "twice"),
            ("redis-sentinel://a", "doesn't name the master"),
            ("redis+unix:r.sock", "absolute path"),
            ("redis://[::1", "no ]"),
        ] {
            let error = refused(text);
            assert!(error.contains(why), "{text}: {error}");
            assert!(!error.contains("secret"));
        }
        for scheme in ["redisx", "rediss+unix", "redis-", "rediscluster"] {
            assert_eq!(Servers::parse(scheme, "//h").unwrap(), None, "{scheme}");
        }
    }
}
