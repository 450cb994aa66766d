//! Ports of a container, and where the host has them: `-p`.

use std::net::IpAddr;
use std::str::FromStr;

/// One port of a container, published on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// The host's address; all of them if none.
    pub host_ip: Option<IpAddr>,
    /// The host's port; any free one if none.
    pub host_port: Option<u16>,
    /// The container's port.
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// A text that is no [`PortMapping`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no port; write [[ADDRESS:]HOST_PORT:]CONTAINER_PORT[/tcp|udp|sctp], such as 8080:80")]
pub struct InvalidPort {
    text: String,
}

impl PortMapping {
    /// Reads `80`, `8080:80`, `127.0.0.1:8080:80/udp`, `[::1]::80`, and ranges of the
    /// same length on both sides, `8000-8002:80-82`, which are several mappings.
    ///
    /// # Errors
    /// [`InvalidPort`] for anything else.
    pub fn parse(text: &str) -> Result<Vec<PortMapping>, InvalidPort> {
        parse(text).ok_or_else(|| InvalidPort { text: text.to_owned() })
    }

    /// `80/tcp`: the daemon's key for it.
    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.container_port, self.protocol)
    }
}

fn parse(text: &str) -> Option<Vec<PortMapping>> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return None;
    }
    let (rest, container) = ports.rsplit_once(':').unwrap_or(("", ports));
    let (address, host) = match rest.rsplit_once(':') {
        Some((address, host)) => (Some(address), host),
        None => (None, rest),
    };
    let host_ip = match address {
        None | Some("") => None,
        Some(address) => Some(IpAddr::from_str(address.trim_start_matches('[').trim_end_matches(']')).ok()?),
    };
    let (first, last) = range(container)?;
    let hosts = if host.is_empty() { None } else { Some(range(host)?) };
    if hosts.is_some_and(|(from, to)| to - from != last - first) {
        return None;
    }
    let mapping = |offset: u16| PortMapping {
        host_ip,
        host_port: hosts.map(|(from, _)| from + offset),
        container_port: first + offset,
        protocol: protocol.clone(),
    };
    Some((0..=last - first).map(mapping).collect())
}

fn range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> (Option<String>, Option<u16>, String) {
        let all = PortMapping::parse(text).unwrap();
        assert_eq!(all.len(), 1, "{text}");
        (all[0].host_ip.map(|ip| ip.to_string()), all[0].host_port, all[0].key())
    }

    #[test]
    fn ports_are_read_as_the_docker_cli_reads_them() {
        assert_eq!(one("80"), (None, None, "80/tcp".into()));
        assert_eq!(one("8080:80"), (None, Some(8080), "80/tcp".into()));
        assert_eq!(one("127.0.0.1:8080:80/udp"), (Some("127.0.0.1".into()), Some(8080), "80/udp".into()));
        assert_eq!(one("127.0.0.1::80"), (Some("127.0.0.1".into()), None, "80/tcp".into()));
        assert_eq!(one("[::1]:8080:80"), (Some("::1".into()), Some(8080), "80/tcp".into()));
        let range = PortMapping::parse("8000-8002:80-82").unwrap();
        assert_eq!(
            range.iter().map(|p| (p.host_port, p.container_port)).collect::<Vec<_>>(),
            [(Some(8000), 80), (Some(8001), 81), (Some(8002), 82)]
        );
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in ["", ":", "0", "x", "80/icmp", "65536", "1-2:3", "2-1", "localhost:80:80", "8080:", "80:80:80:80"] {
            assert!(PortMapping::parse(text).is_err(), "{text}");
        }
    }
}
