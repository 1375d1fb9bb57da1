//! Findings: what a case did that is not hermetic.
//!
//! A finding by itself changes no verdict; it is reported beside it. Each has a [`Code`], by which
//! configurations and readers of reports name its kind: codes never change their meaning.

mod code;

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use code::{Code, Codes};

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
    /// Its command line, with spaces between arguments, cut; empty where it has none.
    pub command_line: String,
    /// The names of its ancestors, its parent first, PID 1 last.
    pub ancestors: Vec<String>,
}

/// A socket on which a case still received when its test ended.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Listening {
    /// `tcp` or `udp`.
    pub protocol: Words,
    /// Its address.
    pub address: SocketAddr,
}

/// An object of interprocess communication that outlived the test.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IpcObject {
    /// What it is, for people: `shared memory segment`.
    pub kind: Words,
    /// Its key or name: `key 0x2a`, `/queue`.
    pub name: String,
}

/// A file that a case made, changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileChange {
    /// The change.
    pub kind: ChangeKind,
    /// The file, by its path relative to the project, or else in the sandbox.
    #[serde(serialize_with = "serialized::path")]
    pub path: PathBuf,
    /// Its size afterwards in bytes; 0 for what is not a regular file or is gone.
    pub size: u64,
}

/// The change of a file, as `docker diff` names it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// Its content, type or mode is another.
    Changed,
    /// It is gone.
    Deleted,
}

impl ChangeKind {
    /// The letter that `docker diff` prints for it.
    pub fn letter(self) -> char {
        match self {
            ChangeKind::Added => 'A',
            ChangeKind::Changed => 'C',
            ChangeKind::Deleted => 'D',
        }
    }

    fn verb(self) -> &'static str {
        match self {
            ChangeKind::Added => "added",
            ChangeKind::Changed => "changed",
            ChangeKind::Deleted => "deleted",
        }
    }
}

/// Words of a finding: isotest's own, or those that were read from a record.
pub type Words = Cow<'static, str>;

/// Something that a case did that is not hermetic.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Finding {
    /// Processes that outlived the test; the kernel killed them with its pid namespace.
    ProcessesLeft(Vec<Leftover>),
    /// Threads of the test's process that still ran when it exited, by their names; an empty one is
    /// none of its own.
    ThreadsLeft(Vec<String>),
    /// Objects of interprocess communication that were not removed.
    IpcLeft(Vec<IpcObject>),
    /// Sockets that still received at the end, at ports that the kernel did not choose.
    FixedPorts(Vec<Listening>),
    /// Files that it made, changed or deleted outside of `/tmp` and the target directory: the first
    /// of them, and the number of all.
    WroteOutside(Vec<FileChange>, u64),
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
    /// The most memory that a process of it used, and how much each test may use if as many as run
    /// at once use the same, both in bytes.
    MemoryUsed(u64, u64),
    /// Packets that found no route: the case tried to leave its own network.
    NetworkTried(u64),
    /// Host names that it tried to resolve, as far as they are known, and the number of packets for
    /// a closed port of the name server's address.
    DnsTried(Vec<String>, u64),
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

impl Finding {
    /// Its code.
    pub fn code(&self) -> Code {
        match self {
            Finding::ProcessesLeft(_) => Code::LeavesProcess,
            Finding::ThreadsLeft(_) => Code::LeavesThread,
            Finding::IpcLeft(_) => Code::LeavesIpc,
            Finding::FixedPorts(_) => Code::ListensFixedPort,
            Finding::WroteOutside(..) => Code::WritesOutside,
            Finding::WrittenBack(_) => Code::WrittenBack,
            Finding::WriteBackFailed(..) => Code::WriteBackFailed,
            Finding::LimitReached(..) => Code::LimitHit,
            Finding::LimitSuspected(..) => Code::LimitSuspected,
            Finding::OutOfMemory(_) => Code::OutOfMemory,
            Finding::MemoryUsed(..) => Code::Memory,
            Finding::NetworkTried(_) => Code::NetAttempt,
            Finding::DnsTried(..) => Code::DnsAttempt,
            Finding::SentToMany(_) => Code::SendsMulticast,
            Finding::NetworkSuspected(_) => Code::NetSuspected,
            Finding::IoUringRefused => Code::IoUringRefused,
            Finding::NotShown(_) => Code::PathNotShown,
            Finding::NotPassed(_) => Code::VariableNotPassed,
            Finding::SignalDiscarded(_) => Code::SignalDiscarded,
        }
    }

    /// Its text without process ids: the same for cases that did the same.
    pub fn gist(&self) -> String {
        match self {
            Finding::ProcessesLeft(processes) => {
                let unnumbered = |process: &Leftover| Leftover { pid: 0, ..process.clone() };
                Finding::ProcessesLeft(processes.iter().map(unnumbered).collect()).to_string()
            }
            other => other.to_string(),
        }
    }
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
                list(f, NAMED, processes.iter().map(process), processes.len())
            }
            Finding::ThreadsLeft(threads) => {
                let many = if threads.len() == 1 { "thread" } else { "threads" };
                let (named, unnamed): (Vec<&String>, Vec<&String>) =
                    threads.iter().partition(|name| !name.is_empty());
                if named.is_empty() {
                    return write!(f, "left {} {many} without a name behind", threads.len());
                }
                write!(f, "left {} {many} behind: ", threads.len())?;
                let names = named.iter().map(|name| escape(name).into_owned());
                list(f, NAMED, names, named.len())?;
                match unnamed.len() {
                    0 => Ok(()),
                    unnamed => write!(f, ", {unnamed} without a name"),
                }
            }
            Finding::IpcLeft(objects) => {
                write!(f, "left behind: ")?;
                let name = |it: &IpcObject| format!("{} {}", escape(&it.kind), escape(&it.name));
                list(f, NAMED, objects.iter().map(name), objects.len())
            }
            Finding::FixedPorts(sockets) => {
                write!(f, "still listened at the end on ")?;
                let name = |it: &Listening| format!("{} {}", escape(&it.protocol), it.address);
                list(f, NAMED, sockets.iter().map(name), sockets.len())
            }
            Finding::WroteOutside(changes, all) => {
                let name = |it: &FileChange| {
                    let path = it.path.to_string_lossy();
                    format!("{} {}", it.kind.verb(), escape(&path))
                };
                list(
                    f,
                    NAMED,
                    changes.iter().map(name),
                    usize::try_from(*all).unwrap_or(usize::MAX),
                )
            }
            Finding::WrittenBack(files) => {
                write!(f, "wrote back ")?;
                let named = files.iter().map(|file| file.to_string_lossy());
                list(f, FILES_NAMED, named.map(|file| escape(&file).into_owned()), files.len())
            }
            Finding::WriteBackFailed(file, error) => {
                let file = file.to_string_lossy();
                write!(f, "could not write back {}: {}", escape(&file), escape(error))
            }
            Finding::LimitReached(what, flag) => {
                let (what, flag) = (escape(what), escape(flag));
                write!(f, "reached the limit of {what}; raise it with `{flag}`")
            }
            Finding::LimitSuspected(words, limit, flag) => write!(
                f,
                "wrote \"{}\": it may have reached the limit of {}; raise it with `{}`",
                escape(words),
                escape(limit),
                escape(flag)
            ),
            Finding::OutOfMemory(processes) => {
                let many = if *processes == 1 { "process was" } else { "processes were" };
                write!(
                    f,
                    "{processes} {many} killed because the machine, or a cgroup above, ran out of memory"
                )
            }
            Finding::MemoryUsed(peak, fits) => write!(
                f,
                "used {} of memory; as many tests as run at once have {} each on this machine",
                size(*peak),
                size(*fits)
            ),
            Finding::DnsTried(names, queries) if names.is_empty() => {
                let many = if *queries == 1 { "packet" } else { "packets" };
                write!(
                    f,
                    "may have tried to resolve a host name: {queries} {many} to a closed UDP port of \
                     the name server's address"
                )
            }
            Finding::DnsTried(names, _) => {
                write!(f, "tried to resolve ")?;
                list(f, NAMED, names.iter().map(|name| escape(name).into_owned()), names.len())
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
                write!(f, "wrote \"{}\": it has only its own network", escape(words))
            }
            Finding::IoUringRefused => write!(f, "was refused io_uring by the guard"),
            Finding::NotShown(paths) => {
                write!(f, "named ")?;
                let names = paths.iter().map(|path| path.to_string_lossy());
                let names = names.map(|path| escape(&path).into_owned());
                list(f, usize::MAX, names, paths.len())?;
                write!(f, ": exists here, but tests do not see it")
            }
            Finding::NotPassed(names) => {
                write!(f, "named ")?;
                let escaped = names.iter().map(|name| escape(name).into_owned());
                list(f, usize::MAX, escaped, names.len())?;
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

/// A process, its command line and where it comes from. No process has the id 0: it is left out.
fn process(process: &Leftover) -> String {
    let mut text = escape(&process.name).into_owned();
    if !process.command_line.is_empty() && process.command_line != process.name {
        text = format!("`{}`", escape(&process.command_line));
    }
    if process.pid != 0 {
        text += &format!(" (pid {})", process.pid);
    }
    match process.ancestors.as_slice() {
        [] | [_] => text,
        [ancestors @ .., _] => {
            let names: Vec<_> = ancestors.iter().map(|name| escape(name)).collect();
            format!("{text}, child of {}", names.join(", child of "))
        }
    }
}

/// Bytes in the largest unit that leaves a whole part.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

/// Writes the first `most` of the items with commas between, and how many of `all` are not named.
fn list(
    f: &mut fmt::Formatter<'_>,
    most: usize,
    items: impl Iterator<Item = String>,
    all: usize,
) -> fmt::Result {
    let mut named = 0;
    for item in items.take(most) {
        let comma = if named == 0 { "" } else { ", " };
        write!(f, "{comma}{item}")?;
        named += 1;
    }
    match all.saturating_sub(named) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leftover_says_what_it_is_and_where_it_comes_from() {
        let leftover = Leftover {
            pid: 7,
            name: "sleep".to_owned(),
            command_line: "sleep 1000".to_owned(),
            ancestors: vec!["sh".to_owned(), "manners".to_owned()],
        };
        let finding = Finding::ProcessesLeft(vec![leftover]);
        let text = "left 1 process behind: `sleep 1000` (pid 7), child of sh";
        assert_eq!(finding.to_string(), text);
        assert_eq!(finding.gist(), "left 1 process behind: `sleep 1000`, child of sh");
    }

    #[test]
    fn lists_are_cut_and_say_so() {
        let changes = (0..12).map(|number| FileChange {
            kind: ChangeKind::Added,
            path: format!("/src/{number}\n").into(),
            size: 1,
        });
        let text = Finding::WroteOutside(changes.collect(), 300).to_string();
        assert!(text.starts_with("added /src/0\\n, added /src/1"), "{text}");
        assert!(text.ends_with(" and 290 more"), "{text}");
    }

    #[test]
    fn threads_without_a_name_are_counted() {
        let text = |names: &[&str]| {
            Finding::ThreadsLeft(names.iter().map(ToString::to_string).collect()).to_string()
        };
        assert_eq!(text(&["a", "b"]), "left 2 threads behind: a, b");
        assert_eq!(text(&["", "a", ""]), "left 3 threads behind: a, 2 without a name");
        assert_eq!(text(&[""]), "left 1 thread without a name behind");
        assert_eq!(text(&["", ""]), "left 2 threads without a name behind");
    }
}
