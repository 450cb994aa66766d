//! A master with a replica, and the sentinels that watch over them.

use super::super::wait::{eventually, until};
use super::server::Redis;
use super::settings::{OURS, Settings};

const SENTINELS: usize = 3;
/// How many have to agree that the master is down.
const QUORUM: usize = 2;

/// One master, one replica, three sentinels.
pub(crate) struct Sentinel {
    servers: [Redis; 2],
    sentinels: Vec<Redis>,
    settings: Settings,
}

impl Sentinel {
    /// What the sentinels call the master.
    pub(crate) const NAME: &str = "main";

    /// Without a password, keeping nothing on disk.
    #[track_caller]
    pub(crate) fn start() -> Sentinel {
        Sentinel::with(Settings::new())
    }

    /// With settings for the two servers; the sentinels have their TLS alone.
    #[track_caller]
    pub(crate) fn with(settings: Settings) -> Sentinel {
        let master = Redis::launch(settings.clone());
        let follow = format!("replicaof 127.0.0.1 {}", master.port());
        let replica = Redis::launch(settings.clone().line(follow));
        [&master, &replica].into_iter().for_each(Redis::wait_ready);
        until("the replica", || replica.info("master_link_status").as_deref() == Some("up"));
        let launch = |_| Redis::launch_sentinel(of_sentinel(&settings, master.port()));
        let sentinels: Vec<_> = (0..SENTINELS).map(launch).collect();
        sentinels.iter().for_each(Redis::wait_ready);
        sentinels.iter().for_each(hurry);
        let group = Sentinel { servers: [master, replica], sentinels, settings };
        until("the sentinels to know all", || group.sentinels.iter().all(knows_all));
        group
    }

    /// The two servers; which one is the master may change.
    pub(crate) fn servers(&self) -> &[Redis; 2] {
        &self.servers
    }

    pub(crate) fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }

    /// `redis-sentinel://HOST,HOST,HOST/NAME` of the sentinels.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(Redis::host).collect();
        format!("{}{}/{}", self.settings.url_start("-sentinel"), hosts.join(","), Sentinel::NAME)
    }

    /// The server that runs, is a master and is named by most sentinels; waits
    /// for one if there is none.
    #[track_caller]
    pub(crate) fn master(&self) -> &Redis {
        eventually("a master that the sentinels name", || {
            let is_master = |server: &&Redis| {
                let named = self.sentinels.iter().filter(|sentinel| names(sentinel, server.port()));
                server.runs() && named.count() >= QUORUM && server.info("role").as_deref() == Some("master")
            };
            self.servers.iter().find(is_master)
        })
    }
}

fn of_sentinel(settings: &Settings, master: u16) -> Settings {
    let name = Sentinel::NAME;
    settings
        .of_sentinel()
        .line(format!("sentinel monitor {name} 127.0.0.1 {master} {QUORUM}"))
        .line(format!("sentinel auth-user {name} {OURS}"))
        .line(format!("sentinel auth-pass {name} any"))
        .line(format!("sentinel down-after-milliseconds {name} 1000"))
        .line(format!("sentinel failover-timeout {name} 5000"))
}

/// Has it look around more often than every ten seconds, and not take half a
/// minute off when a busy machine has held it up.
fn hurry(sentinel: &Redis) {
    let periods = ["info-period", "500", "ping-period", "200", "publish-period", "200", "tilt-period", "1000"];
    sentinel.cli(&[&["SENTINEL", "DEBUG"][..], &periods].concat());
}

fn knows_all(sentinel: &Redis) -> bool {
    let told = sentinel.cli(&["SENTINEL", "MASTER", Sentinel::NAME]);
    let lines: Vec<_> = told.lines().collect();
    let is = |name: &str, value: &str| lines.chunks(2).any(|pair| *pair == [name, value]);
    is("num-slaves", "1") && is("num-other-sentinels", &(SENTINELS - 1).to_string()) && is("flags", "master")
}

fn names(sentinel: &Redis, port: u16) -> bool {
    let ask = || sentinel.try_cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Sentinel::NAME]).ok();
    sentinel.runs() && ask().is_some_and(|address| address.lines().nth(1) == Some(&port.to_string()))
}
