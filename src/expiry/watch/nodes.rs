//! Which servers there are, and two threads for each master: one that listens,
//! one that asks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError, bounded};

use super::Context;
use super::ear::{self, Heard, Keys, with_cause};
use super::hand::Hand;
use super::record::Seen;
use super::step::Step;
use crate::clock::Moment;
use crate::store::{Address, Servers};
use crate::thread::{Stop, Worker, spawn};

/// How often it is looked which servers there are.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same while one isn't heard: what expires before the next is heard may be missed.
const LOOK_SOON: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a server that has no slots any more, or is no master, is still listened to.
const STAY: Duration = Duration::from_secs(5);
/// Events of one server that wait to be taken in.
const WAITING: usize = 4096;

/// A master.
struct Node {
    heard: Sender<Heard>,
    ear: Worker<()>,
    hand: Worker<Keys>,
    missing_since: Option<Moment>,
    /// What other servers had that are masters no more, until it is told.
    untold: Vec<Arc<Keys>>,
}

impl Node {
    /// Tells what there is room for; the rest the next time.
    fn tell(&mut self) {
        while let Some(keys) = self.untold.pop() {
            if let Err(TrySendError::Full(_)) = self.heard.try_send(Heard::Known(Arc::clone(&keys))) {
                self.untold.push(keys);
                return;
            }
        }
    }
}

/// Follows the servers until it is told to stop.
pub(super) fn follow(mut servers: Servers, context: &Arc<Context>, seen: &Sender<Seen>, stop: &Stop) {
    let mut nodes: HashMap<Address, Node> = HashMap::new();
    let mut is_failing = false;
    // Of servers that are gone; told once there is one in their place.
    let mut orphans = Keys::new();
    loop {
        match servers.groups(PATIENCE) {
            Ok(groups) => {
                is_failing = false;
                let masters: Vec<Address> = groups.into_iter().map(|group| group.master).collect();
                for (address, node) in &mut nodes {
                    let is_there = masters.contains(address);
                    node.missing_since = if is_there { None } else { node.missing_since.or(Some(Moment::now())) };
                }
                for address in masters {
                    let Entry::Vacant(place) = nodes.entry(address) else { continue };
                    match start(&servers, place.key(), context, seen) {
                        Ok(node) => {
                            place.insert(node);
                            context.changes.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => context.tell(&Step::Trouble(&format!("no thread for {}: {error}", place.key()))),
                    }
                }
                if !orphans.is_empty() && !nodes.is_empty() {
                    let keys = Arc::new(std::mem::take(&mut orphans));
                    nodes.values_mut().for_each(|node| node.untold.push(Arc::clone(&keys)));
                }
                orphans.extend(retire(&mut nodes));
            }
            Err(error) if !std::mem::replace(&mut is_failing, true) => {
                context.tell(&Step::Trouble(&with_cause(&error)));
            }
            Err(_) => {}
        }
        nodes.values_mut().for_each(Node::tell);
        let is_deaf = context.is_deaf.swap(false, Ordering::Relaxed);
        if stop.sleep(if is_deaf { LOOK_SOON } else { LOOK_EVERY }).is_break() {
            break;
        }
    }
    for node in nodes.values() {
        node.ear.stop();
        node.hand.stop();
    }
    for (_, node) in nodes {
        // Its panic, if that was it, goes to the log.
        for panic in [node.ear.join().err(), node.hand.join().err()].into_iter().flatten() {
            panic.log();
        }
    }
}

/// Ends the threads of servers that are masters no more, and gives what they knew:
/// another server has those keys now, and may have lost some.
fn retire(nodes: &mut HashMap<Address, Node>) -> Keys {
    let is_over = |node: &Node| node.missing_since.is_some_and(|since| since.elapsed() >= STAY);
    let has_died = |node: &Node| node.hand.is_finished() || node.ear.is_finished();
    let gone: Vec<Address> =
        nodes.iter().filter(|(_, node)| is_over(node) || has_died(node)).map(|(address, _)| address.clone()).collect();
    let mut orphans = Vec::new();
    for address in gone {
        let Some(node) = nodes.remove(&address) else { continue };
        node.ear.stop();
        node.hand.stop();
        if let Err(panic) = node.ear.join() {
            panic.log();
        }
        match node.hand.join() {
            Ok(keys) => orphans.extend(keys),
            // It is started again; what it knew it learns anew by its scan.
            Err(panic) => panic.log(),
        }
    }
    orphans
}

fn start(servers: &Servers, address: &Address, context: &Arc<Context>, seen: &Sender<Seen>) -> std::io::Result<Node> {
    let (heard, inbox) = bounded(WAITING);
    let is_mute = Arc::<AtomicBool>::default();
    let of_ear = (servers.clone(), address.clone(), Arc::clone(context), heard.clone(), Arc::clone(&is_mute));
    let ear = spawn("expiry-ear", move |stop| {
        let (servers, address, context, heard, is_mute) = of_ear;
        ear::listen(servers, &address, &context, (&heard, &is_mute), stop);
    })?;
    let of_hand = (servers.clone(), address.clone(), Arc::clone(context), seen.clone());
    let hand = spawn("expiry-hand", move |stop| {
        let (servers, address, context, seen) = of_hand;
        Hand::new(servers, address, &context, (seen, is_mute)).work(&inbox, stop)
    })?;
    Ok(Node { heard, ear, hand, missing_since: None, untold: Vec::new() })
}
