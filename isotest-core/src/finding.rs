//! Findings: what a case did that is not hermetic.
//!
//! A finding never changes a verdict; it is reported beside it.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use crate::escape::escape;
use crate::serialized;
use crate::wait_status::signal_name;

/// A process of a case that was still there when the test itself ended.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Leftover {
    /// Its id inside the case's pid namespace.
    pub pid: i32,
    /// Its name, `comm` of proc(5), at most 15 bytes.
    pub name: String,
}

/// Words of a finding: isotest's own, or those that were read from a record.
pub type Words = Cow<'static, str>;

/// Something that a case did that is not hermetic.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Finding {
    /// Processes that outlived the test; the kernel killed them with its pid namespace.
    ProcessesLeft(Vec<Leftover>),
    /// Files copied out of the throwaway layer, as the policy asks; relative to the project.
    WrittenBack(#[serde(serialize_with = "serialized::paths")] Vec<PathBuf>),
    /// A file that the policy asks to copy out could not be.
    WriteBackFailed(#[serde(serialize_with = "serialized::path")] PathBuf, String),
    /// A limit of the policy was reached: what it limits, and the flag that raises it.
    LimitReached(Words, Words),
    /// Words that a test writes where a limit is reached, but may write for another reason; how
    /// much the limit allows of what, and the flag that raises it.
    LimitSuspected(Words, String, Words),
    /// So many of its processes were killed since memory ran out, not by a limit of its own.
    OutOfMemory(u64),
    /// Packets that found no route: the case tried to leave its own network.
    NetworkTried(u64),
    /// Packets for a multicast group or for all: nobody else has heard them.
    SentToMany(u64),
    /// Words that a test writes where it has no network, but may write for another reason.
    NetworkSuspected(Words),
    /// A failed case was refused io_uring.
    IoUringRefused,
    /// Paths that a failed case has written of: the host has them, and cases do not see them.
    NotShown(#[serde(serialize_with = "serialized::paths")] Vec<PathBuf>),
    /// Variables that a failed case has written of: the caller has them, and no case does.
    NotPassed(Vec<String>),
    /// PID 1 sent itself a signal whose default action would have ended it; the kernel discards
    /// such a signal (pid_namespaces(7)).
    SignalDiscarded(i32),
}

/// Maximum number of processes that are named; a fork bomb leaves thousands.
const NAMED: usize = 10;
/// Maximum number of files that are named.
const FILES_NAMED: usize = 100;

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::ProcessesLeft(processes) => {
                let many = if processes.len() == 1 { "process" } else { "processes" };
                write!(f, "left {} {many} behind: ", processes.len())?;
                for (index, process) in processes.iter().take(NAMED).enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{} (pid {})", escape(&process.name), process.pid)?;
                }
                match processes.len().saturating_sub(NAMED) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Finding::WrittenBack(files) => {
                write!(f, "wrote back ")?;
                let named = files.iter().take(FILES_NAMED).map(|file| file.to_string_lossy());
                list(f, named.map(|file| escape(&file).into_owned()))?;
                match files.len().saturating_sub(FILES_NAMED) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Finding::WriteBackFailed(file, error) => {
                let file = file.to_string_lossy();
                write!(f, "could not write back {}: {error}", escape(&file))
            }
            Finding::LimitReached(what, flag) => {
                write!(f, "reached the limit of {what}; raise it with `{flag}`")
            }
            Finding::LimitSuspected(words, limit, flag) => write!(
                f,
                "wrote \"{words}\": it may have reached the limit of {limit}; raise it with `{flag}`"
            ),
            Finding::OutOfMemory(processes) => {
                let many = if *processes == 1 { "process was" } else { "processes were" };
                write!(
                    f,
                    "{processes} {many} killed because the machine, or a cgroup above, ran out of memory"
                )
            }
            Finding::NetworkTried(packets) => {
                let many = if *packets == 1 { "packet" } else { "packets" };
                write!(f, "tried to reach the network: {packets} {many} without a route")
            }
            Finding::SentToMany(packets) => {
                let (many, it, stays) = if *packets == 1 {
                    ("packet", "it", "stays")
                } else {
                    ("packets", "they", "stay")
                };
                write!(
                    f,
                    "sent {packets} multicast or broadcast {many}; {it} {stays} on the loopback interface"
                )
            }
            Finding::NetworkSuspected(words) => {
                write!(f, "wrote \"{words}\": it has only its own network")
            }
            Finding::IoUringRefused => write!(f, "was refused io_uring by the guard"),
            Finding::NotShown(paths) => {
                write!(f, "named ")?;
                let paths = paths.iter().map(|path| path.to_string_lossy());
                list(f, paths.map(|path| escape(&path).into_owned()))?;
                write!(f, ": exists here, but tests do not see it")
            }
            Finding::NotPassed(names) => {
                write!(f, "named ")?;
                list(f, names.iter().map(|name| escape(name).into_owned()))?;
                write!(f, ": set, but not passed to tests")
            }
            Finding::SignalDiscarded(signal) => write!(
                f,
                "sent itself {}, which PID 1 of a pid namespace never receives",
                signal_name(*signal)
            ),
        }
    }
}

/// Writes them with commas between.
fn list(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item = String>) -> fmt::Result {
    for (index, item) in items.enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{item}")?;
    }
    Ok(())
}
