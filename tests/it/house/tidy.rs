//! What every file owes: an opening that says what it is for, a bounded
//! length, and nothing left behind.
//!
//! Needles are put together from parts, so that this file doesn't find itself.

use regex::Regex;

use super::{Source, none, sources};

const CODE: [&str; 3] = ["src/", "bin/", "tests/"];

fn check(rule: fn(&Source) -> Vec<String>) {
    none(&sources().iter().flat_map(rule).collect::<Vec<_>>());
}

#[track_caller]
fn breaks(rule: fn(&Source) -> Vec<String>, path: &str, text: &str, times: usize) {
    assert_eq!(rule(&Source::new(path, text)).len(), times, "{path}: {text}");
}

#[test]
fn every_module_says_first_what_it_is_for() {
    check(opening);
    breaks(opening, "src/a.rs", "//! For tests.\n", 0);
    breaks(opening, "src/a.rs", "use std::io;\n//! For tests.\n", 1);
    breaks(opening, "src/a.rs", "", 1);
}

fn opening(source: &Source) -> Vec<String> {
    let opens = !source.is_rust_under(&CODE) || source.text.starts_with("//! ");
    if opens { vec![] } else { vec![source.finding(1, "opens without `//!`")] }
}

#[test]
fn no_production_file_is_longer_than_500_lines() {
    check(length);
    breaks(length, "src/a.rs", &"\n".repeat(500), 0);
    breaks(length, "bin/towpath/a.rs", &"\n".repeat(501), 1);
}

fn length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let short = !source.is_rust_under(&["src/", "bin/"]) || lines <= 500;
    if short { vec![] } else { vec![source.finding(lines, "is longer than 500 lines: one noun a file")] }
}

#[test]
fn nothing_unfinished_is_left_behind() {
    check(leftovers);
    breaks(leftovers, "src/a.rs", "fn f() { todos!(); } // a todo list", 0);
    for leftover in leftover_names() {
        breaks(leftovers, "tests/it/a.rs", &format!("    {leftover}()] // later"), 1);
        breaks(leftovers, "tests/run", &format!("# {leftover}"), 1);
    }
}

fn leftovers(source: &Source) -> Vec<String> {
    let checked = source.is_rust_under(&CODE) || ["tests/run", ".ci/run", "Cargo.toml"].contains(&&*source.path);
    let names = if checked { leftover_names() } else { vec![] };
    let pattern = |name: &String| Regex::new(&format!(r"(?:\b|^|\s){}", regex::escape(name))).unwrap();
    let patterns: Vec<_> = names.iter().map(pattern).collect();
    let mut found = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let left = patterns.iter().zip(&names).filter(|(pattern, _)| pattern.is_match(line));
        found.extend(left.map(|(_, name)| source.finding(index + 1, &format!("{name} is left behind"))));
    }
    found
}

fn leftover_names() -> Vec<String> {
    [("to", "do!"), ("db", "g!"), ("unimple", "mented!"), ("TO", "DO"), ("FIX", "ME"), ("#[ig", "nore")]
        .map(|(a, b)| format!("{a}{b}"))
        .to_vec()
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    check(machine_paths);
    let [work, root] = MACHINE_DIRS;
    breaks(machine_paths, "docs/a.md", &format!("at {work}/{root}, `a/b/{work}/c`, /{root}s"), 0);
    breaks(machine_paths, "docs/a.md", &format!("see {}x", machine_roots()[0]), 1);
    breaks(machine_paths, "Cargo.toml", &format!("path = \"{}x\"", machine_roots()[1]), 1);
}

fn machine_paths(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for root in machine_roots() {
            // Inside a longer path it is somebody's relative one.
            let alone = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-$}".contains(c));
            if line.match_indices(&root).any(|(at, _)| alone(at)) {
                found.push(source.finding(index + 1, &format!("{root} is a path of one machine")));
            }
        }
    }
    found
}

const MACHINE_DIRS: [&str; 2] = ["work", "root"];

fn machine_roots() -> [String; 2] {
    MACHINE_DIRS.map(|name| format!("/{name}/"))
}

#[test]
fn unsafe_code_stays_in_its_one_file() {
    check(unsafe_code);
    breaks(unsafe_code, "src/process/sys.rs", &format!("{} {{ f() }}", unsafe_word()), 0);
    breaks(unsafe_code, "src/lib.rs", &format!("#![deny({}_code)] // no {0}\n//! No {0}.", unsafe_word()), 0);
    breaks(unsafe_code, "src/process/keeper.rs", &format!("{} {{ f() }}", unsafe_word()), 1);
    breaks(unsafe_code, "src/clock/mod.rs", &format!("{} {{ f() }}", unsafe_word()), 1);
    breaks(unsafe_code, "bin/towpath/main.rs", &format!("{} fn f() {{}}", unsafe_word()), 1);
}

fn unsafe_code(source: &Source) -> Vec<String> {
    if !source.is_rust_under(&CODE) || source.path == "src/process/sys.rs" {
        return vec![];
    }
    lines_with(source, &format!(r"\b{}\b", unsafe_word()), "may break memory safety: only src/process/sys.rs may")
}

fn unsafe_word() -> String {
    ["un", "safe"].concat()
}

#[test]
fn only_the_client_room_stands_on_what_ureq_may_change() {
    check(may_change);
    breaks(may_change, "src/client/unix.rs", &format!("use ureq::{}::transport::Transport;", may_change_word()), 0);
    breaks(may_change, "src/docker/mod.rs", &format!("use ureq::{}::transport::Transport;", may_change_word()), 1);
    breaks(may_change, "tests/it/a.rs", &format!("use ureq::{{\n    {}::resolver,\n}};", may_change_word()), 1);
}

fn may_change(source: &Source) -> Vec<String> {
    if !source.is_rust_under(&CODE) || source.path.starts_with("src/client/") {
        return vec![];
    }
    lines_with(source, &format!(r"\b{}\b", may_change_word()), "only src/client may name this part of ureq")
}

fn may_change_word() -> String {
    ["unver", "sioned"].concat()
}

#[test]
fn a_panic_always_unwinds() {
    check(aborting);
    breaks(aborting, "Cargo.toml", "# panic stays\npanic = \"unwind\"", 0);
    for aborts in [r#"panic = "abort""#, "[profile.release]\npanic='abort'", r#"rustflags = ["-C", "panic=abort"]"#] {
        breaks(aborting, "Cargo.toml", aborts, 1);
        breaks(aborting, ".cargo/config.toml", aborts, 1);
    }
}

fn aborting(source: &Source) -> Vec<String> {
    if !["Cargo.toml", ".cargo/config.toml", ".cargo/config"].contains(&&*source.path) {
        return vec![];
    }
    lines_with(source, r#"^[^#]*panic\s*=\s*["']?abort"#, "catching panics needs them to unwind")
}

#[test]
fn a_lint_that_is_allowed_has_its_reason_beside_it() {
    check(unexplained);
    breaks(unexplained, "src/a.rs", "#[allow(dead_code)] // on targets without it", 0);
    breaks(unexplained, "src/a.rs", "// On targets without it.\n#![allow(dead_code)]", 0);
    breaks(unexplained, "src/a.rs", "#[expect(dead_code, reason = \"on targets without it\")]", 0);
    breaks(unexplained, "src/a.rs", "/// Counts.\n#[allow(dead_code)]\nfn f() {}", 1);
    breaks(unexplained, "src/a.rs", "//! Tests.\n#![allow(dead_code)]", 1);
    breaks(unexplained, "src/a.rs", "#[expect(dead_code)]", 1);
    breaks(unexplained, "src/a.rs", "#[cfg_attr(test, allow(dead_code))]", 1);
}

fn unexplained(source: &Source) -> Vec<String> {
    if !source.is_rust_under(&CODE) {
        return vec![];
    }
    let attribute = Regex::new(r"^\s*#!?\[(?:cfg_attr\(.*)?(?:allow|expect)\(").unwrap();
    let mut found = Vec::new();
    let mut above = "";
    for (index, line) in source.text.lines().enumerate() {
        let comment = above.trim_start().starts_with("// ");
        if attribute.is_match(line) && !comment && !line.contains("// ") && !line.contains("reason = ") {
            found.push(source.finding(index + 1, "allows a lint and doesn't say why"));
        }
        above = line;
    }
    found
}

fn lines_with(source: &Source, pattern: &str, what: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).unwrap();
    source.code().filter(|(_, line)| pattern.is_match(line)).map(|(number, _)| source.finding(number, what)).collect()
}
