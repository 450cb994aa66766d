//! What became of the files of a request, as the client is told.

use serde_json::{Map, Value, json};

use super::super::folder::Published;
use super::file_header::percent_encode;
use super::refused::Refused;

/// What became of one file.
pub(super) type Fate = Result<Published, Refused>;

/// The file as JSON. `sent_as` is the name that the client gave it.
pub(super) fn file(sent_as: &str, field: Option<&str>, fate: &Fate, created: u16) -> Value {
    let mut file = Map::new();
    if let Some(field) = field {
        file.insert("field".to_owned(), field.into());
    }
    match fate {
        Ok(published) => {
            let name = published.name.as_str();
            file.insert("name".to_owned(), name.into());
            if name != sent_as {
                file.insert("sent_as".to_owned(), sent_as.into());
            }
            file.insert("size".to_owned(), json!(published.size));
            if let Some(sha) = &published.sha256 {
                file.insert("sha256".to_owned(), sha.to_string().into());
            }
            file.insert("url".to_owned(), url(name).into());
            file.insert("status".to_owned(), json!(created));
        }
        Err(refused) => {
            file.insert("name".to_owned(), sent_as.into());
            file.insert("status".to_owned(), json!(refused.status));
            file.insert("error".to_owned(), refused.why.clone().into());
        }
    }
    Value::from(file)
}

/// The path of a file.
pub(super) fn url(name: &str) -> String {
    format!("/files/{}", percent_encode(name))
}

/// The status of all of them: 201 if all are stored, else that of the worst,
/// ours before the client's.
pub(super) fn status<'f>(fates: impl Iterator<Item = &'f Fate>) -> u16 {
    fates.filter_map(|fate| fate.as_ref().err()).map(|refused| refused.status).max().unwrap_or(201)
}
