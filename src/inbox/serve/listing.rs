//! `GET /files/`: what is there, for programs and for people.

use std::io;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::super::folder::Entry;
use super::inbox::Shared;
use super::refused::Refused;
use super::{answer, report};
use crate::clock::rfc3339;
use crate::http::{Reply, Request, Sent, page_policy};

/// The list's page, up to its rows.
const HEAD: &str = include_str!("listing.html");

pub(super) fn answer(shared: &Shared, request: &Request<'_>, reply: Reply<'_>) -> io::Result<Sent> {
    answer::get_only(request, reply, |reply| {
        let reply = reply.header("Vary", "Accept");
        match shared.folder.list() {
            Err(error) => Refused::by_disk(&error).reply(reply),
            Ok(entries) if wants_html(request.header("Accept").unwrap_or("")) => {
                static POLICY: OnceLock<String> = OnceLock::new();
                answer::html(reply, &html(&entries), POLICY.get_or_init(|| page_policy(HEAD, false)))
            }
            Ok(entries) => answer::json(reply, &json(shared, &entries)),
        }
    })
}

/// Only who asks for HTML by name gets it; who takes anything gets JSON.
fn wants_html(accept: &str) -> bool {
    let position =
        |kind: &str| accept.split(',').position(|it| it.split(';').next().is_some_and(|it| it.trim() == kind));
    match (position("text/html"), position("application/json")) {
        (Some(html), Some(json)) => html < json,
        (html, _) => html.is_some(),
    }
}

fn json(shared: &Shared, entries: &[Entry]) -> Value {
    let file = |entry: &Entry| {
        let name = entry.name.as_str();
        json!({ "name": name, "size": entry.size, "modified": rfc3339(entry.modified), "url": report::url(name) })
    };
    json!({
        "files": entries.iter().map(file).collect::<Vec<_>>(),
        "free_bytes": shared.space.free_bytes(),
        "allow_delete": shared.settings.allow_delete,
    })
}

fn html(entries: &[Entry]) -> String {
    let mut page = HEAD.to_owned();
    for entry in entries {
        let name = entry.name.as_str();
        let href = report::url(name);
        // Relative, as a proxy may add a path.
        let href = href.trim_start_matches("/files/");
        let (name, size, modified) = (escape(name), entry.size, rfc3339(entry.modified));
        page.push_str(&format!("<tr><td><a href=\"./{href}\">{name}</a><td>{size}<td>{modified}\n"));
    }
    page.push_str("</table>\n</body>\n</html>\n");
    page
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_for_those_who_name_it() {
        assert!(wants_html("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"));
        assert!(wants_html("text/html;q=0.9, application/json;q=0.1"));
        for other in ["", "*/*", "application/json", "application/json, text/html", "text/plain"] {
            assert!(!wants_html(other), "{other}");
        }
    }

    #[test]
    fn a_name_stays_text() {
        assert_eq!(escape("<img src=x onerror=\"a&b\">"), "&lt;img src=x onerror=&quot;a&amp;b&quot;&gt;");
    }
}
