//! The project: what of the host belongs to it and its tools.

use std::path::PathBuf;
use std::sync::Arc;

use crate::host::{Part, Piece};
use crate::policy::Propagation;

/// Access to a host path.
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
    /// It is a directory.
    pub directory: bool,
    /// Its access.
    pub access: Access,
    /// Description for `explain`: "the project", "cargo's home".
    pub what: String,
    /// Propagation of mounts between the host and it.
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

/// Paths of the host that belong to the project and its tools.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Project {
    /// Its root directory, to which globs of write-back are relative.
    pub root: Option<PathBuf>,
    /// Directories of programs that are built and run outside; write-back reaches them by their
    /// names alone.
    pub built: Vec<PathBuf>,
    /// Paths that tests see beside the system directories, with those that a policy adds.
    pub exposures: Vec<Exposure>,
    /// Directories shown empty but for the exposures in them: what an overlay cannot cover, since
    /// other filesystems are mounted below.
    pub hollow: Vec<PathBuf>,
    /// Parts of the exposures that are read-only, and below which other filesystems are mounted.
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
    /// Files of others that are shown below an overlay, by the path of the exposure; see
    /// [`Ids`](super::Ids).
    pub foreign: Vec<(PathBuf, Arc<[Piece]>)>,
    /// Files of them that are not copied.
    pub uncopied: Vec<Uncopied>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
    /// The directory in which cases have their scratch on disk.
    pub scratch: Option<PathBuf>,
}
