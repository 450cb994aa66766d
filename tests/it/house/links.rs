//! Links in the documents lead to a file that is there, and to a heading that
//! it has.

use std::path::{Component, Path, PathBuf};

use super::{Source, none, sources};

#[test]
fn relative_links_lead_somewhere() {
    let sources = sources();
    none(&broken_in(&sources));
}

#[test]
fn a_link_to_nothing_is_found() {
    let broken = |text: &str| {
        let guide = Source::new("docs/run.md", "# Run\n\n## What `run` ends\n```sh\n# no heading\n```\n");
        broken_in(&[Source::new("README.md", text), guide])
    };
    let good =
        "[a](docs/run.md) [b](docs/run.md#what-run-ends) [c](https://example.org/x.md) [d](#here) [e](docs)\n# Here\n";
    assert_eq!(broken(good), Vec::<String>::new());
    assert_eq!(broken("```md\n[a](none.md)\n```\n`[b](none.md)`\n"), Vec::<String>::new());
    for bad in
        ["[a](run.md)", "[a]: run.md", "![a](docs/run.png \"x\")", "[a](docs/run.md#no-heading)", "[a](#no-such)"]
    {
        assert_eq!(broken(bad).len(), 1, "{bad}");
    }
    assert_eq!(broken_in(&[Source::new("docs/a.md", "[up](../README.md)")]).len(), 1);
}

fn broken_in(sources: &[Source]) -> Vec<String> {
    let link = regex::Regex::new(r#"(?:\]\(|^\[[^\]]+\]:\s*)<?([^)\s>]+)"#).unwrap();
    let mut broken = Vec::new();
    for source in sources.iter().filter(|source| source.path.ends_with(".md")) {
        for (number, line) in prose(&source.text) {
            let line = without_code(line);
            for found in link.captures_iter(&line) {
                if let Some(problem) = problem(sources, source, &found[1]) {
                    broken.push(source.finding(number, &problem));
                }
            }
        }
    }
    broken
}

fn problem(sources: &[Source], from: &Source, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let beside = Path::new(&from.path).parent().unwrap();
    let path = if file.is_empty() { PathBuf::from(&from.path) } else { plain(&beside.join(file)) };
    if !sources.iter().any(|source| Path::new(&source.path).starts_with(&path)) {
        return Some(format!("{link} leads to no file"));
    }
    let target = sources.iter().find(|source| Path::new(&source.path) == path && source.path.ends_with(".md"))?;
    let known = heading.is_empty() || prose(&target.text).any(|(_, line)| slug(line).as_deref() == Some(heading));
    (!known).then(|| format!("{link} leads to no heading"))
}

/// The lines outside fenced code, numbered from one.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().map(|(index, line)| (index + 1, line)).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// A heading as its anchor is written.
fn slug(line: &str) -> Option<String> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
    let kept = title.trim().to_lowercase();
    Some(kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-"))
}

fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}
