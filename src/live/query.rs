//! What a reader asks for: where to start, and which lines.

use super::record::{Id, Run};
use crate::flow::Filter;
use crate::flow::tail::Start;
use crate::http::Request;

/// Patterns that a reader may send; more is a mistake, as each costs the run's host.
const MAX_PATTERNS: usize = 16;

/// What a reader's include patterns may take when compiled, and the exclude
/// patterns too: as many `\w` as people write (a dozen; each is 40 KiB, as it
/// knows Unicode), times as many readers as there may be.
const PATTERN_BYTES: usize = 512 * 1024;

/// A reader's wish, checked.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) start: Start,
    pub(super) filter: Filter,
    /// It goes on where it was.
    pub(super) resumed: bool,
    /// The id it came with was another run's.
    pub(super) asked: Option<String>,
}

impl Query {
    /// Reads `tail`, `since`, `include`, `exclude` and `Last-Event-ID`.
    ///
    /// # Errors
    /// One line for a 400.
    pub(super) fn of(request: &Request<'_>, run: &Run) -> Result<Query, String> {
        let pairs = request.params().map_err(|error| error.to_string())?;
        let (mut include, mut exclude, mut tail, mut since) = (Vec::new(), Vec::new(), None, None);
        for (name, value) in pairs {
            match name.as_str() {
                "include" => include.push(value),
                "exclude" => exclude.push(value),
                "tail" => tail = Some(parse_tail(&value)?),
                "since" => since = Some(parse_id("since", &value)?),
                // Others may be a proxy's or a newer page's.
                _ => {}
            }
        }
        if include.len() + exclude.len() > MAX_PATTERNS {
            return Err(format!("at most {MAX_PATTERNS} patterns"));
        }
        // A browser that comes again sends the last id beside the first query.
        let last = last_event_id(request)?;
        let last = last.filter(|id| !id.is_empty());
        let resume = last.map(|id| parse_id("Last-Event-ID", id)).transpose()?.or(since);
        let filter = Filter::within(include, exclude, PATTERN_BYTES).map_err(|error| one_line(&error))?;
        let mut query = Query { start: tail.unwrap_or(Start::Beginning), filter, resumed: false, asked: None };
        match resume {
            Some(id) if id.run == run.run => {
                query.start = Start::Since(id.seq);
                query.resumed = true;
            }
            Some(id) => query.asked = Some(id.to_string()),
            None => {}
        }
        Ok(query)
    }
}

/// The header, if there is one: bytes that are no text aren't the same as none.
fn last_event_id<'r>(request: &Request<'r>) -> Result<Option<&'r str>, String> {
    let mut values = request.headers().filter(|(name, _)| name.eq_ignore_ascii_case("Last-Event-ID"));
    let value = values.next().map(|(_, value)| std::str::from_utf8(value));
    value.transpose().map_err(|_| "Last-Event-ID isn't UTF-8".to_owned())
}

fn parse_tail(value: &str) -> Result<Start, String> {
    value.parse().map(Start::Tail).map_err(|_| format!("tail={value:?} is no number of lines"))
}

fn parse_id(name: &str, value: &str) -> Result<Id, String> {
    value.parse().map_err(|error| format!("{name}={value:?}: {error}"))
}

fn one_line(error: &dyn std::error::Error) -> String {
    let cause = error.source().map_or(String::new(), |cause| format!(": {cause}"));
    format!("{error}{cause}").replace('\n', " ")
}
