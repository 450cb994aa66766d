//! Durations as people write them: `90s`, `5m`, `1h30m`, `250ms`.

use std::time::Duration;

/// A text that is no duration.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no duration; write a number and a unit, such as 90s, 5m, 1h30m or 250ms")]
pub struct InvalidDuration {
    text: String,
    source: humantime::DurationError,
}

/// Reads a duration: numbers, each with its unit (`ns`, `us`, `ms`, `s`, `m`,
/// `h`, `d`, `w` and their long names), one after the other. `0` alone needs none.
///
/// # Errors
/// [`InvalidDuration`] for anything else, a bare number included: whether it
/// meant seconds or minutes is not for us to guess.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let trimmed = text.trim();
    if trimmed == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(trimmed).map_err(|source| InvalidDuration { text: text.to_owned(), source })
}

/// Writes a duration as [`parse_duration`] reads it, without blanks: `1h30m`.
pub fn format_duration(duration: Duration) -> String {
    if duration.is_zero() {
        return "0s".to_owned();
    }
    humantime::format_duration(duration).to_string().replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_that_the_guide_shows() {
        for (text, seconds) in
            [("90s", 90), ("5m", 300), ("1h30m", 5_400), ("1d", 86_400), ("0", 0), ("0s", 0), (" 2m ", 120)]
        {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
    }

    #[test]
    fn refuses_what_could_mean_two_things() {
        for text in ["", "90", "1.5", "-3s", "5 parsecs", "s", "99999999999999999999s", "1h30"] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.to_string().contains("90s, 5m, 1h30m"), "{error}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["1h30m", "250ms", "5m", "0s"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }
}
