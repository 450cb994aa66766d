//! What is written down of an upload: what it is to become, or what it became.

use serde_json::{Value, json};

use super::super::super::folder::{Name, OnConflict};
use crate::inbox::Sha;

/// The record of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: Name,
    /// How long it will be, if its client said so.
    pub(super) length: Option<u64>,
    /// The digest that its client says it has.
    pub(super) announced: Option<Sha>,
    pub(super) wants_digest: bool,
    /// Set when it must not replace anything, whatever the server's rule is.
    pub(super) is_new: bool,
    /// What it became.
    pub(super) done: Option<Done>,
}

/// An upload that is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) name: Name,
    pub(super) size: u64,
    pub(super) sha256: Option<Sha>,
}

impl Record {
    pub(super) fn to_text(&self) -> String {
        let sha = |sha: Option<Sha>| sha.map(|sha| sha.to_string());
        let done = self
            .done
            .as_ref()
            .map(|done| json!({ "name": done.name.as_str(), "size": done.size, "sha256": sha(done.sha256) }));
        let record = json!({
            "name": self.name.as_str(),
            "length": self.length,
            "sha256": sha(self.announced),
            "wants_digest": self.wants_digest,
            "is_new": self.is_new,
            "done": done,
        });
        format!("{record}\n")
    }

    /// `None` for what we didn't write.
    pub(super) fn from_text(text: &str) -> Option<Record> {
        let record: Value = serde_json::from_str(text).ok()?;
        let name = |value: &Value| Name::parse(value["name"].as_str()?).ok();
        let sha = |value: &Value| value["sha256"].as_str().and_then(Sha::from_hex);
        let done = match &record["done"] {
            Value::Null => None,
            done => Some(Done { name: name(done)?, size: done["size"].as_u64()?, sha256: sha(done) }),
        };
        Some(Record {
            name: name(&record)?,
            length: record["length"].as_u64(),
            announced: sha(&record),
            wants_digest: record["wants_digest"].as_bool()?,
            is_new: record["is_new"].as_bool()?,
            done,
        })
    }

    /// The rule for a name that is taken.
    pub(super) fn on_conflict(&self, rule: OnConflict) -> OnConflict {
        if self.is_new { OnConflict::Reject } else { rule }
    }

    /// Whether the file's SHA-256 is needed.
    pub(super) fn hashes(&self) -> bool {
        self.wants_digest || self.announced.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let name = Name::parse("a \"b\".txt").unwrap();
        let mut record = Record {
            name: name.clone(),
            length: Some(5),
            announced: Sha::from_hex(&"07".repeat(32)),
            wants_digest: false,
            is_new: true,
            done: None,
        };
        assert_eq!(Record::from_text(&record.to_text()), Some(record.clone()));
        record.done = Some(Done { name, size: 5, sha256: None });
        (record.length, record.announced) = (None, None);
        assert_eq!(Record::from_text(&record.to_text()), Some(record));
        for torn in ["", "{}", "[]", "{\"name\":\"../x\",\"wants_digest\":true,\"is_new\":true}"] {
            assert_eq!(Record::from_text(torn), None, "{torn}");
        }
    }
}
