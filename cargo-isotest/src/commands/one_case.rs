//! The one case that `explain` and `shell` look at.

use isotest_core::case;
use isotest_core::policy::Limits;
use isotest_core::signals::Signals;

use crate::cli::{ConfigOptions, LayerOptions};
use crate::commands::build::Build;
use crate::config::machine::Machine;
use crate::config::{Config, FlagValues, Needs, Source};
use crate::discover::Project;
use crate::discover::filter::{Filter, IgnoredCases};
use crate::discover::filterset::FilterSubject;
use crate::error::Error;
use crate::run::policies;
use crate::sandbox::factory::{SandboxBuilder, SandboxFactory};
use crate::sandbox::stored_layers::Layers;
use crate::select::find_case::find_case;
use crate::select::prepare::{Prepared, SelectOptions};
use crate::select::selected::Selected;

/// A case that the command line names, and what it says of its sandbox.
pub struct CaseRequest<'a> {
    /// Its name.
    pub case: &'a str,
    /// The layers and limits.
    pub layers: &'a LayerOptions,
    /// The profile.
    pub config: &'a ConfigOptions,
}

/// One case, and the sandboxes that it is run in.
pub struct OneCase {
    /// The sandboxes.
    pub factory: SandboxFactory,
    /// Its binary.
    pub selected: Selected,
    /// The case.
    pub case: case::Case,
    /// Sources of its policy.
    pub sources: Vec<Source>,
    /// Its limits.
    pub limits: Limits,
    /// The configuration.
    pub config: Config,
    /// Services and setup commands that this case needs.
    pub needs: Needs,
    /// The layers that it sees, by their places in the configuration.
    pub layers: Vec<usize>,
    /// The project.
    pub project: Project,
    /// The signals that end the command.
    pub signals: Signals,
}

impl OneCase {
    /// Builds the project and finds the case.
    pub fn find(
        build: &Build<'_>,
        named: &CaseRequest<'_>,
        machine: &Machine,
    ) -> Result<OneCase, Error> {
        let config =
            build.config(FlagValues::of(named.layers, named.config))?.without_default_filter();
        let filter = Filter { run_ignored: IgnoredCases::Yes, ..Filter::default() };
        let selecting =
            SelectOptions { filter: &filter, config: &config, passed_on: &[], jobs: machine.cores };
        let (Prepared { mut factory, selected }, project, signals) = build.prepare(selecting)?;
        let (selected, case) = find_case(&selected, named.case)?;
        let subject = FilterSubject::of(&selected.binary);
        let policy = policies::of_case(&config, &factory.policy, selected, case, machine);
        let shown = config.layers_of(&subject, case);
        let layers = Layers { config: &config, project: &project, machine, signals: &signals };
        let policy = layers.provide(policy, &shown)?;
        let limits = policy.limits.clone();
        if !policies::shares_warden(&policy, &factory.policy) {
            factory = SandboxBuilder::start(policy)?.build_for(&project, machine)?;
        }
        let sources = config.sources_of(&subject, case);
        let needs = config.needs(&sources);
        let sources = sources.into_iter().cloned().collect();
        let (selected, case) = (selected.clone(), case.clone());
        Ok(OneCase {
            factory,
            selected,
            case,
            sources,
            limits,
            config,
            needs,
            layers: shown,
            project,
            signals,
        })
    }
}
