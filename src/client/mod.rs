//! The HTTP client: one agent over ureq, its time-outs and its trust.
//!
//! A URL may hold a secret (the path of a monitoring ping, a user's password):
//! error texts and [`Target`]'s `Debug` name only scheme and host.

mod agent;
mod target;
mod token;

pub use agent::{Agent, Body, Error, Trust};
pub use target::{InvalidTarget, Target};
pub use token::{InvalidToken, Token};
