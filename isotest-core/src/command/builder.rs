//! A sandbox in the making.

use std::cell::{Cell, RefCell};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::Error;
use super::running::RunningCommands;
use super::sandbox::Sandbox;
use crate::host::Host;
use crate::plan::{self, Access, Exposure, Project};
use crate::policy::{
    Directory, Guard, Init, Limits, Namespace, Net, Policy, Propagation, Root, User, Uts,
};
use crate::sandbox::Warden;

/// A sandbox in the making. What is not set has the default of [`Policy`]: full isolation.
///
/// Paths that are shown are shown at the same place, by their path without symbolic links; a path
/// that is not there is an error of [`SandboxBuilder::build`].
#[derive(Debug, Default)]
#[must_use = "a sandbox is built by `build`"]
pub struct SandboxBuilder {
    policy: Policy,
    workspace: Option<PathBuf>,
}

impl Sandbox {
    /// A sandbox with every layer at its default, which is full isolation.
    ///
    /// # Errors
    /// As [`SandboxBuilder::build`].
    pub fn new() -> Result<Sandbox, Error> {
        Sandbox::builder().build()
    }

    /// A sandbox in the making: its methods set layers.
    pub fn builder() -> SandboxBuilder {
        SandboxBuilder::default()
    }
}

impl SandboxBuilder {
    /// Sets all layers and limits at once, for values that have no method here.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// User identity inside the sandbox.
    pub fn user(mut self, user: User) -> Self {
        self.policy.user = user;
        self
    }

    /// Pid namespace: a new one, or that of the caller.
    pub fn pid(mut self, pid: Namespace) -> Self {
        self.policy.pid = pid;
        self
    }

    /// PID 1: the command itself, or a reaping init.
    pub fn init(mut self, init: Init) -> Self {
        self.policy.init = init;
        self
    }

    /// Network: loopback alone, or that of the host.
    pub fn net(mut self, net: Net) -> Self {
        self.policy.net = net;
        self
    }

    /// IPC namespace: a new one, or that of the caller.
    pub fn ipc(mut self, ipc: Namespace) -> Self {
        self.policy.ipc = ipc;
        self
    }

    /// Host name.
    pub fn uts(mut self, uts: Uts) -> Self {
        self.policy.uts = uts;
        self
    }

    /// Root filesystem: the system directories of the host, or all of another directory.
    pub fn root(mut self, root: Root) -> Self {
        self.policy.root = root;
        self
    }

    /// `/tmp`, `/var/tmp` and `/run`: empty, or those of the host.
    pub fn tmp(mut self, tmp: Directory) -> Self {
        self.policy.tmp = tmp;
        self
    }

    /// Kernel hardening level.
    pub fn guard(mut self, guard: Guard) -> Self {
        self.policy.guard = guard;
        self
    }

    /// Limits of each command.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.policy.limits = limits;
        self
    }

    /// Time after which a command is killed with all its processes; `None`: never.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.policy.limits.timeout = timeout.into();
        self
    }

    /// Shows a directory of the host that each command may change: its changes go to a throwaway
    /// layer of its own.
    pub fn workspace(mut self, directory: impl Into<PathBuf>) -> Self {
        self.workspace = Some(directory.into());
        self
    }

    /// Shows a path of the host, read-only.
    pub fn read_only(mut self, path: impl Into<PathBuf>) -> Self {
        self.policy.read_only.push(path.into());
        self
    }

    /// Shows a path of the host, writable: what commands write there stays.
    pub fn read_write(mut self, path: impl Into<PathBuf>) -> Self {
        self.policy.read_write.push(path.into());
        self
    }

    /// Starts the warden and builds the template.
    ///
    /// # Errors
    /// A path is not there, or a step was refused: the error names the step, the errno and, where
    /// it is known, who refuses it and what to do.
    pub fn build(self) -> Result<Sandbox, Error> {
        let SandboxBuilder { policy, workspace } = self;
        let root = match &policy.root {
            Root::Host => Path::new("/"),
            Root::Directory(root) => root,
        };
        let host = Host::read(root).map_err(Error::Host)?;
        let shown = workspace.iter().map(|path| (path, Access::Workspace));
        let shown = shown.chain(policy.read_only.iter().map(|path| (path, Access::ReadOnly)));
        let shown = shown.chain(policy.read_write.iter().map(|path| (path, Access::ReadWrite)));
        let mut project = Project::default();
        for (path, access) in shown {
            show(&mut project, &host, &policy, path, access)?;
        }
        project.root = project.exposures.first().filter(|_| workspace.is_some()).map(path_of);
        let mut warden = Warden::start(&host, &policy)?;
        warden.build(&plan::template(&host, &project, &policy), None)?;
        let running = RefCell::new(RunningCommands::new(warden));
        Ok(Sandbox { host, project, policy, running, next: Cell::new(0) })
    }
}

fn path_of(exposure: &Exposure) -> PathBuf {
    exposure.path.clone()
}

/// Adds a path of the host to what is shown.
fn show(
    project: &mut Project,
    host: &Host,
    policy: &Policy,
    path: &Path,
    access: Access,
) -> Result<(), Error> {
    let cannot = |cause| Error::Path(path.to_owned(), cause);
    let real = path.canonicalize().map_err(cannot)?;
    let metadata = real.metadata().map_err(cannot)?;
    if real != path && path.is_symlink() {
        project.links.push((path.to_owned(), real.clone()));
    }
    if access != Access::ReadOnly {
        project.owners.push((metadata.uid(), metadata.gid()));
    }
    let is_whole =
        access == Access::ReadOnly || (access == Access::Workspace && !policy.shows_overlays());
    if is_whole && let Some(parts) = host.parts_of(&real).filter(|_| metadata.is_dir()) {
        project.parts.push((real.clone(), parts));
    }
    project.exposures.push(Exposure {
        path: real,
        directory: metadata.is_dir(),
        access,
        what: "asked for".to_owned(),
        propagation: Propagation::Private,
    });
    Ok(())
}
