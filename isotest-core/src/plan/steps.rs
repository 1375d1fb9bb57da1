//! Set-up as data: an [`Op`] is one set-up operation with its C strings ready, a [`Step`] an
//! operation with the reason it is there.
//!
//! Lists of steps are made before any process exists. `sandbox::compile` makes system calls of them,
//! which are walked without a decision. A failure is an index into the list, so the words of an
//! error come from here too.

#![allow(missing_docs, reason = "the fields of an operation are the arguments of its system call")]

use std::borrow::Cow;
use std::ffi::CString;
use std::fmt;
use std::sync::Arc;

use crate::host::Piece;

/// One set-up operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Waits until the warden has written the id maps, which only it may.
    AwaitIdMaps,
    /// Writes to a file that exists: an id map, a sysctl.
    Write { path: CString, data: Vec<u8> },
    /// Creates a file with content.
    CreateFile { path: CString, data: Vec<u8>, mode: u32 },
    /// Creates a directory.
    MakeDirectory { path: CString, mode: u32 },
    /// Creates a symbolic link.
    MakeSymlink { target: CString, path: CString },
    /// Fills a directory with copies of these files, directories and links, parents first; those
    /// that have not been read are in `source`.
    Fill { source: CString, path: CString, pieces: Arc<[Piece]> },
    /// Hides the file of that name in the overlay layers below.
    Whiteout { path: CString },
    /// Mounts a new filesystem.
    Mount { fstype: CString, target: CString, flags: u64, options: Option<CString> },
    /// Changes the ids by which files are looked at, setfsuid(2) and setfsgid(2): from 0 to another
    /// uid the capabilities to pass by permissions go too, and they come back with 0.
    FilesystemIds { id: u32 },
    /// Makes `source` visible at `target`.
    Bind { source: CString, target: CString, recursive: bool },
    /// The same, where no part of `source` may be a symbolic link.
    BindExact { source: CString, target: CString, recursive: bool },
    /// Attaches the scratch that the warden has made, a mount that is nowhere yet.
    AttachScratch { target: CString },
    /// Sets MOUNT_ATTR_* flags and propagation.
    Attributes { path: CString, recursive: bool, set: u64, propagation: u64 },
    /// Makes `new_root` the root and puts the old one at `put_old`.
    PivotRoot { new_root: CString, put_old: CString },
    /// Detaches a mount and all below it.
    Detach { path: CString },
    /// Changes the working directory.
    ChangeDirectory { path: CString },
    /// Starts a session.
    NewSession,
    /// Starts a session keyring.
    NewKeyring,
    /// Enters the user namespace that the warden has made, and new namespaces that belong to it,
    /// CLONE_NEW*.
    EnterUserNamespace { namespaces: u64 },
    /// Enters new namespaces, CLONE_NEW*: the warden, in which the cases that come share them.
    EnterNamespaces { namespaces: u64 },
    /// Sets the host name.
    HostName { name: Vec<u8> },
    /// Brings the loopback interface up, with IPv4 multicast and an address beside 127.0.0.1.
    LoopbackUp,
    /// Gives it IPv6 multicast and an address beside ::1.
    LoopbackIpv6,
    /// Sets a resource limit, RLIMIT_*.
    Limit { resource: u32, soft: u64, hard: u64 },
    /// Gives up every capability.
    DropCapabilities,
    /// Gives up every capability but these bits of capabilities(7), which execve(2) keeps, and gains no
    /// other (`no_new_privs`).
    KeepCapabilities { kept: u64 },
    /// Leaves the process one processor of those that it may run on: which one follows from the
    /// slot of the case, so that cases that run at once are spread.
    OneProcessor,
    /// Has later programs loaded at addresses that are the same each time: personality(2).
    FixedAddresses,
    /// Enters a time namespace in which the clocks since boot are so much later, time_namespaces(7).
    LaterClocks { offsets: Vec<u8> },
    /// Never succeeds: the policy asks for what cannot be had together.
    Unsupported { act: &'static str, hint: &'static str },
    /// Lets the supervisor in, and waits until it has started the services.
    AwaitServices,
}

/// Maximum number of files in a tmpfs of `size` bytes. The size does not count them, though each
/// takes about 1 KiB of memory: without a limit a test could take any amount in empty files.
pub fn inodes(size: u64) -> u64 {
    (size >> 10).clamp(1 << 10, 1 << 20)
}

/// One set-up operation and why it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The operation.
    pub op: Op,
    /// Reason for it. It stays with the caller; the warden has no use for it.
    pub reason: Cow<'static, str>,
}

impl Op {
    /// True if it changes a process, and not the namespaces that it is in.
    pub fn is_of_process(&self) -> bool {
        let own = [Op::NewSession, Op::NewKeyring, Op::DropCapabilities];
        own.contains(self) || matches!(self, Op::Limit { .. })
    }

    /// True if it makes a file of any kind, and so can belong to a layer.
    pub fn makes(&self) -> bool {
        match self {
            Op::CreateFile { .. }
            | Op::MakeDirectory { .. }
            | Op::MakeSymlink { .. }
            | Op::Fill { .. }
            | Op::Whiteout { .. } => true,
            Op::AwaitIdMaps
            | Op::Write { .. }
            | Op::Mount { .. }
            | Op::FilesystemIds { .. }
            | Op::Bind { .. }
            | Op::BindExact { .. }
            | Op::AttachScratch { .. }
            | Op::Attributes { .. }
            | Op::PivotRoot { .. }
            | Op::Detach { .. }
            | Op::ChangeDirectory { .. }
            | Op::NewSession
            | Op::NewKeyring
            | Op::EnterUserNamespace { .. }
            | Op::EnterNamespaces { .. }
            | Op::HostName { .. }
            | Op::LoopbackUp
            | Op::LoopbackIpv6
            | Op::Limit { .. }
            | Op::DropCapabilities
            | Op::KeepCapabilities { .. }
            | Op::OneProcessor
            | Op::FixedAddresses
            | Op::LaterClocks { .. }
            | Op::Unsupported { .. }
            | Op::AwaitServices => false,
        }
    }
}

impl fmt::Display for Op {
    /// As an act that follows "cannot": "mount proc on `/proc`".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |path: &CString| path.to_string_lossy().into_owned();
        match self {
            Op::AwaitIdMaps => write!(f, "wait for the id maps"),
            Op::Write { path, data } => {
                let data = String::from_utf8_lossy(data);
                write!(f, "write `{}` to `{}`", data.trim_end().replace('\n', "; "), text(path))
            }
            Op::CreateFile { path, .. } => write!(f, "create file `{}`", text(path)),
            Op::MakeDirectory { path, mode } => {
                write!(f, "create directory `{}` (mode {mode:04o})", text(path))
            }
            Op::MakeSymlink { target, path } => {
                write!(f, "link `{}` to `{}`", text(path), text(target))
            }
            Op::Fill { path, pieces, .. } => {
                write!(f, "fill `{}` ({} files, directories and links)", text(path), pieces.len())
            }
            Op::Whiteout { path } => write!(f, "hide `{}`", text(path)),
            Op::Mount { fstype, target, options, .. } => {
                write!(f, "mount {} on `{}`", text(fstype), text(target))?;
                options.as_ref().map_or(Ok(()), |options| write!(f, " ({})", text(options)))
            }
            Op::FilesystemIds { id } => write!(f, "access files as uid and gid {id}"),
            Op::Bind { source, target, .. } | Op::BindExact { source, target, .. } => {
                write!(f, "bind `{}` to `{}`", text(source), text(target))
            }
            Op::AttachScratch { target } => write!(f, "attach the scratch at `{}`", text(target)),
            Op::Attributes { path, set, propagation, .. } => {
                write!(f, "make `{}` {}", text(path), attribute_names(*set, *propagation))
            }
            Op::PivotRoot { new_root, put_old } => {
                write!(
                    f,
                    "pivot the root to `{}`, the old one to `{}`",
                    text(new_root),
                    text(put_old)
                )
            }
            Op::Detach { path } => write!(f, "detach `{}`", text(path)),
            Op::ChangeDirectory { path } => write!(f, "change directory to `{}`", text(path)),
            Op::NewSession => write!(f, "start a session"),
            Op::NewKeyring => write!(f, "start a session keyring"),
            Op::EnterUserNamespace { .. } => write!(f, "enter the user namespace"),
            Op::EnterNamespaces { namespaces } => {
                write!(f, "enter {}", namespace_names(*namespaces))
            }
            Op::HostName { name } => {
                write!(f, "set the host name to `{}`", String::from_utf8_lossy(name))
            }
            Op::LoopbackUp => write!(f, "bring the loopback interface up"),
            Op::LoopbackIpv6 => write!(f, "give the loopback interface what IPv6 needs"),
            Op::Limit { resource, soft, .. } => {
                write!(f, "limit {} to {soft}", limit_name(*resource))
            }
            Op::DropCapabilities => write!(f, "drop all capabilities"),
            Op::KeepCapabilities { kept } => {
                write!(f, "drop all capabilities but those of the set {kept:#x}")
            }
            Op::OneProcessor => write!(f, "run on one processor"),
            Op::FixedAddresses => write!(f, "switch the randomization of addresses off"),
            Op::LaterClocks { .. } => write!(f, "enter a time namespace with later clocks"),
            Op::Unsupported { act, .. } => write!(f, "{act}"),
            Op::AwaitServices => write!(f, "wait for the services"),
        }
    }
}

/// The words for CLONE_NEW* flags: "a new network namespace and a new UTS namespace".
fn namespace_names(namespaces: u64) -> String {
    let flags = [
        (libc::CLONE_NEWNET, "a new network namespace"),
        (libc::CLONE_NEWIPC, "a new IPC namespace"),
        (libc::CLONE_NEWUTS, "a new UTS namespace"),
    ];
    let names = flags.iter().filter(|(flag, _)| namespaces & *flag as u64 != 0);
    names.map(|(_, name)| *name).collect::<Vec<_>>().join(" and ")
}

/// The words for mount attributes and propagation: "read-only, nosuid, private".
fn attribute_names(set: u64, propagation: u64) -> String {
    let flags = [
        (libc::MOUNT_ATTR_RDONLY, "read-only"),
        (libc::MOUNT_ATTR_NOSUID, "nosuid"),
        (libc::MOUNT_ATTR_NODEV, "nodev"),
        (libc::MOUNT_ATTR_NOEXEC, "noexec"),
    ];
    let propagations = [
        (libc::MS_PRIVATE, "private"),
        (libc::MS_SLAVE, "slave"),
        (libc::MS_UNBINDABLE, "unbindable"),
    ];
    let set = flags.iter().filter(|(bit, _)| set & bit != 0).map(|(_, name)| *name);
    let propagation =
        propagations.iter().filter(|(value, _)| *value == propagation).map(|(_, name)| *name);
    set.chain(propagation).collect::<Vec<_>>().join(", ")
}

/// The name of a resource of setrlimit(2).
fn limit_name(resource: u32) -> String {
    let names = [
        (libc::RLIMIT_NPROC, "processes"),
        (libc::RLIMIT_NOFILE, "open files"),
        (libc::RLIMIT_FSIZE, "file size"),
        (libc::RLIMIT_CPU, "processor time"),
        (libc::RLIMIT_AS, "address space"),
        (libc::RLIMIT_CORE, "core dumps"),
    ];
    let known = names.iter().find(|(value, _)| *value == resource);
    known.map_or_else(|| format!("resource {resource}"), |(_, name)| (*name).to_owned())
}
