//! What is told while a watch goes on.

use super::super::Entry;

/// What is told while a [`Watch`](super::Watch) goes on, on any of its threads.
#[derive(Debug)]
#[non_exhaustive]
pub enum Step<'a> {
    /// Listens at this server, from here on.
    Listens(&'a str),
    /// Stands by until nobody else leads.
    StandsBy,
    /// Is the group's leader, with this fencing token.
    Leads {
        /// Larger than that of every leader before.
        fence: u64,
    },
    /// Leads no more; handlers were ended, and another may lead.
    LeadsNoMore(&'a str),
    /// Something can't be used at the moment, or needs somebody to set it.
    Trouble(&'a str),
    /// A handler failed; `kept` is true if it won't be tried again.
    Failed {
        /// What was handled.
        entry: &'a Entry,
        /// Why it failed.
        why: &'a str,
        /// It is listed as failed for good.
        kept: bool,
    },
}

/// Told of each step, by any thread of the watch.
pub type Tell = Box<dyn Fn(&Step<'_>) + Send + Sync>;
