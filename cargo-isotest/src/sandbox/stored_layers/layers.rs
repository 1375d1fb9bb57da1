//! The layers that cases see: found among those that are kept, or made.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use isotest_core::file_lock::{self, Lock};
use isotest_core::policy::{LayerWrites, Namespace, Policy, StoredLayer};
use isotest_core::signals::Signals;
use isotest_core::untrusted::Dir;

use super::error::{LayerCause, LayerError, LayersError};
use super::inputs;
use super::key::{Ingredients, key};
use super::make::{Making, make};
use super::store::{Kept, LayerStore};
use crate::config::machine::{Machine, Variable};
use crate::config::{Config, ConfigError, MadeOnce};
use crate::discover::Project;
use crate::report;
use crate::sandbox::environment;

/// Maximum number of times that a layer is made whose inputs change meanwhile.
const ATTEMPTS: usize = 3;

/// The layers of a project.
#[derive(Clone, Copy)]
pub struct Layers<'a> {
    /// The configuration, which defines them.
    pub config: &'a Config,
    /// The project.
    pub project: &'a Project,
    /// The surroundings of this process.
    pub machine: &'a Machine,
    /// The signals that end the run.
    pub signals: &'a Signals,
}

impl Layers<'_> {
    /// The policy of cases that see these layers, by their places in the configuration. Those that
    /// are not kept are made.
    pub fn provide(&self, policy: Policy, wanted: &[usize]) -> Result<Policy, LayersError> {
        let mut stored = Vec::new();
        for layer in wanted.iter().filter_map(|place| self.config.made_once.get(*place)) {
            check(&policy, layer)?;
            let Kept { path, mode } = self.find(&policy, layer)?;
            stored.push(StoredLayer {
                name: layer.name.clone(),
                source: path,
                at: layer.at.clone(),
                mode,
                writes: LayerWrites::Discarded,
            });
        }
        Ok(Policy { stored, ..policy })
    }

    /// A layer that is kept, or else is made. One whose inputs change meanwhile is made again.
    fn find(&self, policy: &Policy, layer: &MadeOnce) -> Result<Kept, LayersError> {
        let variables = environment::of_layer(&self.machine.variables, policy);
        for _ in 0..ATTEMPTS {
            let key = self.key(policy, layer, &variables)?;
            if let Some(kept) = self.find_or_make(policy, layer, &variables, &key)? {
                return Ok(kept);
            }
        }
        Err(LayerError::of(layer, LayerCause::Changing))
    }

    /// The layer of a key, which is made where it is missing: by one run, others wait. `None` if its
    /// inputs have changed while it was made.
    fn find_or_make(
        &self,
        policy: &Policy,
        layer: &MadeOnce,
        variables: &[Variable],
        key: &str,
    ) -> Result<Option<Kept>, LayersError> {
        let target = self.project.target_directory.as_std_path();
        let failed =
            |error| LayerError::of(layer, LayerCause::Store(target.join("isotest/layers"), error));
        let store = LayerStore::of(target).map_err(failed)?;
        loop {
            let lock = store.lock(key).map_err(failed)?;
            self.lock(&lock, Lock::Shared, layer).map_err(failed)??;
            if let Some(kept) = store.get(key, lock).map_err(failed)? {
                return Ok(Some(kept));
            }
            let lock = store.lock(key).map_err(failed)?;
            self.lock(&lock, Lock::Exclusive, layer).map_err(failed)??;
            // Another run may have made it, or removed it with its lock.
            if !store.is_missing(key, &lock) {
                continue;
            }
            report::making_layer(&layer.name);
            let unfinished = store.begin().map_err(failed)?;
            make(&Making {
                layer,
                policy,
                variables,
                directory: unfinished.path(),
                project: self.project,
                machine: self.machine,
                signals: self.signals,
            })?;
            if self.key(policy, layer, variables)? != *key {
                return Ok(None);
            }
            store.put(key, &lock, unfinished).map_err(failed)?;
            drop(lock);
            if let Err(error) = store.remove_old() {
                report::warning(&format_args!("cannot remove old layers: {error}"));
            }
        }
    }

    fn key(
        &self,
        policy: &Policy,
        layer: &MadeOnce,
        variables: &[Variable],
    ) -> Result<String, LayersError> {
        let workspace = self.project.workspace_root.as_std_path();
        let built = [&self.project.target_directory, &self.project.build_directory];
        let left_out =
            built.iter().filter_map(|path| path.strip_prefix(&self.project.workspace_root).ok());
        let left_out: Vec<PathBuf> = left_out.map(|path| path.as_std_path().to_owned()).collect();
        let unreadable = |error| LayerCause::Input {
            glob: "the root of the workspace".to_owned(),
            path: workspace.to_owned(),
            error,
        };
        let inputs = workspace
            .canonicalize()
            .and_then(|path| Dir::open(&path))
            .map_err(unreadable)
            .and_then(|workspace| inputs::find(&workspace, &layer.inputs, &left_out))
            .map_err(|cause| LayerError::of(layer, cause))?;
        Ok(key(&Ingredients {
            layer,
            inputs: &inputs,
            policy,
            variables,
            workspace: Path::new(workspace),
        }))
    }

    /// Takes a lock, and says so where it waits for another run.
    fn lock(
        &self,
        file: &File,
        lock: Lock,
        layer: &MadeOnce,
    ) -> io::Result<Result<(), LayersError>> {
        if file_lock::try_lock(file, lock)? {
            return Ok(Ok(()));
        }
        report::waiting_for_layer(&layer.name);
        Ok(match file_lock::wait(file, lock, self.signals)? {
            None => Ok(()),
            Some(signal) => Err(LayersError::Interrupted(signal)),
        })
    }
}

/// Fails where a process of its command would not end with it.
fn check(policy: &Policy, layer: &MadeOnce) -> Result<(), ConfigError> {
    let refuse = |pid: &str| {
        let what = format!("cannot make the layer `{}` with {pid}", layer.name);
        let hint = "the end of its pid namespace ends all that could still write to it";
        Err(ConfigError::new(what).hint(Some(hint)))
    };
    match policy.pid {
        Namespace::New => Ok(()),
        Namespace::Lab => refuse("a pid namespace that is shared with companions"),
        Namespace::Host => refuse("`pid = \"host\"`"),
    }
}
