//! Rounds: many tests run once under the same settings, many of them in flight.
//!
//! Tests that are alone share a warden, which is kept for later rounds. Tests that share layers get a warden
//! of their own: its namespaces and directories are new.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use isotest_core::case::CaseIndex;
use isotest_core::outcome::{NotRun, Outcome, Verdict};
use isotest_core::plan::{Plan, SandboxSpec};
use isotest_core::policy::{Limits, Policy};
use isotest_core::schedule::{self, Event, Job};
use isotest_core::signals::Signals;

use super::companions::runs;
use super::one_process::run_in_one_process;
use super::setting::Setting;
use crate::config::machine::Machine;
use crate::discover::Harness;
use crate::run::case_plan;
use crate::run::context::{Cases, Context};
use crate::run::policies::{Member, Terms};
use crate::run::together::TogetherOptions;
use crate::sandbox::factory::{FactoryError, SandboxBuilder, SandboxFactory};
use crate::sandbox::jobs;
use crate::select::selected::case;

/// Number of wardens that are kept.
const KEPT: usize = 8;
/// A warden keeps the set-ups of all its rounds, so it is replaced after so many.
const USES: u32 = 40;
/// Tests in flight for each processor, where they wait most of the time or are to disturb each other.
const CROWDED: usize = 16;
/// A test is ended after this time, or after so many times the time of its first run.
const SHORTEST: Duration = Duration::from_secs(5);
const TIMES: u32 = 50;
/// Runs of each test in one lab.
const TURNS: u64 = 2;
/// libtest's threads where tests share a process, as on a machine of four processors.
const THREADS: usize = 4;

/// One round.
#[derive(Debug, Clone)]
pub struct RoundRequest {
    /// The settings.
    pub settings: BTreeSet<Setting>,
    /// Many more tests than processors are in flight.
    pub is_busy: bool,
    /// The tests.
    pub cases: Vec<CaseIndex>,
    /// What differs from round to round follows from it.
    pub seed: u64,
    /// Tests that have not ended by then are not counted.
    pub end: Instant,
}

/// Runs rounds.
pub struct Rounds<'a> {
    context: Context<'a>,
    cases: Cases<'a>,
    groups: Vec<(Policy, Vec<Member>)>,
    wardens: Vec<Warm>,
    /// Times of first runs.
    durations: BTreeMap<CaseIndex, Duration>,
    /// The reason why the last test that was not run was not.
    not_run: Option<NotRun>,
}

/// A warden that is kept.
struct Warm {
    policy: Policy,
    factory: SandboxFactory,
    uses: u32,
}

/// Changes a plan before it is run.
pub type Adjust<'r> = &'r dyn Fn(CaseIndex, &SandboxFactory, Plan) -> Plan;

impl<'a> Rounds<'a> {
    /// Rounds over these tests, by their policies.
    pub fn new(
        context: Context<'a>,
        cases: Cases<'a>,
        groups: Vec<(Policy, Vec<Member>)>,
    ) -> Rounds<'a> {
        let (wardens, durations) = (Vec::new(), BTreeMap::new());
        Rounds { context, cases, groups, wardens, durations, not_run: None }
    }

    /// The reason why the last test that was not run was not.
    pub fn not_run(&self) -> Option<NotRun> {
        self.not_run.clone()
    }

    /// Runs a round. Returns the outcomes of those tests that were run; `ended` hears of each.
    pub fn run(
        &mut self,
        request: &RoundRequest,
        ended: &mut dyn FnMut(),
    ) -> io::Result<Vec<(CaseIndex, Outcome)>> {
        self.run_adjusted(request, ended, &|_, _, plan| plan)
    }

    /// The same with changed plans. Tests that share a process have none of their own.
    pub fn run_adjusted(
        &mut self,
        request: &RoundRequest,
        ended: &mut dyn FnMut(),
        adjust: Adjust<'_>,
    ) -> io::Result<Vec<(CaseIndex, Outcome)>> {
        let asked: BTreeSet<CaseIndex> = request.cases.iter().copied().collect();
        let mut all = Vec::new();
        for group in 0..self.groups.len() {
            let members = self.groups[group].1.iter().filter(|it| asked.contains(&it.index));
            let members: Vec<Member> = members.cloned().collect();
            if members.is_empty() || is_over(request) {
                continue;
            }
            let policy = self.policy_of(group, request);
            let shared = |it: &Setting| matches!(it, Setting::Shared(_));
            all.extend(match request.settings.contains(&Setting::Together) {
                true => self.run_together(&policy, &members, request, ended)?,
                false if request.settings.iter().any(shared) => {
                    self.run_crowd(&policy, &members, request, ended, adjust)?
                }
                false => self.run_alone(policy, &members, request, ended, adjust)?,
            });
        }
        let counted = all.into_iter().filter_map(|(index, outcome)| self.counted(index, outcome));
        Ok(counted.collect())
    }

    fn policy_of(&self, group: usize, request: &RoundRequest) -> Policy {
        let mut policy = self.groups[group].0.clone();
        policy.trace = false;
        policy.write_back = Vec::new();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        for setting in &request.settings {
            setting.apply(&mut policy, request.seed, now);
        }
        policy
    }

    fn run_alone(
        &mut self,
        policy: Policy,
        members: &[Member],
        request: &RoundRequest,
        ended: &mut dyn FnMut(),
        adjust: Adjust<'_>,
    ) -> io::Result<Vec<(CaseIndex, Outcome)>> {
        let Some(mut warm) = self.warden(policy) else { return Ok(Vec::new()) };
        let jobs = self.jobs(&warm.factory, members, request, adjust);
        let processors = self.context.machine.cores.max(1);
        let is_slow = |it: &Setting| matches!(it, Setting::SlowProcessor(_));
        let at_once = match request.is_busy || request.settings.iter().any(is_slow) {
            true => processors * CROWDED,
            false => processors,
        };
        let outcomes = self.outcomes(&mut warm.factory, jobs, at_once, request, ended)?;
        warm.uses += 1;
        if warm.uses < USES {
            self.wardens.insert(0, warm);
            self.wardens.truncate(KEPT);
        }
        Ok(outcomes)
    }

    /// Runs all tests at once, and then all of them once more: what one leaves behind, its second run
    /// finds. No test runs beside itself, as it does in no ordinary run.
    fn run_crowd(
        &mut self,
        policy: &Policy,
        members: &[Member],
        request: &RoundRequest,
        ended: &mut dyn FnMut(),
        adjust: Adjust<'_>,
    ) -> io::Result<Vec<(CaseIndex, Outcome)>> {
        let Some(mut factory) = self.start(policy) else { return Ok(Vec::new()) };
        let at_once = self.context.machine.cores.max(1) * CROWDED;
        let mut outcomes: BTreeMap<CaseIndex, Outcome> = BTreeMap::new();
        for turn in 0..TURNS {
            let members = shuffled(members.to_vec(), request.seed.wrapping_add(turn << 48));
            let jobs = self.jobs(&factory, &members, request, adjust);
            for (index, outcome) in self.outcomes(&mut factory, jobs, at_once, request, ended)? {
                // A failure stays.
                if outcomes.get(&index).is_none_or(|known| !known.verdict.is_failure()) {
                    outcomes.insert(index, outcome);
                }
            }
        }
        Ok(outcomes.into_iter().collect())
    }

    /// Runs the tests of each binary in one process, one binary after the other.
    fn run_together(
        &mut self,
        policy: &Policy,
        members: &[Member],
        request: &RoundRequest,
        ended: &mut dyn FnMut(),
    ) -> io::Result<Vec<(CaseIndex, Outcome)>> {
        let Some(mut factory) = self.start(policy) else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        let members: Vec<Member> = members.iter().map(|it| self.limited(it, request)).collect();
        for members in members.chunk_by(shares_process) {
            let selected = &self.cases.selected[members[0].index.binary];
            if members.len() < 2 || selected.harness != Harness::Libtest || is_over(request) {
                continue;
            }
            let shuffle_seed = Some(request.seed % (1 << 32));
            let options = TogetherOptions { threads: THREADS, shuffle_seed };
            let cases = (self.context, self.cases);
            let limit = Some(left(request));
            let ran = run_in_one_process(cases, &mut factory, members, options, limit)?;
            let ran = ran.map(|results| results.outcomes).unwrap_or_default();
            ran.iter().for_each(|_| ended());
            all.extend(ran);
        }
        Ok(all)
    }

    fn jobs(
        &self,
        factory: &SandboxFactory,
        members: &[Member],
        request: &RoundRequest,
        adjust: Adjust<'_>,
    ) -> Vec<Job> {
        let mut specs: Vec<(&Member, Arc<SandboxSpec>)> = Vec::new();
        let job = |member: &'_ Member, spec: &Arc<SandboxSpec>| {
            let selected = &self.cases.selected[member.index.binary];
            let limits = &self.limited(member, request).terms.limits;
            let case = case(self.cases.selected, member.index);
            let plan = case_plan::plan_of(factory, spec, selected, case, limits);
            let seed = request.seed.wrapping_add((member.index.case as u64) << 32);
            let plan = adjust(member.index, factory, Plan { seed, ..plan });
            let claim = member.terms.rules.claim(self.context.settings);
            Job { claim, ..Job::once(member.index, plan) }
        };
        let mut jobs = Vec::new();
        for member in members {
            let is_same = |(known, _): &&(&Member, Arc<SandboxSpec>)| {
                known.index.binary == member.index.binary && known.terms.needs == member.terms.needs
            };
            let spec = match specs.iter().find(is_same) {
                Some((_, spec)) => Arc::clone(spec),
                None => {
                    let spec = self.spec(factory, member, request);
                    specs.push((member, Arc::clone(&spec)));
                    spec
                }
            };
            jobs.push(job(member, &spec));
        }
        jobs
    }

    fn spec(
        &self,
        factory: &SandboxFactory,
        member: &Member,
        request: &RoundRequest,
    ) -> Arc<SandboxSpec> {
        let mut provided = self.cases.provision.give(&member.terms.needs);
        provided.variables.extend(request.settings.iter().flat_map(Setting::variables));
        case_plan::spec(factory, &self.cases.selected[member.index.binary], provided)
    }

    /// The test with a time limit that follows from its first run.
    fn limited(&self, member: &Member, request: &RoundRequest) -> Member {
        let limits = &member.terms.limits;
        let known = self.durations.get(&member.index);
        let own = known.map(|known| (*known * TIMES).max(SHORTEST) * slowness(&request.settings));
        let timeout = match (limits.timeout, own) {
            (Some(most), Some(own)) => Some(most.min(own)),
            (most, own) => most.or(own),
        };
        if timeout == limits.timeout {
            return member.clone();
        }
        let limits = Limits { timeout, ..limits.clone() };
        let Terms { needs, rules, .. } = &*member.terms;
        let terms = Terms { limits, needs: needs.clone(), rules: *rules };
        Member { index: member.index, terms: Arc::new(terms) }
    }

    fn outcomes(
        &self,
        factory: &mut SandboxFactory,
        jobs: Vec<Job>,
        at_once: usize,
        request: &RoundRequest,
        ended: &mut dyn FnMut(),
    ) -> io::Result<Vec<(CaseIndex, Outcome)>> {
        let options = schedule::Options {
            spare: at_once,
            timeout: Some(left(request)),
            ..schedule::Options::of(at_once)
        };
        let jobs = vec![(&mut factory.warden, jobs)];
        jobs::run(jobs, options, self.context.signals, Vec::new(), |events| {
            let mut outcomes = Vec::new();
            for event in events {
                if let Event::Finished(index, outcome) = event {
                    ended();
                    outcomes.push((index, *outcome));
                }
            }
            outcomes
        })
    }

    fn warden(&mut self, policy: Policy) -> Option<Warm> {
        match self.wardens.iter().position(|warm| warm.policy == policy) {
            Some(place) => Some(self.wardens.remove(place)),
            None => {
                let factory = self.start(&policy)?;
                Some(Warm { policy, factory, uses: 0 })
            }
        }
    }

    fn start(&mut self, policy: &Policy) -> Option<SandboxFactory> {
        let machine: &Machine = self.context.machine;
        let built = SandboxBuilder::start(policy.clone())
            .and_then(|builder| builder.build_for(self.context.project, machine));
        match built {
            Ok(factory) => Some(factory),
            Err(FactoryError::Sandbox(error)) => {
                self.not_run = Some(NotRun::Sandbox(error));
                None
            }
            Err(_) => None,
        }
    }

    /// The outcome, if it says something about the test.
    fn counted(&mut self, index: CaseIndex, outcome: Outcome) -> Option<(CaseIndex, Outcome)> {
        match outcome.verdict {
            Verdict::NotRun(reason) => {
                self.not_run = Some(reason);
                None
            }
            Verdict::Ignored => None,
            // What a signal has ended has not failed.
            _ if Signals::asked().is_some() && outcome.verdict != Verdict::Passed => None,
            _ => {
                self.durations.entry(index).or_insert(outcome.duration);
                Some((index, outcome))
            }
        }
    }
}

/// The tests, by their policies, that run in an ordinary run and whose names contain one of these; all of
/// them if there is none.
pub fn chosen(
    groups: &[(Policy, Vec<Member>)],
    cases: Cases<'_>,
    filters: &[String],
) -> Vec<(Policy, Vec<Member>)> {
    let takes = |member: &&Member| {
        let name = &case(cases.selected, member.index).name;
        let is_named = filters.is_empty() || filters.iter().any(|it| name.contains(it.as_str()));
        is_named && runs(cases, member)
    };
    let group = |(policy, members): &(Policy, Vec<Member>)| {
        (policy.clone(), members.iter().filter(takes).cloned().collect())
    };
    groups.iter().map(group).collect()
}

/// True if two tests can run in one process: it has one set of services and variables.
fn shares_process(one: &Member, other: &Member) -> bool {
    one.index.binary == other.index.binary && one.terms.needs == other.terms.needs
}

/// True if a round ends before its next part.
fn is_over(request: &RoundRequest) -> bool {
    Signals::asked().is_some() || left(request).is_zero()
}

fn left(request: &RoundRequest) -> Duration {
    request.end.saturating_duration_since(Instant::now())
}

/// How many times as long a test may take. The schedule counts by itself only the time that a stopped
/// test runs.
fn slowness(settings: &BTreeSet<Setting>) -> u32 {
    match settings.iter().any(|it| matches!(it, Setting::SlowProcessor(_) | Setting::Shared(_))) {
        true => 4,
        false => 1,
    }
}

/// The tests in an order that follows from a seed.
fn shuffled(mut members: Vec<Member>, seed: u64) -> Vec<Member> {
    members.sort_by_cached_key(|member| {
        let place = ((member.index.binary as u64) << 32) | member.index.case as u64;
        isotest_core::seed::nth(seed, place)
    });
    members
}
