//! Real Redis servers of a test's own: one, a quorum, a Cluster, one with
//! Sentinels; and other programs' clients that take locks of them.
//!
//! Every server has a directory and a port of its own, and is killed when its
//! fixture is dropped, also when the test panics. A group is given when it can
//! be used, not when it has been started.
//!
//! A test that starts one begins with `if skipped("redis") { return; }`.

mod cluster;
mod peer;
mod quorum;
mod resp;
mod sentinel;
mod server;
mod settings;

pub(crate) use cluster::Cluster;
pub(crate) use peer::{Peer, has_redlock};
pub(crate) use quorum::Quorum;
pub(crate) use sentinel::Sentinel;
pub(crate) use server::Redis;
pub(crate) use settings::Settings;
