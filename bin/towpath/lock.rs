//! `towpath lock`: who holds a lock, and taking it from them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};
use serde_json::{Value, json};
use towpath::clock::rfc3339;
use towpath::job::{exit_code, with_causes};
use towpath::lock::{Error, Locks};
use towpath::store::{Broken, Holder, Key, NodeState, NodeView};

use crate::store::StoreArguments;
use crate::voice;

pub(crate) const EXAMPLES: &str = "\
Examples:
  Who has it, on every node of the store:
    towpath lock status backup --store redis-quorum://r1,r2,r3

  Take it from a holder that is known to be dead; look first, and name its fence:
    towpath lock break backup --store redis://r1 --fence 1795305924524951

A lock that is broken is lost to its holder, who learns it within a third of its
ttl, and ends its command. Exit codes: 0 told or broken; 75 it is held by another
than was named, or can't be broken; 69 the store can't be used; 2 wrong usage.";

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    /// Say who holds it, on each node of the store
    Status,
    /// Take it from its holder
    Break,
}

#[derive(Args)]
pub(crate) struct LockArguments {
    /// What to do
    action: Action,
    /// The lock's key
    #[arg(value_name = "KEY")]
    key: String,

    #[command(flatten)]
    store: StoreArguments,
    /// Say it as JSON
    #[arg(long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Options")]
    json: bool,
    /// Break it whoever holds it
    #[arg(long, action = ArgAction::SetTrue, value_parser = BoolishValueParser::new(), help_heading = "Options")]
    yes: bool,
    /// Break it only if its holder has this fence
    #[arg(long, value_name = "N", help_heading = "Options")]
    fence: Option<u64>,
    /// Read settings from this file [default: /etc/towpath.conf]
    #[arg(long, value_name = "FILE", help_heading = "Options")]
    pub(crate) config: Option<PathBuf>,
}

pub(crate) fn lock(arguments: &LockArguments) -> ExitCode {
    voice::begin(false);
    match act(arguments) {
        Ok(code) => code,
        Err(Failure::Usage(line)) => {
            voice::error(&line);
            ExitCode::from(exit_code::USAGE)
        }
        Err(Failure::Store(error)) => {
            voice::error(&with_causes(&error));
            ExitCode::from(if error.is_held() { exit_code::HELD } else { exit_code::UNREACHABLE })
        }
    }
}

enum Failure {
    Usage(String),
    Store(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Store(error)
    }
}

fn act(arguments: &LockArguments) -> Result<ExitCode, Failure> {
    let key = Key::new(&arguments.key).map_err(|error| Failure::Usage(format!("KEY: {error}")))?;
    let url = arguments.store.url().map_err(Failure::Usage)?;
    let is_guarded = arguments.yes || arguments.fence.is_some();
    if arguments.action == Action::Status && is_guarded {
        return Err(Failure::Usage("--yes and --fence are for towpath lock break".to_owned()));
    }
    let locks = Locks::open(&url)?;
    if arguments.action == Action::Break && is_guarded {
        return break_it(&locks, &key, arguments);
    }
    let views = locks.inspect(&key)?;
    if arguments.json {
        say(&format!("{:#}", json!({ "key": key.as_str(), "nodes": views.iter().map(json_of).collect::<Vec<_>>() })));
    } else {
        views.iter().for_each(|view| say(&line_of(view)));
    }
    if arguments.action == Action::Break && views.iter().any(is_held) {
        let how = "look who it is, and say --fence N with its fence, or --yes whoever it is";
        return Err(Failure::Usage(format!("nothing was broken; {how}")));
    }
    Ok(ExitCode::SUCCESS)
}

fn break_it(locks: &Locks, key: &Key, arguments: &LockArguments) -> Result<ExitCode, Failure> {
    let broken = locks.break_lock(key, arguments.fence)?;
    let (text, holder) = match &broken {
        Broken::WasFree => (format!("{key} was free"), None),
        Broken::From(holder) => (format!("{key} was taken from {}", words_of(holder)), Some(holder)),
    };
    if arguments.json {
        say(&format!("{:#}", json!({ "key": key.as_str(), "broken": holder.map(holder_json) })));
    } else {
        say(&text);
    }
    Ok(ExitCode::SUCCESS)
}

fn is_held(view: &NodeView) -> bool {
    matches!(view.state, Ok(NodeState::Held(_)))
}

fn line_of(view: &NodeView) -> String {
    match &view.state {
        Ok(NodeState::Free) => format!("{}: free", view.node),
        Ok(NodeState::Held(holder)) => format!("{}: held by {}", view.node, words_of(holder)),
        Err(error) => format!("{}: {}", view.node, with_causes(error)),
    }
}

/// A holder with all that is known of it, on one line.
fn words_of(holder: &Holder) -> String {
    let mut line = holder.to_string();
    if let Some(record) = &holder.record {
        line.push_str(&format!(", fence {}", record.fence));
        if let Some(url) = &record.url {
            line.push_str(&format!(", watch it at {}", url.escape_debug()));
        }
    }
    if let (false, Some(at)) = (holder.ended, holder.free_at) {
        line.push_str(&format!(", until {} unless renewed", rfc3339(at.to_system_time())));
    }
    line
}

fn json_of(view: &NodeView) -> Value {
    let (state, holder, error) = match &view.state {
        Ok(NodeState::Free) => ("free", None, None),
        Ok(NodeState::Held(holder)) => ("held", Some(holder_json(holder)), None),
        Err(error) => ("unknown", None, Some(with_causes(error))),
    };
    json!({ "node": view.node, "state": state, "holder": holder, "error": error })
}

fn holder_json(holder: &Holder) -> Value {
    json!({
        "record": holder.record.as_ref().map(towpath::store::Record::to_json),
        "ended": holder.ended,
        "free_at": holder.free_at.map(|at| rfc3339(at.to_system_time())),
    })
}

fn say(line: &str) {
    // A reader who closed the pipe has seen what they wanted.
    let _: std::io::Result<()> = std::io::Write::write_all(&mut std::io::stdout(), format!("{line}\n").as_bytes());
}
