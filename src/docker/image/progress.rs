//! One report of a pull's progress.

use serde_json::Value;

use super::super::error::one_line;

/// A daemon's longer words are cut.
const TEXT_BYTE: usize = 4096;

/// How far a pull is: of one layer, or in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The layer, by the first 12 digits of its id; where the pull begins, the tag.
    /// `None`: it is about the pull as a whole.
    pub id: Option<String>,
    /// The daemon's words: `Downloading`, `Pull complete`, `Digest: sha256:...`.
    pub status: String,
    /// How many bytes are done, where they are counted.
    pub current_byte: Option<u64>,
    /// Of how many, where that is known.
    pub total_byte: Option<u64>,
}

impl Progress {
    /// What an object says. An error in it is the daemon's own: its words.
    pub(super) fn of(object: &Value) -> Result<Progress, String> {
        let text = |value: &Value| value.as_str().map(one_line).map(cut).filter(|text| !text.is_empty());
        let error = text(&object["errorDetail"]["message"]).or_else(|| text(&object["error"]));
        if let Some(error) = error {
            return Err(error);
        }
        if !object["error"].is_null() || !object["errorDetail"].is_null() {
            return Err("an error without a word".to_owned());
        }
        let detail = &object["progressDetail"];
        let count = |value: &Value| value.as_u64().filter(|count| *count > 0);
        Ok(Progress {
            id: text(&object["id"]),
            status: text(&object["status"]).or_else(|| text(&object["stream"])).unwrap_or_default(),
            current_byte: count(&detail["current"]),
            total_byte: count(&detail["total"]),
        })
    }
}

fn cut(text: String) -> String {
    if text.len() <= TEXT_BYTE { text } else { text.chars().take(TEXT_BYTE / 4).collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_progress_or_the_daemons_error() {
        let object = json!({"status": "Downloading", "id": "abc", "progressDetail": {"current": 5, "total": 10}, "progress": "[=> ]"});
        let progress = Progress::of(&object).unwrap();
        assert_eq!((progress.id.as_deref(), progress.status.as_str()), (Some("abc"), "Downloading"));
        assert_eq!((progress.current_byte, progress.total_byte), (Some(5), Some(10)));
        let object = json!({"status": "Pull complete", "progressDetail": {}, "id": "abc"});
        assert_eq!(Progress::of(&object).unwrap().current_byte, None);
        let object = json!({"progressDetail": {"current": -1, "total": -1}});
        assert_eq!(Progress::of(&object), Ok(Progress::default()));

        let object = json!({"errorDetail": {"code": 1, "message": "blob\nunknown"}, "error": "other"});
        assert_eq!(Progress::of(&object), Err("blob unknown".to_owned()));
        assert_eq!(Progress::of(&json!({"error": "denied"})), Err("denied".to_owned()));
        let endless = json!({"status": "\u{e9}".repeat(100_000)});
        assert!(Progress::of(&endless).unwrap().status.len() <= TEXT_BYTE);
        assert!(Progress::of(&json!({"error": ""})).is_err(), "an empty error is one");
        assert!(Progress::of(&json!({"errorDetail": {}})).is_err());
    }
}
