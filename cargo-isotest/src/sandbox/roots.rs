//! The root filesystems that `--root` names, and the policy in each.

use std::path::{Path, PathBuf};

use isotest_core::policy::{Policy, Root};

use crate::config::machine::Machine;
use crate::report;
use crate::sandbox::root::{self, RootError};

/// One of the root filesystems that a run is asked for.
pub struct RootFilesystem {
    /// As `--root` names it; `None` where nothing does.
    pub name: Option<PathBuf>,
    /// Its name in reports; `None` if it is the only one.
    pub label: Option<String>,
    /// The policy there.
    pub policy: Policy,
}

/// The policy in each root filesystem that `named` names, or in the host's where nothing does.
/// One that is named twice counts once.
pub fn in_roots(
    policy: &Policy,
    named: &[PathBuf],
    machine: &Machine,
    quiet: bool,
) -> Result<Vec<RootFilesystem>, RootError> {
    if named.is_empty() {
        return Ok(vec![RootFilesystem { name: None, label: None, policy: policy.clone() }]);
    }
    let mut roots: Vec<RootFilesystem> = Vec::new();
    for name in named {
        let policy = Policy { root: find_root(name, machine, quiet)?, ..policy.clone() };
        if roots.iter().all(|known| known.policy.root != policy.root) {
            roots.push(RootFilesystem { name: Some(name.clone()), label: None, policy });
        }
    }
    if let [_, _, ..] = roots.as_slice() {
        for root in &mut roots {
            root.label = root.name.as_ref().map(|name| name.display().to_string());
        }
    }
    Ok(roots)
}

/// The policy in the one root filesystem that `named` names, or in the host's.
pub fn in_root(
    policy: Policy,
    named: &[PathBuf],
    machine: &Machine,
    quiet: bool,
) -> Result<Policy, RootError> {
    match named {
        [] => Ok(policy),
        [name, ..] => Ok(Policy { root: find_root(name, machine, quiet)?, ..policy }),
    }
}

/// The directory that a value of `--root` names or is unpacked to.
fn find_root(named: &Path, machine: &Machine, quiet: bool) -> Result<Root, RootError> {
    let tell = || {
        if !quiet {
            report::unpacking(named);
        }
    };
    let cache = machine.cache_directory();
    let found = root::find(&machine.directory.join(named), cache.as_deref(), &tell)?;
    let is_host = found.parent().is_none();
    // It is read outside of that root, where the link would lead elsewhere.
    if !is_host && found.join("etc").is_symlink() {
        return Err(RootError::Link(found.join("etc")));
    }
    Ok(if is_host { Root::Host } else { Root::Directory(found) })
}
