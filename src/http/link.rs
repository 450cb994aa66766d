//! What a reply is written to: a connection of ours, or a tiny_http request.

use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use super::courier::Courier;
use super::cutter::Cutter;
use crate::thread::Stop;

/// The way to one client. Its calls come from one handler at a time.
pub(super) trait Link: Send + Sync {
    /// Writes all of it, or fails; after a failure nothing more can be said.
    /// Blocks until the client's side has room, within the write limit.
    fn write(&self, parts: &mut [IoSlice<'_>]) -> io::Result<()>;

    /// Writes `length` bytes of the file, from `offset` on. Fails with
    /// `UnexpectedEof` if the file is shorter.
    fn write_file(&self, file: &File, offset: u64, length: u64) -> io::Result<()>;

    /// Whether the client has closed its side, as far as can be known.
    fn is_gone(&self) -> bool;

    /// How often a waiting stream asks [`is_gone`](Link::is_gone).
    fn gone_time(&self) -> Duration;

    /// Whether a reply that is delimited by its connection's end can be cut so
    /// that the client can tell.
    fn can_reset(&self) -> bool;

    /// Whether something can be said before a reply's head.
    fn can_inform(&self) -> bool;

    /// What ends the connection from another thread; `Unsupported` where it isn't ours.
    fn cutter(&self) -> io::Result<Cutter>;

    /// Makes the reply end so that the client sees that it isn't complete.
    /// `delimited`: it has chunks or a length, so a mere end tells it.
    fn cut(&self, delimited: bool);

    /// Who takes over a stream that keeps no thread; `None` where nobody can.
    fn courier(&self) -> Option<&Arc<Courier>> {
        None
    }

    /// Set when the server is asked to stop.
    fn stop(&self) -> &Stop;
}
