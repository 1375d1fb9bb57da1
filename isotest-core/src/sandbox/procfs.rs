//! Processes of a case in /proc (proc(5)): the warden's own, or for [`snapshot`](crate::snapshot)
//! the host's.
//!
//! The warden asks only while the process waits in a notification of the guard, so that what is
//! read is of that process and of that moment. What cannot be read is taken for not there.
//!
//! The warden has one thread. What it reads is made by the kernel alone, from counters: no name is
//! looked up in a filesystem of a case, and no memory of a process is read where `stat` tells the
//! same, since a filesystem (FUSE) and a page (userfaultfd(2)) may be a process of the case, which
//! need not answer. How much is read of one file, and of how many processes, is bounded.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::fstatfs;

use super::child::kernel;
use super::guard::Notification;
use super::protocol::HeldResources;
use crate::finding::Leftover;

/// Maximum bytes that are read of one file. Most are shorter than a page; the groups in `status`
/// and the list of mounts are a case's to make long.
const LARGEST: u64 = 1 << 20;
/// Maximum number of processes and threads of a case that are read.
const MOST: usize = 1 << 13;
/// Maximum number of processes that are left whose command line and ancestors are read.
const DESCRIBED: usize = 64;
/// Maximum bytes of a command line, and number of ancestors, that are told.
const LONGEST_COMMAND_LINE: u64 = 200;
const GENERATIONS: usize = 16;

/// True if the signal would end the process if it were not PID 1: it is not caught, not ignored,
/// not blocked, and a thread sends it to itself or to the process as a whole.
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
    let status = File::open(format!("/proc/{thread}/status")).ok()?;
    field_of(&read_piece(status)?, field).map(str::to_owned)
}

/// The same of a status that was read.
fn field_of<'a>(status: &'a str, field: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(field)).map(str::trim)
}

/// Largest resident set that a process has had, in bytes.
pub fn largest_resident_set(pid: i32) -> Option<u64> {
    let text = status_field(pid, "VmHWM:")?;
    Some(text.split(' ').next()?.parse::<u64>().ok()? << 10)
}

/// The text of a file of proc, the beginning of a long one. What is no UTF-8 in it, which a name
/// may be, is replaced.
pub fn contents(path: impl AsRef<Path>) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
    Some(text_of(bytes))
}

/// The text of a file of proc that the kernel makes in one piece (fs/seq_file.c, `single_open`): a
/// read that does not fill the buffer has got all of it.
pub fn read_piece(mut file: File) -> Option<String> {
    let mut buffer = [0; 8 << 10];
    let length = file.read(&mut buffer).ok()?;
    let mut bytes = buffer.get(..length)?.to_vec();
    if length == buffer.len() {
        file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    }
    Some(text_of(bytes))
}

/// What is no UTF-8 is replaced.
fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// `/proc/PID/stat` of proc_pid_stat(5).
#[derive(Debug, Clone, Copy)]
pub struct Stat {
    /// A letter, `R` for one that runs.
    state: char,
    flags: u64,
    /// The address of the bottom of the stack; 0 where it is not told.
    stack: u64,
    /// The addresses where its arguments begin and end.
    arguments: (u64, u64),
}

impl Stat {
    /// Reads its own, whatever pid namespace it is in.
    pub fn own() -> Option<Stat> {
        Stat::parse(&read_line(Path::new("/proc/self/stat"))?)
    }

    /// Reads it of a process, a zombie too.
    pub fn read(pid: i32) -> Option<Stat> {
        Stat::parse(&read_line(Path::new(&format!("/proc/{pid}/stat")))?)
    }

    fn parse(text: &[u8]) -> Option<Stat> {
        // The name, the second field, may hold anything; the third begins behind its parenthesis.
        let name_ends = text.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(text.get(name_ends + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse().ok();
        let arguments = field(48).zip(field(49)).unwrap_or_default();
        let state = fields.first()?.chars().next()?;
        Some(Stat { state, flags: field(9)?, stack: field(28)?, arguments })
    }

    /// True if it, or a thread of it, has called execve(2) since it was cloned.
    pub fn has_executed(&self) -> bool {
        const PF_FORKNOEXEC: u64 = 0x40;
        self.flags & PF_FORKNOEXEC == 0
    }

    /// The addresses where its arguments begin and end; `None` where it has none.
    pub fn arguments(&self) -> Option<(u64, u64)> {
        let (start, end) = self.arguments;
        (start < end).then_some(self.arguments)
    }

    /// The address of the bottom of its first stack.
    pub fn stack(&self) -> Option<u64> {
        (self.stack != 0).then_some(self.stack)
    }

    /// True if its leader was ended by a signal, which is also how the exit_group(2) of another
    /// thread ends it (kernel/signal.c, get_signal).
    pub fn was_signalled(&self) -> bool {
        const PF_SIGNALED: u64 = 0x400;
        self.flags & PF_SIGNALED != 0
    }
}

/// The stack pointer of a thread that waits in a system call.
pub fn stack_pointer(thread: i32) -> Option<u64> {
    // `/proc/PID/syscall`: the number, six arguments, the stack pointer, the program counter.
    let text = read_line(Path::new(&format!("/proc/{thread}/syscall")))?;
    let text = String::from_utf8(text).ok()?;
    let pointer = text.split_whitespace().nth(7)?.strip_prefix("0x")?;
    u64::from_str_radix(pointer, 16).ok()
}

/// The name of the file that a process runs.
pub fn file_name(pid: i32) -> Option<OsString> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = path.file_name()?.as_bytes();
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
    Some(OsStr::from_bytes(name).to_owned())
}

/// The command line of a process: each argument with a NUL behind it.
pub fn command_line(pid: i32) -> Option<Vec<u8>> {
    fs::read(format!("/proc/{pid}/cmdline")).ok()
}

/// Processes of a case beside its PID 1.
#[derive(Debug, Default)]
pub struct Remaining {
    /// Its living processes, with their ids in the warden's pid namespace: not those that have ended
    /// or are about to.
    pub processes: Vec<(i32, Leftover)>,
    /// Those that may be about to end, or to execute their program.
    pub in_motion: Vec<InMotion>,
}

/// A process or thread that runs or waits for a processor.
#[derive(Debug, Clone, Copy)]
pub struct InMotion {
    /// Its id.
    pub id: i32,
    /// Time that it has had a processor for; of a process, its first thread. `None` where the kernel
    /// does not tell.
    pub ran: Option<Duration>,
}

impl InMotion {
    fn read(id: i32, directory: &Path) -> InMotion {
        // `/proc/PID/task/TID/schedstat` begins with it, in nanoseconds
        // (Documentation/scheduler/sched-stats.rst).
        let text = contents(directory.join("schedstat")).unwrap_or_default();
        let ran = text.split(' ').next().and_then(|word| word.parse().ok());
        InMotion { id, ran: ran.map(Duration::from_nanos) }
    }
}

/// The living descendants of a process. Orphans of its pid namespace are among them where it is
/// PID 1 there.
pub fn remaining(leader: i32) -> Remaining {
    let mut remaining = Remaining::default();
    let mut family = HashMap::new();
    for pid in descendants(leader) {
        let Some((leftover, parent, motion)) = leftover(pid) else { continue };
        family.insert(pid, (parent, leftover.name.clone()));
        remaining.processes.push((pid, leftover));
        if motion == Motion::Moves {
            remaining.in_motion.push(InMotion::read(pid, &PathBuf::from(format!("/proc/{pid}"))));
        }
    }
    if !family.is_empty() {
        family.insert(leader, (0, status_field(leader, "Name:").unwrap_or_default()));
    }
    for (pid, leftover) in remaining.processes.iter_mut().take(DESCRIBED) {
        leftover.command_line = command_line_in_words(*pid).unwrap_or_default();
        leftover.ancestors = ancestors(*pid, &family);
    }
    remaining
}

/// The names of the ancestors of a process, its parent first, as far as they are known.
fn ancestors(pid: i32, family: &HashMap<i32, (i32, String)>) -> Vec<String> {
    let parent = |pid: &i32| Some(family.get(pid)?.0);
    let line = std::iter::successors(parent(&pid), parent).take(GENERATIONS);
    line.map_while(|pid| Some(family.get(&pid)?.1.clone())).collect()
}

/// The command line of a process as people write it, cut.
fn command_line_in_words(pid: i32) -> Option<String> {
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{pid}/cmdline")).ok()?;
    file.take(LONGEST_COMMAND_LINE).read_to_end(&mut bytes).ok()?;
    let words = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    let words: Vec<u8> = words.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect();
    Some(String::from_utf8_lossy(&words).into_owned())
}

/// The ids of all descendants of a process, children first; zombies are among them.
fn descendants(pid: i32) -> Vec<i32> {
    let (mut found, mut next) = (child_ids(pid), 0);
    while let Some(&pid) = found.get(next).filter(|_| found.len() < MOST) {
        found.extend(child_ids(pid));
        next += 1;
    }
    found.truncate(MOST);
    found
}

/// A thread that runs on.
#[derive(Debug)]
pub struct RemainingThread {
    pub name: String,
    /// It may be about to end.
    pub in_motion: Option<InMotion>,
}

/// The threads of a process but its first, on which `main` runs, and the one that exits; none that
/// has ended or is ending.
pub fn remaining_threads(process: i32, exiting: i32) -> Vec<RemainingThread> {
    let mut remaining = Vec::new();
    for thread in threads(process) {
        let id = thread.file_name().and_then(|id| id.to_str()?.parse::<i32>().ok());
        let Some(id) = id.filter(|id| *id != process && *id != exiting) else { continue };
        let Some(status) = contents(thread.join("status")) else { continue };
        let Some(motion) = motion(&thread, &status) else { continue };
        let in_motion = (motion == Motion::Moves).then(|| InMotion::read(id, &thread));
        let name = field_of(&status, "Name:").unwrap_or_default().to_owned();
        remaining.push(RemainingThread { name, in_motion });
    }
    remaining
}

/// The directories of the threads of a process.
fn threads(pid: i32) -> Vec<PathBuf> {
    let tasks = PathBuf::from(format!("/proc/{pid}/task"));
    // A link each for `.`, `..` and every thread; most have one thread left when they exit.
    match fs::metadata(&tasks).map(|directory| directory.nlink()) {
        Ok(3) => vec![tasks.join(pid.to_string())],
        Ok(_) | Err(_) => match fs::read_dir(&tasks) {
            Ok(threads) => threads.flatten().take(MOST).map(|thread| thread.path()).collect(),
            Err(_) => Vec::new(),
        },
    }
}

/// The ids of the children of a process, those that are zombies among them:
/// `/proc/PID/task/TID/children` of proc(5).
pub fn child_ids(pid: i32) -> Vec<i32> {
    let threads = threads(pid);
    let lists = threads.iter().filter_map(|thread| read_line(&thread.join("children")));
    let lists = String::from_utf8(lists.flatten().collect()).unwrap_or_default();
    lists.split_whitespace().filter_map(|id| id.parse().ok()).take(MOST).collect()
}

/// Signals a process and its descendants, parents first, and returns their ids. One that was just
/// forked may be missed: a signal does not reach a thread inside of fork(2).
pub fn signal_family(leader: i32, signal: i32) -> Vec<i32> {
    let (mut family, mut next) = (vec![leader], 0);
    while let Some(&pid) = family.get(next).filter(|_| next < MOST) {
        kernel::kill(pid, signal);
        family.extend(child_ids(pid));
        next += 1;
    }
    family
}

/// True if a thread of a process may still fork though the process was stopped: it has not noticed
/// the signal yet. One that waits for a child of vfork(2) has not either, and forks no more.
pub fn runs_on(pid: i32) -> bool {
    let state = |thread: &PathBuf| Stat::parse(&read_line(&thread.join("stat"))?);
    threads(pid).iter().filter_map(state).any(|stat| matches!(stat.state, 'R' | 'S'))
}

/// Reads a file of proc that is one line, or none. Most are shorter than a page; what is not told
/// is their size.
fn read_line(path: &Path) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    let (mut line, mut part) = (Vec::new(), [0; 4096]);
    while !line.ends_with(b"\n") && (line.len() as u64) < LARGEST {
        match file.read(&mut part).ok()? {
            0 => break,
            length => line.extend_from_slice(part.get(..length)?),
        }
    }
    Some(line)
}

/// Resources that the test `pid` holds when it fails, as far as limits go; `leader` is PID 1 of its
/// case.
pub fn held(pid: i32, leader: i32) -> HeldResources {
    let number = |field| {
        let text = status_field(pid, field);
        text.and_then(|text| text.split(' ').next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    HeldResources {
        processes: tasks(leader),
        descriptor_room: number("FDSize:"),
        address_space: number("VmPeak:") << 10,
    }
}

/// The threads of a process and of all its descendants. A zombie counts until it is waited for, as
/// it does for the kernel.
fn tasks(pid: i32) -> u64 {
    let threads = |pid| status_field(pid, "Threads:")?.parse::<u64>().ok();
    [pid].into_iter().chain(descendants(pid)).filter_map(threads).sum()
}

/// True if a process has more open than its three standard streams, one of these is a socket, or that is
/// not known: the size of the directory tells, since Linux 6.2.
pub fn may_have_sockets(pid: i32) -> bool {
    let size = fs::metadata(format!("/proc/{pid}/fd")).map_or(0, |directory| directory.len());
    let is_socket = |number| {
        let target = fs::read_link(format!("/proc/{pid}/fd/{number}"));
        target.is_ok_and(|target| target.as_os_str().as_bytes().starts_with(b"socket:"))
    };
    !(1..=3).contains(&size) || (0..3).any(is_socket)
}

/// The inode numbers of the sockets that the processes of a case have open; `leader` is its PID 1.
pub fn open_sockets(leader: i32) -> HashSet<u32> {
    let of_process = |pid: i32| fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    let processes = [leader].into_iter().chain(descendants(leader));
    let descriptors = processes.flat_map(of_process).flatten().take(MOST);
    let inode = |descriptor: fs::DirEntry| {
        let target = fs::read_link(descriptor.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    descriptors.filter_map(inode).collect()
}

/// Activity of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Motion {
    Waits,
    Moves,
}

/// A process as a leftover, and its parent; `None` where it has ended, is just ending, or was killed.
fn leftover(pid: i32) -> Option<(Leftover, i32, Motion)> {
    let directory = PathBuf::from(format!("/proc/{pid}"));
    let status = contents(directory.join("status"))?;
    let field = |name| field_of(&status, name);
    let motion = match field("Threads:")? {
        "1" => motion(&directory, &status)?,
        // The thread that leads it may have ended before the others.
        _ => {
            let threads = fs::read_dir(directory.join("task")).ok()?.flatten().take(MOST);
            let motion = |thread: fs::DirEntry| {
                let status = contents(thread.path().join("status"))?;
                motion(&thread.path(), &status)
            };
            threads.filter_map(motion).max()?
        }
    };
    let inside = field("NSpid:")?.split_whitespace().last()?.parse().ok()?;
    // Between the end of its old memory and its new name a process that executes a program has no
    // arguments, and still the name of the thread that has made it (fs/exec.c, begin_new_exec).
    let is_named = Stat::read(pid).is_some_and(|stat| stat.arguments().is_some());
    let motion = if is_named { motion } else { Motion::Moves };
    let name = field("Name:")?.to_owned();
    let (command_line, ancestors) = (String::new(), Vec::new());
    let parent = field("PPid:")?.parse().ok()?;
    Some((Leftover { pid: inside, name, command_line, ancestors }, parent, motion))
}

/// Activity of a thread, by its directory and its status there; `None` where it ends.
fn motion(directory: &Path, status: &str) -> Option<Motion> {
    /// `PF_EXITING` of linux/sched.h: do_exit() has begun, which closes files long before the
    /// thread is a zombie.
    const EXITING: u32 = 0x4;
    const KILLED: u64 = 1 << (libc::SIGKILL - 1);
    let stat = contents(directory.join("stat"))?;
    // The name, in brackets, may hold anything.
    let mut words = stat.rsplit_once(") ")?.1.split(' ');
    let state = words.next()?;
    let flags: u32 = words.nth(5)?.parse().ok()?;
    let pending = u64::from_str_radix(field_of(status, "SigPnd:")?, 16).ok()?;
    match state {
        "Z" | "X" => None,
        _ if flags & EXITING != 0 || pending & KILLED != 0 => None,
        // Uninterruptible: it waits for the kernel, such as for its address space.
        "R" | "D" => Some(Motion::Moves),
        _ => Some(Motion::Waits),
    }
}

/// True if a filesystem has no block or no inode left (statfs(2)).
pub fn is_full(filesystem: &impl AsFd) -> bool {
    fstatfs(filesystem)
        .is_ok_and(|status| status.f_blocks > 0 && (status.f_bavail == 0 || status.f_ffree == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_was_executed() {
        let own = std::process::id() as i32;
        let stat = Stat::read(own).expect("it can be read");
        assert!(stat.has_executed() && !stat.was_signalled() && stat.stack().is_some());
        assert!(stat.arguments().is_some());
        let line = command_line(own).expect("it can be read");
        assert!(line.starts_with(std::env::args().next().expect("argv[0]").as_bytes()));
        let executable = std::env::current_exe().expect("it can be read");
        assert_eq!(file_name(own).as_deref(), executable.file_name());
    }

    #[test]
    fn a_name_may_look_like_what_follows_it() {
        let rest = "S 1 1 1 0 -1 64 0 0 0 0 0 0 0 0 20 0 3 0 9 0 0 0 0 0 4096 0";
        let text = [b"7 (a) R 9 \xFF(b) ", rest.as_bytes()].concat();
        let stat = Stat::parse(&text).expect("it can be read");
        assert_eq!((stat.flags, stat.stack()), (64, Some(4096)));
        assert!(!stat.has_executed() && stat.arguments().is_none());
        assert!(Stat::parse(b"7 (a) R 9").is_none());
    }
}
