//! Failed cases run once more, as they were run at first.

use std::io;
use std::sync::Arc;

use isotest_core::case::{Case, CaseIndex, Ignore};
use isotest_core::outcome::Outcome;
use isotest_core::plan::{SandboxSpec, StartBy};
use isotest_core::policy::{Directory, Namespace, Net, Policy, Workspace};
use isotest_core::schedule::{self, Job};
use isotest_core::signals::Signals;

use crate::config::machine::Machine;
use crate::discover::Harness;
use crate::report::RerunProgress;
use crate::run::case_plan;
use crate::run::context::Cases;
use crate::run::policies::Member;
use crate::sandbox::environment::PROFILE;
use crate::sandbox::factory::SandboxFactory;
use crate::sandbox::jobs;
use crate::select::selected::case;

/// With more failures than this the cause is elsewhere.
pub const MAX_FAILURES: usize = 50;
/// Number of cases in flight; those that hang cost no processor time.
const JOBS: usize = 16;

/// True if running a test once more can have no effect outside.
pub fn is_isolated(policy: &Policy) -> bool {
    policy.net != Net::Host
        && policy.pid != Namespace::Host
        && policy.ipc != Namespace::Host
        && policy.workspace != Workspace::Shared
        && policy.tmp != Directory::Host
        && policy.home != Directory::Host
        && policy.read_write.is_empty()
        && policy.write_back.is_empty()
}

/// The machine without the coverage profiles: what is run twice must not be counted twice.
pub fn uncounted(machine: &Machine) -> Machine {
    let mut machine = machine.clone();
    machine.variables.retain(|(name, _)| name != PROFILE);
    machine.profiles = None;
    machine
}

/// The set-up by which a case is started as it was among all cases of its binary: by a fork server
/// or not. What fails in one way alone is not flaky.
pub fn as_at_first(spec: Arc<SandboxSpec>, cases: &[Case]) -> Arc<SandboxSpec> {
    let ran = cases.iter().filter(|case| case.ignore == Ignore::No).count();
    if ran >= schedule::WORTH_A_SERVER as usize {
        return spec;
    }
    Arc::new(SandboxSpec {
        start_by: StartBy::Exec("one of few tests"),
        ..Arc::unwrap_or_clone(spec)
    })
}

/// One run of a case, started as it was at first.
pub fn job(
    factory: &mut SandboxFactory,
    cases: Cases<'_>,
    Member { index, terms }: &Member,
) -> Job {
    let selected = &cases.selected[index.binary];
    let spec = case_plan::spec(factory, selected, cases.provision.give(&terms.needs));
    let spec = as_at_first(spec, &selected.selection.cases);
    let case = case(cases.selected, *index);
    let plan = case_plan::plan_of(factory, &spec, selected, case, &factory.policy.limits);
    Job::once(*index, plan)
}

/// Runs cases in these sandboxes. Returns their outcomes.
pub fn again(
    factory: &mut SandboxFactory,
    cases: Cases<'_>,
    failed: &[Member],
    signals: &Signals,
    progress: &mut RerunProgress,
) -> io::Result<Vec<(CaseIndex, Box<Outcome>)>> {
    let jobs: Vec<Job> = failed
        .iter()
        .filter(|member| cases.selected[member.index.binary].harness != Harness::None)
        .map(|member| job(factory, cases, member))
        .collect();
    // What shares a layer with the host shares it with each other, too.
    let jobs_at_once = if is_isolated(&factory.policy) { JOBS } else { 1 };
    let options = schedule::Options { served_from: 1, ..schedule::Options::of(jobs_at_once) };
    let jobs = vec![(&mut factory.warden, jobs)];
    jobs::run(jobs, options, signals, Vec::new(), |events| progress.follow(events))
}
