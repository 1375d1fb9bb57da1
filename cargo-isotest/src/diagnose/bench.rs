//! The bench: runs a test, and its companions, under the settings of an arm.
//!
//! Runs that share no layer with companions are copies of one case in one warden, which is kept for
//! later. So are the wardens of runs with shared layers, whose labs are made anew for each run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use isotest_core::case::CaseIndex;
use isotest_core::outcome::{NotRun, Outcome, Verdict};
use isotest_core::plan::Plan;
use isotest_core::policy::Policy;
use isotest_core::schedule::Job;
use isotest_core::signals::Signals;
use isotest_core::trace::Footprint;

use super::facts::Facts;
use super::ground::{Asked, Ground};
use super::setting::Setting;
use crate::config::machine::Machine;
use crate::run::context::{Cases, Context};
use crate::run::outside::ThisMachine;
use crate::run::policies::Member;
use crate::sandbox::factory::{FactoryError, SandboxFactory};

/// Number of wardens of either kind that are kept for later runs.
const KEPT: usize = 48;

/// Runs a test under settings.
pub struct Bench<'a> {
    ground: Ground<'a>,
    wardens: Vec<(Policy, SandboxFactory)>,
    labs: Vec<(Policy, Vec<SandboxFactory>)>,
    /// Settings that were refused, with the reason.
    refused: BTreeMap<BTreeSet<Setting>, String>,
    /// The reason why the last run that was none was none.
    not_run: Option<NotRun>,
}

impl<'a> Bench<'a> {
    /// A bench for a test; a run may take as long as its policy says.
    pub fn new(
        context: Context<'a>,
        cases: Cases<'a>,
        machine: &'a Machine,
        policy: Policy,
        test: Member,
    ) -> Bench<'a> {
        let limit = policy.limits.timeout.unwrap_or(Duration::from_secs(60));
        let companions = Vec::new();
        let ground = Ground { context, cases, machine, policy, test, companions, near: 0, limit };
        Bench {
            ground,
            wardens: Vec::new(),
            labs: Vec::new(),
            refused: BTreeMap::new(),
            not_run: None,
        }
    }

    /// Sets the other parties, which later runs name by their places. Only the first `near` run beside
    /// the test, the others in one process with it.
    pub fn set_companions(&mut self, companions: Vec<Member>, near: usize) {
        self.ground.companions = companions;
        self.ground.near = near;
    }

    /// The other party of this number.
    pub fn companion(&self, number: usize) -> Option<Member> {
        self.ground.companions.get(number).cloned()
    }

    /// The time after which a run is ended.
    pub fn limit(&self) -> Duration {
        self.ground.limit
    }

    /// Sets the time after which a run is ended.
    pub fn set_limit(&mut self, limit: Duration) {
        self.ground.limit = limit;
    }

    /// Settings that were refused here, with the reason.
    pub fn refused(&self) -> &BTreeMap<BTreeSet<Setting>, String> {
        &self.refused
    }

    /// The policy of the test in an ordinary run.
    pub fn policy(&self) -> &Policy {
        &self.ground.policy
    }

    /// Facts of one traced run of a test of the project.
    pub fn facts(&self, outcome: &Outcome) -> Facts {
        let project = self.ground.context.project;
        let directories = [&project.workspace_root, &project.target_directory];
        let directories = directories.map(|it| it.as_std_path().to_owned()).to_vec();
        Facts::of(outcome, directories, self.home())
    }

    /// True if a test uses files of the project that another test could change: it writes one, or it
    /// executes or reads one of the target directory.
    pub fn uses_project(&self, facts: &Facts) -> bool {
        let project = self.ground.context.project;
        let root = project.workspace_root.as_std_path();
        let target = project.target_directory.as_std_path();
        let own = &self.ground.cases.selected[self.ground.test.index.binary].binary.executable;
        // A panic has files with symbols looked up beside it.
        let is_own = |path: &String| path.starts_with(own.as_str()) || is_of_symbols(path);
        let is_in = |path: &String, top: &Path| Path::new(path).starts_with(top);
        let Footprint { reads, missing, writes, .. } = &facts.footprint;
        let used = reads.iter().chain(missing).filter(|path| is_in(path, target));
        !facts.is_whole
            || writes.iter().any(|path| is_in(path, root) || is_in(path, target))
            || used.filter(|path| !is_own(path)).count() > 0
    }

    /// True if root started isotest.
    pub fn is_root(&self) -> bool {
        self.ground.machine.is_root
    }

    /// A locale of this machine whose order of letters is not that of bytes.
    pub fn locale(&self) -> Option<String> {
        let known = ["en_US.UTF-8", "de_DE.UTF-8", "fr_FR.UTF-8", "en_GB.UTF-8"];
        known.into_iter().find(|name| locale_exists(name)).map(str::to_owned)
    }

    /// The reason why the last run that was none was none.
    pub fn not_run(&self) -> Option<NotRun> {
        self.not_run.clone()
    }

    /// Runs other tests once, each alone and traced. A test that was not run has no outcome.
    pub fn trace_others(&mut self, members: &[Member]) -> io::Result<Vec<Option<Outcome>>> {
        let asked = Asked { is_traced: true, ..Asked::alone(0) };
        let policy = self.ground.policy_of(&asked);
        let Some(mut factory) = self.warden(&policy, &asked.settings) else {
            return Ok(members.iter().map(|_| None).collect());
        };
        let job =
            |member: &Member| Job::once(member.index, self.ground.plan(&factory, member, &asked));
        let jobs = members.iter().map(job).collect();
        let mut outcomes = self.ground.outcomes(&mut factory, jobs, self.processors())?;
        self.keep(policy, factory);
        Ok(members.iter().map(|member| outcomes.remove(&member.index)).collect())
    }

    /// What is outside of the sandbox of the test.
    pub fn machine_outside(&mut self) -> Option<ThisMachine> {
        let policy = self.ground.policy_of(&Asked::alone(0));
        let factory = self.warden(&policy, &BTreeSet::new())?;
        let outside =
            ThisMachine::new(&factory.host, &factory.project(), &policy, self.ground.machine);
        self.keep(policy, factory);
        Some(outside)
    }

    /// The home directory of the user.
    pub fn home(&self) -> Option<PathBuf> {
        self.ground.machine.home()
    }

    /// Runs the test alone under another policy.
    pub fn run_under(
        &mut self,
        policy: Policy,
        asked: &[Asked],
    ) -> io::Result<Vec<Option<Outcome>>> {
        let Some(first) = asked.first() else { return Ok(Vec::new()) };
        let seeds: Vec<u64> = asked.iter().map(|one| one.seed).collect();
        let limits = self.ground.policy_of(first).limits;
        self.run_alone(first, Policy { limits, write_back: Vec::new(), ..policy }, &seeds)
    }

    /// Runs what is asked for. `None` where a run could not be had: interrupted, or refused.
    pub fn run(&mut self, asked: &[Asked]) -> io::Result<Vec<Option<Outcome>>> {
        let mut results: Vec<Option<Outcome>> = asked.iter().map(|_| None).collect();
        let mut alike: Vec<(Vec<usize>, &Asked, Policy)> = Vec::new();
        let mut shared: Vec<(Vec<usize>, &Asked, Policy)> = Vec::new();
        for (place, one) in asked.iter().enumerate() {
            let is_in_lab = one.is_shared() && !one.is_together();
            let alike = if is_in_lab { &mut shared } else { &mut alike };
            let policy = self.ground.policy_of(one);
            let same = |(_, other, known): &&mut (Vec<usize>, &Asked, Policy)| {
                other.settings == one.settings
                    && other.companions == one.companions
                    && *known == policy
            };
            match alike.iter_mut().find(same) {
                Some((places, ..)) => places.push(place),
                None => alike.push((vec![place], one, policy)),
            }
        }
        for (places, one, policy) in alike {
            let seeds: Vec<u64> = places.iter().map(|place| asked[*place].seed).collect();
            let ran = match one.is_together() {
                true => self.run_together(one, policy, &seeds)?,
                false => self.run_alone(one, policy, &seeds)?,
            };
            for (place, ran) in places.into_iter().zip(ran) {
                results[place] = ran;
            }
        }
        for (places, one, policy) in shared {
            let seeds: Vec<u64> = places.iter().map(|place| asked[*place].seed).collect();
            for (place, outcome) in places.into_iter().zip(self.run_shared(one, &policy, &seeds)?) {
                results[place] = outcome;
            }
        }
        Ok(results)
    }

    /// Runs copies of the test, nothing beside them but each other.
    fn run_alone(
        &mut self,
        one: &Asked,
        policy: Policy,
        seeds: &[u64],
    ) -> io::Result<Vec<Option<Outcome>>> {
        let Some(mut factory) = self.warden(&policy, &one.settings) else {
            return Ok(seeds.iter().map(|_| None).collect());
        };
        let plan = self.ground.plan(&factory, &self.ground.test, one);
        let jobs = seeds.iter().zip(0..).map(|(seed, run)| {
            let plan = Plan { seed: *seed, environment: factory.own_environment(), ..plan.clone() };
            Job::once(CaseIndex { binary: run, case: 0 }, plan)
        });
        let jobs: Vec<Job> = jobs.collect();
        let at_once = one.at_once(self.processors());
        let mut outcomes = self.ground.outcomes(&mut factory, jobs, at_once)?;
        self.keep(policy, factory);
        let outcome = |run| outcomes.remove(&CaseIndex { binary: run, case: 0 });
        let outcomes: Vec<Option<Outcome>> = (0..seeds.len()).map(outcome).collect();
        Ok(outcomes.into_iter().map(|it| self.counted(it?)).collect())
    }

    /// Runs the test in one process with its companions; layers are private to the process.
    fn run_together(
        &mut self,
        one: &Asked,
        policy: Policy,
        seeds: &[u64],
    ) -> io::Result<Vec<Option<Outcome>>> {
        let Some(mut factory) = self.warden(&policy, &one.settings) else {
            return Ok(seeds.iter().map(|_| None).collect());
        };
        let at_once = one.at_once(self.processors());
        let outcomes = self.ground.run_together(&mut factory, one, seeds, at_once)?;
        self.keep(policy, factory);
        Ok(outcomes.into_iter().map(|it| self.counted(it?)).collect())
    }

    /// Runs the test among its companions, in labs.
    fn run_shared(
        &mut self,
        one: &Asked,
        policy: &Policy,
        seeds: &[u64],
    ) -> io::Result<Vec<Option<Outcome>>> {
        let count = match one.at_once(self.processors()) {
            1 => 1,
            at_once => (at_once * 2).min(seeds.len()),
        };
        let mut wardens = self.labs(policy, count, &one.settings);
        let mut outcomes = Vec::new();
        match one.companions.contains(&self.ground.itself()) {
            true => {
                for seed in seeds {
                    let one = Asked { seed: *seed, ..one.clone() };
                    let Some(factory) = wardens.first_mut() else { break };
                    // An earlier run leaves its lab behind.
                    if factory.warden.renew_lab().is_ok() {
                        outcomes.push(self.ground.run_after_itself(factory, &one)?);
                    }
                }
                outcomes.resize_with(seeds.len(), || None);
            }
            false => outcomes = self.ground.run_labs(&mut wardens, one, seeds)?,
        }
        self.labs.insert(0, (policy.clone(), wardens));
        // Two policies take turns.
        let mut left = KEPT.max(self.processors() * 4);
        self.labs.retain(|(_, wardens)| {
            let is_kept = wardens.len() <= left;
            left = left.saturating_sub(wardens.len());
            is_kept
        });
        Ok(outcomes.into_iter().map(|it| self.counted(it?)).collect())
    }

    /// So many wardens for a policy, those that were kept first.
    fn labs(
        &mut self,
        policy: &Policy,
        count: usize,
        settings: &BTreeSet<Setting>,
    ) -> Vec<SandboxFactory> {
        let known = self.labs.iter().position(|(known, _)| known == policy);
        let mut wardens = known.map_or_else(Vec::new, |place| self.labs.remove(place).1);
        // The last run has left its lab behind, and a schedule takes the first lab for a new one.
        wardens.retain_mut(|factory| factory.warden.renew_lab().is_ok());
        while wardens.len() < count {
            match self.ground.start(policy) {
                Ok(factory) => wardens.push(factory),
                Err(error) => {
                    self.refuse(settings, error);
                    break;
                }
            }
        }
        wardens
    }

    fn processors(&self) -> usize {
        self.ground.machine.cores.max(1)
    }

    /// A warden for a policy: one that was kept, or a new one.
    fn warden(&mut self, policy: &Policy, settings: &BTreeSet<Setting>) -> Option<SandboxFactory> {
        if let Some(place) = self.wardens.iter().position(|(known, _)| known == policy) {
            return Some(self.wardens.remove(place).1);
        }
        match self.ground.start(policy) {
            Ok(factory) => Some(factory),
            Err(error) => {
                self.refuse(settings, error);
                None
            }
        }
    }

    fn keep(&mut self, policy: Policy, factory: SandboxFactory) {
        self.wardens.insert(0, (policy, factory));
        self.wardens.truncate(KEPT);
    }

    /// The outcome, if it says something about the test.
    fn counted(&mut self, outcome: Outcome) -> Option<Outcome> {
        match outcome.verdict {
            Verdict::NotRun(reason) => {
                self.not_run = Some(reason);
                None
            }
            Verdict::Ignored => None,
            // What a signal has ended has not failed.
            _ if Signals::asked().is_some() && outcome.verdict != Verdict::Passed => None,
            _ => Some(outcome),
        }
    }

    fn refuse(&mut self, settings: &BTreeSet<Setting>, error: FactoryError) {
        let FactoryError::Sandbox(error) = error else { return };
        self.refused.insert(settings.clone(), error.to_string());
        self.not_run = Some(NotRun::Sandbox(error));
    }
}

/// True if this is a name of a file with symbols of a program.
fn is_of_symbols(path: &str) -> bool {
    let endings = [".dwp", ".dwo", ".debug", ".o"];
    endings.iter().any(|ending| path.ends_with(ending)) || path.contains("/.debug/")
}

/// True if glibc's archive of locales, or a directory of its own, has this one.
fn locale_exists(name: &str) -> bool {
    let normalized = name.replace("UTF-8", "utf8");
    if Path::new("/usr/lib/locale").join(&normalized).is_dir() {
        return true;
    }
    let archive = fs::read("/usr/lib/locale/locale-archive").unwrap_or_default();
    memchr::memmem::find(&archive, normalized.as_bytes()).is_some()
}
