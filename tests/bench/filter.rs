//! Choosing lines of a large log, through a pipe: grep that writes to
//! `/dev/null` stops at its first match.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;

use tempfile::TempDir;

use crate::compare::{Comparison, Effort, Side};
use crate::figure::{Bar, Figure, Unit};
use crate::output::pass_through;
use crate::programs::{command, cost_of, on_path, towpath};

/// What is looked for: a word, and what takes a regular expression.
const PATTERNS: [(&str, &str); 2] = [("a word", "ERROR"), ("an expression", "status=5[0-9][0-9]")];

pub(crate) fn comparisons(effort: Effort) -> Vec<Comparison> {
    let log = Rc::new(Log { mib: effort.log_mib, file: OnceCell::new() });
    PATTERNS
        .into_iter()
        .map(|(what, pattern)| {
            let logs = [towpath(), "logs", "--include", pattern, "LOG"];
            let ours = filtering("towpath", &logs, pattern, &log);
            let peer = match on_path("grep") {
                None => Side::absent("grep", "not installed"),
                Some(_) => filtering("grep", &["env", "LC_ALL=C", "grep", pattern, "LOG"], pattern, &log),
            };
            let figure = |name, unit, bar| Figure { name, unit, bar };
            let figures = vec![
                figure("throughput", Unit::MebibytesPerSecond, Some(Bar::TimesAtLeast(1.0))),
                figure("cpu", Unit::CpuSecondsPerGib, None),
            ];
            Comparison {
                name: format!("logs --include, {what}"),
                rounds: effort.slow_rounds,
                figures,
                ours,
                peer: Some(peer),
            }
        })
        .collect()
}

/// One side; `LOG` in its words stands for the file.
fn filtering(label: &str, words: &[&str], pattern: &'static str, log: &Rc<Log>) -> Side {
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    let log = Rc::clone(log);
    let mut was_checked = false;
    Side::new(label, move || {
        let (path, matching) = log.path(pattern)?;
        let words: Vec<String> = words.iter().map(|word| word.replace("LOG", &path)).collect();
        if !was_checked {
            let passed = length_of_output(&words)?;
            if passed != matching {
                return Err(format!("{passed} bytes pass, of the {matching} that match"));
            }
            was_checked = true;
        }
        let cost = cost_of(|| pass_through(&[words.clone(), vec!["cat".to_owned()]]))?;
        let mib = log.mib as f64;
        Ok(vec![mib / cost.wall, cost.cpu * 1024.0 / mib])
    })
}

/// A program that drops what matches would win.
fn length_of_output(words: &[String]) -> Result<u64, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let say = |error: std::io::Error| format!("{}: {error}", words[0]);
    let mut child = command(&words).stdout(Stdio::piped()).spawn().map_err(say)?;
    let mut stdout = child.stdout.take().ok_or("no output")?;
    let (mut length, mut piece) = (0, vec![0; 64 * 1024]);
    loop {
        match stdout.read(&mut piece).map_err(say)? {
            0 => break,
            read => length += read as u64,
        }
    }
    let status = child.wait().map_err(say)?;
    if status.success() { Ok(length) } else { Err(format!("{} ends with {status}", words.join(" "))) }
}

/// A log of a service, written when it is first asked for.
struct Log {
    mib: usize,
    file: OnceCell<Result<(TempDir, Vec<u64>), String>>,
}

impl Log {
    /// Its path, and how many of its bytes are in lines that match.
    fn path(&self, pattern: &str) -> Result<(String, u64), String> {
        let (dir, matching) = self.file.get_or_init(|| self.write()).as_ref().map_err(Clone::clone)?;
        let index = PATTERNS.iter().position(|(_, other)| *other == pattern).unwrap_or_default();
        let path = dir.path().join("log");
        Ok((path.to_str().ok_or("a path that isn't text")?.to_owned(), matching[index]))
    }

    fn write(&self) -> Result<(TempDir, Vec<u64>), String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let matching = write_log(&dir.path().join("log"), self.mib << 20).map_err(|error| error.to_string())?;
        Ok((dir, matching))
    }
}

/// Lines of varying length, one of 64 an error, one of 200 a failed request.
fn write_log(path: &Path, length: usize) -> std::io::Result<Vec<u64>> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let (mut written, mut matching, mut number) = (0, vec![0; PATTERNS.len()], 0usize);
    while written < length {
        let (is_error, is_failure) = (number % 64 == 5, number % 200 == 7);
        let level = if is_error { "ERROR" } else { "INFO " };
        let status = if is_failure { 503 } else { 200 };
        let path = &"/archive/2026/january/reports"[..8 + number * 7 % 21];
        let line = format!(
            "2026-01-02T03:04:{:02}.{:03}Z {level} http: GET {path} request={number:09} status={status} took 12 ms\n",
            number / 1000 % 60,
            number % 1000
        );
        file.write_all(line.as_bytes())?;
        for (matches, bytes) in [is_error, is_failure].into_iter().zip(&mut matching) {
            *bytes += if matches { line.len() as u64 } else { 0 };
        }
        written += line.len();
        number += 1;
    }
    file.flush()?;
    Ok(matching)
}
