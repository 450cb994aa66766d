//! The limits of a server: each has a default, and none is off by default.

use std::io;
use std::time::Duration;

/// What one connection may cost in time and memory, and how many there may be.
///
/// All are on by default. A test holds each default to what its line here says.
///
/// ```
/// let mut limits = towpath::http::Limits::default();
/// limits.connections = 64;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// A request's head, from its first byte to the empty line: beyond it, 431.
    /// Defaults to 16 KiB (16,384 bytes).
    pub head_bytes: usize,
    /// The request line within it: beyond it, 414. Defaults to 8 KiB (8,192 bytes).
    pub request_line_bytes: usize,
    /// How many header lines a head may have: beyond it, 431. Defaults to 100.
    pub headers: usize,
    /// From a head's first byte (of a new connection: from its start) to its
    /// last: beyond it, 408, or a closed connection if nothing came at all.
    /// Defaults to 10 s.
    pub head_time: Duration,
    /// From a TLS connection's start to the end of its handshake. Defaults to 10 s.
    pub handshake_time: Duration,
    /// A body's minimum rate: each time the handler has waited for the body so
    /// long altogether, at least [`body_window_bytes`](Limits::body_window_bytes)
    /// must have come, or the request fails with 408. Time in which the handler
    /// does something else doesn't count. Defaults to 10 s.
    pub body_window: Duration,
    /// See [`body_window`](Limits::body_window). Defaults to 4 KiB (4,096 bytes).
    pub body_window_bytes: u64,
    /// How long each 64 KiB of a reply, and what is left at the end of one or of
    /// a stream's chunk, may take to reach the kernel's send buffer: beyond it,
    /// the connection is cut. What
    /// the client's host doesn't acknowledge for as long ends it too
    /// (`TCP_USER_TIMEOUT` of `tcp(7)`). Defaults to 30 s.
    pub write_time: Duration,
    /// How long a connection may stay without a request. Defaults to 60 s.
    pub idle_time: Duration,
    /// How many connections may be open: one more gets 503 with `Retry-After`
    /// at once (over TLS it is closed), and so does one for which the system has
    /// no thread. Defaults to 512.
    pub connections: usize,
    /// How much of a body that the handler didn't read is read in its place,
    /// so that the connection can be kept: beyond it, it is closed. Defaults to
    /// 256 KiB (262,144 bytes).
    pub drain_bytes: u64,
    /// How long a closed connection is still read after its reply, so that
    /// bytes on their way to us don't make the client's system throw the reply
    /// away. Defaults to 500 ms.
    pub linger_time: Duration,
    /// How often a waiting stream looks whether its client is still there; not 0.
    /// Defaults to 3 s.
    pub gone_time: Duration,
    /// How long a stop waits for active requests before it cuts them. Defaults to 10 s.
    pub stop_time: Duration,
    /// The stack of a connection's thread. It is address space, not memory:
    /// only what a handler touches becomes resident. Defaults to 512 KiB
    /// (524,288 bytes).
    pub stack_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes: 16 * 1024,
            request_line_bytes: 8 * 1024,
            headers: 100,
            head_time: Duration::from_secs(10),
            handshake_time: Duration::from_secs(10),
            body_window: Duration::from_secs(10),
            body_window_bytes: 4 * 1024,
            write_time: Duration::from_secs(30),
            idle_time: Duration::from_secs(60),
            connections: 512,
            drain_bytes: 256 * 1024,
            linger_time: Duration::from_millis(500),
            gone_time: Duration::from_secs(3),
            stop_time: Duration::from_secs(10),
            stack_bytes: 512 * 1024,
        }
    }
}

/// Below this, a thread can't even report its own panic.
const SMALLEST_STACK_BYTES: usize = 64 * 1024;

impl Limits {
    /// Refuses limits under which nothing could be served.
    pub(super) fn check(&self) -> io::Result<()> {
        let refused = [
            (self.head_bytes < 64, "head_bytes below 64"),
            (self.request_line_bytes < 32, "request_line_bytes below 32"),
            (self.connections == 0, "connections of 0"),
            (self.head_time.is_zero(), "head_time of 0"),
            (self.handshake_time.is_zero(), "handshake_time of 0"),
            (self.body_window.is_zero(), "body_window of 0"),
            (self.write_time.is_zero(), "write_time of 0"),
            (self.idle_time.is_zero(), "idle_time of 0"),
            (self.gone_time.is_zero(), "gone_time of 0"),
            (self.stack_bytes < SMALLEST_STACK_BYTES, "stack_bytes below 64 KiB"),
        ];
        match refused.iter().find(|(refused, _)| *refused) {
            Some((_, what)) => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, format!("a limit on {what} serves nobody")))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_that_the_documentation_names() {
        let Limits {
            head_bytes,
            request_line_bytes,
            headers,
            head_time,
            handshake_time,
            body_window,
            body_window_bytes,
            write_time,
            idle_time,
            connections,
            drain_bytes,
            linger_time,
            gone_time,
            stop_time,
            stack_bytes,
        } = Limits::default();
        assert_eq!((head_bytes, request_line_bytes, headers), (16_384, 8_192, 100));
        assert_eq!((head_time, handshake_time), (Duration::from_secs(10), Duration::from_secs(10)));
        assert_eq!((body_window, body_window_bytes), (Duration::from_secs(10), 4_096));
        assert_eq!((write_time, idle_time), (Duration::from_secs(30), Duration::from_secs(60)));
        assert_eq!((connections, drain_bytes), (512, 262_144));
        assert_eq!((linger_time, gone_time), (Duration::from_millis(500), Duration::from_secs(3)));
        assert_eq!((stop_time, stack_bytes), (Duration::from_secs(10), 524_288));
        Limits::default().check().unwrap();
    }

    #[test]
    fn limits_that_serve_nobody_are_refused_by_name() {
        let limits = Limits { connections: 0, ..Limits::default() };
        assert!(limits.check().unwrap_err().to_string().contains("connections of 0"));
        let limits = Limits { idle_time: Duration::ZERO, ..Limits::default() };
        assert!(limits.check().unwrap_err().to_string().contains("idle_time of 0"));
        // It would have a quiet stream look all the time.
        let limits = Limits { gone_time: Duration::ZERO, ..Limits::default() };
        assert!(limits.check().unwrap_err().to_string().contains("gone_time of 0"));
    }
}
