//! Plans: everything needed to run one case, made before any process exists.
//!
//! Pure: no I/O, no descriptors, no environment. [`Project`] and [`Host`] say
//! what there is, a [`Policy`] says what is wanted; `template` and `case`
//! turn them into the two lists of steps, and [`Setup`] is what the warden keeps per binary.

mod builder;
mod case;
mod etc;
mod ids;
mod layout;
mod read_only;
mod roots;
mod server;
mod template;
mod visible;

pub use ids::Ids;
pub use layout::{LIBRARY_PATH, NEW_TMP, SCRATCH};
pub use visible::{Visible, normalised};

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::host::{Host, Part, Piece};
use crate::policy::{Init, Namespace, Net, Policy, Propagation, User, Uts, Weakened};
use crate::sandbox::{GroupLimits, KeptScratch, Op, Service, Start, Step};
use crate::write_back::WriteBack;

/// How a host path is made visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// As the layer `workspace` says: overlay, read-only or shared.
    Workspace,
    /// Read-only.
    ReadOnly,
    /// Writable, the host's own.
    ReadWrite,
}

/// A host directory or file that tests see, at its own path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// Its absolute path, without symbolic links.
    pub path: PathBuf,
    /// Whether it is a directory.
    pub directory: bool,
    /// How.
    pub access: Access,
    /// What it is, for `explain`: "the project", "cargo's home".
    pub what: String,
    /// Which mounts travel between the host and it.
    pub propagation: Propagation,
}

/// A file of somebody else's that a case may write to on the host, and cannot change in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncopied {
    /// Its path.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// What of the host belongs to the project and its tools.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Project {
    /// Its root directory, to which globs of write-back are relative.
    pub root: Option<PathBuf>,
    /// Directories of programs that are built and run outside; write-back reaches them by their
    /// names alone.
    pub built: Vec<PathBuf>,
    /// What tests see beside the system directories; what a policy adds is among them.
    pub exposures: Vec<Exposure>,
    /// Directories shown empty but for the exposures in them: what an overlay cannot cover, since
    /// other filesystems are mounted below.
    pub hollow: Vec<PathBuf>,
    /// What those exposures are made of that are read-only, and below which other filesystems are
    /// mounted.
    pub parts: Vec<(PathBuf, Arc<[Part]>)>,
    /// Symbolic links by which exposures are named, and their targets.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Files that hold secrets, or may come to: not shown, where a layer or a directory of our own can
    /// leave them out.
    pub secrets: Vec<PathBuf>,
    /// Those of them that exist: shown empty elsewhere.
    pub masked: Vec<PathBuf>,
    /// The uids and gids that own what the project exposes for writing.
    pub owners: Vec<(u32, u32)>,
    /// What belongs to others in what is shown below an overlay, by the path of the exposure; see
    /// [`Ids`].
    pub foreign: Vec<(PathBuf, Arc<[Piece]>)>,
    /// What of it is not copied.
    pub uncopied: Vec<Uncopied>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
    /// The directory in which cases have their scratch on disk.
    pub scratch: Option<PathBuf>,
}

/// What all cases have that share it: those of one binary under one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Default))]
pub struct Setup {
    /// The program.
    pub program: CString,
    /// Its arguments from `argv[0]` on, up to the case's own.
    pub arguments: Vec<CString>,
    /// Its environment, as `NAME=VALUE`.
    pub environment: Vec<CString>,
    /// Its working directory.
    pub directory: CString,
    /// What is done between clone and the program.
    pub steps: Vec<Step>,
    /// CLONE_NEW* flags.
    pub namespaces: u64,
    /// Whether the child enters the user namespace, and most others, by one of its steps: a user
    /// namespace that the warden makes with the id maps.
    pub sealed: bool,
    /// Whether a reaping init is PID 1.
    pub reaper: bool,
    /// The uid map and the gid map that the warden writes, where the child may not.
    pub id_maps: Option<(Vec<u8>, Vec<u8>)>,
    /// The scratch, where the warden makes it and holds on to it.
    pub kept_scratch: Option<KeptScratch>,
    /// What all its processes together may use, where it gets a control group.
    pub group: GroupLimits,
    /// Why its cases are executed; `None` where a fork server starts them.
    pub executed: Option<&'static str>,
    /// What is done to a fork server before it is executed.
    pub server: Vec<Step>,
    /// What runs beside each of its cases, in the order of starting.
    pub services: Vec<Service>,
}

impl Setup {
    /// The same with services, which are ready before the program begins. They need a pid namespace
    /// that ends with the case.
    pub fn with_services(mut self, services: Vec<Service>) -> Setup {
        if !services.is_empty() {
            let reason = "they are ready before the program begins".into();
            self.steps.push(Step { op: Op::AwaitServices, reason });
            self.services = services;
        }
        self
    }
}

/// What is run in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program.
    pub program: CString,
    /// Its arguments from `argv[0]` on.
    pub arguments: Vec<CString>,
    /// Its environment, as `NAME=VALUE`.
    pub environment: Vec<CString>,
    /// Its working directory.
    pub directory: CString,
    /// Why it must be executed; `None` where a fork server can be made of it.
    pub executed: Option<&'static str>,
}

/// How the verdict is read from what the program printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protocol {
    /// libtest's: the harness must have printed its own result line for this test.
    Libtest {
        /// The test's name.
        name: String,
        /// How many other tests the harness will say that it left out.
        filtered_out: usize,
        /// Which process is the harness's.
        process: Process,
    },
    /// Another harness's: the exit code is the verdict, which libtest's words refine where the
    /// harness prints them ([`foreign`](crate::foreign)).
    Foreign {
        /// The test's name, as the harness prints it.
        name: String,
    },
    /// No harness: the exit code is the verdict.
    ExitCode,
    /// A whole binary of libtest's, which prints results in JSON: the exit code is its verdict, and
    /// those of its tests are read by whoever hears its output. Each of so many results begins its
    /// time anew.
    Suite {
        /// How many tests it runs.
        tests: usize,
    },
}

/// Which process of a case is that of the harness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// The one that the case is started as: how it exits tells of the harness.
    First,
    /// One that another program has started, or has become: its words alone tell of the harness.
    Wrapped,
}

/// Everything needed to run one case.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it shares with others.
    pub setup: Arc<Setup>,
    /// What follows the set-up's arguments.
    pub arguments: Vec<CString>,
    /// What is added to the set-up's environment.
    pub environment: Vec<CString>,
    /// How its verdict is read.
    pub protocol: Protocol,
    /// After this long it is killed.
    pub timeout: Option<Duration>,
    /// After this long, and each time that it has passed again, it is told of as slow.
    pub slow_timeout: Option<Duration>,
    /// How many bytes of output are kept.
    pub output_limit: u64,
    /// What is copied out of its throwaway layers afterwards.
    pub write_back: Option<Arc<WriteBack>>,
    /// The layers that it shares with the host since this machine refuses others.
    pub weakened: Vec<Weakened>,
}

impl Plan {
    /// A plan for a program that is no test: no limit in time, all output kept.
    pub fn of(setup: Arc<Setup>) -> Plan {
        Plan {
            setup,
            arguments: Vec::new(),
            environment: Vec::new(),
            protocol: Protocol::ExitCode,
            timeout: None,
            slow_timeout: None,
            output_limit: u64::MAX,
            write_back: None,
            weakened: Vec::new(),
        }
    }

    /// The request that starts it, as case number `case`.
    pub fn start(&self, case: u64) -> Start {
        Start {
            case,
            setup: 0,
            arguments: self.arguments.clone(),
            environment: self.environment.clone(),
            terminal: false,
        }
    }
}

/// The steps that build the template, in the warden.
pub fn template(host: &Host, project: &Project, policy: &Policy) -> Vec<Step> {
    template::steps(host, &layout::Layout::new(host, project, policy), policy)
}

/// The set-up for running `command` under `policy`.
pub fn setup(host: &Host, project: &Project, policy: &Policy, command: Command) -> Setup {
    let layout = layout::Layout::new(host, project, policy);
    let program = Path::new(OsStr::from_bytes(command.program.to_bytes()));
    Setup {
        steps: case::steps(host, project, &layout, policy),
        namespaces: namespaces(policy),
        sealed: is_sealed(host, policy),
        reaper: policy.init == Init::Reaper,
        id_maps: ids::maps(host, project, policy),
        kept_scratch: kept_scratch(&layout, policy),
        group: GroupLimits { memory: policy.limits.memory, processes: policy.limits.processes },
        executed: command
            .executed
            .or((!policy.fork_server).then_some("as asked for"))
            .or(is_sealed(host, policy).then_some("root starts it with capabilities"))
            .or((!server::sees(&layout, program))
                .then_some("the sandbox is put together where it lies")),
        server: server::steps(&layout),
        program: command.program,
        arguments: command.arguments,
        environment: command.environment,
        directory: command.directory,
        services: Vec::new(),
    }
}

/// Where write-back finds what a case wrote: for every overlay, the directory of its upper layer
/// below the scratch and the host's directory that it covers.
pub fn upper_layers(host: &Host, project: &Project, policy: &Policy) -> Vec<(PathBuf, PathBuf)> {
    let layout = layout::Layout::new(host, project, policy);
    let overlays = layout.placed.iter().enumerate();
    let overlays = overlays.filter(|(_, placed)| placed.shown == layout::Shown::Overlay);
    overlays.map(|(index, placed)| (layout::upper(index).into(), placed.path.clone())).collect()
}

/// The scratch that the warden makes: one that outlives the case, or lies where no case may see its
/// parent.
fn kept_scratch(layout: &layout::Layout, policy: &Policy) -> Option<KeptScratch> {
    match (&layout.disk, policy.write_back.as_slice()) {
        (Some(_), _) => Some(KeptScratch::Disk),
        (None, []) => None,
        (None, _) => Some(KeptScratch::Memory { size: policy.limits.tmp_size }),
    }
}

/// The namespaces that a case gets, as CLONE_NEW* of clone(2).
fn namespaces(policy: &Policy) -> u64 {
    let flags = [
        (true, libc::CLONE_NEWUSER | libc::CLONE_NEWNS),
        (policy.pid == Namespace::New, libc::CLONE_NEWPID),
        (policy.net == Net::Loopback, libc::CLONE_NEWNET),
        (policy.ipc == Namespace::New, libc::CLONE_NEWIPC),
        (policy.uts != Uts::Host, libc::CLONE_NEWUTS),
    ];
    flags.iter().filter(|(wanted, _)| *wanted).fold(0, |all, (_, flag)| all | *flag as u64)
}

/// Whether the mounts of a case are made in the warden's user namespace, so that they are locked
/// when it enters its own (mount_namespaces(7)). It is where the machine's superuser starts a case
/// with capabilities: uid 0 may write to the machine's settings without any, and with them could
/// take away what covers them.
fn is_sealed(host: &Host, policy: &Policy) -> bool {
    policy.user == User::Root && !host.settings.is_empty()
}

/// Whether what is mounted over parts of `/proc` stays. A case with capabilities could take it
/// away, while a nested sandbox could mount no proc any more.
fn keeps_covers(host: &Host, policy: &Policy) -> bool {
    match policy.user {
        User::Same | User::Nobody => true,
        User::Root => is_sealed(host, policy),
    }
}

#[cfg(test)]
mod tests;
