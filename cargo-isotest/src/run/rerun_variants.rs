//! Rerun variants: failed cases run once more, under other layer values that isolate as well.
//!
//! A test may fail for what its sandbox is, not for what it tests: it sends itself a signal that
//! PID 1 never receives, it waits for an orphan that nobody reaps, it sums up the sizes of
//! directories on a tmpfs, it is a test for root. Such tests are few and their failure is a riddle, so they are run once
//! more, under a value that mends it; where they pass, the report names the flag. One that passes
//! unchanged is flaky, and no flag mends it. Nothing is ever weakened: where a run is not fully
//! isolated no test is run twice.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use isotest_core::case::{Case, CaseIndex, Ignore};
use isotest_core::finding::Finding;
use isotest_core::outcome::{Gate, Outcome, Verdict};
use isotest_core::plan::{self, SandboxSpec, StartBy};
use isotest_core::policy::{Directory, Namespace, Net, Policy, Workspace};
use isotest_core::retry::Retries;
use isotest_core::schedule::{self, Claim, Event, Job};
use isotest_core::signals::Signals;

use crate::cli::ExplainFailures;
use crate::discover::Harness;
use crate::report::{Hint, Reruns};
use crate::run::batch::Batch;
use crate::run::case_plan;
use crate::run::context::{Cases, Context};
use crate::run::policies::Member;
use crate::run::variants::{self, Variant};
use crate::sandbox::environment::PROFILE;
use crate::sandbox::factory::{SandboxBuilder, SandboxFactory};
use crate::sandbox::jobs;
use crate::select::selected::case;

/// With more failures than this the cause is elsewhere.
pub const MAX_FAILURES: usize = 50;
/// No test gets more time than this to pass after all.
const LIMIT: Duration = Duration::from_secs(5);
/// Number of cases in flight; those that hang cost no processor time.
const JOBS: usize = 16;

/// Runs the failed cases of each batch once more.
pub fn rerun_variants(
    context: Context<'_>,
    batches: Vec<Batch>,
    cases: Cases<'_>,
    failed: &[CaseIndex],
    named: &BTreeMap<CaseIndex, Vec<Finding>>,
) -> io::Result<Reruns> {
    let mut all = Reruns::default();
    for Batch { factory, members } in batches {
        let members = members.into_iter();
        let failed: Vec<Member> = members.filter(|one| failed.contains(&one.index)).collect();
        let (policy, shown) = (factory.policy.clone(), factory.project());
        drop(factory);
        let Reruns { flaky, hints } = rerun(context, &policy, &shown, cases, failed, named)?;
        all.flaky.extend(flaky);
        for hint in hints {
            match all.hints.iter_mut().find(|known| known.remedy == hint.remedy) {
                Some(known) => known.cases.extend(hint.cases),
                None => all.hints.push(hint),
            }
        }
    }
    Ok(all)
}

/// Runs failed cases once more. Returns those that pass unchanged, and those that pass with another
/// value.
fn rerun(
    context: Context<'_>,
    policy: &Policy,
    project: &plan::Project,
    cases: Cases<'_>,
    failed: Vec<Member>,
    named: &BTreeMap<CaseIndex, Vec<Finding>>,
) -> io::Result<Reruns> {
    let mut reruns = Reruns::default();
    if failed.is_empty() || failed.len() > MAX_FAILURES || !is_isolated(policy) {
        return Ok(reruns);
    }
    // What is run twice must not be counted twice.
    let mut machine = context.machine.clone();
    machine.variables.retain(|(name, _)| name != PROFILE);
    machine.profiles = None;
    let mut base = policy.clone();
    let timeout = base.limits.timeout.map_or(LIMIT, |timeout| timeout.min(LIMIT));
    base.limits.timeout = Some(timeout);
    let passing_with = |policy: Policy, failed: &[Member]| {
        // A value that this machine refuses is no remedy.
        let factory =
            SandboxBuilder::start(policy).and_then(|it| it.build(&machine, project.clone()));
        match factory {
            Ok(mut factory) => passing(&mut factory, cases, failed, context.signals),
            Err(_) => Ok(Vec::new()),
        }
    };
    reruns.flaky = passing_with(base.clone(), &failed)?;
    let is_flaky = |member: &Member| reruns.flaky.contains(&member.index);
    let failed: Vec<Member> = failed.into_iter().filter(|member| !is_flaky(member)).collect();
    if failed.is_empty() {
        return Ok(reruns);
    }
    for Variant { remedy, policy } in variants::isolating(&base, project, machine.is_root) {
        let cases = passing_with(policy, &failed)?;
        if !cases.is_empty() {
            reruns.hints.push(Hint { remedy, cases });
        }
    }
    let is_explained =
        |member: &Member| reruns.hints.iter().any(|hint| hint.cases.contains(&member.index));
    let mut unexplained: Vec<Member> =
        failed.into_iter().filter(|member| !is_explained(member)).collect();
    let mut explain = |Variant { remedy, policy }: Variant, wants: &dyn Fn(CaseIndex) -> bool| {
        let (tried, rest): (Vec<Member>, Vec<Member>) =
            std::mem::take(&mut unexplained).into_iter().partition(|member| wants(member.index));
        unexplained = rest;
        if tried.is_empty() {
            return Ok::<(), io::Error>(());
        }
        // What the policy shows is another project.
        let factory = SandboxBuilder::start(policy);
        let cases = match factory.and_then(|it| it.build_for(context.project, &machine)) {
            Ok(mut factory) => passing(&mut factory, cases, &tried, context.signals)?,
            Err(_) => Vec::new(),
        };
        unexplained.extend(tried.into_iter().filter(|member| !cases.contains(&member.index)));
        if !cases.is_empty() {
            reruns.hints.push(Hint { remedy, cases });
        }
        Ok(())
    };
    let is_asked = context.settings.explain == ExplainFailures::Always;
    for (variant, named) in variants::named(&base, named, is_asked) {
        explain(variant, &|index| named.contains(&index))?;
    }
    if is_asked {
        for variant in variants::hosts(&base) {
            explain(variant, &|_| true)?;
        }
    }
    Ok(reruns)
}

/// True if running a test once more can have no effect outside.
pub fn is_isolated(policy: &Policy) -> bool {
    policy.net == Net::Loopback
        && policy.pid == Namespace::New
        && policy.ipc == Namespace::New
        && policy.workspace != Workspace::Shared
        && policy.tmp == Directory::Fresh
        && policy.home == Directory::Fresh
        && policy.read_write.is_empty()
        && policy.write_back.is_empty()
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

/// The failed cases that pass in these sandboxes.
fn passing(
    factory: &mut SandboxFactory,
    cases: Cases<'_>,
    failed: &[Member],
    signals: &Signals,
) -> io::Result<Vec<CaseIndex>> {
    let outcomes = again(factory, cases, failed, signals)?;
    let passed = outcomes.into_iter().filter(|(_, it)| it.verdict == Verdict::Passed);
    let mut passed: Vec<CaseIndex> = passed.map(|(index, _)| index).collect();
    passed.sort();
    Ok(passed)
}

/// Runs cases in these sandboxes. Returns their outcomes.
pub fn again(
    factory: &mut SandboxFactory,
    cases: Cases<'_>,
    failed: &[Member],
    signals: &Signals,
) -> io::Result<Vec<(CaseIndex, Box<Outcome>)>> {
    let jobs: Vec<Job> = failed
        .iter()
        .filter(|member| cases.selected[member.index.binary].harness != Harness::None)
        .map(|Member { index, terms }| {
            let selected = &cases.selected[index.binary];
            let spec = case_plan::spec(factory, selected, cases.provision.give(&terms.needs));
            let spec = as_at_first(spec, &selected.selection.cases);
            let case = case(cases.selected, *index);
            let plan = case_plan::plan_of(factory, &spec, selected, case, &factory.policy.limits);
            Job {
                index: *index,
                plan,
                pass_through: false,
                retries: Retries::default(),
                gate: Gate::default(),
                claim: Claim::default(),
            }
        })
        .collect();
    let options = schedule::Options { served_from: 1, ..schedule::Options::of(JOBS) };
    let finished = |event| match event {
        Event::Finished(index, outcome) => Some((index, outcome)),
        _ => None,
    };
    let jobs = vec![(&mut factory.warden, jobs)];
    jobs::run(jobs, options, signals, Vec::new(), |events| {
        events.into_iter().filter_map(finished).collect()
    })
}
