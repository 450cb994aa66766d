//! An HTTP/1.1 server over blocking threads: one a connection, on TCP and Unix
//! sockets, with TLS if wanted.
//!
//! Made for replies that go on: a line is on the wire when its flush returns,
//! and a reply that stopped halfway never looks like one that is complete.
//!
//! ```no_run
//! use std::io::Write;
//! use towpath::http::{Config, Server, Woken};
//!
//! let server = Server::bind(&"127.0.0.1:8080".parse()?, Config::new())?;
//! server.serve(|_request, reply| {
//!     let mut stream = reply.header("Content-Type", "text/plain").stream()?;
//!     for count in 1..=10 {
//!         writeln!(stream, "{count}")?;
//!         stream.flush()?; // on the wire now, or an error
//!         if stream.pause(std::time::Duration::from_secs(1)) != Woken::Timeout {
//!             return stream.fail("stopped early");
//!         }
//!     }
//!     stream.finish() // what makes it complete
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it promises:
//!
//! * *An end is proven.* A handler gives back a [`Sent`], which only the call
//!   that ends the reply makes. A [`ChunkWriter`] that fails or is dropped cuts
//!   the connection: chunks without the last one; HTTP/1.0 gets a reset.
//! * *Every wait has a limit*, every buffer a bound, and no limit is off by
//!   default: [`Limits`]. Whatever bytes come, the client gets a 4xx, a 5xx or
//!   a closed connection, and no request is read where another one ended.
//! * *A quiet stream costs no thread*: [`ChunkWriter::park`] leaves it to a
//!   [`Course`], which writes what never has to wait.
//! * *It goes on serving*: through failing `accept(2)` calls, panicking
//!   handlers, more clients than there is room for (503).
//! * *It stops in order* ([`Stopper`]): no new connections, idle ones closed,
//!   streams told so that they can say their end, the rest finished or cut,
//!   all threads joined.
//! * *It is closed unless opened*: a token ([`Token`]) or loopback; loopback
//!   answers to its own names only; pages from elsewhere change nothing.
//!
//! Where it ends: no HTTP/2, no WebSockets, no compression, no routing: a
//! handler looks at [`Request::path`]. It is the work of a proxy in front to be
//! found on the Internet.
//!
//! The words of HTTP ([`Method`], [`StatusCode`], [`Header`], [`HTTPVersion`])
//! are tiny_http's, and [`answer`] runs a handler on a `tiny_http::Request`;
//! its server is not used.

mod address;
mod config;
mod connection;
mod courier;
mod crew;
mod cutter;
mod exchange;
mod guard;
mod head;
mod incoming;
mod input;
mod limits;
mod link;
mod listener;
mod park;
mod policy;
mod query;
mod refusal;
mod reply;
mod request;
mod scan;
mod server;
mod socket;
pub mod sse;
mod stream;
mod tiny;
#[cfg(feature = "tls")]
mod tls;
mod token;
mod wire;

pub use address::{Address, InvalidAddress};
pub use config::Config;
pub use cutter::Cutter;
pub use limits::Limits;
pub use park::{Bell, Course, Gate, Step};
pub use policy::page_policy;
pub use query::{InvalidQuery, percent_decode};
pub use reply::{Piece, Reply, Sent};
pub use request::{Body, Peer, Request};
pub use server::{Server, Stopper};
pub use stream::{ChunkWriter, Woken};
pub use tiny::answer;
pub use tiny_http::{HTTPVersion, Header, Method, StatusCode};
#[cfg(feature = "tls")]
pub use tls::Tls;
pub use token::{InvalidToken, Token};
