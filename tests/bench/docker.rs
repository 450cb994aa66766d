//! Docker's Engine API beside the docker command: a list, and a long log.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::rc::Rc;
use std::time::Duration;

use crate::compare::{Comparison, Effort, Side};
use crate::figure::{Bar, Figure, Unit};
use crate::programs::{cost_of, on_path, towpath};
use crate::support::docker::{DOCKER, Daemon, IMAGE};

/// So many looks in a row that say the same, and how far they are apart.
const STILL: usize = 10;
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How many containers are listed.
const LISTED: usize = 10;

pub(crate) fn comparisons(effort: Effort) -> Vec<Comparison> {
    let figure = |name, unit, most| Figure { name, unit, bar: Some(Bar::TimesAtMost(most)) };
    let list = vec![figure("wall", Unit::WallMs, 0.5), figure("peak RSS", Unit::Mebibytes, 0.3)];
    let log = vec![figure("cpu", Unit::CpuMs, 0.3)];
    let names = ["docker ps -a", "docker logs"];
    let lines = effort.log_lines;
    let missing = [DOCKER, "/usr/sbin/dockerd"].into_iter().find(|program| !Path::new(program).exists());
    let missing = missing.map(|program| format!("{program} is not installed"));
    let missing = missing.or_else(|| (!rustix::process::geteuid().is_root()).then(|| "needs root".to_owned()));
    let missing = missing.or_else(|| on_path("busybox").is_none().then(|| "busybox is not installed".to_owned()));
    let [ps, logs] = match missing {
        Some(why) => [(); 2].map(|()| [Side::absent("towpath", &why), Side::absent("docker", &why)]),
        None => {
            let stage = Rc::new(Stage::new(lines));
            [
                [towpath(), DOCKER].map(|program| stage.clone().side(program, &["ps", "-a"], effort.runs)),
                [towpath(), DOCKER].map(|program| stage.clone().side(program, &["logs", "log"], 1)),
            ]
        }
    };
    let comparison = |name: &str, rounds, figures, [ours, peer]: [Side; 2]| Comparison {
        name: name.to_owned(),
        rounds,
        figures,
        ours,
        peer: Some(peer),
    };
    vec![comparison(names[0], effort.rounds, list, ps), comparison(names[1], effort.slow_rounds, log, logs)]
}

/// A daemon with containers, of which one has a long log.
struct Stage {
    daemon: Daemon,
}

impl Stage {
    fn new(lines: usize) -> Stage {
        let daemon = Daemon::start();
        for number in 1..LISTED {
            daemon.cli(&["create", "--name", &format!("c{number}"), IMAGE, "true"]);
        }
        let last = (1_000_000_000 + lines - 1).to_string();
        daemon.cli(&["run", "-d", "--name", "log", IMAGE, "seq", "1000000000", &last]);
        daemon.cli(&["wait", "log"]);
        Stage { daemon }
    }

    fn side(self: Rc<Self>, program: &'static str, words: &'static [&'static str], runs: u32) -> Side {
        let label = if program == DOCKER { "docker" } else { "towpath" };
        Side::new(label, move || {
            if words[0] == "logs" {
                self.same_bytes(words)?;
                let cost = cost_of(|| self.run(program, words).map(drop))?;
                return Ok(vec![cost.cpu * 1000.0]);
            }
            let cost = cost_of(|| (0..runs).try_for_each(|_| self.run(program, words).map(drop)))?;
            Ok(vec![cost.wall * 1000.0 / f64::from(runs), self.peak_mib(program, words)?])
        })
    }

    /// What a side has to say goes nowhere: the reader isn't measured.
    fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args((program != DOCKER).then_some("docker")).args(words);
        command.env("DOCKER_HOST", self.daemon.host()).stdin(Stdio::null());
        command
    }

    fn run(&self, program: &str, words: &[&str]) -> Result<(), String> {
        let status = self.command(program, words).stdout(Stdio::null()).status();
        let status = status.map_err(|error| format!("{program}: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("{program} {words:?} ends with {status}")) }
    }

    fn same_bytes(&self, words: &[&str]) -> Result<(), String> {
        let out = |program: &str| -> Result<Output, String> {
            self.command(program, words).output().map_err(|error| format!("{program}: {error}"))
        };
        let same = out(towpath())?.stdout == out(DOCKER)?.stdout;
        if same { Ok(()) } else { Err("towpath docker logs gives other bytes than docker logs".to_owned()) }
    }

    /// The most memory that it had at once, when it is about to print: its standard
    /// output takes nothing, so that it stands still there.
    fn peak_mib(&self, program: &str, words: &[&str]) -> Result<f64, String> {
        let (_unread, full) = std::io::pipe().map_err(|error| format!("a pipe: {error}"))?;
        rustix::io::ioctl_fionbio(&full, true).map_err(|error| format!("a pipe: {error}"))?;
        while (&full).write(&[0; 4096]).is_ok() {}
        rustix::io::ioctl_fionbio(&full, false).map_err(|error| format!("a pipe: {error}"))?;
        let child = self.command(program, words).stdout(full).spawn();
        let mut child = child.map_err(|error| format!("{program}: {error}"))?;
        let mut peaks = Vec::new();
        while peaks.len() < STILL || peaks[peaks.len() - STILL..].iter().any(|peak| Some(peak) != peaks.last()) {
            std::thread::sleep(LOOK_EVERY);
            peaks.extend(peak_kib(child.id()));
            if peaks.len() > 100 * STILL || child.try_wait().is_ok_and(|ended| ended.is_some()) {
                break;
            }
        }
        let _ = (child.kill(), child.wait());
        peaks.last().map(|kib| kib / 1024.0).ok_or_else(|| format!("{program} tells no peak"))
    }
}

/// `VmHWM` of proc_pid_status(5), in KiB.
fn peak_kib(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().trim_end_matches(" kB").parse().ok()
}
