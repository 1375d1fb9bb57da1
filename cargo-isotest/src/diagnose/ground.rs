//! The ground of a bench: a test, its companions and the surroundings of their runs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use isotest_core::case::CaseIndex;
use isotest_core::outcome::Outcome;
use isotest_core::perturbation::{Hold, Holds};
use isotest_core::plan::{Plan, SandboxSpec};
use isotest_core::policy::Policy;
use isotest_core::schedule::{self, Event, Job};

use super::setting::Setting;
use crate::config::machine::{Machine, Variable};
use crate::run::case_plan;
use crate::run::context::{Cases, Context};
use crate::run::policies::Member;
use crate::sandbox::factory::{FactoryError, SandboxBuilder, SandboxFactory};
use crate::sandbox::jobs;
use crate::select::selected::case;

/// From so many runs at a time on a fork server starts them.
const SERVED: u32 = 4;
/// libtest's threads where tests share a process, as on a machine of four processors.
pub const THREADS: usize = 4;

/// One run that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The settings, in their order.
    pub settings: BTreeSet<Setting>,
    /// The other parties, by their numbers on the bench.
    pub companions: BTreeSet<usize>,
    /// What differs from run to run follows from it.
    pub seed: u64,
    /// Calls that wait, and no others.
    pub holds: Vec<Hold>,
    /// Number of tests at once, where they run in one process.
    pub threads: usize,
    /// The run is traced.
    pub is_traced: bool,
    /// Nothing runs beside it: it is compared with a run of which that is so.
    pub is_only: bool,
}

impl Asked {
    /// A run of the test alone, all layers private.
    pub fn alone(seed: u64) -> Asked {
        Asked {
            settings: BTreeSet::new(),
            companions: BTreeSet::new(),
            seed,
            holds: Vec::new(),
            threads: THREADS,
            is_traced: false,
            is_only: false,
        }
    }

    /// True if the test runs among companions, or after itself.
    pub fn is_shared(&self) -> bool {
        !self.companions.is_empty() && self.settings.iter().any(Setting::is_sharing)
    }

    /// True if the test and its companions run in one process, whose layers are private.
    pub fn is_together(&self) -> bool {
        self.is_shared() && self.settings.contains(&Setting::Together)
    }

    /// libtest's threads in a run of so many tests in one process.
    pub fn threads_of(&self, tests: usize) -> usize {
        let is_slow = |setting: &Setting| matches!(setting, Setting::SlowChanges(_));
        match self.settings.iter().any(is_slow) {
            // All of them wait most of the time.
            true => self.threads.max(tests),
            false => self.threads,
        }
    }

    /// Number of runs at a time on so many processors.
    pub fn at_once(&self, processors: usize) -> usize {
        const WAITING: usize = 4;
        if self.is_only || self.settings.iter().any(Setting::is_heavy) {
            1
        } else if !self.holds.is_empty() || self.settings.iter().any(Setting::waits) {
            processors * WAITING
        } else {
            processors
        }
    }
}

/// A test, its companions and the surroundings of their runs.
pub struct Ground<'a> {
    /// The surroundings.
    pub context: Context<'a>,
    /// The tests of the project.
    pub cases: Cases<'a>,
    /// The machine without coverage profiles.
    pub machine: &'a Machine,
    /// The policy of the test in an ordinary run.
    pub policy: Policy,
    /// The test.
    pub test: Member,
    /// The other parties.
    pub companions: Vec<Member>,
    /// Number of the first ones, which run beside the test.
    pub near: usize,
    /// Runs of the test are ended after so long.
    pub limit: Duration,
}

/// The variables of a run. To find the lines of a backtrace takes longer than most tests, and nobody
/// reads it.
pub fn variables(asked: &Asked) -> impl Iterator<Item = Variable> {
    let set = asked.settings.iter().flat_map(Setting::variables);
    [("RUST_BACKTRACE".into(), "0".into())].into_iter().chain(set)
}

impl Ground<'_> {
    /// The number by which runs name an earlier run of the test itself.
    pub fn itself(&self) -> usize {
        self.companions.len()
    }

    /// The policy of a run.
    pub fn policy_of(&self, asked: &Asked) -> Policy {
        let mut policy = self.policy.clone();
        policy.trace = asked.is_traced;
        policy.perturbations.told_variables = asked.is_traced;
        policy.write_back = Vec::new();
        policy.limits.timeout = Some(self.limit_of(asked));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        // Copies of the test share no layer with each other.
        let is_applied = |setting: &&Setting| asked.is_shared() || !setting.is_sharing();
        for setting in asked.settings.iter().filter(is_applied) {
            setting.apply(&mut policy, asked.seed, now);
        }
        if !asked.holds.is_empty() {
            policy.perturbations.holds = Some(Holds::Replay(asked.holds.clone()));
        }
        policy
    }

    /// A test that is stopped most of the time, or waits, takes longer.
    fn limit_of(&self, asked: &Asked) -> Duration {
        // A starved thread waits for 2 s and more, and some tests have many threads.
        let more = |setting: &Setting| match setting {
            Setting::Starved => Duration::from_secs(6),
            Setting::Delayed(..) | Setting::SlowChanges(_) | Setting::Competitor => {
                Duration::from_secs(3)
            }
            _ => Duration::ZERO,
        };
        // The time for which it is stopped does not count: one that hangs is stopped for most of it.
        let is_stopped = |setting: &Setting| matches!(setting, Setting::SlowProcessor(_));
        if asked.settings.iter().any(is_stopped) {
            return self.limit / 8;
        }
        let most = self.policy.limits.timeout.unwrap_or(Duration::from_secs(60));
        let more = asked.settings.iter().map(more).max().unwrap_or_default();
        let held: Duration = asked.holds.iter().map(|hold| hold.held).sum();
        (self.limit + more + held).min(most)
    }

    /// The plan of a test under settings.
    pub fn plan(&self, factory: &SandboxFactory, member: &Member, asked: &Asked) -> Plan {
        let selected = &self.cases.selected[member.index.binary];
        let mut provided = self.cases.provision.give(&member.terms.needs);
        provided.variables.extend(variables(asked));
        let spec: Arc<SandboxSpec> = case_plan::spec(factory, selected, provided);
        let case = case(self.cases.selected, member.index);
        let plan = case_plan::plan_of(factory, &spec, selected, case, &factory.policy.limits);
        Plan { seed: asked.seed, ..plan }
    }

    /// Starts a warden.
    pub fn start(&self, policy: &Policy) -> Result<SandboxFactory, FactoryError> {
        SandboxBuilder::start(policy.clone())?.build_for(self.context.project, self.machine)
    }

    /// Runs jobs. Returns the outcome of each.
    pub fn outcomes(
        &self,
        factory: &mut SandboxFactory,
        jobs: Vec<Job>,
        at_once: usize,
    ) -> io::Result<BTreeMap<CaseIndex, Outcome>> {
        // Where a test gets little processor time, none is spent on executing it.
        let is_slow = factory.policy.perturbations.duty_cycle.is_some();
        let served_from = if is_slow { 1 } else { SERVED };
        let options = schedule::Options { served_from, ..schedule::Options::of(at_once) };
        let jobs = vec![(&mut factory.warden, jobs)];
        jobs::run(jobs, options, self.context.signals, Vec::new(), |events| {
            let finished = events.into_iter().filter_map(|event| match event {
                Event::Finished(index, outcome) => Some((index, *outcome)),
                _ => None,
            });
            finished.collect()
        })
    }
}
