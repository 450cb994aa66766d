//! Which containers there are.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::{Docker, Error};

/// Which containers or images are meant. Several values of one key: any of them;
/// several keys: all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    by_key: BTreeMap<String, Vec<String>>,
}

/// A container in a list.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Its names, without the slash that the daemon begins them with.
    pub names: Vec<String>,
    /// The image, as it was named.
    pub image: String,
    /// `running`, `exited`, ...
    pub state: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// All that the daemon said.
    pub json: Value,
}

impl Filters {
    /// No filter: all.
    pub fn new() -> Filters {
        Filters::default()
    }

    /// Adds one: `status`, `running`; `label`, `app=web`; `name`, `web`. The daemon
    /// knows which there are.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Filters {
        self.by_key.entry(key.to_owned()).or_default().push(value.to_owned());
        self
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub(in super::super) fn to_json(&self) -> Value {
        json!(self.by_key)
    }
}

impl Docker {
    /// The containers that run, or with `all` also those that don't, the newest
    /// first, as far as the filters let them through.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](super::super::ErrorKind::Invalid): a filter that the daemon doesn't know.
    pub fn containers(&self, all: bool, filters: &Filters) -> Result<Vec<Listed>, Error> {
        const DOING: &str = "can't list the containers";
        let mut call = self.get("/containers/json", DOING);
        if all {
            call = call.query("all", "1");
        }
        if !filters.is_empty() {
            call = call.query("filters", &filters.to_json().to_string());
        }
        let Value::Array(list) = call.value()? else {
            return Err(Error::garbage(DOING, "isn't a list"));
        };
        list.into_iter()
            .map(|json| Listed::read(json).ok_or_else(|| Error::garbage(DOING, "has a container without an id")))
            .collect()
    }
}

impl Listed {
    fn read(json: Value) -> Option<Listed> {
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let labels = json["Labels"].as_object().into_iter().flatten();
        Some(Listed {
            id: json["Id"].as_str()?.to_owned(),
            names: texts(&json["Names"]).into_iter().map(|name| name.trim_start_matches('/').to_owned()).collect(),
            image: json["Image"].as_str().unwrap_or_default().to_owned(),
            state: json["State"].as_str().unwrap_or_default().to_owned(),
            labels: labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect(),
            json,
        })
    }
}
