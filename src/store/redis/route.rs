//! Which server has a lock's keys: the one that was named, a Cluster's master
//! of their slot, or the master that Sentinels name.

use std::collections::HashMap;
use std::time::Duration;

use redis::{Connection, RedisError, RedisResult, Value};

use super::super::Error;
use super::super::url::Address;
use super::dial::Dialer;
use super::fault::{failed, refused, troubled};
use crate::clock::Moment;

/// A master that has keys, and those that follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) master: Address,
    pub(crate) replicas: Vec<Address>,
}

/// How the server of a key is found.
#[derive(Clone, Debug)]
pub(super) enum Route {
    /// It is this one.
    Fixed(Address),
    /// Any of these knows. Those that a Cluster tells of are added.
    Cluster(Vec<Address>),
    /// Any of these Sentinels knows the master by this name.
    Sentinel { sentinels: Vec<Address>, name: String },
}

impl Route {
    /// Whether another server may take over.
    pub(super) fn may_move(&self) -> bool {
        !matches!(self, Route::Fixed(_))
    }

    /// Finds the server of `slot` before `deadline`. Each that could know gets
    /// half of the time that is left, so that one that hangs doesn't use it up.
    ///
    /// # Errors
    /// None of them answered, or what they said makes no sense: the last reason.
    pub(super) fn find(&mut self, slot: u16, dialer: &Dialer, deadline: Moment) -> Result<Address, Error> {
        match self {
            Route::Fixed(address) => Ok(address.clone()),
            Route::Cluster(known) => {
                let (at, (master, nodes)) =
                    first(known, deadline, |node, limit| in_cluster(node, slot, dialer, limit))?;
                // Who answered is asked first the next time.
                known.swap(0, at);
                for node in nodes {
                    if !known.contains(&node) {
                        known.push(node);
                    }
                }
                Ok(master)
            }
            Route::Sentinel { sentinels, name } => {
                let to_sentinels = dialer.for_sentinels();
                let (at, master) = first(sentinels, deadline, |node, limit| by_name(node, name, &to_sentinels, limit))?;
                sentinels.swap(0, at);
                Ok(master)
            }
        }
    }

    /// All masters that have keys now, with their replicas; a single server is
    /// taken for its own master, and its replicas aren't known. Time as in
    /// [`Route::find`].
    ///
    /// # Errors
    /// As [`Route::find`].
    pub(super) fn groups(&mut self, dialer: &Dialer, deadline: Moment) -> Result<Vec<Group>, Error> {
        match self {
            Route::Fixed(address) => Ok(vec![Group { master: address.clone(), replicas: Vec::new() }]),
            Route::Cluster(known) => {
                let (at, ranges) = first(known, deadline, |node, limit| cluster_ranges(node, dialer, limit))?;
                known.swap(0, at);
                let mut groups: Vec<Group> = Vec::new();
                for (_, serving) in ranges {
                    for node in &serving {
                        if !known.contains(node) {
                            known.push(node.clone());
                        }
                    }
                    if let [master, replicas @ ..] = serving.as_slice()
                        && groups.iter().all(|group| group.master != *master)
                    {
                        groups.push(Group { master: master.clone(), replicas: replicas.to_vec() });
                    }
                }
                Ok(groups)
            }
            Route::Sentinel { sentinels, name } => {
                let to_sentinels = dialer.for_sentinels();
                let (at, group) = first(sentinels, deadline, |node, limit| {
                    let master = by_name(node, name, &to_sentinels, limit)?;
                    Ok(Group { master, replicas: replicas_by_name(node, name, &to_sentinels, limit)? })
                })?;
                sentinels.swap(0, at);
                Ok(vec![group])
            }
        }
    }

    /// Puts off asking `address`: it failed.
    pub(super) fn doubt(&mut self, address: &Address) {
        if let Route::Cluster(known) = self
            && let Some(at) = known.iter().position(|node| node == address)
        {
            let node = known.remove(at);
            known.push(node);
        }
    }
}

/// The first of `nodes` that has an answer, and which it was.
fn first<T>(
    nodes: &[Address],
    deadline: Moment,
    ask: impl Fn(&Address, Duration) -> Result<T, Error>,
) -> Result<(usize, T), Error> {
    let mut last = None;
    for (at, node) in nodes.iter().enumerate() {
        let left = deadline.remaining();
        if left.is_zero() {
            break;
        }
        match ask(node, left / 2) {
            Ok(answer) => return Ok((at, answer)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| Error::unreachable("the store's servers took too long; look whether they are up")))
}

/// A Cluster's master of `slot`, and all nodes that it knows.
fn in_cluster(node: &Address, slot: u16, dialer: &Dialer, limit: Duration) -> Result<(Address, Vec<Address>), Error> {
    let ranges = cluster_ranges(node, dialer, limit)?;
    let mut nodes: Vec<Address> = Vec::new();
    let mut master = None;
    for (slots, serving) in ranges {
        if slots.contains(&slot) {
            master = serving.first().cloned();
        }
        nodes.extend(serving);
    }
    let master =
        master.ok_or_else(|| troubled(node, "knows no master for this key's slot; see `redis-cli cluster info`"))?;
    Ok((master, nodes))
}

fn cluster_ranges(node: &Address, dialer: &Dialer, limit: Duration) -> Result<Vec<SlotRange>, Error> {
    let ask = || -> RedisResult<Value> { redis::cmd("CLUSTER").arg("SLOTS").query(&mut dialer.dial(node, limit)?) };
    let answer = ask().map_err(|error| {
        if error.detail().is_some_and(|detail| detail.contains("cluster support disabled")) {
            return refused(node, "is no Redis Cluster; write redis:// for a single server");
        }
        failed(node, error)
    })?;
    slot_ranges(answer, node).map_err(|error| failed(node, error))
}

type SlotRange = (std::ops::RangeInclusive<u16>, Vec<Address>);

/// The answer to CLUSTER SLOTS: ranges, each with its master and replicas. A node
/// that doesn't know its own address says so with an empty host: it is the one
/// that was asked.
fn slot_ranges(answer: Value, asked: &Address) -> RedisResult<Vec<SlotRange>> {
    let rows: Vec<Vec<Value>> = redis::from_redis_value(answer)?;
    let mut ranges = Vec::with_capacity(rows.len());
    for row in rows {
        let [from, to, nodes @ ..] = row.as_slice() else { continue };
        let (from, to): (u16, u16) = (redis::from_redis_value_ref(from)?, redis::from_redis_value_ref(to)?);
        let nodes = nodes.iter().filter_map(|node| node_address(node, asked)).collect();
        ranges.push((from..=to, nodes));
    }
    Ok(ranges)
}

fn node_address(node: &Value, asked: &Address) -> Option<Address> {
    let Value::Array(parts) = node else { return None };
    let [host, port, ..] = parts.as_slice() else { return None };
    let host: Option<String> = redis::from_redis_value_ref(host).ok()?;
    let port = redis::from_redis_value_ref(port).ok()?;
    let told = host.filter(|host| !host.is_empty() && host != "?");
    let host = match asked {
        Address::Tcp { host, .. } => told.unwrap_or_else(|| host.clone()),
        Address::Unix(_) => told?,
    };
    Some(Address::Tcp { host, port })
}

/// The master that a Sentinel names. Should it be the one of before a failover,
/// it answers READONLY, and is looked for again.
fn by_name(sentinel: &Address, name: &str, dialer: &Dialer, limit: Duration) -> Result<Address, Error> {
    let ask = || -> RedisResult<Option<(String, u16)>> {
        let mut connection: Connection = dialer.dial(sentinel, limit)?;
        redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).query(&mut connection)
    };
    match ask() {
        Ok(Some((host, port))) => Ok(Address::Tcp { host, port }),
        Ok(None) => Err(refused(sentinel, &format!("is a Sentinel that knows no master {name:?}; check the name"))),
        Err(error) if unknown_command(&error) => Err(refused(sentinel, "is no Sentinel; write redis:// for a server")),
        Err(error) => Err(failed(sentinel, error)),
    }
}

/// The replicas of that master, as a Sentinel knows them.
fn replicas_by_name(sentinel: &Address, name: &str, dialer: &Dialer, limit: Duration) -> Result<Vec<Address>, Error> {
    let ask = || -> RedisResult<Vec<HashMap<String, String>>> {
        redis::cmd("SENTINEL").arg("REPLICAS").arg(name).query(&mut dialer.dial(sentinel, limit)?)
    };
    let rows = ask().map_err(|error| failed(sentinel, error))?;
    let address = |row: &HashMap<String, String>| Some((row.get("ip")?.clone(), row.get("port")?.parse().ok()?));
    Ok(rows.iter().filter_map(address).map(|(host, port)| Address::Tcp { host, port }).collect())
}

fn unknown_command(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.starts_with("unknown command"))
}
