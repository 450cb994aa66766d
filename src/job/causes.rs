//! Errors as one line.

/// An error and its causes on one line, the outermost first.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::with_causes;
    use std::io;

    #[test]
    fn every_cause_is_named_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("no lunch")]
        struct NoLunch {
            source: io::Error,
        }
        let error = NoLunch { source: io::Error::other("no bread") };
        assert_eq!(with_causes(&error), "no lunch: no bread");
    }
}
