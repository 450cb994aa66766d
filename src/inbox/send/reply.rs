//! What towpath's server says of each file of a form.

use serde_json::Value;

use crate::client::Reply;
use crate::inbox::Sha;

/// A file's own result.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileReply {
    Stored { name: Option<String>, size: Option<u64>, sha256: Option<Sha> },
    Refused { status: u16, error: String },
}

/// The files in a reply: `{"files": [{"name", "size", "sha256"} or {"error",
/// "status"}]}`. `None` if it isn't one of towpath's.
pub(super) fn files(answer: &Reply, text: &str) -> Option<Vec<FileReply>> {
    let is_json = answer.header("content-type").is_some_and(|it| it.starts_with("application/json"));
    if is_json { parse(text) } else { None }
}

fn parse(text: &str) -> Option<Vec<FileReply>> {
    let value: Value = serde_json::from_str(text).ok()?;
    value.get("files")?.as_array()?.iter().map(file).collect()
}

fn file(value: &Value) -> Option<FileReply> {
    let value = value.as_object()?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    if let Some(error) = text("error") {
        let status = value.get("status").and_then(Value::as_u64).and_then(|it| u16::try_from(it).ok()).unwrap_or(0);
        return Some(FileReply::Refused { status, error });
    }
    let sha256 = match text("sha256") {
        Some(hex) => Some(Sha::from_hex(&hex)?),
        None => None,
    };
    Some(FileReply::Stored { name: text("name"), size: value.get("size").and_then(Value::as_u64), sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_has_its_own_result() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let text = format!(
            r#"{{"files":[{{"field":"f","name":"a","size":3,"sha256":"{hex}"}},{{"name":"b","error":"taken","status":409}}],"fields":{{}}}}"#
        );
        let stored = FileReply::Stored { name: Some("a".into()), size: Some(3), sha256: Sha::from_hex(hex) };
        let refused = FileReply::Refused { status: 409, error: "taken".into() };
        assert_eq!(parse(&text), Some(vec![stored, refused]));
        for foreign in ["", "[]", "{}", r#"{"files":3}"#, r#"{"files":["a.txt"]}"#, r#"{"files":[{"sha256":"x"}]}"#] {
            assert_eq!(parse(foreign), None, "{foreign}");
        }
    }
}
