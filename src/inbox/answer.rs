//! What is read off a server's answer, whatever was asked.

use std::error::Error;

use super::Sha;
use crate::client::Reply;

/// How much of a server's words is shown.
const SAID_CHARS: usize = 200;

/// The SHA-256 that an answer names.
pub(super) fn repr_digest(answer: &Reply) -> Option<Sha> {
    Sha::from_header(&answer.list("repr-digest")?)
}

/// The first line of a server's words that has any, cut to a length; of a page
/// only what isn't markup, of a problem its title.
pub(super) fn first_line(text: &str) -> String {
    // A problem (RFC 9457), which towpath's own server says things by.
    let problem = text.trim_start().starts_with('{').then(|| serde_json::from_str::<serde_json::Value>(text).ok());
    let title = problem.flatten().and_then(|problem| problem.get("title")?.as_str().map(str::to_owned));
    let text = title.as_deref().unwrap_or(text);
    let mut words = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => inside = false,
            '\n' | '\r' if !inside && !words.trim().is_empty() => break,
            c if !inside && !c.is_control() => words.push(c),
            _ => {}
        }
    }
    words.trim().chars().take(SAID_CHARS).collect()
}

/// An error with its causes.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_server_says_one_line_is_shown() {
        assert_eq!(first_line("\n no space left\nand more"), "no space left");
        let page = "<!DOCTYPE html>\n<html><head><title>413 Too\x1b Large</title></head>\n<body>x";
        assert_eq!(first_line(page), "413 Too Large");
        assert_eq!(first_line(&"x".repeat(1000)).len(), SAID_CHARS);
        assert_eq!(first_line("<p"), "");
        assert_eq!(first_line("{\"title\":\"no space left\",\"status\":507}\n"), "no space left");
        assert_eq!(first_line("{\"other\":1}"), "{\"other\":1}");
    }
}
