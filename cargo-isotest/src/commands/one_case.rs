//! The one case that `explain` and `shell` look at.

use isotest_core::case;
use isotest_core::policy::{Limits, Policy};
use isotest_core::signals::Signals;

use crate::cli::{CargoOptions, ConfigOptions, LayerOptions};
use crate::config::machine::Machine;
use crate::config::settings;
use crate::config::{Config, Given, Needs, Source};
use crate::discover::filter::{Filter, RunIgnored};
use crate::discover::filterset::Subject;
use crate::discover::{Project, Reused};
use crate::error::Error;
use crate::run::policies;
use crate::sandbox::factory::{SandboxBuilder, SandboxFactory};
use crate::sandbox::trial;
use crate::select::find_case::choose;
use crate::select::prepare::{self, Prepared, Selected, Selecting};

/// A case that the command line names.
pub struct Named<'a> {
    pub case: &'a str,
    pub layers: &'a LayerOptions,
    pub config: &'a ConfigOptions,
}

/// One case, and the sandboxes that it is run in.
pub struct Case {
    pub factory: SandboxFactory,
    pub selected: Selected,
    pub case: case::Case,
    /// Who was asked for its policy.
    pub sources: Vec<Source>,
    pub limits: Limits,
    /// What is asked for, and what of it this case needs.
    pub config: Config,
    pub needs: Needs,
    pub project: Project,
    pub signals: Signals,
}

pub fn prepare_case(named: Named<'_>, tests: Tests<'_>, machine: &Machine) -> Result<Case, Error> {
    let profile = named.config.profile.as_deref();
    let (cargo, reused) = tests;
    let given = Given { layers: named.layers, course: None, profile, filterset: None, reused };
    let config = Config::load(given, cargo, machine)?.without_default_filter();
    let (prepared, project, signals) = prepare_with(&config, tests, (&every_case(), &[]), machine)?;
    let Prepared { mut factory, selected } = prepared;
    let (selected, case) = choose(&selected, named.case)?;
    let policy = policies::of_case(&config, &factory.policy, selected, case, machine);
    let limits = policy.limits.clone();
    if !policies::shares_warden(&policy, &factory.policy) {
        factory = SandboxBuilder::start(policy)?.build_for(&project, machine)?;
    }
    let sources = config.sources_of(&Subject::of(&selected.binary), case);
    let needs = config.needs(&sources);
    let sources = sources.into_iter().cloned().collect();
    let (selected, case) = (selected.clone(), case.clone());
    Ok(Case { factory, selected, case, sources, limits, config, needs, project, signals })
}

/// What is built, or was built before.
pub type Tests<'a> = (&'a CargoOptions, Option<&'a Reused>);

pub fn prepare_with(
    config: &Config,
    (cargo, reused): Tests<'_>,
    (filter, passed_on): (&Filter, &[String]),
    machine: &Machine,
) -> Result<(Prepared, Project, Signals), Error> {
    let policy = policy(&config.layers(), machine, cargo.quiet)?;
    let (mut wardens, project) =
        prepare::build([policy], &settings::request(cargo), reused, config)?;
    let builder = wardens.pop().expect("there is one for each policy");
    let signals = Signals::listen().map_err(Error::Host)?;
    let selecting = Selecting { filter, config, passed_on };
    let prepared = prepare::select(builder, &project, machine, selecting, machine.cores, &signals)?;
    Ok((prepared, project, signals))
}

/// The policy for one root filesystem, which these layers ask for.
pub fn policy(layers: &LayerOptions, machine: &Machine, quiet: bool) -> Result<Policy, Error> {
    let policy = trial::weaken(settings::policy(layers), &layers.allow_weaker(), machine);
    Ok(prepare::in_root(policy, &layers.roots(), machine, quiet)?)
}

fn every_case() -> Filter {
    Filter { run_ignored: RunIgnored::Yes, ..Filter::default() }
}
