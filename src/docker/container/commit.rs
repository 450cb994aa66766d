//! An image made of a container as it is now.

use std::time::Duration;

use super::super::Error;
use super::super::call::text_at;
use super::Container;

/// How long the daemon may take: it copies all that the container has written.
const COPYING: Duration = Duration::from_secs(3600);

/// What an image made of a container is to be. Defaults: no name, no author, no
/// comment, no changes, the container paused meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitSpec {
    /// The image's name, `repo` or `repo:tag`.
    pub reference: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// What it is for.
    pub message: Option<String>,
    /// Lines as in a Dockerfile: `ENV A=1`, `CMD ["sh"]`.
    pub changes: Vec<String>,
    /// Doesn't pause the container, which may write meanwhile.
    pub running: bool,
}

impl Container {
    /// Makes an image of it, and gives the image's id. Waits for the daemon, at most
    /// an hour.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](super::super::ErrorKind::NotFound): there is none.
    /// [`ErrorKind::Invalid`](super::super::ErrorKind::Invalid): a name or change that is none.
    pub fn commit(&self, spec: &CommitSpec) -> Result<String, Error> {
        let doing = format!("can't make an image of {}", self.short_id());
        let (repo, tag) = spec.reference.as_deref().map_or((None, None), split);
        let call = self.docker.post("/commit", &doing).query("container", self.id());
        let call = call.query_if("repo", repo).query_if("tag", tag);
        let call = call.query_if("author", spec.author.as_deref()).query_if("comment", spec.message.as_deref());
        let mut call = call.query("pause", if spec.running { "0" } else { "1" });
        for change in &spec.changes {
            call = call.query("changes", change);
        }
        // The daemon wants an object, and takes the settings from the container.
        let value = call.json(&serde_json::json!({})).at_least(COPYING).value()?;
        Ok(text_at(&value, "Id", &doing)?.to_owned())
    }
}

/// Name and tag: a colon behind the last slash is the tag's.
fn split(reference: &str) -> (Option<&str>, Option<&str>) {
    let name = reference.rfind('/').map_or(0, |slash| slash + 1);
    match reference[name..].rfind(':') {
        Some(colon) => (Some(&reference[..name + colon]), Some(&reference[name + colon + 1..])),
        None => (Some(reference), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(split("h:5000/web"), (Some("h:5000/web"), None));
        assert_eq!(split("h:5000/web:1"), (Some("h:5000/web"), Some("1")));
        assert_eq!(split("web:1"), (Some("web"), Some("1")));
    }
}
