//! A flushed streaming server: it prints the time once a second, ten times,
//! and the client sees each line as it is written.
//!
//! ```sh
//! cargo run --example flushed                       # prints its address
//! curl -N http://127.0.0.1:8080/                    # a line a second, for ten seconds
//! cargo run --example flushed -- 127.0.0.1:0 100ms  # another address, another pace
//! ```
//!
//! In Go this takes an `http.Flusher`, if the `ResponseWriter` is one, and its
//! `Flush` can't say that it failed. Here a flush is one chunk on the wire or
//! an error, and a reply that isn't finished doesn't look finished: a client
//! that was cut off after the fifth line can tell.

use std::error::Error;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use towpath::clock::{parse_duration, rfc3339};
use towpath::http::{Address, ChunkWriter, Config, Reply, Sent, Server, Woken};

/// How many lines a client gets.
pub(crate) const LINES: u32 = 10;

#[allow(dead_code)] // the tests have their own
fn main() -> Result<(), Box<dyn Error>> {
    log::set_logger(&Stderr)?;
    log::set_max_level(log::LevelFilter::Warn);
    let mut arguments = std::env::args().skip(1);
    let address: Address = arguments.next().as_deref().unwrap_or("127.0.0.1:8080").parse()?;
    let pace = parse_duration(arguments.next().as_deref().unwrap_or("1s"))?;
    let server = Server::bind(&address, Config::new())?;
    println!("http://{}", server.local_address());
    server.serve(move |_request, reply| tell_the_time(reply, |stream| wait(stream, pace)))?;
    Ok(())
}

/// Writes [`LINES`] lines, with a pause before each but the first.
pub(crate) fn tell_the_time(
    reply: Reply<'_>,
    mut pause: impl FnMut(&mut ChunkWriter<'_>) -> io::Result<()>,
) -> io::Result<Sent> {
    let mut stream = reply.header("Content-Type", "text/plain; charset=utf-8").stream()?;
    for line in 0..LINES {
        if line > 0 {
            pause(&mut stream)?; // an error here drops the stream, which cuts it
        }
        writeln!(stream, "{}", rfc3339(SystemTime::now()))?;
        stream.flush()?; // on the wire now
    }
    stream.finish()
}

/// A pause that ends early when nobody listens any more, or the server stops.
#[allow(dead_code)] // the tests have their own
fn wait(stream: &mut ChunkWriter<'_>, time: Duration) -> io::Result<()> {
    match stream.pause(time) {
        Woken::Timeout => Ok(()),
        other => Err(io::Error::other(format!("{other:?}"))),
    }
}

/// Warnings to stderr.
struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let _ = writeln!(io::stderr().lock(), "{} {}", record.level(), record.args());
        }
    }

    fn flush(&self) {}
}
