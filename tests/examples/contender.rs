//! One contender for the key `demo`, as a process of its own: holds it until
//! its standard input ends. A part of the tests of file locks.
//!
//! ```sh
//! cargo run --example contender -- hold /run/lock/demo 0 # until Ctrl-D
//! ```
#![allow(clippy::unwrap_used)] // a test's way to fail

use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use towpath::lock::{Acquired, Locks, Request};
use towpath::store::Key;

fn main() {
    let [role, directory, hold_ms] = std::env::args().skip(1).collect::<Vec<_>>().try_into().expect("ROLE DIR HOLD_MS");
    let locks = Locks::open(&format!("file:{directory}").parse().unwrap()).unwrap();
    let hold = Duration::from_millis(hold_ms.parse().unwrap());
    let request = Request::new(Key::new("demo").unwrap()).command("make tea").hold_at_least(hold);
    if role == "contend" {
        say("ready");
        rustix::io::read(io::stdin(), &mut [0u8; 1]).unwrap();
    }
    let acquired = locks.try_acquire(&request).unwrap();
    match (role.as_str(), &acquired) {
        ("hold and let a child keep a copy", Acquired::Lease(lease)) => {
            let copy = lease.hold_descriptor().unwrap().unwrap();
            #[expect(clippy::zombie_processes, reason = "it shall outlive us; the test ends it")]
            let keeper = Command::new("sleep").arg("600").stdin(copy).stderr(Stdio::null()).spawn().unwrap();
            say(&keeper.id().to_string());
        }
        (_, Acquired::Lease(lease)) => say(&lease.fence().to_string()),
        _ => say("held"),
    }
    // Without reading, which would take another one's cue: until the test has gone.
    let stdin = io::stdin();
    let mut hang_up = [PollFd::new(&stdin, PollFlags::empty())];
    poll(&mut hang_up, None).unwrap();
    std::process::exit(0);
}

/// Unbuffered, a line a write: all the cast shares one pipe.
fn say(text: &str) {
    rustix::io::write(io::stderr(), format!("{text}\n").as_bytes()).unwrap();
}
