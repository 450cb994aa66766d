//! Masters that know nothing of each other.

use super::server::Redis;
use super::settings::Settings;

/// Three plain masters, or as many as a test wants.
pub(crate) struct Quorum {
    nodes: Vec<Redis>,
    settings: Settings,
}

impl Quorum {
    /// Three that keep nothing on disk.
    #[track_caller]
    pub(crate) fn start() -> Quorum {
        Quorum::with(3, Settings::new())
    }

    /// So many with settings.
    #[track_caller]
    pub(crate) fn with(count: usize, settings: Settings) -> Quorum {
        let nodes: Vec<_> = (0..count).map(|_| Redis::launch(settings.clone())).collect();
        nodes.iter().for_each(Redis::wait_ready);
        Quorum { nodes, settings }
    }

    pub(crate) fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// `redis-quorum://HOST,HOST,HOST`.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(Redis::host).collect();
        format!("{}{}", self.settings.url_start("-quorum"), hosts.join(","))
    }

    /// What a key is on each node; None of one that can't answer.
    pub(crate) fn get(&self, key: &str) -> Vec<Option<String>> {
        let get = |node: &Redis| node.runs().then(|| node.try_cli(&["GET", key]).ok()).flatten();
        self.nodes.iter().map(get).collect()
    }
}
