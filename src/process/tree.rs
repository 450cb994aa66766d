//! The processes below this one, found and signalled without a race for ids.
//!
//! A sub-reaper inherits the orphans below it, so every process of a tree has
//! it for an ancestor, daemonised ones included; when it has no child left, the
//! tree is gone. `/proc` tells who they are. Without `/proc` (an empty root
//! directory) the kernel still says of any id whether it is *our child*: the
//! tree is then ended generation by generation, at half a second each.

use std::collections::{HashMap, HashSet};
use std::fs;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, getpgid, getpgrp, getpid, getppid, kill_process,
    kill_process_group, pidfd_open, pidfd_send_signal, wait, waitid,
};

/// The largest process id Linux ever gives (`proc(5)`, `pid_max`).
const PID_MAX: i32 = 4 << 20;

/// How often a tree is listed again for processes forked while it was frozen.
const FREEZE_ROUNDS: usize = 16;

/// What a signal can be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Member {
    /// A process, told from a later owner of its id by its start in clock ticks from boot.
    Process { pid: Pid, started_ticks: u64 },
    /// A whole group, where `/proc` doesn't name its members.
    Group(Pid),
}

/// Sends a signal to every process below this one. Those that may not be
/// signalled (a set-uid program) and those gone already are passed over.
pub(super) fn signal_all(signal: Signal) {
    for member in members() {
        send(member, signal);
    }
}

/// Kills every process below this one: first all are stopped, until no new one
/// is found, so that none can fork itself away meanwhile.
pub(super) fn kill_all() {
    let mut frozen = HashSet::new();
    for _ in 0..FREEZE_ROUNDS {
        let fresh: Vec<Member> = members().into_iter().filter(|member| !frozen.contains(member)).collect();
        if fresh.is_empty() {
            break;
        }
        for member in fresh {
            send(member, Signal::STOP);
            frozen.insert(member);
        }
    }
    for member in frozen {
        send(member, Signal::KILL);
    }
}

/// Takes in the ends of all children that have ended.
pub(super) fn reap_all() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

/// How many processes live below this one; without `/proc`, at least so many.
pub(super) fn count() -> usize {
    members().len()
}

/// Any one process below this one, for a message.
pub(super) fn any() -> Option<Pid> {
    members().first().map(|member| match member {
        Member::Process { pid, .. } | Member::Group(pid) => *pid,
    })
}

fn members() -> Vec<Member> {
    descendants().unwrap_or_else(groups_of_children)
}

fn send(member: Member, signal: Signal) {
    // A failed signal has nobody to be told to: the next round sees who is left.
    let _: rustix::io::Result<()> = match member {
        Member::Group(group) => kill_process_group(group, signal),
        Member::Process { pid, started_ticks } => match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) if stat_of(pid).is_some_and(|stat| stat.started_ticks == started_ticks) => {
                pidfd_send_signal(handle, signal)
            }
            Err(Errno::NOSYS) => kill_process(pid, signal),
            Ok(_) | Err(_) => Ok(()),
        },
    };
}

/// What `/proc/PID/stat` says (`proc_pid_stat(5)`).
struct Stat {
    state: u8,
    parent: i32,
    started_ticks: u64,
}

fn stat_of(pid: Pid) -> Option<Stat> {
    let text = fs::read(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    // The name in brackets may hold anything, brackets included: what follows the last one counts.
    let after_name = &text[memchr::memrchr(b')', &text)? + 1..];
    let mut fields = after_name.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let state = *fields.next()?.first()?;
    let mut number = |skip: usize| std::str::from_utf8(fields.nth(skip)?).ok()?.parse::<u64>().ok();
    let parent = i32::try_from(number(0)?).ok()?;
    let started_ticks = number(17)?;
    Some(Stat { state, parent, started_ticks })
}

/// Whether `/proc` is there, and of our process namespace.
pub(super) fn can_list() -> bool {
    let my_parent = getppid().map_or(0, Pid::as_raw_pid);
    stat_of(getpid()).is_some_and(|stat| stat.parent == my_parent)
}

/// Every living process below this one; `None` where `/proc` is missing, or is
/// another process namespace's, where our ids mean somebody else.
fn descendants() -> Option<Vec<Member>> {
    if !can_list() {
        return None;
    }
    let mut children: HashMap<i32, Vec<(Pid, Stat)>> = HashMap::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        if let Some((pid, stat)) = pid.and_then(|pid| Some((pid, stat_of(pid)?))) {
            children.entry(stat.parent).or_default().push((pid, stat));
        }
    }
    let mut found = Vec::new();
    let mut parents = vec![getpid().as_raw_pid()];
    while let Some(parent) = parents.pop() {
        for (pid, stat) in children.remove(&parent).unwrap_or_default() {
            parents.push(pid.as_raw_pid());
            if !matches!(stat.state, b'Z' | b'X') {
                found.push(Member::Process { pid, started_ticks: stat.started_ticks });
            }
        }
    }
    Some(found)
}

/// The groups of our children, found by asking of every possible id.
fn groups_of_children() -> Vec<Member> {
    let is_living_child = |pid: &Pid| {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(*pid), options).is_ok_and(|ended| ended.is_none())
    };
    let as_member = |pid: Pid| match getpgid(Some(pid)) {
        Ok(group) if group != getpgrp() => Member::Group(group),
        _ => Member::Process { pid, started_ticks: 0 },
    };
    let found: HashSet<Member> =
        (1..=PID_MAX).filter_map(Pid::from_raw).filter(is_living_child).map(as_member).collect();
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_child_and_its_child_are_found_and_told_from_strangers() {
        let mut child =
            Command::new("sh").args(["-c", "sleep 60 & echo; wait"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let pid = Pid::from_child(&child);
        let found = descendants().unwrap();
        let processes: Vec<Pid> =
            found.iter().filter_map(|m| if let Member::Process { pid, .. } = m { Some(*pid) } else { None }).collect();
        assert!(processes.contains(&pid));
        let grandchild = processes.iter().find(|p| stat_of(**p).is_some_and(|s| s.parent == pid.as_raw_pid())).unwrap();
        assert!(!processes.contains(&Pid::INIT));
        let started_ticks = stat_of(*grandchild).unwrap().started_ticks;
        // A start that doesn't match is another process with the same id: it is left alone.
        send(Member::Process { pid: *grandchild, started_ticks: started_ticks + 1 }, Signal::KILL);
        assert!(stat_of(*grandchild).is_some());
        send(Member::Process { pid: *grandchild, started_ticks }, Signal::KILL);
        child.wait().unwrap();
    }

    #[test]
    fn without_proc_children_are_found_by_asking_the_kernel() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let found = groups_of_children();
        assert!(found.iter().any(|m| matches!(m, Member::Process { pid: p, .. } if *p == pid)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!groups_of_children().iter().any(|m| matches!(m, Member::Process { pid: p, .. } if *p == pid)));
    }
}
