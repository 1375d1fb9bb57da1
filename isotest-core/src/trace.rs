//! The trace of a case: what its processes asked the kernel for, on one time axis.
//!
//! Names are text; U+FFFD stands where one is not UTF-8. Whether a call succeeded is not known: an
//! event says what was asked for, and for a path whether it led to something at that moment.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The trace of one case.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Trace {
    /// Its events, in the order in which they were seen.
    pub events: Vec<TraceEvent>,
    /// Number of events that were not kept: the trace was full. Repetitions go first.
    pub dropped: u64,
    /// What the trace does not have.
    pub gaps: Vec<Gap>,
}

/// Reason why a trace is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gap {
    /// An outer sandbox listens to system calls already: nothing was traced.
    Listener,
    /// A call could not be read in time: nothing was traced from then on.
    Stuck,
    /// The case mounted something: from then on no path was looked up for it.
    Mounts,
    /// Memory of a process could not be read.
    Memory,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Gap::Listener => {
                "nothing was traced: an outer sandbox listens to system calls already, and there \
                 can be one listener only"
            }
            Gap::Stuck => {
                "a system call could not be read in time: nothing was traced from then on"
            }
            Gap::Mounts => {
                "the test mounted something: from then on it is not known which paths exist"
            }
            Gap::Memory => "arguments of some system calls could not be read",
        })
    }
}

/// One event of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEvent {
    /// Time since the start of the case.
    pub at: Duration,
    /// The process, by its id in the pid namespace of the case.
    pub process: i32,
    /// What it asked for.
    pub act: Act,
}

/// What a process asked the kernel for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Act {
    /// The process is seen for the first time.
    Spawned {
        /// Its parent.
        parent: i32,
    },
    /// It starts a thread.
    ThreadStarted,
    /// It executes a program.
    Executed {
        /// The path.
        program: String,
        /// Its arguments, the first ones.
        arguments: Vec<String>,
        /// Whether the program is there.
        found: Existence,
    },
    /// It exits.
    Exited {
        /// The exit code.
        code: i32,
    },
    /// It opens a file.
    Opened {
        /// The path.
        path: String,
        /// For what.
        mode: OpenMode,
        /// Whether it is there.
        found: Existence,
    },
    /// It asks for the properties of a file.
    LookedUp {
        /// The path.
        path: String,
        /// Whether it is there.
        found: Existence,
    },
    /// It changes a directory or the properties of a file.
    Changed {
        /// The change.
        change: Change,
        /// The path.
        path: String,
        /// The other path of a rename or a link: the new name.
        to: Option<String>,
    },
    /// It connects a socket.
    Connected(Endpoint),
    /// It binds a socket.
    Bound(Endpoint),
    /// It listens on a socket.
    Listened(Endpoint),
    /// It sends a packet to an address.
    Sent(Endpoint),
    /// It asks a name server.
    Resolved {
        /// The name.
        name: String,
        /// The type of the record: `A`, `AAAA`.
        kind: String,
    },
    /// It asks for random bytes.
    Entropy {
        /// Number of bytes.
        bytes: u64,
    },
    /// It asks for the host name: uname(2).
    HostName,
    /// It asks for its process id: getpid(2).
    ProcessId,
    /// It asks for the processors that it may use: sched_getaffinity(2).
    Processors,
    /// It reads the clock of the day by a system call.
    Clock,
    /// It waits for a time, or for something with a time-out: clock_nanosleep(2), futex(2), poll(2), epoll_wait(2).
    Waited,
    /// It reads an environment variable: getenv(3). Only where the preloaded library tells of it.
    VariableRead {
        /// Its name.
        name: String,
    },
    /// It changes a property that all threads of the process share.
    ProcessChanged(ProcessProperty),
    /// It writes to its stdout or stderr.
    Printed {
        /// `stdout` or `stderr`.
        stream: PrintStream,
        /// The text, the beginning of a long one.
        text: String,
    },
}

/// A property that all threads of a process share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessProperty {
    /// The working directory: chdir(2).
    WorkingDirectory,
    /// A resource limit, by its number: prlimit(2).
    Limit(u32),
    /// The file mode creation mask: umask(2).
    Umask,
    /// An environment variable, by its name: setenv(3). Only where the preloaded library tells of it.
    Variable(String),
}

/// A standard stream of the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrintStream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// Whether a path led to something when it was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Existence {
    /// It did.
    Exists,
    /// It did not.
    Missing,
    /// Not known.
    Unknown,
}

/// Purpose for which a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpenMode {
    /// To read.
    Read,
    /// To list a directory.
    List,
    /// To write, or to read and write.
    Write,
    /// To write, and it is made where it is missing.
    Create,
}

/// A change that open(2) does not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// unlink(2), rmdir(2).
    Removed,
    /// mkdir(2).
    MadeDirectory,
    /// mknod(2).
    MadeNode,
    /// rename(2).
    Renamed,
    /// link(2).
    Linked,
    /// symlink(2); `path` is the target, as it is written.
    LinkedSymbolically,
    /// truncate(2).
    Truncated,
    /// chmod(2), chown(2), utimensat(2) and the like.
    Attributes,
}

/// Transport of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
    /// A socket of another kind, or one that could not be asked.
    Other,
}

/// Address of a socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// An address of IPv4 or IPv6.
    Ip(Transport, std::net::SocketAddr),
    /// A socket in the filesystem.
    Unix(String),
    /// A socket in the abstract namespace.
    Abstract(String),
    /// Another family, by its number.
    Other(u16),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Ip(Transport::Tcp, address) => write!(f, "tcp {address}"),
            Endpoint::Ip(Transport::Udp, address) => write!(f, "udp {address}"),
            Endpoint::Ip(Transport::Other, address) => write!(f, "{address}"),
            Endpoint::Unix(path) => write!(f, "unix {path}"),
            Endpoint::Abstract(name) => write!(f, "unix @{name}"),
            Endpoint::Other(family) => write!(f, "address family {family}"),
        }
    }
}

/// Property of its surroundings that a test looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Surrounding {
    /// Random bytes of the kernel.
    Entropy,
    /// The time zone of the machine.
    Zone,
    /// The host name.
    HostName,
    /// Its process id.
    ProcessId,
    /// The number of processors.
    Processors,
    /// The clock of the day, by a system call.
    Clock,
}

/// What a case read, wrote, bound and looked at: its trace without order and time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Footprint {
    /// Files that it opened to read, listed, executed or looked up, and that were there.
    pub reads: BTreeSet<String>,
    /// Paths that it looked up and that were missing.
    pub missing: BTreeSet<String>,
    /// Paths that it made, wrote, changed or removed.
    pub writes: BTreeSet<String>,
    /// Addresses that it bound or listened on, those with a port of the kernel's choice left out.
    pub binds: BTreeSet<Endpoint>,
    /// Addresses that it connected or sent to.
    pub dials: BTreeSet<Endpoint>,
    /// Names that it asked a name server for.
    pub names: BTreeSet<String>,
    /// Properties of its surroundings that it looked at.
    pub surroundings: BTreeSet<Surrounding>,
}

/// Files in which the C library and others look for the zone of the machine.
const ZONE: [&str; 2] = ["/etc/localtime", "/etc/timezone"];
/// Files and directories that tell the number of processors.
const PROCESSORS: [&str; 3] =
    ["/proc/cpuinfo", "/sys/devices/system/cpu", "/sys/fs/cgroup/cpu.max"];
/// Devices of random bytes.
const ENTROPY: [&str; 2] = ["/dev/random", "/dev/urandom"];
/// Files that have the host name.
const HOST_NAME: [&str; 2] = ["/etc/hostname", "/proc/sys/kernel/hostname"];

impl Act {
    /// The property of its surroundings that this act reads.
    pub fn surrounding(&self) -> Option<Surrounding> {
        match self {
            Act::Entropy { .. } => Some(Surrounding::Entropy),
            Act::HostName => Some(Surrounding::HostName),
            Act::ProcessId => Some(Surrounding::ProcessId),
            Act::Processors => Some(Surrounding::Processors),
            Act::Clock => Some(Surrounding::Clock),
            Act::Opened { path, .. } | Act::LookedUp { path, .. } => {
                let path = path.as_str();
                let is_below = |top: &&str| path.starts_with(*top);
                match path {
                    _ if ZONE.contains(&path) => Some(Surrounding::Zone),
                    _ if ENTROPY.contains(&path) => Some(Surrounding::Entropy),
                    _ if HOST_NAME.contains(&path) => Some(Surrounding::HostName),
                    // As a link or by its `stat`, it tells the id.
                    "/proc/self" | "/proc/self/stat" | "/proc/self/status" => {
                        Some(Surrounding::ProcessId)
                    }
                    _ if PROCESSORS.iter().any(is_below) => Some(Surrounding::Processors),
                    _ => None,
                }
            }
            Act::Spawned { .. }
            | Act::ThreadStarted
            | Act::Waited
            | Act::Executed { .. }
            | Act::Exited { .. }
            | Act::Changed { .. }
            | Act::Connected(_)
            | Act::Bound(_)
            | Act::Listened(_)
            | Act::Sent(_)
            | Act::Resolved { .. }
            | Act::VariableRead { .. }
            | Act::ProcessChanged(_)
            | Act::Printed { .. } => None,
        }
    }
}

impl Trace {
    /// The process of the test: the first that executes a program.
    pub fn main_process(&self) -> Option<i32> {
        let mut events = self.events.iter();
        let first = events.find(|event| matches!(event.act, Act::Executed { .. }));
        first.map(|event| event.process)
    }

    /// The place of the event by which libtest says that it starts its tests.
    fn start_of_tests(&self) -> Option<usize> {
        let main = self.main_process()?;
        let is_start = |event: &TraceEvent| {
            event.process == main
                && matches!(&event.act, Act::Printed { text, .. }
                    if text.trim_start().starts_with("running "))
        };
        self.events.iter().position(is_start)
    }

    /// The events of the tests: those of libtest before them are left out.
    pub fn test_events(&self) -> impl Iterator<Item = &TraceEvent> {
        self.events.iter().skip(self.start_of_tests().unwrap_or(0))
    }

    /// True if libtest has said that it starts its tests.
    pub fn is_libtest(&self) -> bool {
        self.start_of_tests().is_some()
    }

    /// What the case read, wrote, bound and looked at. What libtest looks at before its tests is
    /// no property of a test.
    pub fn footprint(&self) -> Footprint {
        let surroundings = self.test_events().filter_map(|event| event.act.surrounding());
        let mut footprint =
            Footprint { surroundings: surroundings.collect(), ..Footprint::default() };
        // What a case has made itself is nobody else's.
        let mut made: BTreeSet<&str> = BTreeSet::new();
        for TraceEvent { act, .. } in &self.events {
            match act {
                Act::Executed { program: path, found, .. }
                | Act::LookedUp { path, found }
                | Act::Opened { path, found, mode: OpenMode::Read | OpenMode::List } => {
                    if made.contains(path.as_str()) {
                        continue;
                    }
                    let set = match found {
                        Existence::Missing => &mut footprint.missing,
                        Existence::Exists | Existence::Unknown => &mut footprint.reads,
                    };
                    set.insert(path.clone());
                }
                Act::Opened { path, mode: OpenMode::Write | OpenMode::Create, .. } => {
                    made.insert(path);
                    footprint.writes.insert(path.clone());
                }
                Act::Changed { change, path, to } => {
                    let own = (*change != Change::LinkedSymbolically).then_some(path);
                    for path in own.into_iter().chain(to) {
                        made.insert(path);
                        footprint.writes.insert(path.clone());
                    }
                }
                Act::Bound(endpoint) | Act::Listened(endpoint) => {
                    if !matches!(endpoint, Endpoint::Ip(_, address) if address.port() == 0) {
                        footprint.binds.insert(endpoint.clone());
                    }
                }
                Act::Connected(endpoint) | Act::Sent(endpoint) => {
                    footprint.dials.insert(endpoint.clone());
                }
                Act::Resolved { name, .. } => {
                    footprint.names.insert(name.clone());
                }
                Act::Spawned { .. }
                | Act::ThreadStarted
                | Act::Waited
                | Act::Exited { .. }
                | Act::Entropy { .. }
                | Act::HostName
                | Act::ProcessId
                | Act::Processors
                | Act::Clock
                | Act::VariableRead { .. }
                | Act::ProcessChanged(_)
                | Act::Printed { .. } => {}
            }
        }
        footprint
    }
}
