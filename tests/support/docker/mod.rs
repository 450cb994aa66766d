//! Real Docker daemons of a test's own, a private registry, and the `docker`
//! command that ours is held against.
//!
//! A daemon has its own directories, socket, processes and mounts, and ends for
//! certain when its fixture is dropped, or when the tests end in whatever way.
//! Most tests share [`Daemon::shared`]: they name their containers themselves,
//! and look at no others. Who looks at all of them starts one.
//!
//! A test that needs a daemon begins with `if skipped("docker") { return; }`.

mod daemon;
mod guard;
mod registry;
mod settings;

pub(crate) use daemon::{Daemon, IMAGE};
pub(crate) use registry::Registry;
pub(crate) use settings::Settings;

/// The `docker` that is the oracle: Debian's, not one that comes first on PATH.
pub(crate) const DOCKER: &str = "/usr/bin/docker";

/// What is missing, and how to get it.
fn how(what: &str) -> String {
    format!("no Docker to test with: {what}; run tests/run as root, or leave it out: TOWPATH_TEST_SKIP=docker")
}
