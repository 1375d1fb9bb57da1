//! Runs of single tests under other policies: traced ones for evidence, and those that a search asks
//! for. Tests that are tried with the same grants share a warden.

use std::collections::BTreeMap;
use std::time::Duration;

use isotest_core::case::CaseIndex;
use isotest_core::outcome::{Outcome, Verdict};
use isotest_core::policy::{Guard, Policy};
use isotest_core::schedule::{self, Event, Job};
use isotest_core::signals::Signals;

use super::grant::Grant;
use super::search::{Found, Search};
use crate::run::again;
use crate::run::context::{Cases, Context};
use crate::run::execute::ExecuteError;
use crate::run::policies::Member;
use crate::sandbox::factory::SandboxBuilder;
use crate::sandbox::jobs;

/// Number of cases in flight that have no effect outside; with others they run one at a time.
const JOBS: usize = 16;
/// A test gets this much time, or ten times what it took outside.
const PATIENCE: Duration = Duration::from_secs(5);

/// A test whose grants are searched for.
pub struct Asked {
    /// The test.
    pub member: Member,
    /// Its policy without grants.
    pub policy: Policy,
    /// Grants that may help.
    pub candidates: Vec<Grant>,
    /// Grants that are tried first: those that it has needed before, or all paths that it missed.
    pub known: Option<Vec<Grant>>,
    /// How long it took outside.
    pub took: Duration,
}

/// What was found for a test.
pub struct Explained {
    /// The test.
    pub index: CaseIndex,
    /// The grants.
    pub found: Found,
}

/// Runs tests under other policies.
pub struct Trials<'a> {
    context: Context<'a>,
    cases: Cases<'a>,
}

impl<'a> Trials<'a> {
    /// Of the cases of a run.
    pub fn new(context: Context<'a>, cases: Cases<'a>) -> Trials<'a> {
        Trials { context, cases }
    }

    /// Runs these tests once, isolated and traced. Returns their outcomes; a test that cannot be
    /// traced has none.
    pub fn trace(
        &self,
        tests: &[(Member, Policy)],
    ) -> Result<BTreeMap<CaseIndex, Outcome>, ExecuteError> {
        let mut groups: Vec<(Policy, Vec<&Member>)> = Vec::new();
        for (member, policy) in tests.iter().filter(|(_, it)| it.guard != Guard::NoListener) {
            let policy = Policy { trace: true, ..policy.clone() };
            match groups.iter_mut().find(|(known, _)| *known == policy) {
                Some((_, members)) => members.push(member),
                None => groups.push((policy, vec![member])),
            }
        }
        let mut traced = BTreeMap::new();
        for (policy, members) in groups {
            traced.extend(self.run(policy, &members, 1)?);
        }
        Ok(traced)
    }

    /// Searches for the smallest set of grants of each test.
    pub fn explain(&self, asked: &[Asked]) -> Result<Vec<Explained>, ExecuteError> {
        let search = |one: &Asked| Search::new(one.candidates.clone(), one.known.clone());
        let mut searches: Vec<Search> = asked.iter().map(search).collect();
        loop {
            let tried = searches.iter().map(Search::next).zip(0..);
            let tried: Vec<(Vec<Grant>, usize)> =
                tried.filter_map(|(grants, place)| Some((grants?, place))).collect();
            if tried.is_empty() || Signals::asked().is_some() {
                break;
            }
            for (policy, jobs, places) in groups(asked, tried) {
                let members: Vec<&Member> =
                    places.iter().map(|place| &asked[*place].member).collect();
                let outcomes = self.run(policy, &members, jobs)?;
                for place in places {
                    let outcome = outcomes.get(&asked[place].member.index);
                    searches[place].tell(outcome.is_some_and(passed));
                }
            }
        }
        let found = searches.into_iter().zip(asked);
        let found =
            found.map(|(search, one)| Explained { index: one.member.index, found: search.found() });
        Ok(found.collect())
    }

    /// Runs tests under a policy. A policy that this machine refuses helps nobody.
    fn run(
        &self,
        policy: Policy,
        members: &[&Member],
        jobs: usize,
    ) -> Result<BTreeMap<CaseIndex, Outcome>, ExecuteError> {
        let Context { project, machine, .. } = self.context;
        let factory =
            SandboxBuilder::start(policy).and_then(|builder| builder.build_for(project, machine));
        let Ok(mut factory) = factory else { return Ok(BTreeMap::new()) };
        let planned: Vec<Job> =
            members.iter().map(|member| again::job(&mut factory, self.cases, member)).collect();
        let options = schedule::Options { served_from: 1, ..schedule::Options::of(jobs) };
        let finished = |event| match event {
            Event::Finished(index, outcome) => Some((index, *outcome)),
            _ => None,
        };
        let planned = vec![(&mut factory.warden, planned)];
        jobs::run(planned, options, self.context.signals, Vec::new(), |events| {
            events.into_iter().filter_map(finished).collect()
        })
        .map_err(ExecuteError::Host)
    }
}

fn passed(outcome: &Outcome) -> bool {
    outcome.verdict == Verdict::Passed
}

/// The time that a test gets.
fn limit(one: &Asked) -> Option<Duration> {
    let most = (one.took * 10).max(PATIENCE);
    Some(one.policy.limits.timeout.map_or(most, |timeout| timeout.min(most)))
}

/// Tests that are tried under one policy, with the number of those at a time.
fn groups(asked: &[Asked], tried: Vec<(Vec<Grant>, usize)>) -> Vec<(Policy, usize, Vec<usize>)> {
    let mut groups: Vec<(Policy, usize, Vec<usize>)> = Vec::new();
    for (grants, place) in tried {
        let one = &asked[place];
        let mut policy = Grant::apply(&grants, one.policy.clone());
        let limit = limit(one);
        let jobs = if grants.iter().all(Grant::is_harmless) { JOBS } else { 1 };
        policy.limits.timeout = None;
        let same = |known: &&mut (Policy, usize, Vec<usize>)| {
            let (policy_of_group, ..) = &**known;
            let mut timeless = policy_of_group.clone();
            timeless.limits.timeout = None;
            timeless == policy
        };
        match groups.iter_mut().find(same) {
            Some((known, _, places)) => {
                known.limits.timeout = known.limits.timeout.max(limit);
                places.push(place);
            }
            None => {
                policy.limits.timeout = limit;
                groups.push((policy, jobs, vec![place]));
            }
        }
    }
    groups
}
