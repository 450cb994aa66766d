//! All nodes of one store, and what their answers come to together.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustix::rand::{GetRandomFlags, getrandom};

use super::super::contract::Holder;
use super::super::record::Record;
use super::super::url::{Address, Kind, Servers, StoreAccess};
use super::super::{Error, Key};
use super::dial::Dialer;
use super::lane::{Answers, Lane, held};
use super::link::Link;
use super::names::Names;
use super::route::Route;
use super::script::{Answer, Seen};
use crate::clock::Moment;

/// How long a question that no lease hangs on may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// The nodes of one store. A single server, a Cluster and a Sentinel's master
/// are one node; a quorum has several, and a majority of them decides.
pub(super) struct Nodes {
    /// The store's URL without its secrets.
    name: String,
    /// Where the nodes are, if they stay there.
    addresses: Vec<Address>,
    routes: Vec<Route>,
    dialer: Arc<Dialer>,
    cluster: bool,
    /// For taking, giving back and looking.
    pub(super) calls: Lane,
    /// For renewals alone: they must not wait for anything else.
    pub(super) renewals: Lane,
}

impl Nodes {
    /// Connects nowhere yet.
    ///
    /// # Errors
    /// A file can't be read; the system gives no thread.
    pub(super) fn new(servers: &Servers, files: &StoreAccess) -> Result<Nodes, Error> {
        let dialer = Arc::new(Dialer::new(servers, files)?);
        let nodes = &servers.nodes;
        let routes: Vec<Route> = match &servers.kind {
            Kind::Single | Kind::Quorum => nodes.iter().cloned().map(Route::Fixed).collect(),
            Kind::Cluster => vec![Route::Cluster(nodes.clone())],
            Kind::Sentinel { name } => vec![Route::Sentinel { sentinels: nodes.clone(), name: name.clone() }],
        };
        let lane = || {
            let links = routes.iter().map(|route| Link::new(Arc::clone(&dialer), route.clone())).collect();
            Lane::new(links).map_err(|error| Error::unreachable("no thread for a node of the store").because(error))
        };
        Ok(Nodes {
            name: servers.to_string(),
            addresses: if routes.len() > 1 { nodes.clone() } else { Vec::new() },
            cluster: servers.kind == Kind::Cluster,
            calls: lane()?,
            renewals: lane()?,
            dialer,
            routes,
        })
    }

    /// A link of its own to each node, for who listens there.
    pub(super) fn links(&self) -> Vec<Link> {
        self.routes.iter().map(|route| Link::new(Arc::clone(&self.dialer), route.clone())).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn majority(&self) -> usize {
        self.count() / 2 + 1
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.cluster
    }

    /// What a node is called.
    pub(super) fn node_name(&self, at: usize, names: &Names) -> String {
        match &self.calls {
            Lane::Several(_) => self.addresses.get(at).map(Address::to_string).unwrap_or_default(),
            Lane::One(link) => {
                // It has just been asked: nothing is looked for again.
                let address = held(link).known_address(names).map(ToString::to_string);
                address.unwrap_or_else(|| self.name.clone())
            }
        }
    }

    /// Whether the answers decide, when `yes` says which agree.
    pub(super) fn decided(&self, answers: &Answers, yes: impl Fn(&Answer) -> bool) -> bool {
        let agreeing = count(answers, &yes);
        let open = answers.iter().filter(|answer| answer.is_none()).count();
        agreeing >= self.majority() || agreeing + open < self.majority()
    }

    /// Why there is no majority of answers.
    pub(super) fn unreachable(&self, answers: Answers) -> Error {
        let (count, mut errors, mut silent) = (self.count(), Vec::new(), 0);
        for answer in answers {
            match answer {
                Some(Err(error)) => errors.push(error),
                None => silent += 1,
                Some(Ok(_)) => {}
            }
        }
        let down = errors.len() + silent;
        let lasting = silent == 0 && errors.iter().all(|error| !error.may_pass());
        let many = |text: String| {
            let error = Error::unreachable(text);
            if lasting { error.lasting() } else { error }
        };
        match errors.into_iter().next() {
            Some(error) if count == 1 => error,
            Some(error) => many(format!("{down} of {count} nodes of {} can't be used, the first of them", self.name))
                .because(error),
            None => Error::unreachable(format!("{down} of {count} nodes of {} didn't answer in time", self.name)),
        }
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("name", &self.name).finish_non_exhaustive()
    }
}

pub(super) fn count(answers: &Answers, yes: impl Fn(&Answer) -> bool) -> usize {
    answers.iter().flatten().flatten().filter(|answer| yes(answer)).count()
}

pub(super) fn is_done(answer: &Answer) -> bool {
    matches!(answer, Answer::Done { .. })
}

/// What several nodes have seen, where any has seen a holder.
pub(super) fn sightings(answers: &Answers) -> impl Iterator<Item = &Seen> {
    answers.iter().flatten().flatten().filter_map(|answer| match answer {
        Answer::Seen(seen) if seen.kind != "none" => Some(seen),
        _ => None,
    })
}

/// How long a node may take over an ask that a lease of `ttl` hangs on.
pub(super) fn patience(ttl: Duration) -> Duration {
    (ttl / 10).clamp(Duration::from_millis(100), PATIENCE)
}

/// How much faster another host's clock may run: of the ttl a hundredth, and 2 ms
/// for the rounding of Redis' own expiry (the Redlock algorithm's drift).
pub(super) fn drift(ttl: Duration) -> Duration {
    ttl / 100 + Duration::from_millis(2)
}

/// 128 random bits, in hexadecimal.
///
/// # Errors
/// The system has no randomness.
pub(crate) fn random_value() -> Result<String, Error> {
    let mut bytes = [0; 16];
    // 16 bytes come whole, or not at all (getrandom(2)).
    getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|error| Error::unreachable("the system gives no random numbers for a lock").because(error))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// The holder that a node has seen; an error if what it has is no lock.
pub(super) fn holder(key: &Key, seen: &Seen) -> Result<Holder, Error> {
    if seen.kind != "string" {
        return Err(Error::held(format!(
            "the key {key} is held by another type of lock, a Redis {}; choose another key",
            seen.kind
        )));
    }
    let record = record_of(seen);
    let free_at = seen.ttl_ms.map(|ttl| Moment::now() + Duration::from_millis(ttl + 1));
    let ended = record.as_ref().is_some_and(|(_, ended)| *ended);
    Ok(Holder { record: record.map(|(record, _)| record), ended, free_at })
}

/// `VALUE FENCE held|ended JSON`, if it is of the one that has the lock.
fn record_of(seen: &Seen) -> Option<(Record, bool)> {
    let text = std::str::from_utf8(&seen.record).ok()?;
    let mut words = text.splitn(4, ' ');
    let (value, fence, state, json) = (words.next()?, words.next()?, words.next()?, words.next()?);
    if value.as_bytes() != seen.value {
        return None;
    }
    let record = Record::from_json(json.as_bytes())?.with_fence(fence.parse().ok()?);
    Some((record, state == "ended"))
}

/// Whoever panicked while it held a value left it as it was.
pub(super) fn value<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
