//! A folder, and the answers to requests for it.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::super::folder::{Folder, Name};
use super::digest::Digests;
use super::event::{Event, Told};
use super::refused::Refused;
use super::settings::Settings;
use super::space::Space;
use super::uploads::Uploads;
use super::{answer, download, listing, parcel, put, upload, uploads};
use crate::http::{Method, Reply, Request, Sent, percent_decode};

/// A folder as it is served. Cloning shares it.
#[derive(Clone)]
pub struct Inbox {
    shared: Arc<Shared>,
}

/// What all requests share.
pub(super) struct Shared {
    pub(super) folder: Folder,
    pub(super) settings: Settings,
    pub(super) space: Space,
    pub(super) digests: Digests,
    pub(super) uploads: Uploads,
    pub(super) told: Told,
}

impl Inbox {
    /// Serves a folder. What an earlier server left there is swept: drafts of
    /// those that are gone, and uploads that nobody came back for in time.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn new(folder: Folder, settings: Settings, told: Told) -> io::Result<Inbox> {
        let swept = folder.sweep()?;
        if swept > 0 {
            log::warn!("removed {swept} unfinished files of a server that was killed");
        }
        let space = Space::new(&folder, settings.keep_free)?;
        let uploads = Uploads::new(&folder, &settings)?;
        let shared = Shared { folder, settings, space, digests: Digests::default(), uploads, told };
        Ok(Inbox { shared: Arc::new(shared) })
    }

    /// Removes uploads that nobody came back for in time. It is done when one
    /// begins, too; a server that is idle calls it now and then.
    pub fn tidy(&self) {
        self.shared.uploads.tidy();
    }

    /// Answers one request: the handler for a [`Server`](crate::http::Server).
    ///
    /// # Errors
    /// The client is gone or too slow, or its reply was cut because a file
    /// became shorter meanwhile.
    pub fn answer(&self, request: &mut Request<'_>, reply: Reply<'_>) -> io::Result<Sent> {
        let shared = &*self.shared;
        let path = request.path();
        match path {
            "/" => answer::get_only(request, reply, answer::page),
            "/healthz" => answer::get_only(request, reply, |reply| answer::line(reply, "ok")),
            "/form" => parcel::answer(shared, request, reply),
            "/upload" => upload::answer(shared, request, reply),
            "/files" => answer::redirect(reply, "files/"),
            "/files/" => listing::answer(shared, request, reply),
            "*" => answer::options(reply, "GET, HEAD, OPTIONS"),
            _ => {
                if let Some(name) = path.strip_prefix("/files/") {
                    return match name_of(name) {
                        Ok(name) => file(shared, request, reply, &name),
                        Err(refused) => refused.reply(reply),
                    };
                }
                if let Some(id) = path.strip_prefix("/uploads/") {
                    return uploads::answer(shared, request, reply, id);
                }
                Refused::new(404, "not here; there are / /upload /files/ /files/NAME /form /healthz").reply(reply)
            }
        }
    }
}

/// A request for one file.
fn file(shared: &Shared, request: &mut Request<'_>, reply: Reply<'_>, name: &Name) -> io::Result<Sent> {
    match request.method() {
        Method::Get | Method::Head => download::answer(shared, request, reply, name),
        Method::Put => put::answer(shared, request, reply, name),
        Method::Delete if shared.settings.allow_delete => download::delete(shared, request, reply, name),
        Method::Options => uploads::options(shared, reply),
        _ => Refused::no_method(shared.methods()).reply(reply),
    }
}

/// The name in a path, which is one component of it.
fn name_of(component: &str) -> Result<Name, Refused> {
    let decoded = percent_decode(component).and_then(|bytes| String::from_utf8(bytes).ok());
    let text = decoded.ok_or_else(|| Refused::bad("the path is no percent-encoded UTF-8"))?;
    Name::parse(&text).map_err(|error| Refused::bad(error.to_string()))
}

impl Shared {
    /// What can be asked of a file.
    pub(super) fn methods(&self) -> &'static str {
        if self.settings.allow_delete { "GET, HEAD, PUT, DELETE, OPTIONS" } else { "GET, HEAD, PUT, OPTIONS" }
    }

    /// Tells whoever runs the server, and the client.
    pub(super) fn refuse(
        &self,
        request: &Request<'_>,
        reply: Reply<'_>,
        name: Option<&Name>,
        refused: Refused,
    ) -> io::Result<Sent> {
        self.tell_refused(request, name.map(Name::as_str), &refused);
        refused.reply(reply)
    }

    pub(super) fn tell_refused(&self, request: &Request<'_>, name: Option<&str>, refused: &Refused) {
        let peer = request.peer();
        (self.told)(&Event::Refused { peer, name, status: refused.status, why: &refused.why });
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}
