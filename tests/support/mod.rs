//! What the integration tests share: fixtures that start real things, and the
//! say over which groups of tests run.

#[cfg(feature = "http")]
pub(crate) mod browser;
pub(crate) mod certificates;
#[cfg(feature = "redis")]
pub(crate) mod dice;
#[cfg(feature = "docker")]
pub(crate) mod docker;
#[cfg(feature = "http")]
pub(crate) mod fake;
pub(crate) mod groups;
#[cfg(all(feature = "form", feature = "http"))]
pub(crate) mod inbox;
#[cfg(feature = "http")]
pub(crate) mod live;
pub(crate) mod memory;
#[cfg(all(feature = "form", feature = "http"))]
pub(crate) mod peer;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod redis;
pub(crate) mod running;
pub(crate) mod scene;
pub(crate) mod terminal;
pub(crate) mod wait;

pub(crate) use groups::{left_out, skipped};

/// An example program, which `cargo test` builds beside the tests.
pub(crate) fn example(name: &str) -> std::path::PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "build it first: cargo build --example {name}");
    path
}
