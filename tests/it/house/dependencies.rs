//! The dependency rule: no async runtime anywhere in the tree, and a reason on
//! paper for every crate that we name.

use std::process::Command;

use super::{none, root};

/// Async runtimes, and what only works inside one. `deny.toml` bans the same.
const BANNED: [&str; 5] = ["tokio", "async-std", "smol", "futures-executor", "hyper"];

#[test]
fn no_async_runtime_is_in_the_dependency_tree() {
    let tree = cargo(&["tree", "--all-features", "-e", "normal,build,dev", "--prefix", "none"]);
    assert!(tree.lines().any(|line| line.starts_with("rustix v")), "this is no dependency tree:\n{tree}");
    none(&banned_in(&tree));
}

#[test]
fn a_runtime_is_found_by_its_name_and_by_its_parts() {
    assert_eq!(banned_in("rustix v1.1.6\nsmol_str v0.3.0\nhyperfine v1.0.0\n"), Vec::<String>::new());
    let tree =
        "tokio v1.0.0\ntokio-util v0.7.0 (*)\nhyper v0.14.1\nfutures-executor v0.3.1\nsmol v2.0.0\nasync-std v1.0.0";
    assert_eq!(banned_in(tree).len(), 6);
}

#[test]
fn every_dependency_has_its_reason_in_the_design() {
    let Ok(design) = std::fs::read_to_string(root().join("docs/design.md")) else {
        return; // It comes with the crate's documents; from then on it is held.
    };
    none(&unexplained(&declared(), &design));
}

#[test]
fn a_dependency_is_explained_by_its_own_name_only() {
    let declared = ["log".to_owned(), "ureq".to_owned()];
    assert_eq!(unexplained(&declared, "`log` for the log, `ureq` for requests"), Vec::<String>::new());
    assert_eq!(unexplained(&declared, "`log`, and a catalogue").len(), 1);
    assert_eq!(unexplained(&declared, "a log, an `ureq-proto`").len(), 2);
    assert!(self::declared().iter().any(|name| name == "tempfile"), "dev-dependencies aren't read");
}

fn banned_in(tree: &str) -> Vec<String> {
    let is_banned = |name: &str| {
        BANNED
            .iter()
            .any(|banned| name.strip_prefix(banned).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')))
    };
    let named = tree.lines().filter(|line| line.split(' ').next().is_some_and(is_banned));
    named.map(|line| format!("{line} (find its user: cargo tree -i NAME)")).collect()
}

fn declared() -> Vec<String> {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let dependencies = metadata["packages"][0]["dependencies"].as_array().unwrap();
    dependencies.iter().map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect()
}

fn unexplained(declared: &[String], design: &str) -> Vec<String> {
    let missing = declared.iter().filter(|name| !design.contains(&format!("`{name}`")));
    missing.map(|name| format!("Cargo.toml: docs/design.md doesn't say why `{name}` is here")).collect()
}

fn cargo(args: &[&str]) -> String {
    // CARGO is the one that runs these tests.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo).args(args).current_dir(root()).output().unwrap();
    assert!(out.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}
