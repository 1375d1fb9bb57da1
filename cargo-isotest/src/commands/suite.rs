//! All tests of a project, for commands that run some of them again and again.

use isotest_core::outcome::NotRun;
use isotest_core::policy::Policy;
use isotest_core::signals::Signals;

use crate::cli::{RunCommand, SuiteOptions};
use crate::commands::build::Build;
use crate::commands::selected_tests::SelectedTests;
use crate::config::FlagValues;
use crate::config::machine::Machine;
use crate::config::settings::Settings;
use crate::error::Error;
use crate::run::again::uncounted;
use crate::run::context::{Cases, Context};
use crate::run::gates::Gates;
use crate::run::policies::Member;
use crate::sandbox::roots;
use crate::sandbox::trial;
use crate::select::find_case::{choose, unknown_case};
use crate::select::prepare;
use crate::select::subset::RunSubset;

/// All tests of a project, ready to run.
pub struct Suite<'a> {
    /// The surroundings.
    pub context: Context<'a>,
    /// The tests.
    pub cases: Cases<'a>,
    /// The tests of each policy.
    pub groups: Vec<(Policy, Vec<Member>)>,
}

/// Builds and lists the tests of a project, and works on them.
pub fn with_suite<T>(
    options: &SuiteOptions,
    machine: &Machine,
    work: impl FnOnce(Suite<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let machine = &uncounted(machine);
    let run = RunCommand::of(options.cargo.clone(), options.config.clone());
    let build = Build::open(&run.reuse, &run.cargo, machine)?;
    let config = build.config(FlagValues::of(&run.layers, &run.config))?.without_default_filter();
    let mut settings = Settings::of_run(&run, config.values(), machine)?;
    settings.policy = trial::weaken(settings.policy, &settings.layers.allow_weaker(), machine);
    let roots = roots::in_roots(&settings.policy, &[], machine, run.cargo.quiet)?;
    let policies = roots.iter().map(|root| root.policy.clone());
    let (builders, project) = prepare::build(policies, &settings.request, build.reused(), &config)?;
    let signals = Signals::listen().map_err(Error::Host)?;
    let context = Context {
        settings: &settings,
        config: &config,
        project: &project,
        machine,
        signals: &signals,
    };
    let subset = RunSubset { part: None, failed: None };
    let mut tests = SelectedTests::select(context, builders, &roots, subset)?;
    let provision = tests.provide(context)?;
    let gates = Gates::default();
    // The wardens that have listed the tests are not needed any more.
    let groups = std::mem::take(&mut tests.batches)
        .into_iter()
        .map(|batch| (batch.factory.policy.clone(), batch.members))
        .collect();
    let cases =
        Cases { selected: &tests.selected, provision: &provision, gates: &gates, kept: None };
    work(Suite { context, cases, groups })
}

/// The error where no test is selected.
pub const NO_TEST: &str = "cannot find a test that runs and whose name contains one of the filters\n\
                           hint: `cargo isotest list` prints all names";

/// The error of a test that could not be run. What a signal has ended, or kept from being set up, was
/// interrupted.
pub fn not_run(reason: &NotRun) -> Error {
    if let Some(signal) = Signals::asked() {
        return Error::Interrupted(signal);
    }
    match reason {
        NotRun::Sandbox(error) => Error::Sandbox(error.clone()),
        NotRun::Service(error) => Error::Service(error.clone()),
        NotRun::WardenSilent => Error::WardenSilent,
        NotRun::WardenDied | NotRun::Cancelled | NotRun::ProcessEnded => Error::WardenDied,
    }
}

impl Suite<'_> {
    /// The test that a name means, its policy, and the other tests of that policy.
    pub fn find(&self, name: &str) -> Result<(Member, Policy, Vec<Member>), Error> {
        let all = self.groups.iter().zip(0..).flat_map(|((_, members), group)| {
            members.iter().map(move |member| {
                let selected = &self.cases.selected[member.index.binary];
                let case = &selected.selection.cases[member.index.case];
                (selected.binary.id.as_str(), case.name.as_str(), (group, member.clone()))
            })
        });
        let found = choose(all, name)?;
        let (group, member) = found.ok_or_else(|| unknown_case(name))?;
        let (policy, members) = &self.groups[group];
        let others = members.iter().filter(|other| other.index != member.index);
        let others = others.cloned().collect();
        Ok((member, policy.clone(), others))
    }
}
