//! Which images there are.

use serde_json::Value;

use super::super::call::text_at;
use super::super::container::Filters;
use super::super::{Docker, Error};

/// An image in a list.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ImageSummary {
    /// `sha256:` and the digest of its configuration.
    pub id: String,
    /// Its names with tags: `alpine:3`.
    pub tags: Vec<String>,
    /// Its names with digests: `alpine@sha256:...`.
    pub digests: Vec<String>,
    /// When it was made, in seconds since 1970; 0 if it doesn't say.
    pub created_unix: i64,
    /// How much of the disk its layers take, those that it shares with others too.
    pub size_byte: u64,
    /// All that the daemon said.
    pub json: Value,
}

impl Docker {
    /// The images, the newest first; with `all` also those that others are built on.
    ///
    /// Filters: `reference`, `alpine:*`; `label`, `app=web`; `dangling`, `true`;
    /// `before` and `since` an image.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](super::super::ErrorKind::Invalid): a filter that the daemon doesn't know.
    pub fn images(&self, all: bool, filters: &Filters) -> Result<Vec<ImageSummary>, Error> {
        const DOING: &str = "can't list the images";
        let mut call = self.get("/images/json", DOING);
        if all {
            call = call.query("all", "1");
        }
        if !filters.is_empty() {
            call = call.query("filters", &filters.to_json().to_string());
        }
        let Value::Array(list) = call.value()? else {
            return Err(Error::garbage(DOING, "isn't a list"));
        };
        list.into_iter().map(|json| ImageSummary::read(json, DOING)).collect()
    }
}

impl ImageSummary {
    fn read(json: Value, doing: &str) -> Result<ImageSummary, Error> {
        // null where there are none.
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        Ok(ImageSummary {
            id: text_at(&json, "Id", doing)?.to_owned(),
            tags: texts(&json["RepoTags"]),
            digests: texts(&json["RepoDigests"]),
            created_unix: json["Created"].as_i64().unwrap_or(0),
            size_byte: json["Size"].as_u64().unwrap_or(0),
            json,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_image_without_names_has_none() {
        let read = |json| ImageSummary::read(json, "x");
        let summary = read(json!({"Id": "sha256:ab", "RepoTags": null, "Created": 5, "Size": 7})).unwrap();
        assert_eq!((summary.tags.len(), summary.created_unix, summary.size_byte), (0, 5, 7));
        assert!(read(json!({"RepoTags": []})).is_err());
    }
}
