//! A program that runs commands and forgot `keeper_entry`: its keepers would
//! be itself, and start keepers. A part of the tests of keepers.
//!
//! ```sh
//! cargo run --example forgetful # fails
//! ```

use crossbeam_channel::never;
use towpath::job::{Job, Verdict, with_causes};

fn main() {
    let outcome = Job::new(["echo", "the command"]).run(&never());
    match &outcome.verdict {
        Verdict::Start(error) => eprintln!("not started: {}", with_causes(error)),
        _ => eprintln!("it was {}", outcome.word()),
    }
    std::process::exit(outcome.exit_code(0).into());
}
