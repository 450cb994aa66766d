//! What a container is to be.

use serde_json::{Map, Value, json};

use super::{PortMapping, Restart};

/// A container to be made. Defaults: the image's command and settings, no limits,
/// the daemon's network, a name that the daemon makes up, no terminal, no input.
#[derive(Clone, Debug, Default)]
#[must_use = "it does nothing until a container is made of it"]
pub struct ContainerSpec {
    pub(super) name: Option<String>,
    command: Vec<String>,
    entrypoint: Option<Vec<String>>,
    env: Vec<String>,
    volumes: Vec<String>,
    ports: Vec<PortMapping>,
    labels: Vec<(String, String)>,
    workdir: Option<String>,
    user: Option<String>,
    network: Option<String>,
    memory_byte: Option<u64>,
    nano_cpus: Option<u64>,
    pids_limit: Option<i64>,
    restart: Restart,
    auto_remove: bool,
    init: bool,
    /// What came from [`ContainerSpec::from_text`]; only labels are added to it.
    whole: Option<Value>,
}

impl ContainerSpec {
    /// What the image says.
    pub fn new() -> ContainerSpec {
        ContainerSpec::default()
    }

    /// The command with its arguments, or the arguments of the entry point; empty is
    /// the image's.
    pub fn command(mut self, words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.command = words.into_iter().map(Into::into).collect();
        self
    }

    /// The program that gets the command as its arguments. An empty one does away
    /// with the image's.
    pub fn entrypoint(mut self, program: &str) -> Self {
        // An empty word, not an empty list, is how the daemon is told "none".
        self.entrypoint = Some(vec![program.to_owned()]);
        self
    }

    /// Its name.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// A variable of its environment, `NAME=VALUE`; `NAME` alone removes the image's.
    pub fn env(mut self, variable: &str) -> Self {
        self.env.push(variable.to_owned());
        self
    }

    /// A directory of the host or a volume at a path, `SOURCE:PATH[:OPTIONS]`; or
    /// `PATH` alone, a volume without a name.
    pub fn volume(mut self, volume: &str) -> Self {
        self.volumes.push(volume.to_owned());
        self
    }

    /// A port that the host has too.
    pub fn port(mut self, port: PortMapping) -> Self {
        self.ports.push(port);
        self
    }

    /// A label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The working directory.
    pub fn workdir(mut self, path: &str) -> Self {
        self.workdir = Some(path.to_owned());
        self
    }

    /// Who it runs as: `NAME|UID[:GROUP|GID]`.
    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// The network: `bridge`, `host`, `none`, `container:NAME`, or one's own.
    pub fn network(mut self, network: &str) -> Self {
        self.network = Some(network.to_owned());
        self
    }

    /// How much memory it may have, in bytes; see [`parse_size`](super::parse_size).
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory_byte = Some(bytes);
        self
    }

    /// How many CPUs it may use, in billionths; see [`parse_cpus`](super::parse_cpus).
    pub fn cpus(mut self, nanos: u64) -> Self {
        self.nano_cpus = Some(nanos);
        self
    }

    /// How many processes it may have; -1 is without a limit.
    pub fn pids_limit(mut self, limit: i64) -> Self {
        self.pids_limit = Some(limit);
        self
    }

    /// When the daemon starts it again.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// The daemon removes it when it has ended.
    pub fn auto_remove(mut self) -> Self {
        self.auto_remove = true;
        self
    }

    /// Its first process is the daemon's `init`, which passes signals on and buries
    /// orphans.
    pub fn init(mut self) -> Self {
        self.init = true;
        self
    }

    /// All of it as text, for another process: [`ContainerSpec::from_text`].
    pub fn to_text(&self) -> String {
        json!({ "name": self.name, "body": self.to_json("") }).to_string()
    }

    /// What [`ContainerSpec::to_text`] wrote; `None` if it didn't. Labels can be added to
    /// it, and nothing else changed.
    pub fn from_text(text: &str) -> Option<ContainerSpec> {
        let mut value: Value = serde_json::from_str(text).ok()?;
        let name = value["name"].as_str().map(str::to_owned);
        let body = value.get_mut("body")?.take();
        body.is_object().then(|| ContainerSpec { name, whole: Some(body), ..ContainerSpec::default() })
    }

    pub(super) fn to_json(&self, image: &str) -> Value {
        if let Some(mut whole) = self.whole.clone() {
            whole["Image"] = image.into();
            for (key, value) in &self.labels {
                whole["Labels"][key] = json!(value);
            }
            return whole;
        }
        let mut all = json!({ "Image": image, "AttachStdout": true, "AttachStderr": true, "HostConfig": self.host() });
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                all[key] = value;
            }
        };
        put("Cmd", (!self.command.is_empty()).then(|| json!(self.command)));
        put("Entrypoint", self.entrypoint.as_ref().map(|words| json!(words)));
        put("Env", (!self.env.is_empty()).then(|| json!(self.env)));
        put("WorkingDir", self.workdir.as_ref().map(|dir| json!(dir)));
        put("User", self.user.as_ref().map(|user| json!(user)));
        put(
            "Labels",
            (!self.labels.is_empty()).then(|| object(self.labels.iter().map(|(k, v)| (k.clone(), json!(v))))),
        );
        put("ExposedPorts", (!self.ports.is_empty()).then(|| object(self.ports.iter().map(|p| (p.key(), json!({}))))));
        let unnamed = self.volumes.iter().filter(|volume| !volume.contains(':'));
        put("Volumes", Some(object(unnamed.map(|path| (path.clone(), json!({}))))));
        all
    }

    fn host(&self) -> Value {
        let binds: Vec<_> = self.volumes.iter().filter(|volume| volume.contains(':')).collect();
        let mut bindings = Map::new();
        for port in &self.ports {
            let place = json!({
                "HostIp": port.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
                "HostPort": port.host(),
            });
            let places = bindings.entry(port.key()).or_insert_with(|| json!([]));
            if let Value::Array(places) = places {
                places.push(place);
            }
        }
        let mut host = json!({
            "AutoRemove": self.auto_remove,
            "NetworkMode": self.network.as_deref().unwrap_or("default"),
            "RestartPolicy": self.restart.to_json(),
        });
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                host[key] = value;
            }
        };
        put("Binds", (!binds.is_empty()).then(|| json!(binds)));
        put("PortBindings", (!bindings.is_empty()).then_some(Value::Object(bindings)));
        put("Memory", self.memory_byte.map(|bytes| json!(bytes)));
        put("NanoCpus", self.nano_cpus.map(|nanos| json!(nanos)));
        put("PidsLimit", self.pids_limit.map(|limit| json!(limit)));
        put("Init", self.init.then_some(Value::Bool(true)));
        host
    }
}

fn object(entries: impl Iterator<Item = (String, Value)>) -> Value {
    Value::Object(entries.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_isnt_said_is_the_images() {
        let json = ContainerSpec::new().to_json("busybox");
        for absent in ["Cmd", "Entrypoint", "Env", "WorkingDir", "User", "Labels"] {
            assert!(json.get(absent).is_none(), "{absent}");
        }
        assert_eq!(json["HostConfig"]["RestartPolicy"]["Name"], "no");
        assert_eq!(json["HostConfig"]["AutoRemove"], false);
    }

    #[test]
    fn volumes_with_a_source_are_bound_and_others_have_no_name() {
        let json = ContainerSpec::new().volume("/srv:/data:ro").volume("/cache").to_json("busybox");
        assert_eq!(json["HostConfig"]["Binds"], json!(["/srv:/data:ro"]));
        assert_eq!(json["Volumes"], json!({ "/cache": {} }));
    }

    #[test]
    fn one_port_may_be_in_several_places() {
        let mut spec = ContainerSpec::new();
        for text in ["8080:80", "127.0.0.1:9090:80"] {
            spec = spec.port(PortMapping::parse(text).unwrap().remove(0));
        }
        let json = spec.to_json("busybox");
        let places = json!([{ "HostIp": "", "HostPort": "8080" }, { "HostIp": "127.0.0.1", "HostPort": "9090" }]);
        assert_eq!(json["HostConfig"]["PortBindings"]["80/tcp"], places);
        assert_eq!(json["ExposedPorts"], json!({ "80/tcp": {} }));
    }
}
