//! An image that the daemon has.

use super::super::call::{segment, text_at};
use super::super::{Docker, Error};

/// An image that the daemon was seen to have, which is what a container can be
/// made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalImage {
    name: String,
    id: String,
    digests: Vec<String>,
}

impl LocalImage {
    /// As it was asked for: `busybox:1`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `sha256:` and the digest of its configuration.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its names with the digests that registries know it by, `busybox@sha256:...`;
    /// none if it comes from no registry.
    pub fn digests(&self) -> &[String] {
        &self.digests
    }
}

impl Docker {
    /// An image that the daemon has already, by name or id. Nothing is pulled.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](super::super::ErrorKind::NotFound): it isn't there; pull it.
    pub fn local_image(&self, name: &str) -> Result<LocalImage, Error> {
        let doing = format!("can't use the image {name}");
        let value = self.get(&format!("/images/{}/json", segment(name)), &doing).value()?;
        let id = text_at(&value, "Id", &doing)?.to_owned();
        let digests = value["RepoDigests"].as_array().into_iter().flatten();
        let digests = digests.filter_map(|digest| digest.as_str().map(str::to_owned)).collect();
        Ok(LocalImage { name: name.to_owned(), id, digests })
    }
}
