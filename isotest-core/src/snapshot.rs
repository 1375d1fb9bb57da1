//! Processes of a running case, and what they wait for, by the host's /proc (proc(5)).
//!
//! Nothing is stopped for it: each line is of the moment it was read. What the kernel does not
//! let this process read is left out; a kernel stack, for one, is shown to the superuser alone.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use syscalls::Sysno;

use crate::case::CaseIndex;
use crate::escape::escape;
use crate::sandbox::procfs::{child_ids, status_field};
use crate::serialized;

/// A running case, as it is looked at.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Snapshot {
    /// The case.
    pub index: CaseIndex,
    /// Time since its start.
    pub elapsed: Duration,
    /// Its processes, PID 1 first. None while it is being started.
    pub processes: Vec<Process>,
    /// The last part of what it has written so far; empty where output is passed through.
    #[serde(with = "serialized::bytes")]
    pub output: Vec<u8>,
}

/// A process of a case.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Process {
    /// Its id on the host.
    pub pid: i32,
    /// Its threads, in the order of their ids.
    pub threads: Vec<Thread>,
}

/// A thread of a process.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Thread {
    /// Its id on the host.
    pub id: i32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Its state as the kernel words it: `S (sleeping)`.
    pub state: String,
    /// The system call that it is in.
    pub call: Option<SystemCall>,
    /// The function of the kernel that it waits in, where the kernel tells.
    pub wait_channel: Option<String>,
    /// Its stack in the kernel, innermost first; empty where the kernel does not show it.
    pub stack: Vec<String>,
}

/// A system call that a thread is in.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SystemCall {
    /// Its name; its number where that has none.
    pub name: String,
    /// The descriptor that it is about, and what that is open on: `pipe:[4026]`.
    pub descriptor: Option<(i32, String)>,
}

/// Maximum number of processes of a case that are read, and of threads of each: a fork bomb has
/// thousands.
const MOST: usize = 64;

/// System calls that wait, and whose first argument is a descriptor.
const ABOUT_DESCRIPTORS: [Sysno; 19] = [
    Sysno::read,
    Sysno::readv,
    Sysno::pread64,
    Sysno::write,
    Sysno::writev,
    Sysno::pwrite64,
    Sysno::accept,
    Sysno::accept4,
    Sysno::connect,
    Sysno::recvfrom,
    Sysno::recvmsg,
    Sysno::sendto,
    Sysno::sendmsg,
    Sysno::epoll_pwait,
    Sysno::fcntl,
    Sysno::flock,
    Sysno::fsync,
    Sysno::ioctl,
    // Of the older architectures alone.
    #[cfg(target_arch = "x86_64")]
    Sysno::epoll_wait,
    #[cfg(not(target_arch = "x86_64"))]
    Sysno::epoll_pwait2,
];

/// The processes of the case whose PID 1 a pidfd is of; none where that has ended, or is not seen
/// in this process's /proc.
pub fn processes(leader: impl AsFd) -> Vec<Process> {
    let Some(leader) = pid_of(leader) else { return Vec::new() };
    let (mut found, mut next) = (Vec::new(), VecDeque::from([leader]));
    while let Some(pid) = next.pop_front().filter(|_| found.len() < MOST) {
        next.extend(child_ids(pid));
        found.extend(process(pid));
    }
    found
}

/// The id that a pidfd has in this process's /proc (pidfd_open(2)).
fn pid_of(pidfd: impl AsFd) -> Option<i32> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let text = fs::read_to_string(path).ok()?;
    let field = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    field.trim().parse().ok().filter(|pid| *pid > 0)
}

/// `None` where it has ended.
fn process(pid: i32) -> Option<Process> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut ids: Vec<i32> =
        tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok()).collect();
    ids.sort_unstable();
    let threads: Vec<Thread> =
        ids.into_iter().take(MOST).filter_map(|id| thread(pid, id)).collect();
    (!threads.is_empty()).then_some(Process { pid, threads })
}

fn thread(pid: i32, id: i32) -> Option<Thread> {
    let directory = PathBuf::from(format!("/proc/{pid}/task/{id}"));
    let read = |file: &str| fs::read_to_string(directory.join(file)).unwrap_or_default();
    Some(Thread {
        id,
        name: status_field(id, "Name:")?,
        state: status_field(id, "State:")?,
        call: call(&read("syscall"), &directory),
        // 0 where it waits for nothing, or where the kernel does not tell.
        wait_channel: Some(read("wchan")).filter(|name| !name.is_empty() && name != "0"),
        stack: stack(&read("stack")),
    })
}

/// The call that `/proc/PID/syscall` tells of: `running`, `-1` where it waits in none, or the
/// number and the arguments.
fn call(text: &str, directory: &Path) -> Option<SystemCall> {
    let mut words = text.split_whitespace();
    let number: usize = words.next()?.parse().ok()?;
    let known = Sysno::new(number);
    let about = known.filter(|call| ABOUT_DESCRIPTORS.contains(call)).and_then(|_| words.next());
    let descriptor = about.and_then(|word| {
        let number = i32::from_str_radix(word.trim_start_matches("0x"), 16).ok()?;
        let target = fs::read_link(directory.join(format!("fd/{number}"))).ok()?;
        Some((number, target.to_string_lossy().into_owned()))
    });
    let name = known.map_or_else(|| format!("call {number}"), |call| call.name().to_owned());
    Some(SystemCall { name, descriptor })
}

/// The functions of `/proc/PID/stack`: `[<0>] futex_wait_queue+0x5e/0x90`.
fn stack(text: &str) -> Vec<String> {
    let function = |line: &str| Some(line.split_once("] ")?.1.to_owned());
    text.lines().filter_map(function).collect()
}

impl fmt::Display for Process {
    /// A line for each thread, and below it its kernel stack.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for thread in &self.threads {
            writeln!(f, "process {}, {thread}", self.pid)?;
            for function in &thread.stack {
                writeln!(f, "    {function}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {} `{}`: {}", self.id, escape(&self.name), self.state)?;
        if let Some(SystemCall { name, descriptor }) = &self.call {
            write!(f, " in {name}")?;
            if let Some((number, target)) = descriptor {
                write!(f, " on descriptor {number}, {}", escape(target))?;
            }
        }
        match &self.wait_channel {
            Some(function) => write!(f, ", kernel function {function}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    use super::*;

    #[test]
    fn a_thread_that_reads_a_pipe_is_seen_to_do_so() {
        let (read, write) = std::io::pipe().expect("a descriptor is free");
        let number = read.as_raw_fd();
        let (tell, told) = mpsc::channel();
        let reader = thread::spawn(move || {
            tell.send(nix::unistd::gettid()).expect("somebody listens");
            std::io::copy(&mut &read, &mut std::io::sink())
        });
        let id = told.recv().expect("it is sent").as_raw();
        let pidfd = pidfd_open(getpid(), PidfdFlags::empty()).expect("this process is there");
        let seen = loop {
            let own = processes(&pidfd).swap_remove(0);
            assert_eq!(own.pid, std::process::id() as i32);
            let seen = own.threads.into_iter().find(|thread| thread.id == id);
            let seen = seen.expect("it has not ended");
            if seen.state.starts_with('S') && seen.call.is_some() {
                break seen;
            }
            thread::yield_now();
        };
        let call = seen.call.clone().expect("it was looked for");
        assert_eq!(call.name, "read");
        let (descriptor, target) = call.descriptor.expect("it is about one");
        assert_eq!(descriptor, number);
        assert!(target.starts_with("pipe:["), "{target}");
        assert!(seen.to_string().contains(&format!(" in read on descriptor {number}, pipe:[")));
        drop(write);
        reader.join().expect("it does not panic").expect("a pipe can be read");
    }

    #[test]
    fn names_are_no_commands_to_a_terminal() {
        let target = "/tmp/a\n::error::b".to_owned();
        let call = SystemCall { name: "read".to_owned(), descriptor: Some((3, target)) };
        let (name, state) = ("\u{1b}[2Jx".to_owned(), "S (sleeping)".to_owned());
        let call = Some(call);
        let thread = Thread { id: 7, name, state, call, wait_channel: None, stack: Vec::new() };
        let expected = "thread 7 `\\u{1b}[2Jx`: S (sleeping) in read on descriptor 3, \
                        /tmp/a\\n::error::b";
        assert_eq!(thread.to_string(), expected);
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_left_out() {
        let nowhere = Path::new("/nonexistent");
        assert_eq!(call("running\n", nowhere), None);
        assert_eq!(call("-1 0x7ffd 0x7f2a\n", nowhere), None);
        assert_eq!(call("", nowhere), None);
        assert!(stack("").is_empty());
        let lines = "[<0>] do_nanosleep+0x67/0x190\n[<0>] hrtimer_nanosleep+0xc2/0x1c0\n";
        assert_eq!(stack(lines)[0], "do_nanosleep+0x67/0x190");
    }
}
