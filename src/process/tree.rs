//! The processes below this one, found and signalled without a race for ids.
//!
//! A sub-reaper inherits the orphans below it, so every process of a tree has
//! it for an ancestor, daemonised ones included; when it has no child left, the
//! tree is gone. `/proc` tells who they are. Where it doesn't (an empty root
//! directory, processes hidden by `hidepid`) the kernel still says of any id
//! whether it is *our child*: the tree is then ended generation by generation,
//! at half a second each.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::OwnedFd;

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
    /// A child of ours in our own group. Nobody else gets its id: it is we who would take in its end.
    Child(Pid),
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
    let listed = descendants().unwrap_or_default().into_iter().find_map(|member| match member {
        Member::Process { pid, .. } | Member::Child(pid) => Some(pid),
        Member::Group(_) => None,
    });
    listed.or_else(|| living_children().next())
}

fn members() -> Vec<Member> {
    match descendants() {
        Some(listed) if !listed.is_empty() || !has_living_children_only() => listed,
        // No `/proc`, or one that hides some processes from some users (`hidepid`, proc(5)).
        _ => groups_of_children(),
    }
}

fn send(member: Member, signal: Signal) {
    // A failed signal has nobody to be told to: the next round sees who is left.
    let _: rustix::io::Result<()> = match member {
        Member::Group(group) => kill_process_group(group, signal),
        Member::Child(pid) => kill_process(pid, signal),
        Member::Process { pid, started_ticks } => {
            send_to(pid, started_ticks, pidfd_open(pid, PidfdFlags::empty()), signal)
        }
    };
}

/// Signals the process that started then, by its handle; by its id where no
/// handle can be had: on an old kernel, or under a filter that knows no pidfds.
fn send_to(
    pid: Pid,
    started_ticks: u64,
    handle: rustix::io::Result<OwnedFd>,
    signal: Signal,
) -> rustix::io::Result<()> {
    // Looked at after the handle was opened: whose start it is, its handle it is.
    if stat_of(pid).is_none_or(|stat| stat.started_ticks != started_ticks) {
        return Err(Errno::SRCH);
    }
    match handle {
        Ok(handle) => pidfd_send_signal(handle, signal),
        Err(Errno::SRCH) => Err(Errno::SRCH),
        Err(_) => kill_process(pid, signal),
    }
}

/// What `/proc/PID/stat` says (`proc_pid_stat(5)`).
struct Stat {
    state: u8,
    parent: i32,
    threads: u64,
    started_ticks: u64,
}

impl Stat {
    /// Whether it can still do anything. One whose first thread has ended shows
    /// as a zombie while the others go on (`pthread_exit(3)`).
    fn is_alive(&self) -> bool {
        self.threads > 1 || !matches!(self.state, b'Z' | b'X')
    }
}

fn stat_of(pid: Pid) -> Option<Stat> {
    let text = fs::read(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    // The name in brackets may hold anything, brackets included: what follows the last one counts.
    let after_name = &text[memchr::memrchr(b')', &text)? + 1..];
    let mut fields = after_name.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let state = *fields.next()?.first()?;
    let mut number = |skip: usize| std::str::from_utf8(fields.nth(skip)?).ok()?.parse::<u64>().ok();
    let parent = i32::try_from(number(0)?).ok()?;
    let threads = number(15)?;
    let started_ticks = number(1)?;
    Some(Stat { state, parent, threads, started_ticks })
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
            if stat.is_alive() {
                found.push(Member::Process { pid, started_ticks: stat.started_ticks });
            }
        }
    }
    Some(found)
}

/// The groups of our children, found by asking of every possible id.
fn groups_of_children() -> Vec<Member> {
    let as_member = |pid: Pid| match getpgid(Some(pid)) {
        Ok(group) if group != getpgrp() => Member::Group(group),
        _ => Member::Child(pid),
    };
    let found: HashSet<Member> = living_children().map(as_member).collect();
    found.into_iter().collect()
}

/// Our living children, found by asking of every possible id.
fn living_children() -> impl Iterator<Item = Pid> {
    (1..=PID_MAX).filter_map(Pid::from_raw).filter(|pid| lives(WaitId::Pid(*pid)))
}

/// Whether we have children, and none of them has ended without being taken in.
fn has_living_children_only() -> bool {
    lives(WaitId::All)
}

fn lives(child: WaitId<'_>) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(child, options).is_ok_and(|ended| ended.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::{CommandExt, ExitStatusExt};
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
    fn a_process_is_signalled_by_its_id_where_no_handle_of_it_can_be_had() {
        for refusal in [Errno::NOSYS, Errno::PERM, Errno::MFILE] {
            let mut child = Command::new("sleep").arg("60").spawn().unwrap();
            let pid = Pid::from_child(&child);
            let started_ticks = stat_of(pid).unwrap().started_ticks;
            assert_eq!(send_to(pid, started_ticks + 1, Err(refusal), Signal::KILL), Err(Errno::SRCH));
            assert!(child.try_wait().unwrap().is_none(), "a stranger was killed");
            send_to(pid, started_ticks, Err(refusal), Signal::KILL).unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(9), "{refusal}");
        }
    }

    #[test]
    fn without_proc_children_are_found_by_asking_the_kernel_and_signalled() {
        let mut in_our_group = Command::new("sleep").arg("60").spawn().unwrap();
        let mut leader = Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let ours = Member::Child(Pid::from_child(&in_our_group));
        let its_own = Member::Group(Pid::from_child(&leader));
        let found = groups_of_children();
        assert!(found.contains(&ours) && found.contains(&its_own), "{found:?}");
        assert!(living_children().any(|pid| pid == Pid::from_child(&leader)));
        send(ours, Signal::KILL);
        send(its_own, Signal::KILL);
        assert_eq!(in_our_group.wait().unwrap().signal(), Some(9));
        assert_eq!(leader.wait().unwrap().signal(), Some(9));
        let found = groups_of_children();
        assert!(!found.contains(&ours) && !found.contains(&its_own), "{found:?}");
    }
}
