//! Ports of a container, and where the host has them: `-p`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// One port of a container, published on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// The host's address; all of them if none.
    pub host_ip: Option<IpAddr>,
    /// The host's ports, first and last, of which a free one is taken; any free one if none.
    pub host_ports: Option<(u16, u16)>,
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
    /// Reads `80`, `8080:80`, `127.0.0.1:8080:80/udp`, `[::1]::80`; ranges of the same
    /// length on both sides, `8000-8002:80-82`, which are several mappings; and a range for
    /// one port, `8000-8010:80`. The host's port 0 is any free one.
    ///
    /// # Errors
    /// [`InvalidPort`] for anything else.
    pub fn parse(text: &str) -> Result<Vec<PortMapping>, InvalidPort> {
        parse(text).ok_or_else(|| InvalidPort { text: text.to_owned() })
    }

    /// As the daemon has it: `8080`, `8000-8010`, or nothing.
    pub(super) fn host(&self) -> String {
        match self.host_ports {
            Some((first, last)) if first == last => first.to_string(),
            Some((first, last)) => format!("{first}-{last}"),
            None => String::new(),
        }
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
        // Without its brackets one couldn't tell where an address of version 6 ends.
        Some(address) => Some(match address.strip_prefix('[') {
            Some(rest) => Ipv6Addr::from_str(rest.strip_suffix(']')?).ok()?.into(),
            None => Ipv4Addr::from_str(address).ok()?.into(),
        }),
    };
    let (first, last) = range(container)?;
    let hosts = if ["", "0"].contains(&host) { None } else { Some(range(host)?) };
    let mapping =
        |host_ports, container_port| PortMapping { host_ip, host_ports, container_port, protocol: protocol.clone() };
    match hosts {
        Some(_) if first == last => Some(vec![mapping(hosts, first)]),
        Some((from, to)) if to - from != last - first => None,
        _ => {
            let host = |offset| hosts.map(|(from, _)| (from + offset, from + offset));
            Some((0..=last - first).map(|offset| mapping(host(offset), first + offset)).collect())
        }
    }
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

    fn one(text: &str) -> (Option<String>, String, String) {
        let all = PortMapping::parse(text).unwrap();
        assert_eq!(all.len(), 1, "{text}");
        (all[0].host_ip.map(|ip| ip.to_string()), all[0].host(), all[0].key())
    }

    #[test]
    fn ports_are_read_as_the_docker_cli_reads_them() {
        let mapping = |ip: &str, host: &str, key: &str| {
            (Some(ip.to_owned()).filter(|ip| !ip.is_empty()), host.to_owned(), key.to_owned())
        };
        for (text, expected) in [
            ("80", mapping("", "", "80/tcp")),
            (":80", mapping("", "", "80/tcp")),
            ("0:80/TCP", mapping("", "", "80/tcp")),
            ("8080:80", mapping("", "8080", "80/tcp")),
            ("127.0.0.1:8080:80/udp", mapping("127.0.0.1", "8080", "80/udp")),
            ("127.0.0.1::80", mapping("127.0.0.1", "", "80/tcp")),
            ("[::1]:8080:80", mapping("::1", "8080", "80/tcp")),
            ("8000-8010:80", mapping("", "8000-8010", "80/tcp")),
        ] {
            assert_eq!(one(text), expected, "{text}");
        }
        let range = PortMapping::parse("8000-8002:80-82").unwrap();
        assert_eq!(
            range.iter().map(|p| (p.host(), p.container_port)).collect::<Vec<_>>(),
            [("8000".into(), 80), ("8001".into(), 81), ("8002".into(), 82)]
        );
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in ["", ":", "0", "x", "80/icmp", "65536", "1-2:3-5", "2-1", "0-1:3", "localhost:80:80", "8080:"] {
            assert!(PortMapping::parse(text).is_err(), "{text}");
        }
        for address in ["::1", "[::1", "::1]", "[127.0.0.1]", "80:80"] {
            assert!(PortMapping::parse(&format!("{address}:80:80")).is_err(), "{address}");
        }
    }
}
