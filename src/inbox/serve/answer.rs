//! Replies that say little.

use std::io;
use std::sync::OnceLock;

use serde_json::Value;

use super::refused::Refused;
use crate::http::{Method, Reply, Request, Sent, page_policy};

/// The page, one file without anything from elsewhere.
const PAGE: &str = include_str!("page.html");

/// Answers what only reads; everything else is told so.
pub(super) fn get_only<'c>(
    request: &Request<'_>,
    reply: Reply<'c>,
    answer: impl FnOnce(Reply<'c>) -> io::Result<Sent>,
) -> io::Result<Sent> {
    match request.method() {
        Method::Get | Method::Head => answer(reply),
        Method::Options => options(reply, "GET, HEAD, OPTIONS"),
        _ => Refused::no_method("GET, HEAD, OPTIONS").reply(reply),
    }
}

pub(super) fn options(reply: Reply<'_>, allowed: &str) -> io::Result<Sent> {
    reply.status(204).header("Allow", allowed).send("")
}

pub(super) fn redirect(reply: Reply<'_>, to: &str) -> io::Result<Sent> {
    reply.status(308).header("Location", to).send("")
}

pub(super) fn line(reply: Reply<'_>, text: &str) -> io::Result<Sent> {
    reply
        .header("Content-Type", "text/plain; charset=utf-8")
        .header("Cache-Control", "no-store")
        .send(format!("{text}\n"))
}

pub(super) fn json(reply: Reply<'_>, value: &Value) -> io::Result<Sent> {
    reply.header("Content-Type", "application/json").header("Cache-Control", "no-store").send(format!("{value:#}\n"))
}

pub(super) fn page(reply: Reply<'_>) -> io::Result<Sent> {
    static POLICY: OnceLock<String> = OnceLock::new();
    html(reply, PAGE, POLICY.get_or_init(|| page_policy(PAGE, true)))
}

/// A page of our own.
pub(super) fn html(reply: Reply<'_>, text: &str, policy: &str) -> io::Result<Sent> {
    reply
        .header("Content-Type", "text/html; charset=utf-8")
        .header("Content-Security-Policy", policy)
        .header("X-Content-Type-Options", "nosniff")
        .header("Referrer-Policy", "no-referrer")
        .header("Cache-Control", "no-store")
        .send(text)
}
