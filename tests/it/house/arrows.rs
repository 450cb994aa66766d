//! The arrow rule: a room uses rooms on lower floors only; rooms on one floor
//! don't see each other.

use super::{Source, none, sources};

/// The floors, the top one first. `lib.rs` stands above them all.
const FLOORS: [&[&str]; 5] = [
    &["job"],
    &["live", "inbox", "expiry"],
    &["http", "flow", "form", "docker", "lock"],
    &["store", "client", "process", "pipe"],
    &["thread", "clock"],
];

#[test]
fn arrows_between_rooms_point_down_only() {
    let broken: Vec<_> =
        sources().iter().filter(|source| source.is_rust_under(&["src/"])).flat_map(broken_in).collect();
    none(&broken);
}

#[test]
fn an_arrow_is_seen_however_it_is_written() {
    let broken = |path, text| broken_in(&Source::new(path, text)).len();
    assert_eq!(broken("src/lock/mod.rs", "use crate::clock::Moment;\nuse crate::lock::Lease;\n"), 0);
    assert_eq!(broken("src/lock/mod.rs", "use crate::{clock::Moment, store::{File, Url}};"), 0);
    assert_eq!(broken("src/lock/mod.rs", "//! Under [`crate::job`].\nfn f() {} // crate::job uses it"), 0);
    assert_eq!(broken("src/process/child.rs", "use super::pipe::End;\nmod tests { use super::*; }"), 0);
    for up_or_sideways in [
        "use crate::flow::Lines;",
        "let x: Option<crate::job::Outcome> = None;",
        "pub use crate::{\n    clock::{Moment, boot},\n    job::Outcome,\n};",
        "use crate::{flow};",
        "use super::super::job::Outcome;",
        "use crate::{self as all};",
        "use crate::*;",
        "use crate::attic::Box;",
        "use crate :: flow::Lines;",
    ] {
        assert_eq!(broken("src/lock/file/mod.rs", up_or_sideways), 1, "{up_or_sideways}");
    }
    assert_eq!(broken("src/lock/mod.rs", "use super::job;"), 1);
    assert_eq!(broken("src/attic/mod.rs", ""), 1);
    assert_eq!(broken("src/attic.rs", ""), 1);
}

fn broken_in(source: &Source) -> Vec<String> {
    let inside = source.path.trim_start_matches("src/");
    if inside == "lib.rs" {
        return Vec::new();
    }
    let own = inside.split(['/', '.']).next().unwrap();
    let Some(floor) = floor_of(own) else {
        return vec![source.finding(1, &format!("the room `{own}` has no floor in tests/it/house/arrows.rs"))];
    };
    let code: String = source.code().flat_map(|(_, line)| [line, "\n"]).collect();
    let mut broken = Vec::new();
    for (at, other) in mentions(&code, inside) {
        let problem = match floor_of(&other) {
            _ if other == own => continue,
            Some(below) if below > floor => continue,
            Some(_) => format!("`{own}` uses `{other}`, which isn't on a lower floor"),
            None => format!("`{own}` uses `crate::{other}`, which is no room"),
        };
        let line = 1 + code[..at].matches('\n').count();
        broken.push(source.finding(line, &problem));
    }
    broken
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&room))
}

/// What follows each `crate::`, or a `super::` that leaves the room, and where it stands.
fn mentions(code: &str, inside: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let path = regex::Regex::new(r"\b(crate|super)\s*::\s*((?:super\s*::\s*)*)").unwrap();
    // As many `super` stay inside the room; one more reaches its neighbours.
    let depth = inside.matches('/').count() - usize::from(inside.ends_with("/mod.rs"));
    for way in path.captures_iter(code) {
        let rest = &code[way.get(0).unwrap().end()..];
        let heads = heads(rest);
        let at = way.get(0).unwrap().start();
        if &way[1] == "crate" {
            found.extend(heads.into_iter().map(|head| (at, head)));
        } else if way[2].matches("super").count() + 1 > depth {
            let outside = heads.into_iter().filter(|head| floor_of(head).is_some());
            let own_part = |head: &String| inside.ends_with("/mod.rs") && code.contains(&format!("mod {head}"));
            found.extend(outside.filter(|head| !own_part(head)).map(|head| (at, head)));
        }
    }
    found
}

/// The first name of a path, or of each path of a `{group}`.
fn heads(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        let text = text.trim_start();
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        if end == 0 { text.chars().take(1).collect() } else { text[..end].to_owned() }
    };
    let Some(group) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let (mut depth, mut start, mut heads) = (0_usize, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                if !group[start..at].trim().is_empty() {
                    heads.push(name(&group[start..at]));
                }
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}
