//! From project, host and policy to the two lists of steps and what stands around them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::interpose::interposed;
use super::layout::{Layout, MountMode, Owner, PlacedPath, upper};
use super::namespaces::{is_sealed, namespaces, shared_namespaces};
use super::project::Project;
use super::spec::{GroupLimits, SandboxSpec, StartBy};
use super::steps::Step;
use super::{case, ids, lab, server};
use crate::changes::Watched;
use crate::host::{Host, TEMPORARY};
use crate::policy::{Init, Policy};

/// Command that runs in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSpec {
    /// The program.
    pub program: CString,
    /// Its arguments from `argv[0]` on.
    pub arguments: Vec<CString>,
    /// Its environment, as `NAME=VALUE`.
    pub environment: Vec<CString>,
    /// Its working directory.
    pub directory: CString,
    /// Way in which it is started, where the policy and the sandbox allow it.
    pub start_by: StartBy,
}

/// What all cases of a warden start from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    /// Steps that build the read-only part of the root filesystem.
    pub steps: Vec<Step>,
    /// Steps that make the lab in it ([`Policy::has_lab`]); none without one.
    pub lab: Vec<Step>,
    /// Steps that make the lab anew.
    pub lab_again: Vec<Step>,
}

/// The template, which the warden builds.
pub fn template(host: &Host, project: &Project, policy: &Policy) -> Template {
    let layout = Layout::new(host, project, policy);
    Template {
        steps: super::template::steps(host, &layout, policy),
        lab: lab::steps(host, &layout, policy),
        lab_again: lab::steps_again(host, &layout, policy),
    }
}

/// The sandbox for running `command` under `policy`.
pub fn sandbox_spec(
    host: &Host,
    project: &Project,
    policy: &Policy,
    command: CommandSpec,
) -> SandboxSpec {
    let layout = Layout::new(host, project, policy);
    let program = Path::new(OsStr::from_bytes(command.program.to_bytes()));
    SandboxSpec {
        steps: case::steps(host, project, &layout, policy),
        namespaces: namespaces(policy),
        shared_namespaces: shared_namespaces(policy),
        sealed: is_sealed(host, policy),
        reaper: policy.init == Init::Reaper,
        id_maps: ids::maps(host, project, policy),
        scratch: case::scratch(&layout, policy),
        group: GroupLimits { memory: policy.limits.memory, processes: policy.limits.processes },
        start_by: command
            .start_by
            .or_exec((!policy.fork_server).then_some("as asked for"))
            .or_exec(is_sealed(host, policy).then_some("started by root with capabilities"))
            .or_exec(
                (!server::sees(&layout, program))
                    .then_some("a mount of the case covers the program"),
            ),
        server: server::steps(&layout, policy),
        program: command.program,
        arguments: command.arguments,
        environment: command.environment,
        directory: command.directory,
        interposed: interposed(policy),
        services: Vec::new(),
        perturbations: policy.perturbations.clone(),
    }
}

/// The places in the scratch of a case where its changes are found.
pub fn watched(host: &Host, project: &Project, policy: &Policy) -> Watched {
    let layout = Layout::new(host, project, policy);
    let places = layout.fresh.iter().map(|fresh| fresh.path.as_path());
    let places = places.chain(layout.placed.iter().map(|placed| placed.path.as_path()));
    let places = places.chain(layout.links.iter().map(|(link, _)| link.as_path()));
    let places = places.chain(layout.disk.as_deref());
    let mut made: BTreeMap<PathBuf, BTreeSet<OsString>> = BTreeMap::new();
    for path in places.flat_map(Path::ancestors) {
        if let Some((parent, name)) = path.parent().zip(path.file_name()) {
            made.entry(parent.to_owned()).or_default().insert(name.to_owned());
        }
    }
    let temporary = TEMPORARY.iter().filter(|path| **path != "/run").map(PathBuf::from);
    let stored = || policy.stored.iter();
    // What is left in a lab belongs to no case.
    let own = layout.fresh.iter().filter(|fresh| fresh.owner == Owner::Case);
    let ordinary = temporary.chain(project.built.iter().cloned());
    Watched {
        layers: overlays(&layout).map(|(upper, placed)| (upper, placed.path.clone())).collect(),
        sources: stored().map(|layer| (layer.at.clone(), layer.source.clone())).collect(),
        fresh: own.map(|it| (it.name.clone().into(), it.path.clone())).collect(),
        made,
        root: project.root.clone().unwrap_or_default(),
        is_tmpfs: layout.disk.is_none(),
        ordinary: ordinary.chain(stored().map(|layer| layer.at.clone())).collect(),
    }
}

/// Directories in which write-back finds the writes of a case: for every overlay, the directory of
/// its upper layer below the scratch and the host's directory that it covers.
pub fn upper_layers(host: &Host, project: &Project, policy: &Policy) -> Vec<(PathBuf, PathBuf)> {
    let layout = Layout::new(host, project, policy);
    // What a stored layer covers is no directory of the project.
    let covering = overlays(&layout).filter(|(_, placed)| placed.source == placed.path);
    covering.map(|(upper, placed)| (upper, placed.path.clone())).collect()
}

/// The overlays of a case alone, each with the directory of its upper layer below the scratch.
fn overlays(layout: &Layout) -> impl Iterator<Item = (PathBuf, &PlacedPath)> {
    let placed = layout.placed.iter().enumerate();
    let placed = placed.filter(|(_, placed)| placed.shown == MountMode::Overlay);
    placed.map(|(index, placed)| (upper(index).into(), placed))
}
