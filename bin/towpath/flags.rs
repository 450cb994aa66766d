//! Flags that several commands have, as the library takes them. What doesn't
//! make sense is one line that names the flag.

#[cfg(feature = "http")]
use std::path::Path;

#[cfg(feature = "http")]
use towpath::client::Trust;
use towpath::flow::Filter;
use towpath::job::{Unfit, with_causes};

/// `--include` and `--exclude`.
pub(crate) fn filter(include: &[String], exclude: &[String]) -> Result<Filter, String> {
    Filter::new(include, exclude).map_err(|error| {
        let flag = if include.iter().any(|pattern| pattern == error.pattern()) { "include" } else { "exclude" };
        format!("--{flag}: {}", with_causes(&error))
    })
}

/// `--ca`; without it, the built-in list.
#[cfg(feature = "http")]
pub(crate) fn trust(ca: Option<&Path>) -> Result<Trust, String> {
    match ca {
        Some(path) => Trust::in_file(path).map_err(|error| format!("--ca {}: {error}", path.display())),
        None => Ok(Trust::default()),
    }
}

/// A ttl and a grace that don't fit.
pub(crate) fn unfit(unfit: &Unfit) -> String {
    match unfit {
        Unfit::GraceTooLong { .. } => format!("--kill-after: {unfit}"),
        _ => format!("--ttl: {unfit}"),
    }
}
