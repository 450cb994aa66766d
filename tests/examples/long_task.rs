//! A long task over HTTP: 200 at once, then its progress, one JSON record a
//! line. The status says that it began, and nothing about how it ends.
//!
//! ```sh
//! cargo run --example long_task                                # prints its address
//! cargo run --example long_task -- http://127.0.0.1:8080/pull  # all of it: exit code 0
//! cargo run --example long_task -- http://127.0.0.1:8080/broken  # fails midway, says why: 1
//! cargo run --example long_task -- http://127.0.0.1:8080/cut     # cut midway: 1
//! ```
//!
//! Docker's image pull works like this, and its callers fall into two traps.
//! Who drops the reader believes that it is done; who reads to the end and
//! doesn't look inside misses the error record. And a connection that breaks
//! must not look like an end: here it can't, as an unfinished reply has no
//! last chunk. [`follow`] is a client that heeds all three.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use towpath::http::{ChunkWriter, Config, Reply, Request, Sent, Server, Woken};

/// Into how many steps a task is divided.
pub(crate) const STEPS: u32 = 5;

#[allow(dead_code)] // the tests have their own
fn main() -> Result<ExitCode, Box<dyn Error>> {
    if let Some(url) = std::env::args().nth(1) {
        return Ok(match follow(&url, |record| println!("{record}")) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        });
    }
    let server = Server::bind(&"127.0.0.1:8080".parse()?, Config::new())?;
    println!("http://{}", server.local_address());
    server.serve(|request, reply| run_task(request, reply, work))?;
    Ok(ExitCode::SUCCESS)
}

/// The server's side: `/pull` succeeds, `/broken` fails and says why, `/cut`
/// is an error that nobody foresaw.
pub(crate) fn run_task(
    request: &mut Request<'_>,
    reply: Reply<'_>,
    mut work: impl FnMut(&mut ChunkWriter<'_>) -> io::Result<()>,
) -> io::Result<Sent> {
    // Goes out at once: the client knows that the task has begun.
    let mut stream = reply.header("Content-Type", "application/x-ndjson").stream()?;
    for step in 1..=STEPS {
        work(&mut stream)?;
        match (request.path(), step) {
            ("/broken", 3) => return stream.fail(&json!({"error": "no space left on device"}).to_string()),
            ("/cut", 3) => return Err(io::Error::other("the reply is dropped, and cut by that")),
            _ => writeln!(stream, "{}", json!({"done": step, "of": STEPS}))?,
        }
        stream.flush()?;
    }
    writeln!(stream, "{}", json!({"status": "complete"}))?;
    stream.finish()
}

/// The client's side: reads to the proven end, and looks for the error inside.
pub(crate) fn follow(url: &str, mut progress: impl FnMut(&Value)) -> Result<(), Box<dyn Error>> {
    let response = ureq::get(url).call()?;
    let mut complete = false;
    for line in BufReader::new(response.into_body().into_reader()).lines() {
        let record: Value = serde_json::from_str(&line?)?; // `?`: cut short
        if let Some(error) = record.get("error").and_then(Value::as_str) {
            return Err(format!("the task failed: {error}").into());
        }
        complete |= record["status"] == "complete";
        progress(&record);
    }
    if complete { Ok(()) } else { Err("the task ended without saying that it is complete".into()) }
}

/// A second of work.
#[allow(dead_code)] // the tests have their own
fn work(stream: &mut ChunkWriter<'_>) -> io::Result<()> {
    match stream.pause(Duration::from_secs(1)) {
        Woken::Timeout => Ok(()),
        other => Err(io::Error::other(format!("{other:?}"))),
    }
}
