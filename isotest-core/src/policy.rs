//! The policy: the value of every layer and limit for one case.
//!
//! Plain data with its defaults. Where a value comes from (flag, environment, configuration) is
//! the front end's business; what a value does stands in [`plan`](crate::plan).

use std::path::PathBuf;
use std::time::Duration;

use crate::perturbation::{Perturbations, Time};

/// User identity inside the user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum User {
    /// Uid and gid map to themselves; no capabilities.
    #[default]
    Same,
    /// Uid 0 with full capabilities inside the namespace.
    Root,
    /// Uid 65534; no capabilities.
    Nobody,
}

/// A namespace: one of the case's own, that of its lab, or that of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Namespace {
    /// A fresh one for every case.
    #[default]
    New,
    /// One that the cases of a warden share: the lab's ([`Policy::has_lab`]).
    Lab,
    /// The one isotest was started in.
    Host,
}

/// PID 1 of the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Init {
    /// The test itself.
    #[default]
    None,
    /// A reaping init; the test is PID 2.
    Reaper,
}

/// The network that a case sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Net {
    /// A network namespace of its own with `lo` up and no way out.
    #[default]
    Loopback,
    /// The same, but shared by the cases of a warden.
    Lab,
    /// The host's network.
    Host,
}

/// The host name that a case sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uts {
    /// A UTS namespace of its own with this host name.
    Name(String),
    /// One that the cases of a warden share, with this host name.
    Lab(String),
    /// The host's.
    Host,
}

impl Default for Uts {
    fn default() -> Self {
        Uts::Name("isotest".to_owned())
    }
}

/// Effect of writes to the project and its target directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Workspace {
    /// Goes to a throwaway layer.
    #[default]
    Overlay,
    /// Goes to a throwaway layer that the cases of a warden share.
    Lab,
    /// Fails with EROFS.
    Readonly,
    /// Changes the project.
    Shared,
}

/// Place of the throwaway layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scratch {
    /// In a tmpfs.
    #[default]
    Memory,
    /// In a directory below the target directory.
    Disk,
}

/// Root filesystem that the test sees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Root {
    /// The host's system directories, read-only.
    #[default]
    Host,
    /// Another root filesystem, read-only: everything below this directory of the host.
    Directory(PathBuf),
}

/// A directory: fresh for every case, that of its lab, or that of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Directory {
    /// Empty, and gone with the case.
    #[default]
    Fresh,
    /// Empty at first, shared by the cases of a warden, and gone with it.
    Lab,
    /// The host's, writable.
    Host,
}

/// Environment variables that reach a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Env {
    /// Those of the allow-list, those that cargo sets, and those that are passed by name.
    #[default]
    Clean,
    /// All of them.
    Host,
}

/// Kernel hardening level, beside the namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Guard {
    /// `no_new_privs`, own session, no terminal injection, no `AF_VSOCK`, no io_uring, no kernel
    /// keys, no leases, no core dumps.
    #[default]
    Basic,
    /// Also no nested user namespaces, userfaultfd, perf events, `AF_ALG`; the project is read-only.
    Strict,
    /// As `Basic`, but a test may install a seccomp listener, of which a process has one at most.
    /// Nobody hears how a case ends then: verdicts rest on less, and most findings are lost.
    NoListener,
    /// As `Basic`, but with io_uring, whose requests no seccomp filter sees: `AF_VSOCK` is open too.
    IoUring,
}

/// Propagation of mounts between the host and a path that a policy adds, mount_namespaces(7). There
/// is no `shared`: the kernel makes it `slave` in every less privileged mount namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    /// None, in neither direction.
    #[default]
    Private,
    /// Later mounts of the host below it appear and disappear inside, with the host's flags.
    Slave,
    /// None, and it cannot be bound to another place.
    Unbindable,
}

/// A directory of the host that was made for cases, and is shown to them at a path of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLayer {
    /// Its name, for `explain`.
    pub name: String,
    /// The directory, without symbolic links in its path.
    pub source: PathBuf,
    /// Its path in the sandbox.
    pub at: PathBuf,
    /// The permissions of the directory, which those of a throwaway layer over it must be.
    pub mode: u32,
    /// Effect of writes to it.
    pub writes: LayerWrites,
}

/// Effect of writes to a stored layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerWrites {
    /// They go to a throwaway layer of the case.
    Discarded,
    /// They reach the directory: it is being made.
    Kept,
}

/// A layer that a test may share with the host where this machine refuses it one of its own.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum Weakened {
    /// The pid namespace with its `/proc`.
    Pid,
    /// The IPC namespace.
    Ipc,
    /// The UTS namespace.
    Uts,
    /// The network namespace.
    Net,
}

impl Weakened {
    /// The name of the layer.
    pub fn name(self) -> &'static str {
        match self {
            Weakened::Pid => "pid",
            Weakened::Ipc => "ipc",
            Weakened::Uts => "uts",
            Weakened::Net => "net",
        }
    }
}

/// Limits of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// After this long every process of the case is killed; `None`: never.
    pub timeout: Option<Duration>,
    /// After this long, and each time that it has passed again, a case is reported as slow; `None`:
    /// never.
    pub slow_timeout: Option<Duration>,
    /// Bytes of output kept, head and tail together.
    pub output: u64,
    /// Bytes in the scratch tmpfs: `/tmp` and all that a case writes elsewhere.
    pub tmp_size: u64,
    /// Bytes of memory of all its processes, what they write to a tmpfs included; needs a
    /// control group.
    pub memory: Option<u64>,
    /// Processes and threads, RLIMIT_NPROC; `pids.max` where there is a control group.
    pub processes: u64,
    /// Open files, RLIMIT_NOFILE; always fewer than the caller's hard limit.
    pub open_files: u64,
    /// Bytes of one file, RLIMIT_FSIZE.
    pub file_size: Option<u64>,
    /// Seconds of processor time, RLIMIT_CPU.
    pub cpu_time: Option<u64>,
    /// Bytes of address space, RLIMIT_AS.
    pub address_space: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            timeout: Some(Duration::from_secs(60)),
            slow_timeout: Some(Duration::from_secs(60)),
            output: 16 << 20,
            tmp_size: 1 << 30,
            memory: None,
            processes: 4096,
            open_files: 16384,
            file_size: None,
            cpu_time: None,
            address_space: None,
        }
    }
}

/// The value of every layer and limit for one case. The default is full isolation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// User identity of the test.
    pub user: User,
    /// Its pid namespace.
    pub pid: Namespace,
    /// PID 1 of it.
    pub init: Init,
    /// Its network.
    pub net: Net,
    /// Its System V IPC, POSIX message queues and `/dev/shm`.
    pub ipc: Namespace,
    /// Its host name.
    pub uts: Uts,
    /// Effect of writes to the project.
    pub workspace: Workspace,
    /// Globs, relative to the project's root: files copied out of the throwaway layer afterwards.
    pub write_back: Vec<String>,
    /// Place of the throwaway layers.
    pub scratch: Scratch,
    /// Root filesystem that it sees.
    pub root: Root,
    /// `/tmp`, `/var/tmp`, `/run`.
    pub tmp: Directory,
    /// `$HOME`.
    pub home: Directory,
    /// Its environment variables.
    pub env: Env,
    /// Names (or `PREFIX*`) of further variables that reach the test.
    pub pass_env: Vec<String>,
    /// Kernel hardening level.
    pub guard: Guard,
    /// Further host paths, visible read-only.
    pub read_only: Vec<PathBuf>,
    /// Further host paths, visible and writable.
    pub read_write: Vec<PathBuf>,
    /// Propagation of mounts between the host and these paths.
    pub propagation: Propagation,
    /// Directories that were made for it, in which its writes are discarded.
    pub stored: Vec<StoredLayer>,
    /// Layers that are the host's only since this machine refuses others, as somebody has allowed.
    pub weakened: Vec<Weakened>,
    /// Limits.
    pub limits: Limits,
    /// A fork server may start cases of a binary: faster, and all of them share one layout of
    /// addresses (ASLR).
    pub fork_server: bool,
    /// Each case is traced ([`trace`](crate::trace)), and executed. It changes no isolation.
    pub trace: bool,
    /// The clocks that it reads.
    pub time: Time,
    /// Conditions that it is given so that a dependence on them shows.
    pub perturbations: Perturbations,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            user: User::default(),
            pid: Namespace::default(),
            init: Init::default(),
            net: Net::default(),
            ipc: Namespace::default(),
            uts: Uts::default(),
            workspace: Workspace::default(),
            write_back: Vec::new(),
            scratch: Scratch::default(),
            root: Root::default(),
            tmp: Directory::default(),
            home: Directory::default(),
            env: Env::default(),
            pass_env: Vec::new(),
            guard: Guard::default(),
            read_only: Vec::new(),
            read_write: Vec::new(),
            propagation: Propagation::default(),
            stored: Vec::new(),
            weakened: Vec::new(),
            limits: Limits::default(),
            fork_server: true,
            trace: false,
            time: Time::default(),
            perturbations: Perturbations::default(),
        }
    }
}

impl Policy {
    /// True if writes to the project go to throwaway layers.
    pub fn shows_overlays(&self) -> bool {
        let overlays = [Workspace::Overlay, Workspace::Lab];
        self.guard != Guard::Strict && overlays.contains(&self.workspace)
    }

    /// True if the cases of a warden share something that the host does not: a *lab*. It lasts as long
    /// as the warden. What is left in it belongs to no case: it is no finding, and nothing of it is
    /// written back. No case has a capability over a namespace of it, not with [`User::Root`] either.
    pub fn has_lab(&self) -> bool {
        self.pid == Namespace::Lab
            || self.net == Net::Lab
            || self.ipc == Namespace::Lab
            || matches!(self.uts, Uts::Lab(_))
            || self.workspace == Workspace::Lab
            || self.tmp == Directory::Lab
            || self.home == Directory::Lab
    }
}
