//! The HTTP client: agents over ureq, their time-outs and their trust.
//!
//! [`Agent`] asks any server by URL. [`Service`] asks one server, which may be on a
//! Unix socket, and gives any status as an answer.
//!
//! A URL may hold a secret (the path of a monitoring ping, a user's password):
//! error texts and [`Target`]'s `Debug` name only scheme and host.

mod agent;
#[cfg(feature = "docker")]
mod bare;
#[cfg(any(feature = "docker", feature = "http"))]
pub(crate) mod chunked;
#[cfg(feature = "http")]
mod early;
#[cfg(feature = "docker")]
mod identity;
#[cfg(feature = "docker")]
mod service;
mod target;
mod token;
#[cfg(feature = "http")]
mod transfer;
#[cfg(feature = "docker")]
mod unix;

pub use agent::{Agent, Body, Error, Trust};
#[cfg(feature = "docker")]
pub use identity::Identity;
#[cfg(feature = "docker")]
pub use service::{Answer, Ask, Cut, Place, Service};
pub use target::{InvalidTarget, Target};
pub use token::{InvalidToken, Token};
#[cfg(feature = "http")]
pub use transfer::{Load, Patience, Reply, Transfer, tells_a_secret};
