//! `docker ps`.

use std::time::SystemTime;

use super::super::container::Listed;
use super::super::image::ImageRef;
use super::{ago, ports, quote, shown_id, table};

/// How many columns of a command are shown.
const COMMAND_WIDTH: usize = 20;

/// The table that `docker ps` prints, its heading first; with `whole` nothing in it
/// is cut, as `--no-trunc` does.
pub fn containers(list: &[Listed], whole: bool, now: SystemTime) -> String {
    let heading = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"].map(str::to_owned);
    let rows = list.iter().map(|container| row(container, whole, now));
    table::lines(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
}

/// Their ids, one a line, as `docker ps -q` prints them.
pub fn container_ids(list: &[Listed], whole: bool) -> String {
    list.iter().map(|container| format!("{}\n", shown_id(&container.id, whole))).collect()
}

fn row(container: &Listed, whole: bool, now: SystemTime) -> [String; 7] {
    let json = &container.json;
    let command = json["Command"].as_str().unwrap_or_default();
    let command = if whole { command.to_owned() } else { quote::cut(command, COMMAND_WIDTH) };
    [
        shown_id(&container.id, whole).to_owned(),
        image(container, whole),
        quote::quoted(&command),
        ago(json["Created"].as_i64().unwrap_or(0), now),
        json["Status"].as_str().unwrap_or_default().to_owned(),
        ports::shown(&json["Ports"]),
        names(container, whole),
    ]
}

/// The image as it was named, without a digest; one that has lost its name, by its id.
fn image(container: &Listed, whole: bool) -> String {
    let name = container.image.as_str();
    if name.is_empty() {
        return "<no image>".to_owned();
    }
    let id = shown_id(container.json["ImageID"].as_str().unwrap_or_default(), false);
    if whole {
        return name.to_owned();
    }
    if id == shown_id(name, false) {
        return id.to_owned();
    }
    match name.parse::<ImageRef>() {
        Ok(image) => match image.tag() {
            Some(tag) => format!("{}:{tag}", image.familiar_name()),
            None => image.familiar_name(),
        },
        Err(_) => name.to_owned(),
    }
}

/// Its own name; where all is shown, also those that links give it.
fn names(container: &Listed, whole: bool) -> String {
    let own = container.names.iter().find(|name| !name.contains('/'));
    match own {
        Some(own) if !whole => own.clone(),
        _ => container.names.join(","),
    }
}
