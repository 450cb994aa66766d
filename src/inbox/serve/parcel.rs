//! `GET /form?file=A&file=B`: files as parts of a form that is a reply.
//!
//! As strict as the strictest who reads one: no preamble, `name` and `filename`
//! quoted and in that order, nothing behind the last line's end, and a length
//! that is exact.

use std::fs::File;
use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

use super::super::folder::Name;
use super::answer;
use super::conditions::Version;
use super::download;
use super::file_header::form_quoted;
use super::inbox::Shared;
use super::refused::Refused;
use crate::http::{Method, Piece, Reply, Request, Sent};

pub(super) fn answer(shared: &Shared, request: &Request<'_>, reply: Reply<'_>) -> io::Result<Sent> {
    match request.method() {
        Method::Get | Method::Head => {}
        Method::Options => return answer::options(reply, "GET, HEAD, OPTIONS"),
        _ => return Refused::no_method("GET, HEAD, OPTIONS").reply(reply),
    }
    match asked_files(shared, request) {
        Ok(files) => give(reply, &files),
        Err(refused) => refused.reply(reply),
    }
}

/// All are open before the first is sent: who gets a 200 gets them all.
fn asked_files(shared: &Shared, request: &Request<'_>) -> Result<Vec<(Name, File, Version)>, Refused> {
    let params = request.params().map_err(|error| Refused::bad(error.to_string()))?;
    let mut files = Vec::new();
    for (_, value) in params.iter().filter(|(key, _)| key == "file") {
        if files.len() == shared.settings.max_files {
            return Err(Refused::bad(format!("ask for {} files at most", shared.settings.max_files)));
        }
        let name = Name::parse(value).map_err(|error| Refused::bad(error.to_string()))?;
        let (file, version) =
            download::open(shared, &name).map_err(|refused| refused.member("file", value.as_str()))?;
        files.push((name, file, version));
    }
    if files.is_empty() { Err(Refused::bad("name files: /form?file=A&file=B")) } else { Ok(files) }
}

fn give(reply: Reply<'_>, files: &[(Name, File, Version)]) -> io::Result<Sent> {
    let boundary = boundary()?;
    let heads: Vec<String> = files
        .iter()
        .enumerate()
        .map(|(at, (name, ..))| {
            let before = if at == 0 { "" } else { "\r\n" };
            let name = form_quoted(name.as_str());
            format!(
                "{before}--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename={name}\r\n\
                 Content-Type: application/octet-stream\r\n\r\n"
            )
        })
        .collect();
    let end = format!("\r\n--{boundary}--\r\n");
    let mut pieces = Vec::with_capacity(2 * files.len() + 1);
    for (head, (_, file, version)) in heads.iter().zip(files) {
        pieces.extend([Piece::Bytes(head.as_bytes()), Piece::File { file, offset: 0, length: version.size }]);
    }
    pieces.push(Piece::Bytes(end.as_bytes()));
    reply
        .header("Content-Type", &format!("multipart/form-data; boundary={boundary}"))
        .header("X-Content-Type-Options", "nosniff")
        .header("Cross-Origin-Resource-Policy", "same-origin")
        .header("Cache-Control", "no-store")
        .pieces(&pieces)
}

/// One that isn't in any of the files: nobody could have known it.
fn boundary() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(format!("towpath-{:032x}", u128::from_ne_bytes(bytes)))
}
