//! One contender for a lock, as a process of its own, for the tests that
//! torture: takes it again and again, and while its lease is valid writes its
//! fence to a resource, which says whether it took it.
//!
//! What it believed, and until when, it writes to a log, a line a system call,
//! so that a kill loses nothing of it. Moments are nanoseconds since boot.
//!
//! `torture_contender STORE KEY RESOURCE NAME LOG TTL_MS SEED`
#![allow(clippy::unwrap_used)] // a test's way to fail

#[path = "../support/dice.rs"]
mod dice;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use dice::Dice;
use towpath::clock::Moment;
use towpath::lock::{Acquired, Lease, Locks, Request};
use towpath::store::Key;
use towpath::thread::Stop;

const MS: Duration = Duration::from_millis(1);

fn main() {
    let [store, key, resource, name, log, ttl_ms, seed] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().expect("STORE KEY RESOURCE NAME LOG TTL_MS SEED");
    let ttl = Duration::from_millis(ttl_ms.parse().unwrap());
    let request = Request::new(Key::new(key).unwrap()).ttl(ttl);
    let locks = Locks::open(&store.parse().unwrap()).unwrap();
    let mut contender = Contender {
        log: File::options().create(true).append(true).open(log).unwrap(),
        resource: BufReader::new(UnixStream::connect(resource).unwrap()),
        dice: Dice::new(seed.parse().unwrap()),
        ttl,
    };
    contender.resource.get_mut().write_all(format!("{name}\n").as_bytes()).unwrap();
    loop {
        match locks.acquire(&request, Duration::MAX, &Stop::never()) {
            Ok(Acquired::Lease(lease)) => contender.hold(lease),
            Ok(_) => {}
            Err(error) => {
                contender.say(format!("failed {error}"));
                // Servers are down, and don't tell when they are back.
                std::thread::sleep(contender.dice.time(20 * MS, 100 * MS));
            }
        }
    }
}

struct Contender {
    log: File,
    resource: BufReader<UnixStream>,
    dice: Dice,
    ttl: Duration,
}

impl Contender {
    fn hold(&mut self, lease: Lease) {
        let (fence, from, valid_until) = (lease.fence(), Moment::now(), lease.valid_until());
        // When the store was asked for it; unknown if it was renewed already.
        let asked = if lease.renewed().is_empty() { valid_until - self.ttl } else { Moment::BOOT };
        self.say(format!("held {fence} {} {} {}", ns(asked), ns(from), ns(valid_until)));
        // Some outlive their ttl.
        let most = if self.dice.below(6) == 0 { self.ttl * 2 } else { 150 * MS };
        let ends = from + self.dice.time(10 * MS, most);
        loop {
            if lease.check().is_err() {
                self.say(format!("ended {fence} {}", ns(Moment::now())));
                // One that doesn't look would write even now: if another has written since, it must be refused.
                self.write(fence);
                return lease.abandon();
            }
            self.say(format!("valid {fence} {}", ns(lease.valid_until())));
            if !self.write(fence) {
                self.say(format!("refused {fence} {}", lease.check().is_ok()));
            }
            if ends.has_passed() {
                break;
            }
            std::thread::sleep(self.dice.time(MS, 15 * MS)); // its work
        }
        self.say(format!("ended {fence} {}", ns(Moment::now())));
        if let Err(error) = lease.release() {
            self.say(format!("failed {error}"));
        }
    }

    /// Whether the resource took it.
    fn write(&mut self, fence: u64) -> bool {
        self.resource.get_mut().write_all(format!("{fence}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        self.resource.read_line(&mut answer).unwrap();
        match answer.as_str() {
            "taken\n" => true,
            "stale\n" => false,
            _ => std::process::exit(0), // the test is over
        }
    }

    fn say(&mut self, line: String) {
        self.log.write_all((line + "\n").as_bytes()).unwrap();
    }
}

fn ns(moment: Moment) -> u64 {
    moment.since_boot_ns()
}
