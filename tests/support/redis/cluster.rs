//! A Redis Cluster: three masters with a replica each.

use super::super::port::Port;
use super::super::wait::{eventually, until};
use super::server::Redis;
use super::settings::Settings;

const MASTERS: usize = 3;
const NODES: usize = 2 * MASTERS;
const SLOTS: usize = 16_384;
/// After how long the nodes take one of them for dead. A replica is master in
/// its place about two seconds later.
const NODE_TIMEOUT_MS: u32 = 2000;

/// A Cluster. Masters and replicas change places when nodes are killed.
pub(crate) struct Cluster {
    nodes: Vec<Redis>,
    settings: Settings,
    _buses: Vec<Port>,
}

impl Cluster {
    /// One that keeps nothing on disk but who belongs to it.
    #[track_caller]
    pub(crate) fn start() -> Cluster {
        Cluster::with(&Settings::new())
    }

    /// One with settings for each node.
    #[track_caller]
    pub(crate) fn with(settings: &Settings) -> Cluster {
        let buses: Vec<_> = (0..NODES).map(|_| Port::keep()).collect();
        let nodes = buses.iter().map(|bus| Redis::launch(of_node(settings, bus.number()))).collect();
        let cluster = Cluster { nodes, settings: settings.clone(), _buses: buses };
        cluster.nodes.iter().for_each(Redis::wait_ready);
        cluster.meet();
        cluster.assign();
        cluster.wait_ok();
        cluster
    }

    /// All six; which ones are masters may change.
    pub(crate) fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// `redis-cluster://HOST,...` of all six.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(Redis::host).collect();
        format!("{}{}", self.settings.url_start("-cluster"), hosts.join(","))
    }

    /// The node that is the master for a key's slot, and serves it; waits for
    /// one if there is none, as while a replica takes over.
    #[track_caller]
    pub(crate) fn master_of(&self, key: &str) -> &Redis {
        eventually(format!("a master for {key}"), || {
            let serves = |node: &&Redis| {
                let slot: u16 = node.try_cli(&["CLUSTER", "KEYSLOT", key]).ok()?.parse().ok()?;
                let epoch = own_epoch_of(&node.try_cli(&["CLUSTER", "NODES"]).ok()?, slot)?;
                is_ok(node).then_some(epoch)
            };
            let masters = self.running().filter_map(|node| Some((serves(&node)?, node)));
            // One that was stopped and goes on holds itself for the master for a moment.
            masters.max_by_key(|(epoch, _)| *epoch).map(|(_, node)| node)
        })
    }

    /// Runs a command on the master for a key.
    #[track_caller]
    pub(crate) fn cli(&self, key: &str, words: &[&str]) -> String {
        self.master_of(key).cli(words)
    }

    /// Waits until every node that runs finds the Cluster in order and, where
    /// it is a replica, follows its master.
    #[track_caller]
    pub(crate) fn wait_ok(&self) {
        let follows = |node: &Redis| matches!(node.info("master_link_status").as_deref(), None | Some("up"));
        until("the Cluster to be in order", || self.running().all(|node| is_ok(node) && follows(node)));
    }

    fn running(&self) -> impl Iterator<Item = &Redis> {
        self.nodes.iter().filter(|node| node.runs())
    }

    /// Each gets to know each other one.
    fn meet(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        }
        for (index, node) in self.nodes.iter().enumerate() {
            for (other, bus) in self.nodes.iter().zip(&self._buses).skip(index + 1) {
                let (port, bus) = (other.port().to_string(), bus.number().to_string());
                node.cli(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
            }
        }
        until("the nodes to have met", || self.nodes.iter().all(knows_all));
    }

    /// The first three share the slots; the others follow them.
    fn assign(&self) {
        let (masters, replicas) = self.nodes.split_at(MASTERS);
        for (index, node) in masters.iter().enumerate() {
            let (first, end) = (SLOTS * index / MASTERS, SLOTS * (index + 1) / MASTERS);
            node.cli(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()]);
        }
        for (master, replica) in masters.iter().zip(replicas) {
            replica.cli(&["CLUSTER", "REPLICATE", &master.cli(&["CLUSTER", "MYID"])]);
        }
        let knows_replicas = |node: &Redis| node.cli(&["CLUSTER", "NODES"]).matches("slave").count() == MASTERS;
        until("all to know the replicas", || self.nodes.iter().all(knows_replicas));
    }
}

fn of_node(settings: &Settings, bus: u16) -> Settings {
    let settings = settings
        .clone()
        .line("cluster-enabled yes")
        .line(format!("cluster-port {bus}"))
        .line(format!("cluster-node-timeout {NODE_TIMEOUT_MS}"))
        // A replica takes over however long it hasn't heard of its master.
        .line("cluster-replica-validity-factor 0");
    if settings.has_tls() { settings.line("tls-cluster yes") } else { settings }
}

fn is_ok(node: &Redis) -> bool {
    node.try_cli(&["CLUSTER", "INFO"]).is_ok_and(|info| info.contains("cluster_state:ok"))
}

fn knows_all(node: &Redis) -> bool {
    let known = node.cli(&["CLUSTER", "NODES"]);
    known.lines().count() == NODES && !known.contains("handshake") && known.matches(" connected").count() == NODES
}

/// The epoch of the node that says this, if it is the master for a slot.
fn own_epoch_of(nodes: &str, slot: u16) -> Option<u64> {
    let own = nodes.lines().find(|line| line.contains("myself,master"))?;
    let mut words = own.split(' ').skip(6);
    let epoch = words.next()?.parse().ok()?;
    let holds = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse().is_ok_and(|first: u16| first <= slot) && last.parse().is_ok_and(|last: u16| slot <= last)
    };
    words.skip(1).any(holds).then_some(epoch)
}
