//! What the bench shares with the tests: the fixtures that start real servers.

#![allow(dead_code, unused_imports)] // the tests use the rest

#[path = "../support/certificates.rs"]
pub(crate) mod certificates;
#[cfg(feature = "docker")]
#[path = "../support/docker/mod.rs"]
pub(crate) mod docker;
#[path = "../support/groups.rs"]
pub(crate) mod groups;
#[path = "../support/port.rs"]
pub(crate) mod port;
#[path = "../support/process.rs"]
pub(crate) mod process;
#[cfg(feature = "redis")]
#[path = "../support/redis/mod.rs"]
pub(crate) mod redis;
#[path = "../support/running.rs"]
pub(crate) mod running;
#[path = "../support/scene.rs"]
pub(crate) mod scene;
#[path = "../support/wait.rs"]
pub(crate) mod wait;
