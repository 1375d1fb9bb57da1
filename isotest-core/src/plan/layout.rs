//! Layout of the sandbox: the directories that are fresh, the host paths that are shown, and those
//! of them that must wait in the staging directory.
//!
//! The staging directory lies in the template's own `/tmp`. What cannot be mounted at its place
//! before a case exists, because a fresh directory of the case will cover that place or an overlay
//! needs it as its lower layer, waits there, and is covered in turn by the case's `/tmp`, the last
//! mount. All else in the template's `/tmp` are mount points for fork servers, whose program may
//! lie there.

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::project::{Access, Project};
use crate::host::{Content, Host, Part, Piece, TEMPORARY, TopLevel};
use crate::policy::{
    Directory, Guard, LayerWrites, Namespace, Policy, Propagation, Scratch, StoredLayer, Workspace,
};

/// Form in which a host path appears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountMode {
    /// Writes go to a throwaway layer.
    Overlay,
    /// Writes go to a throwaway layer of the lab.
    LabOverlay,
    /// Writes fail.
    ReadOnly,
    /// Writes reach the host.
    ReadWrite,
}

impl MountMode {
    /// True if an overlay of any kind shows it.
    pub fn is_overlay(self) -> bool {
        match self {
            MountMode::Overlay | MountMode::LabOverlay => true,
            MountMode::ReadOnly | MountMode::ReadWrite => false,
        }
    }
}

/// A host path with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedPath {
    /// Its path in the sandbox.
    pub path: PathBuf,
    /// Its path on the host: the same, except for a stored layer.
    pub source: PathBuf,
    /// Permissions of a throwaway layer over it.
    pub mode: u32,
    pub directory: bool,
    pub shown: MountMode,
    pub what: String,
    /// Its place in the staging directory, where it must wait there.
    pub staged: Option<PathBuf>,
    /// Other filesystems are mounted below it.
    pub has_mounts_below: bool,
    /// Propagation of mounts between the host and it.
    pub propagation: Propagation,
    /// Its parts, where no overlay can show it as a whole.
    pub parts: Option<Arc<[Part]>>,
    /// Under an overlay: copies of what belongs to others.
    pub copies: Option<Copies>,
}

/// A layer of copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    /// Its path in the sandbox.
    pub path: PathBuf,
    pub pieces: Arc<[Piece]>,
}

/// A directory that is empty at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh {
    pub path: PathBuf,
    /// Its directory in the scratch, or in that of the lab.
    pub name: String,
    pub mode: u32,
    pub owner: Owner,
}

/// Who has a fresh directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Every case has one, which is gone with it.
    Case,
    /// All cases of the warden share it.
    Lab,
}

/// Layout of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Sorted, parents first; `/tmp` is among them or staged.
    pub fresh: Vec<Fresh>,
    /// Sorted, parents first.
    pub placed: Vec<PlacedPath>,
    /// Symbolic links and their targets.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Files that are not shown.
    pub secrets: Vec<PathBuf>,
    /// Those of them that exist: shown empty where they cannot be left out.
    pub masked: Vec<PathBuf>,
    /// The host's directory for scratch on disk.
    pub disk: Option<PathBuf>,
}

/// The directory of the template that a case covers last.
pub const TMP: &str = "/tmp";
/// The staging directory, in it. A project may lie in `/tmp`, but hardly here.
pub const STAGING: &str = "/tmp/.isotest";
/// Mount point of the scratch of a case.
pub const SCRATCH: &str = "/tmp/.isotest/s";
/// Mount point of the directories of a lab.
pub const LAB: &str = "/tmp/.isotest/lab";
/// An empty file, for masking others.
pub const EMPTY: &str = "/tmp/.isotest/empty";
/// A whole proc, by which the kernel lets nested sandboxes mount their own.
pub const PROC: &str = "/tmp/.isotest/proc";
/// Path of the library that makes fork servers. No case sees it.
pub const LIBRARY_PATH: &CStr = c"/tmp/.isotest/fork-server.so";
/// Directory in which the case's `/tmp` is put together.
pub const NEW_TMP: &str = "/tmp/.isotest/s/tmp";

/// The directory of an overlay's upper layer, below the scratch.
pub fn upper(index: usize) -> String {
    format!("u{index}")
}

/// Place of an overlay of a lab, of which each case has a bind.
pub fn lab_overlay(index: usize) -> PathBuf {
    Path::new(LAB).join(format!("o{index}"))
}

impl Layout {
    pub fn new(host: &Host, project: &Project, policy: &Policy) -> Layout {
        let fresh = fresh(host, project, policy);
        let mut placed: Vec<PlacedPath> = Vec::new();
        let mut wanted = shown(host, project, policy);
        wanted.sort_by(|a, b| a.path.cmp(&b.path));
        for candidate in wanted {
            if !is_covered(host, &placed, &candidate) {
                placed.push(candidate);
            }
        }
        stage(&fresh, &mut placed);
        add_copies(project, &mut placed);
        let disk = (policy.scratch == Scratch::Disk).then(|| project.scratch.clone()).flatten();
        let made = |link: &PathBuf| {
            fresh.iter().any(|fresh| fresh.path == *link)
                || placed.iter().any(|placed| link.starts_with(&placed.path))
                || host.is_system(link)
                || is_standard_link(host, link)
        };
        let links = project.links.iter().filter(|(link, _)| !made(link)).cloned().collect();
        let (secrets, masked) = (project.secrets.clone(), project.masked.clone());
        Layout { fresh, placed, links, secrets, masked, disk }
    }

    /// The fresh directory that holds `path`, if one does.
    pub fn fresh_above(&self, path: &Path) -> Option<&Fresh> {
        self.fresh.iter().rev().find(|fresh| path.starts_with(&fresh.path))
    }

    /// The fresh directory around a fresh one, the nearest, where no host path lies between.
    pub fn outer(&self, fresh: &Fresh) -> Option<&Fresh> {
        let is_outer =
            |outer: &&Fresh| outer.path != fresh.path && fresh.path.starts_with(&outer.path);
        let outer = self.fresh.iter().rev().find(is_outer);
        outer.filter(|_| self.placed_above(&fresh.path).is_none())
    }

    /// The fresh directory in which a mount point or a link is made for a path, if one is.
    pub fn fresh_of(&self, path: &Path) -> Option<&Fresh> {
        let above = self.placed_above(path);
        let is_inside =
            |fresh: &&Fresh| above.is_some_and(|above| above.path.starts_with(&fresh.path));
        self.fresh_above(path).filter(|fresh| !is_inside(fresh))
    }

    /// The host path that is shown around `path`, the nearest one.
    pub fn placed_above(&self, path: &Path) -> Option<&PlacedPath> {
        let is_above = |placed: &&PlacedPath| placed.path != path && path.starts_with(&placed.path);
        self.placed.iter().rev().find(is_above)
    }

    /// Number of bytes that are copied in the template, and of files and directories.
    pub fn copies(&self) -> (u64, u64) {
        let pieces = self.placed.iter().filter_map(|placed| placed.copies.as_ref());
        let sizes =
            pieces.flat_map(|copies| copies.pieces.iter()).map(|piece| match &piece.content {
                Content::Copy(original) => original.size.next_multiple_of(4096),
                Content::File(_, data) => (data.len() as u64).next_multiple_of(4096),
                Content::Directory(_) | Content::Link(_) | Content::LargeFile => 0,
            });
        sizes.fold((0, 0), |(bytes, count), size| (bytes + size, count + 1))
    }

    /// True if later mounts of the host are seen anywhere.
    pub fn receives_mounts(&self) -> bool {
        self.placed.iter().any(|placed| placed.propagation == Propagation::Slave)
    }

    /// True if cases share directories that are no host's.
    pub fn has_lab(&self) -> bool {
        self.fresh.iter().any(|fresh| fresh.owner == Owner::Lab)
            || self.placed.iter().any(|placed| placed.shown == MountMode::LabOverlay)
    }

    /// Place of a path of the finished root while a case is being set up: the same, except for
    /// paths below `/tmp`, which is put together in the scratch first.
    pub fn during_setup(path: &Path) -> PathBuf {
        match path.strip_prefix(TMP) {
            Ok(rest) if rest.as_os_str().is_empty() => PathBuf::from(NEW_TMP),
            Ok(rest) => Path::new(NEW_TMP).join(rest),
            Err(_) => path.to_owned(),
        }
    }
}

/// The fresh directories; `/tmp` itself is one even where the host's is shown in it.
fn fresh(host: &Host, project: &Project, policy: &Policy) -> Vec<Fresh> {
    let entry = |path: &str, name: &str, mode, owner| Fresh {
        path: path.into(),
        name: name.to_owned(),
        mode,
        owner,
    };
    let mut fresh = Vec::new();
    let temporary =
        [("/run", "run", 0o755), ("/tmp", "tmp", 0o1777), ("/var/tmp", "var-tmp", 0o1777)];
    for (path, name, mode) in temporary {
        let missing = host.missing.contains(&path).then_some(Owner::Case);
        let owner = owner(policy.tmp).or(missing);
        fresh.extend(owner.map(|owner| entry(path, name, mode, owner)));
    }
    let shared_memory = match policy.ipc {
        Namespace::New => Some(Owner::Case),
        Namespace::Lab => Some(Owner::Lab),
        Namespace::Host => None,
    };
    fresh.extend(shared_memory.map(|owner| entry("/dev/shm", "shm", 0o1777, owner)));
    let home = project.home.as_ref().filter(|home| {
        let taken = fresh.iter().any(|fresh| fresh.path == **home);
        !is_no_home(host, home) && !taken
    });
    let home = home.zip(owner(policy.home)).map(|(home, owner)| (home, "home".to_owned(), owner));
    let hollow = project.hollow.iter().enumerate();
    let hollow = hollow.map(|(index, path)| (path, format!("h{index}"), owner_of_project(policy)));
    let more: Vec<Fresh> = home
        .into_iter()
        .chain(hollow)
        .map(|(path, name, owner)| Fresh { path: path.clone(), name, mode: 0o755, owner })
        .collect();
    fresh.extend(more);
    fresh.sort_by(|a, b| a.path.cmp(&b.path));
    fresh
}

/// `None` where the host's is shown.
fn owner(directory: Directory) -> Option<Owner> {
    match directory {
        Directory::Fresh => Some(Owner::Case),
        Directory::Lab => Some(Owner::Lab),
        Directory::Host => None,
    }
}

/// Who has the directories in place of those of the project that no overlay can cover.
fn owner_of_project(policy: &Policy) -> Owner {
    match policy.workspace {
        Workspace::Lab => Owner::Lab,
        Workspace::Overlay | Workspace::Readonly | Workspace::Shared => Owner::Case,
    }
}

/// Every host path that is wanted, as the policy shows it.
fn shown(host: &Host, project: &Project, policy: &Policy) -> Vec<PlacedPath> {
    use Guard::{Basic, IoUring, NoListener, Strict};
    let workspace = match (policy.guard, policy.workspace) {
        (Strict, _) | (Basic | NoListener | IoUring, Workspace::Readonly) => MountMode::ReadOnly,
        (Basic | NoListener | IoUring, Workspace::Overlay) => MountMode::Overlay,
        (Basic | NoListener | IoUring, Workspace::Lab) => MountMode::LabOverlay,
        (Basic | NoListener | IoUring, Workspace::Shared) => MountMode::ReadWrite,
    };
    let place = |path: &Path, directory, shown, what: &str| PlacedPath {
        path: path.to_owned(),
        source: path.to_owned(),
        mode: 0o755,
        directory,
        shown,
        what: what.to_owned(),
        staged: None,
        has_mounts_below: !host.mounts_below(path).is_empty(),
        propagation: Propagation::Private,
        parts: project.parts.iter().find(|(of, _)| of == path).map(|(_, parts)| Arc::clone(parts)),
        copies: None,
    };
    let mut all: Vec<PlacedPath> = project
        .exposures
        .iter()
        .map(|exposure| {
            let shown = match exposure.access {
                Access::Workspace => workspace,
                Access::ReadOnly => MountMode::ReadOnly,
                Access::ReadWrite => MountMode::ReadWrite,
            };
            let placed = place(&exposure.path, exposure.directory, shown, &exposure.what);
            PlacedPath { propagation: exposure.propagation, ..placed }
        })
        .collect();
    if policy.home == Directory::Host {
        let home = project.home.iter().filter(|home| !is_no_home(host, home));
        all.extend(home.map(|home| place(home, true, MountMode::ReadWrite, "the host's home")));
    }
    if policy.tmp == Directory::Host {
        let there = TEMPORARY.iter().filter(|path| !host.missing.contains(path)).map(Path::new);
        all.extend(there.map(|path| place(path, true, MountMode::ReadWrite, "the host's")));
    }
    all.extend(policy.stored.iter().map(|layer| stored(host, layer)));
    all
}

/// A stored layer, at its path.
fn stored(host: &Host, layer: &StoredLayer) -> PlacedPath {
    PlacedPath {
        path: layer.at.clone(),
        source: layer.source.clone(),
        mode: layer.mode,
        directory: true,
        shown: match layer.writes {
            LayerWrites::Discarded => MountMode::Overlay,
            LayerWrites::Kept => MountMode::ReadWrite,
        },
        what: format!("the layer `{}`", layer.name),
        staged: None,
        has_mounts_below: !host.mounts_below(&layer.source).is_empty(),
        propagation: Propagation::Private,
        parts: None,
        copies: None,
    }
}

/// True if an earlier, higher entry shows this path in the same way already.
fn is_covered(host: &Host, placed: &[PlacedPath], candidate: &PlacedPath) -> bool {
    let crosses_mount = |above: &Path| {
        host.mount_points.iter().any(|point| {
            point.starts_with(above) && point != above && candidate.path.starts_with(point)
        })
    };
    let above = placed.iter().rev().find(|above| candidate.path.starts_with(&above.path));
    match above {
        Some(above) if above.path == candidate.path => true,
        Some(_) | None if candidate.propagation != Propagation::Private => false,
        Some(above) if above.shown == candidate.shown => match above.shown {
            MountMode::Overlay | MountMode::LabOverlay => !crosses_mount(&above.path),
            MountMode::ReadOnly | MountMode::ReadWrite => true,
        },
        Some(_) => false,
        None => candidate.shown == MountMode::ReadOnly && host.is_system(&candidate.path),
    }
}

/// True if every root filesystem, or the host's, has this link anyway.
fn is_standard_link(host: &Host, link: &Path) -> bool {
    link == Path::new("/var/run")
        || host.top_level.iter().any(|entry| match entry {
            TopLevel::Directory(_) => false,
            TopLevel::Link(name, _) => link == Path::new("/").join(name),
        })
}

/// True if a directory cannot be a home of its own: the program would miss its content.
fn is_no_home(host: &Host, path: &Path) -> bool {
    let of_system = host.top_level.iter().map(|entry| match entry {
        TopLevel::Directory(name) | TopLevel::Link(name, _) => name.as_str(),
    });
    let mut names = of_system.chain(["dev", "etc", "proc", "sys"]);
    path.parent().is_none()
        || path.starts_with("/proc")
        || names.any(|name| path == Path::new("/").join(name))
}

/// True if the template has this path before it makes mount points: in a system directory, in
/// `/etc` or among the devices.
pub fn is_there(host: &Host, path: &Path) -> bool {
    let in_etc = |etc: &Path| match &host.etc {
        None => true,
        Some(pieces) => pieces.iter().any(|piece| piece.path == etc),
    };
    host.is_system(path)
        || path.strip_prefix("/etc").is_ok_and(|rest| rest.as_os_str().is_empty() || in_etc(rest))
        || host.devices.iter().any(|name| path == Path::new("/dev").join(name))
        || host.top_level.is_empty() && path.starts_with("/etc")
}

/// Gives a place in the staging directory to what cannot be at its own place in the template.
fn stage(fresh: &[Fresh], placed: &mut [PlacedPath]) {
    let overlays: Vec<PathBuf> = placed
        .iter()
        .filter(|entry| entry.shown.is_overlay())
        .map(|entry| entry.path.clone())
        .collect();
    for (index, entry) in placed.iter_mut().enumerate() {
        let covered = entry.path.starts_with(TMP)
            || fresh.iter().any(|fresh| entry.path.starts_with(&fresh.path))
            || overlays.iter().any(|above| entry.path.starts_with(above));
        if covered {
            entry.staged = Some(PathBuf::from(format!("{STAGING}/l{index}")));
        }
    }
}

fn add_copies(project: &Project, placed: &mut [PlacedPath]) {
    for (index, entry) in placed.iter_mut().enumerate() {
        let foreign = project.foreign.iter().find(|(path, _)| *path == entry.path);
        if let Some((_, pieces)) = foreign.filter(|_| entry.shown.is_overlay()) {
            let path = PathBuf::from(format!("{STAGING}/f{index}"));
            entry.copies = Some(Copies { path, pieces: Arc::clone(pieces) });
        }
    }
}
