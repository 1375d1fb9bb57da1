//! Findings: what a case did that is not hermetic.
//!
//! A finding never changes a verdict; it is told beside it.

use std::fmt;
use std::path::PathBuf;

use crate::printable::printable;

/// A process of a case that was still there when the test itself ended.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Leftover {
    /// Its id inside the case's pid namespace.
    pub pid: i32,
    /// Its name, `comm` of proc(5), at most 15 bytes.
    pub name: String,
}

/// Something that a case did that is not hermetic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Processes that outlived the test; the kernel killed them with its pid namespace.
    ProcessesLeft(Vec<Leftover>),
    /// Files copied out of the throwaway layer, as the policy asks; relative to the project.
    WrittenBack(Vec<PathBuf>),
    /// A file that the policy asks to copy out could not be.
    WriteBackFailed(PathBuf, String),
    /// A limit of the policy was reached: what it limits, and the flag that raises it.
    LimitReached(&'static str, &'static str),
    /// Words that a test writes where a limit is reached, but may write for another reason; how
    /// much the limit allows of what, and the flag that raises it.
    LimitSuspected(&'static str, String, &'static str),
    /// So many of its processes were killed since memory ran out, not by a limit of its own.
    OutOfMemory(u64),
    /// Packets that found no route: the case tried to leave its own network.
    NetworkTried(u64),
    /// PID 1 sent itself a signal whose default action would have ended it; the kernel discards
    /// such a signal (pid_namespaces(7)).
    SignalDiscarded(i32),
}

/// How many processes are named; a fork bomb leaves thousands.
const NAMED: usize = 10;
/// How many files are named.
const FILES_NAMED: usize = 100;

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::ProcessesLeft(processes) => {
                let many = if processes.len() == 1 { "process" } else { "processes" };
                write!(f, "left {} {many} behind: ", processes.len())?;
                for (index, process) in processes.iter().take(NAMED).enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{} (pid {})", printable(&process.name), process.pid)?;
                }
                match processes.len().saturating_sub(NAMED) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Finding::WrittenBack(files) => {
                write!(f, "wrote back ")?;
                for (index, file) in files.iter().take(FILES_NAMED).enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", printable(&file.to_string_lossy()))?;
                }
                match files.len().saturating_sub(FILES_NAMED) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Finding::WriteBackFailed(file, error) => {
                let file = file.to_string_lossy();
                write!(f, "could not write back {}: {error}", printable(&file))
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
                    "{processes} {many} killed since the machine, or a cgroup above, had no memory left"
                )
            }
            Finding::NetworkTried(packets) => {
                let many = if *packets == 1 { "packet" } else { "packets" };
                write!(f, "tried to reach the network: {packets} {many} without a route")
            }
            Finding::SignalDiscarded(signal) => write!(
                f,
                "sent itself {}, which PID 1 of a pid namespace never receives",
                crate::outcome::signal_name(*signal)
            ),
        }
    }
}
