//! Locks in Redis: one server, a Cluster, a quorum of masters, or the master
//! that Sentinels name.
//!
//! Promises: a lock is the user's key, verbatim, with a random value of 128 bits
//! and an expiry (SET NX PX), so that it excludes other clients of the same
//! convention. It is valid from before the server was asked, less the drift of
//! clocks; it is renewed, given back or taken apart only where the value is
//! still ours, and never taken again once it has lapsed. Its fence is larger
//! than all before it, also when the counter was lost, by the server's time.
//! No node that hangs is waited for beyond a tenth of the ttl, and in a quorum
//! not at all while the others decide.
//!
//! Ends where Redis' own promises end: a server that restarts without its data,
//! or fails over before it replicated, gives the lock to the next who asks. The
//! holder learns it at its next renewal, and the fence protects what it guards.

mod contender;
mod dial;
mod ear;
mod fault;
mod hold;
mod lane;
mod link;
mod names;
mod nodes;
mod route;
mod script;
mod servers;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use contender::RedisContender;
use lane::Answers;
use names::Names;
use nodes::{Nodes, PATIENCE, holder};
use script::{Answer, Ask};

#[cfg(feature = "http")]
pub(crate) use names::key_beside;
pub(crate) use nodes::random_value as random_id;
pub(crate) use servers::Servers;

use super::contract::{Broken, Contender, LockStore, NodeState, NodeView};
use super::url::Servers as ServersOfUrl;
use super::{Error, Key, StoreAccess};

/// The store of a Redis URL. It connects when it is first asked for something.
#[derive(Debug)]
pub struct RedisStore {
    nodes: Arc<Nodes>,
    examined: AtomicBool,
}

impl RedisStore {
    pub(super) fn open(servers: &ServersOfUrl, files: &StoreAccess) -> Result<RedisStore, Error> {
        Ok(RedisStore { nodes: Arc::new(Nodes::new(servers, files)?), examined: AtomicBool::new(false) })
    }

    /// Looks once what the servers are: of the wrong kind is an error, one that
    /// may evict keys is warned of. A server that doesn't say is believed.
    fn examine(&self, names: &Arc<Names>) -> Result<(), Error> {
        if self.examined.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let decided = |answers: &Answers| answers.iter().all(Option::is_some);
        let answers = self.nodes.calls.ask(&Ask::Info, names, PATIENCE / 4, decided);
        for (at, answer) in answers.iter().enumerate() {
            let Some(Ok(Answer::Text(info))) = answer else { continue };
            let node = self.nodes.node_name(at, names);
            if !self.nodes.is_cluster() && field(info, "cluster_enabled") == Some("1") {
                return Err(Error::unreachable(format!(
                    "the Redis at {node} is a node of a Redis Cluster; write redis-cluster://"
                ))
                .lasting());
            }
            let policy = field(info, "maxmemory_policy").unwrap_or("noeviction");
            if policy != "noeviction" && field(info, "maxmemory").is_some_and(|limit| limit != "0") {
                log::warn!(
                    "the Redis at {node} may evict keys when its memory is full, and locks with them \
                     (maxmemory-policy {policy}); use one with noeviction"
                );
            }
        }
        Ok(())
    }

    /// What all nodes answer; an error if none did.
    fn ask_all(&self, ask: &Ask, names: &Arc<Names>) -> Result<Answers, Error> {
        let decided = |answers: &Answers| answers.iter().all(Option::is_some);
        let answers = self.nodes.calls.ask(ask, names, PATIENCE, decided);
        if answers.iter().any(|answer| matches!(answer, Some(Ok(_)))) {
            return Ok(answers);
        }
        Err(self.nodes.unreachable(answers))
    }
}

impl LockStore for RedisStore {
    fn contender(&self, key: &Key) -> Result<Box<dyn Contender>, Error> {
        let contender = RedisContender::new(Arc::clone(&self.nodes), key.clone());
        self.examine(&Arc::new(Names::of(key)))?;
        Ok(Box::new(contender))
    }

    fn inspect(&self, key: &Key) -> Result<Vec<NodeView>, Error> {
        let names = Arc::new(Names::of(key));
        let answers = self.ask_all(&Ask::Look, &names)?;
        let view = |(at, answer): (usize, Option<Result<Answer, Error>>)| {
            let state = match answer {
                Some(Ok(Answer::Seen(seen))) if seen.kind == "none" => Ok(NodeState::Free),
                Some(Ok(Answer::Seen(seen))) => holder(key, &seen).map(NodeState::Held),
                Some(Ok(_)) | None => Err(Error::unreachable("it didn't answer in time; look whether it hangs")),
                Some(Err(error)) => Err(error),
            };
            NodeView { node: self.nodes.node_name(at, &names), state }
        };
        Ok(answers.into_iter().enumerate().map(view).collect())
    }

    fn break_lock(&self, key: &Key, fence: Option<u64>) -> Result<Broken, Error> {
        let names = Arc::new(Names::of(key));
        let answers = self.ask_all(&Ask::Break { fence }, &names)?;
        let (mut broken, mut other, mut count) = (None, None, 0);
        for answer in answers.iter().flatten().flatten() {
            match answer {
                Answer::Broken(seen) => {
                    broken = Some(holder(key, seen)?);
                    count += 1;
                }
                Answer::Seen(seen) if seen.kind != "none" => other = Some(holder(key, seen)?),
                _ => {}
            }
        }
        if let Some(holder) = broken {
            let all = self.nodes.count();
            if count >= self.nodes.majority() {
                return Ok(Broken::From(holder));
            }
            return Err(Error::unreachable(format!(
                "lock {key} was taken from {holder} on {count} of {all} nodes, which is no majority; \
                 look again when the others answer"
            )));
        }
        if let Some(holder) = other {
            let its = holder
                .record
                .as_ref()
                .map_or_else(|| "no fence".to_owned(), |record| format!("fence {}", record.fence));
            return Err(Error::held(format!(
                "lock {key} is not with the holder you named but with {holder}, {its}; look again"
            )));
        }
        let answered = answers.iter().flatten().flatten().count();
        if answered < self.nodes.majority() {
            return Err(self.nodes.unreachable(answers));
        }
        Ok(Broken::WasFree)
    }
}

/// A field of what INFO answers: lines of `name:value`.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}
