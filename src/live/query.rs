//! What a reader asks for: where to start, and which lines.

use super::record::{Id, Run};
use crate::flow::Filter;
use crate::flow::tail::Start;
use crate::http::Request;

/// Lines that a reader may ask for at once; more is no mistake, only all there is.
const MAX_PATTERNS: usize = 16;

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
        let last = request.header("Last-Event-ID").filter(|id| !id.is_empty());
        let resume = last.map(|id| parse_id("Last-Event-ID", id)).transpose()?.or(since);
        let filter = Filter::new(&include, &exclude).map_err(|error| one_line(&error))?;
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
