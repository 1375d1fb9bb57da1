//! `cargo isotest prune`: empties the cache of root filesystems.

use crate::config::machine::Machine;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report;
use crate::sandbox::root::{Cache, Pruned, RootError};

/// Removes every unpacked root filesystem that no run uses.
pub fn prune(machine: &Machine) -> Result<ExitCode, Error> {
    let pruned = match machine.cache_directory().map(|directory| Cache::below(&directory)) {
        Some(cache) if cache.directory().is_dir() => {
            cache.prune().map_err(|error| RootError::Cache(cache.directory().to_owned(), error))?
        }
        Some(_) | None => Pruned::default(),
    };
    report::pruned(pruned.removed, pruned.bytes, pruned.in_use);
    Ok(ExitCode::Passed)
}
