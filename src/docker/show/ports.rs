//! A container's ports on one line: `0.0.0.0:8080->80/tcp, 443/tcp`.

use serde_json::Value;

/// A port as the daemon lists it, in the order in which the CLI shows them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    private: u64,
    ip: String,
    public: u64,
    protocol: String,
}

/// Neighbouring ports of one address and protocol.
struct Group {
    ip: String,
    protocol: String,
    first: u64,
    last: u64,
}

/// The daemon's `Ports`, put together as the CLI does: runs of ports as a range,
/// those with other numbers on the host last.
pub(super) fn shown(ports: &Value) -> String {
    let mut ports: Vec<Port> = ports.as_array().into_iter().flatten().map(port).collect();
    ports.sort();
    let mut groups: Vec<Group> = Vec::new();
    let (mut done, mut mapped) = (Vec::new(), Vec::new());
    for Port { private, ip, public, protocol } in ports {
        if !ip.is_empty() && public != private {
            mapped.push(format!("{ip}:{public}->{private}/{protocol}"));
            continue;
        }
        match groups.iter_mut().find(|group| group.ip == ip && group.protocol == protocol) {
            None => groups.push(Group { ip, protocol, first: private, last: private }),
            Some(group) if private == group.last + 1 => group.last = private,
            Some(group) => {
                done.push(group.shown());
                (group.first, group.last) = (private, private);
            }
        }
    }
    done.extend(groups.iter().map(Group::shown));
    done.extend(mapped);
    done.join(", ")
}

fn port(value: &Value) -> Port {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| value[name].as_u64().unwrap_or(0);
    Port { private: number("PrivatePort"), ip: text("IP"), public: number("PublicPort"), protocol: text("Type") }
}

impl Group {
    fn shown(&self) -> String {
        let range = match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{}-{}", self.first, self.last),
        };
        match self.ip.as_str() {
            "" => format!("{range}/{}", self.protocol),
            ip => format!("{ip}:{range}->{range}/{}", self.protocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all(ports: &[(&str, u64, u64, &str)]) -> String {
        let ports = ports.iter().map(|(ip, public, private, protocol)| {
            let mut port = json!({"PrivatePort": private, "Type": protocol});
            if !ip.is_empty() {
                port["IP"] = json!(ip);
                port["PublicPort"] = json!(public);
            }
            port
        });
        shown(&Value::Array(ports.collect()))
    }

    // The cases of the docker CLI's own test of DisplayablePorts, among others.
    #[test]
    fn ports_are_put_together_as_the_cli_does() {
        for (ports, text) in [
            (&[][..], ""),
            (&[("", 0, 9988, "tcp")], "9988/tcp"),
            (&[("4.3.2.1", 0, 9988, "tcp")], "4.3.2.1:0->9988/tcp"),
            (&[("4.3.2.1", 8899, 9988, "tcp")], "4.3.2.1:8899->9988/tcp"),
            (&[("4.3.2.1", 9988, 9988, "tcp")], "4.3.2.1:9988->9988/tcp"),
            (&[("", 0, 9988, "tcp"), ("", 0, 9989, "tcp"), ("", 0, 9991, "tcp")], "9988-9989/tcp, 9991/tcp"),
            (&[("1.2.3.4", 9989, 9989, "tcp"), ("1.2.3.4", 9988, 9988, "tcp")], "1.2.3.4:9988-9989->9988-9989/tcp"),
            (
                &[("1.2.3.4", 9998, 9998, "udp"), ("1.2.3.4", 8899, 9988, "tcp"), ("", 0, 80, "tcp")],
                "80/tcp, 1.2.3.4:9998->9998/udp, 1.2.3.4:8899->9988/tcp",
            ),
            (&[("0.0.0.0", 8080, 80, "tcp"), ("::", 8080, 80, "tcp")], "0.0.0.0:8080->80/tcp, :::8080->80/tcp"),
        ] {
            assert_eq!(all(ports), text);
        }
    }
}
