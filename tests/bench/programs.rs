//! The programs that are measured: where they are, and what running them costs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Ours, as the bench profile builds it, which is the release profile.
pub(crate) fn towpath() -> &'static str {
    env!("CARGO_BIN_EXE_towpath")
}

/// The static binary, where `tests/run` leaves it.
pub(crate) fn static_towpath() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("TOWPATH_STATIC_BIN") {
        return Some(named.into());
    }
    let target = Path::new(towpath()).ancestors().nth(2)?;
    let triples = std::fs::read_dir(target.join("static")).ok()?;
    let mut binaries = triples.filter_map(Result::ok).map(|triple| triple.path().join("release/towpath"));
    binaries.find(|binary| binary.is_file())
}

/// Fails unless `towpath --version` answers.
pub(crate) fn version_works() -> Result<(), String> {
    let (code, stdout) = answer(&["--version"])?;
    let works = code == Some(0) && stdout.starts_with(b"towpath ");
    if works { Ok(()) } else { Err("towpath doesn't say its version".to_owned()) }
}

/// Fails unless `towpath run` runs a command and passes on how it ended: a
/// program that does nothing would win every comparison.
pub(crate) fn run_works() -> Result<(), String> {
    let (code, stdout) = answer(&["run", "--", "sh", "-c", "echo up; exit 3"])?;
    let works = code == Some(3) && stdout == b"up\n";
    if works { Ok(()) } else { Err("towpath run doesn't run a command".to_owned()) }
}

fn answer(arguments: &[&str]) -> Result<(Option<i32>, Vec<u8>), String> {
    let out = Command::new(towpath()).args(arguments).stdin(Stdio::null()).output();
    let out = out.map_err(|error| format!("{}: {error}", towpath()))?;
    Ok((out.status.code(), out.stdout))
}

pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(arguments[0]);
    command.args(&arguments[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Wall and processor time, in seconds.
pub(crate) struct Cost {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
}

/// What the body costs, with all the processes that it starts and waits for.
pub(crate) fn cost_of(body: impl FnOnce() -> Result<(), String>) -> Result<Cost, String> {
    let (cpu, wall) = (cpu_of_children(), Instant::now());
    body()?;
    Ok(Cost { wall: wall.elapsed().as_secs_f64(), cpu: cpu_of_children() - cpu })
}

/// Processor time of every child that was waited for, and of those that it
/// waited for in turn: `cutime` and `cstime` of proc_pid_stat(5), in seconds.
fn cpu_of_children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let ticks: f64 = fields[13..15].iter().map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / rustix::param::clock_ticks_per_second() as f64
}
