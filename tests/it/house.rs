//! The rules of the house, held against the source itself: which room may use
//! which, what the dependency tree contains, and what every file owes.
//!
//! Each check gives back its findings as `FILE:LINE: what is wrong`, so that
//! one run names them all; each has a sample beside it that breaks it.

mod arrows;
mod dependencies;
mod links;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the project: its path from the root, with `/`, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    fn is_rust_under(&self, roots: &[&str]) -> bool {
        self.path.ends_with(".rs") && roots.iter().any(|root| self.path.starts_with(root))
    }

    /// The lines that are code, numbered from one; what follows `//` is left out.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, without_comment(line)))
    }

    fn finding(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file that git tracks or would; without git, every one but build results.
fn sources() -> Vec<Source> {
    let mut paths = tracked().unwrap_or_else(|| walk(root()));
    paths.sort();
    paths
        .iter()
        .filter_map(|path| {
            let text = std::fs::read(root().join(path)).ok()?; // deleted, but not yet for git
            let path = path.to_str()?.to_owned();
            Some(Source { path, text: String::from_utf8_lossy(&text).into_owned() })
        })
        .collect()
}

fn tracked() -> Option<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let out = git.output().ok().filter(|out| out.status.success() && !out.stdout.is_empty())?;
    let names = String::from_utf8(out.stdout).ok()?;
    Some(names.split_terminator('\0').map(PathBuf::from).collect())
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() || path.ends_with("target") || path.ends_with(".git") {
            continue;
        } else if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path.strip_prefix(root()).unwrap().to_owned());
        }
    }
    found
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        return "";
    }
    line.find(" //").map_or(line, |at| &line[..at])
}

#[track_caller]
fn none(findings: &[String]) {
    assert!(findings.is_empty(), "{} broken:\n  {}", findings.len(), findings.join("\n  "));
}

#[test]
fn the_checks_see_the_whole_project() {
    let sources = sources();
    for path in ["Cargo.toml", "src/lib.rs", "bin/towpath/main.rs", "tests/it/house.rs", "tests/run", ".ci/run"] {
        assert!(sources.iter().any(|source| source.path == path), "{path} isn't among the files that are checked");
    }
    assert!(!sources.iter().any(|source| source.path.starts_with("target/")), "build results are checked");
}
