//! What is seen of a case's processes in /proc (proc(5)): the warden's own, or for
//! [`snapshot`](crate::snapshot) the host's.
//!
//! The warden asks only while the process waits in a notification of the guard, so that what is
//! read is of that process and of that moment. What cannot be read is taken for not there.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::guard::Notification;
use super::protocol::Held;
use crate::finding::Leftover;

/// Whether the signal, were it not for PID 1, would end the process: it is not caught, not
/// ignored, not blocked, and a thread sends it to itself or to the process as a whole.
pub fn is_deadly(notification: &Notification, signal: i32, thread: Option<i32>) -> bool {
    let own = status_field(notification.thread, "NSpid:");
    let own = own.and_then(|ids| ids.split_whitespace().last()?.parse::<i32>().ok());
    if thread.is_some() && thread != own {
        return false;
    }
    let bit = 1_u64 << (signal - 1);
    ["SigBlk:", "SigIgn:", "SigCgt:"].iter().all(|field| {
        let mask = status_field(notification.thread, field);
        mask.and_then(|hex| u64::from_str_radix(&hex, 16).ok()).is_some_and(|set| set & bit == 0)
    })
}

/// One field of `/proc/TID/status`, proc_pid_status(5).
pub fn status_field(thread: i32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().to_owned())
}

/// The living children of a process, `/proc/PID/task/TID/children` of proc(5). Orphans of its
/// pid namespace are among them where it is PID 1 there.
pub fn children_of(pid: i32) -> Vec<Leftover> {
    child_ids(pid).into_iter().filter_map(leftover).collect()
}

/// The ids of the children of a process, those that are zombies among them.
pub fn child_ids(pid: i32) -> Vec<i32> {
    let tasks = PathBuf::from(format!("/proc/{pid}/task"));
    // A link each for `.`, `..` and every thread; most have one thread left when they exit.
    let threads: Vec<PathBuf> = match fs::metadata(&tasks).map(|directory| directory.nlink()) {
        Ok(3) => vec![tasks.join(pid.to_string())],
        Ok(_) | Err(_) => match fs::read_dir(&tasks) {
            Ok(threads) => threads.flatten().map(|thread| thread.path()).collect(),
            Err(_) => Vec::new(),
        },
    };
    let lists: String =
        threads.iter().filter_map(|thread| read_proc(&thread.join("children"))).collect();
    lists.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// Reads a file of proc, whose size is told as 0 and which is short, as a rule: it ends where a
/// read does not fill what it was given.
fn read_proc(path: &Path) -> Option<String> {
    let mut file = fs::File::open(path).ok()?;
    let (mut text, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let length = file.read(&mut part).ok()?;
        text.extend_from_slice(part.get(..length)?);
        if length < part.len() {
            return String::from_utf8(text).ok();
        }
    }
}

/// What the test `pid` holds when it fails, as far as limits go; `leader` is PID 1 of its case.
pub fn held(pid: i32, leader: i32) -> Held {
    let number = |field| {
        let text = status_field(pid, field);
        text.and_then(|text| text.split(' ').next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    Held {
        processes: tasks(leader),
        descriptor_room: number("FDSize:"),
        address_space: number("VmPeak:") << 10,
    }
}

/// The threads of a process and of all its descendants.
fn tasks(pid: i32) -> u64 {
    let own = status_field(pid, "Threads:").and_then(|text| text.parse().ok()).unwrap_or(0);
    own + child_ids(pid).into_iter().map(tasks).sum::<u64>()
}

/// A process as a leftover; `None` where it has ended already.
fn leftover(pid: i32) -> Option<Leftover> {
    if status_field(pid, "State:")?.starts_with(['Z', 'X']) {
        return None;
    }
    let inside = status_field(pid, "NSpid:")?;
    let name = status_field(pid, "Name:")?;
    Some(Leftover { pid: inside.split_whitespace().last()?.parse().ok()?, name })
}

/// How many packets of the process's network namespace found no route: OutNoRoutes of
/// `/proc/PID/net/snmp` and `snmp6` (RFC 4293, ipSystemStatsOutNoRoutes).
pub fn unrouted_packets(pid: i32) -> u64 {
    let read = |file| fs::read_to_string(format!("/proc/{pid}/net/{file}")).unwrap_or_default();
    let (ipv4, ipv6) = (read("snmp"), read("snmp6"));
    let mut lines = ipv4.lines().filter(|line| line.starts_with("Ip:"));
    let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let ipv4 = names.split(' ').zip(values.split(' ')).find(|(name, _)| *name == "OutNoRoutes");
    let ipv6 = ipv6.lines().find_map(|line| line.strip_prefix("Ip6OutNoRoutes"));
    let number = |text: &str| text.trim().parse::<u64>().unwrap_or(0);
    ipv4.map_or(0, |(_, value)| number(value)) + ipv6.map_or(0, number)
}

/// Whether the process's `/tmp`, which shares its filesystem with all that a case writes, has no
/// block or no inode left (statfs(2)).
pub fn is_scratch_full(pid: i32) -> bool {
    let Ok(directory) = fs::File::open(format!("/proc/{pid}/root/tmp")) else { return false };
    let status = rustix::fs::fstatfs(directory.as_fd());
    status.is_ok_and(|status| status.f_blocks > 0 && (status.f_bavail == 0 || status.f_ffree == 0))
}
