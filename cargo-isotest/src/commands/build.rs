//! The build whose tests a command works on: cargo's, or one that was made before.

use isotest_core::policy::Policy;
use isotest_core::signals::Signals;

use crate::archive::{self, ArchiveError, OpenedArchive};
use crate::cli::{CargoOptions, LayerOptions, ReuseOptions};
use crate::config::machine::Machine;
use crate::config::settings;
use crate::config::{Config, FlagValues, LoadError};
use crate::discover::{Project, Reused};
use crate::error::Error;
use crate::sandbox::root::RootError;
use crate::sandbox::roots;
use crate::sandbox::trial;
use crate::select::prepare::{self, Prepared, SelectOptions};

/// A build, made now or before.
pub struct Build<'a> {
    cargo: &'a CargoOptions,
    machine: &'a Machine,
    opened: Option<OpenedArchive>,
}

impl<'a> Build<'a> {
    /// Opens what was built before, where the options name it.
    pub fn open(
        reuse: &ReuseOptions,
        cargo: &'a CargoOptions,
        machine: &'a Machine,
    ) -> Result<Build<'a>, ArchiveError> {
        let opened = archive::open(reuse, machine, cargo.quiet)?;
        Ok(Build { cargo, machine, opened })
    }

    /// The build that was made before.
    pub fn reused(&self) -> Option<&Reused> {
        self.opened.as_ref().map(|opened| &opened.build)
    }

    /// The options by which another run has the same build.
    pub fn flags(&self) -> impl Iterator<Item = String> {
        self.opened.iter().flat_map(|opened| opened.flags.iter().cloned())
    }

    /// The configuration of its workspace.
    pub fn config(&self, given: FlagValues<'_>) -> Result<Config, LoadError> {
        Config::load(FlagValues { reused: self.reused(), ..given }, self.cargo, self.machine)
    }

    /// Builds, lists and selects its tests, in one root filesystem.
    pub fn prepare(
        &self,
        selecting: SelectOptions<'_>,
    ) -> Result<(Prepared, Project, Signals), Error> {
        let policy = policy(&selecting.config.layers(), self.machine, self.cargo.quiet)?;
        let request = settings::request(self.cargo);
        let (mut builders, project) =
            prepare::build([policy], &request, self.reused(), selecting.config)?;
        let builder = builders.pop().expect("there is one for each policy");
        let signals = Signals::listen().map_err(Error::Host)?;
        let prepared = prepare::select(builder, &project, self.machine, selecting, &signals)?;
        Ok((prepared, project, signals))
    }
}

/// The policy for one root filesystem, which these layers ask for.
pub fn policy(layers: &LayerOptions, machine: &Machine, quiet: bool) -> Result<Policy, RootError> {
    let policy = trial::weaken(settings::policy(layers), &layers.allow_weaker(), machine);
    roots::in_root(policy, &layers.roots(), machine, quiet)
}
