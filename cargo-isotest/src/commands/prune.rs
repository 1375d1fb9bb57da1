//! `cargo isotest prune`: empties the cache of root filesystems and that of layers, and removes old
//! runs.

use std::time::SystemTime;

use crate::cli::{CargoOptions, ConfigOptions, LayerOptions, ProjectOptions};
use crate::commands::recorded::{self, store_of};
use crate::config::machine::Machine;
use crate::config::{Config, FlagValues};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report;
use crate::run::kept;
use crate::sandbox::root::{Cache, Pruned, RootError};
use crate::sandbox::stored_layers;
use crate::store::StoreError;

/// Removes every unpacked root filesystem that no run uses, and the runs that the store of the
/// project here has too much.
pub fn prune(machine: &Machine) -> Result<ExitCode, Error> {
    let pruned = match machine.cache_directory().map(|directory| Cache::below(&directory)) {
        Some(cache) if cache.directory().is_dir() => {
            cache.prune().map_err(|error| RootError::Cache(cache.directory().to_owned(), error))?
        }
        Some(_) | None => Pruned::default(),
    };
    report::pruned(pruned.removed, pruned.bytes, pruned.in_use);
    // Elsewhere than in a project there are no runs.
    if let Ok(store) = store_of(&ProjectOptions::default()) {
        if let Some(directory) = store.path().parent() {
            let removed = kept::prune(directory);
            removed.map_err(|error| Error::Keep(directory.to_owned(), error))?;
            // The target directory.
            if let Some(target) = directory.parent() {
                match stored_layers::prune(target) {
                    Ok(removed) => report::pruned_layers(removed),
                    Err(error) => {
                        report::warning(&format_args!("cannot remove all layers: {error}"));
                    }
                }
            }
        }
        let (layers, profile) = (LayerOptions::default(), ConfigOptions::default());
        let (given, cargo) = (FlagValues::of(&layers, &profile), CargoOptions::default());
        let run_options = Config::load(given, &cargo, machine)?.values().run_options;
        let keep = recorded::keep(run_options.record_limits());
        let removed = store.prune(&keep, SystemTime::now());
        let removed = removed.map_err(|error| StoreError::Read(store.path().to_owned(), error))?;
        report::pruned_runs(removed.runs, removed.bytes);
    }
    Ok(ExitCode::Passed)
}
