//! Rerun variants: failed cases run once more, under other layer values.
//!
//! A test may fail for what its sandbox is, not for what it tests: it sends itself a signal that
//! PID 1 never receives, it waits for an orphan that nobody reaps, it sums up the sizes of
//! directories on a tmpfs, it is a test for root, it reads a file that is not shown. Such tests are few and their failure
//! is a riddle, so they are run once more: under each value that isolates as well, with the files
//! that they have written of, and with what the trace of a failing run shows that they looked for in
//! vain. Where they pass, the report names the flags. One that passes unchanged is flaky, and no
//! flag mends it. Unasked nothing is weakened: where a run is not fully isolated no test is run
//! twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use isotest_core::case::CaseIndex;
use isotest_core::finding::Finding;
use isotest_core::outcome::Verdict;
use isotest_core::plan;
use isotest_core::policy::{Guard, Policy};

use crate::cli::ExplainFailures;
use crate::config::machine::Machine;
use crate::report::{Hint, RerunProgress, Reruns, Untried};
use crate::run::again::{MAX_FAILURES, again, is_isolated, uncounted};
use crate::run::batch::Batch;
use crate::run::context::{Cases, Context};
use crate::run::evidence::{Evidence, Found, Given, Need, Outside, evidence};
use crate::run::outside::ThisMachine;
use crate::run::policies::Member;
use crate::run::smallest::smallest;
use crate::run::traced::FailedTraces;
use crate::run::variants::{self, Change, NAMED, Variant, grouped};
use crate::sandbox::factory::{SandboxBuilder, SandboxFactory};

/// No test gets more time than this to pass after all.
const LIMIT: Duration = Duration::from_secs(5);
/// Maximum number of sets of changes that are tried for the failed cases of one policy.
const SETS: usize = 48;
/// Unasked, no further set is tried after so long: tests that hang take [`LIMIT`] for each.
const ALL: Duration = Duration::from_secs(60);
/// Maximum number of times that a case is given what it looked for, and traced with it.
const ROUNDS: usize = 3;
/// Maximum number of addresses and processes that are named for one thing.
const ASKED: usize = 3;

/// What is known of the failed cases.
pub struct Known<'a> {
    /// What they have written of and do not have.
    pub named: &'a BTreeMap<CaseIndex, Vec<Finding>>,
    /// The traces of those that were traced already.
    pub traces: FailedTraces,
}

/// Runs the failed cases of each batch once more.
pub fn rerun_variants(
    context: Context<'_>,
    batches: Vec<Batch>,
    cases: Cases<'_>,
    failed: &[CaseIndex],
    known: &Known<'_>,
    progress: &mut RerunProgress,
) -> io::Result<Reruns> {
    let (mut all, began) = (Reruns::default(), Instant::now());
    for Batch { factory, members } in batches {
        let members = members.into_iter();
        let failed: Vec<Member> = members.filter(|one| failed.contains(&one.index)).collect();
        let (mut policy, project) = (factory.policy.clone(), factory.project());
        let machine = uncounted(context.machine);
        let outside = ThisMachine::new(&factory.host, &project, &policy, &machine);
        drop(factory);
        if failed.is_empty() || failed.len() > MAX_FAILURES || !is_isolated(&policy) {
            continue;
        }
        let timeout = policy.limits.timeout.map_or(LIMIT, |timeout| timeout.min(LIMIT));
        policy.limits.timeout = Some(timeout);
        let rerun = Rerun {
            context,
            cases,
            known,
            outside,
            policy,
            project,
            machine,
            progress,
            began,
            sets: SETS,
        };
        all.extend(rerun.run(failed)?);
    }
    Ok(all)
}

/// Reruns of the failed cases of one policy.
struct Rerun<'a> {
    context: Context<'a>,
    cases: Cases<'a>,
    known: &'a Known<'a>,
    /// What the cases of this policy lack.
    outside: ThisMachine,
    policy: Policy,
    project: plan::Project,
    machine: Machine,
    progress: &'a mut RerunProgress,
    began: Instant,
    /// Number of sets of changes that may still be tried.
    sets: usize,
}

impl Rerun<'_> {
    fn run(mut self, failed: Vec<Member>) -> io::Result<Reruns> {
        let flaky = self.under(&Variant::of(&self.policy, []), Shown::Same, &failed)?.passed;
        let mut reruns = Reruns { flaky, ..Reruns::default() };
        let mut left = without(failed, &reruns.flaky);
        if left.is_empty() {
            return Ok(reruns);
        }
        for variant in variants::isolating(&self.policy, &self.project, self.machine.is_root) {
            let cases = self.under(&variant, Shown::Same, &left)?.passed;
            if !cases.is_empty() {
                reruns.hints.push(Hint { remedy: variant.remedy, cases });
            }
        }
        left = without(left, &hinted(&reruns));
        self.try_each(&mut left, &mut reruns, |rerun, index| rerun.named(index))?;
        let needs = self.give_needs(&mut left, &mut reruns)?;
        let needed = |rerun: &Self, index| rerun.needed(&needs, index);
        let isolating =
            variants::isolating_changes(&self.policy, &self.project, self.machine.is_root);
        self.try_each(&mut left, &mut reruns, |rerun, index| {
            let all = &(&needed(rerun, index) | &rerun.named(index)) | &isolating;
            // One alone was tried before.
            if all.len() > 1 { all } else { BTreeSet::new() }
        })?;
        match self.is_asked() {
            true => self.give_all(&needs, left, &mut reruns)?,
            false => reruns.untried = untried(&needs, &left),
        }
        Ok(reruns)
    }

    /// What a case has written of and does not have.
    fn named(&self, index: CaseIndex) -> BTreeSet<Change> {
        let findings = self.known.named.get(&index).map_or(&[][..], Vec::as_slice);
        // At the other end of a socket somebody listens, and a directory may hold sockets.
        let may_be_given = |path: &Path| match self.outside.find(path) {
            Some(Found::File { is_public, .. }) => is_public || self.is_asked(),
            _ => false,
        };
        variants::named_changes(findings, may_be_given, self.is_asked())
    }

    /// True if tests are given what is given to none unasked.
    fn is_asked(&self) -> bool {
        self.context.settings.explain == ExplainFailures::Always
    }

    /// Tries for each case the changes that it is given, all at once: what it looked for, what it
    /// names, values that isolate as well.
    fn try_each(
        &mut self,
        left: &mut Vec<Member>,
        reruns: &mut Reruns,
        changes: impl Fn(&Self, CaseIndex) -> BTreeSet<Change>,
    ) -> io::Result<()> {
        let sets = left.iter().map(|Member { index, .. }| (*index, changes(self, *index)));
        let sets = grouped(sets.filter(|(_, changes)| !changes.is_empty()));
        for (changes, cases) in sets.iter().take(NAMED) {
            self.explain(changes, cases, left, reruns)?;
        }
        Ok(())
    }

    /// Runs cases under these values. Another project is shown where paths of the host may be among
    /// them.
    fn under(&mut self, variant: &Variant, shown: Shown, failed: &[Member]) -> io::Result<Ran> {
        let flags = variant.remedy.flag.as_str();
        self.progress.begin(if flags.is_empty() { "unchanged" } else { flags }, failed.len());
        let builder = SandboxBuilder::start(variant.policy.clone());
        let factory = builder.and_then(|builder| match shown {
            Shown::More => builder.build_for(self.context.project, &self.machine),
            Shown::Same => builder.build(&self.machine, self.project.clone()),
        });
        // A value that this machine refuses is no remedy.
        let Ok(mut factory) = factory else { return Ok(Ran::default()) };
        let (cases, signals) = (self.cases, self.context.signals);
        let outcomes = again(&mut factory, cases, failed, signals, self.progress)?;
        let mut ran = Ran::default();
        for (index, outcome) in outcomes {
            match outcome.verdict {
                Verdict::Passed => ran.passed.push(index),
                _ if was_cut(&outcome.verdict) => {}
                _ if outcome.verdict.is_failure() => ran.failed.push(index),
                _ => {}
            }
        }
        ran.passed.sort();
        Ok(ran)
    }

    /// Runs cases with these changes, and finds the smallest sets of them with which they pass: these
    /// cases are taken off those that are left. Returns the cases that failed.
    fn explain(
        &mut self,
        changes: &BTreeSet<Change>,
        cases: &[CaseIndex],
        left: &mut Vec<Member>,
        reruns: &mut Reruns,
    ) -> io::Result<Vec<CaseIndex>> {
        let is_over = !self.is_asked() && self.began.elapsed() > ALL;
        if self.sets == 0 || is_over {
            return Ok(Vec::new());
        }
        let mut sets = self.sets - 1;
        let mut run = |changes: &BTreeSet<Change>, cases: &[CaseIndex]| {
            let variant = Variant::of(&self.policy, changes);
            let members = left.iter().filter(|member| cases.contains(&member.index));
            self.under(&variant, Shown::More, &members.cloned().collect::<Vec<_>>())
        };
        let Ran { passed, failed } = run(changes, cases)?;
        let found = smallest(changes, passed, &mut sets, &mut |changes, cases| {
            run(changes, cases).map(|ran| ran.passed)
        })?;
        self.sets = sets;
        for (changes, cases) in found {
            let Variant { remedy, .. } = Variant::of(&self.policy, &changes);
            *left = without(std::mem::take(left), &cases);
            let hints = vec![Hint { remedy, cases }];
            reruns.extend(Reruns { hints, ..Reruns::default() });
        }
        Ok(failed)
    }

    /// Gives the cases what they looked for in vain, and what they look for then. Returns what that is
    /// for those that are left.
    fn give_needs(
        &mut self,
        left: &mut Vec<Member>,
        reruns: &mut Reruns,
    ) -> io::Result<BTreeMap<CaseIndex, Evidence>> {
        let mut needs = self.known_needs(left);
        let new = left.iter().filter(|member| !needs.contains_key(&member.index));
        let new: Vec<Member> = new.cloned().collect();
        needs.extend(self.traced(&BTreeSet::new(), &new)?);
        let mut tried: BTreeMap<CaseIndex, BTreeSet<Change>> = BTreeMap::new();
        for _ in 0..ROUNDS {
            let sets = left.iter().map(|member| (member.index, self.needed(&needs, member.index)));
            let sets = sets.filter(|(index, set)| {
                !set.is_empty() && tried.get(index).is_none_or(|tried| tried != set)
            });
            let sets = grouped(sets);
            for (changes, cases) in sets.into_iter().take(NAMED) {
                tried.extend(cases.iter().map(|index| (*index, changes.clone())));
                let failed = self.explain(&changes, &cases, left, reruns)?;
                let failed = left.iter().filter(|member| failed.contains(&member.index));
                let failed: Vec<Member> = failed.cloned().collect();
                for (index, later) in self.traced(&changes, &failed)? {
                    needs.entry(index).or_default().add(later);
                }
            }
        }
        Ok(needs)
    }

    /// What a case needs and names, as far as it may be given; nothing where it needs nothing.
    fn needed(&self, needs: &BTreeMap<CaseIndex, Evidence>, index: CaseIndex) -> BTreeSet<Change> {
        let is_given = |need: &&Need| self.is_asked() || need.given == Given::Unasked;
        let given = of_case(needs, index).filter(is_given);
        let needed: BTreeSet<Change> = given.map(|need| need.change.clone()).collect();
        if needed.is_empty() { needed } else { &needed | &self.named(index) }
    }

    /// What the cases lack whose traces are there already.
    fn known_needs(&self, left: &[Member]) -> BTreeMap<CaseIndex, Evidence> {
        let known = left.iter().filter_map(|Member { index, .. }| {
            Some((*index, evidence(self.known.traces.get(index)?, &self.outside)))
        });
        known.collect()
    }

    /// Traces a run of these cases with these changes. Returns what those that fail then looked for in
    /// vain.
    fn traced(
        &mut self,
        changes: &BTreeSet<Change>,
        cases: &[Member],
    ) -> io::Result<BTreeMap<CaseIndex, Evidence>> {
        let mut needs = BTreeMap::new();
        let Variant { policy, .. } = Variant::of(&self.policy, changes);
        if cases.is_empty() || policy.guard == Guard::NoListener {
            return Ok(needs);
        }
        let builder = SandboxBuilder::start(Policy { trace: true, ..policy });
        let built = builder.and_then(|it| it.build_for(self.context.project, &self.machine));
        let Ok(mut factory) = built else { return Ok(needs) };
        let SandboxFactory { host, project, policy, .. } = &factory;
        let outside = ThisMachine::new(host, project, policy, &self.machine);
        self.progress.begin("traced", cases.len());
        let (all, signals) = (self.cases, self.context.signals);
        for (index, outcome) in again(&mut factory, all, cases, signals, self.progress)? {
            if let Some(trace) = outcome.trace.as_ref().filter(|_| outcome.verdict.is_failure()) {
                let mut evidence = evidence(trace, &outside).without(changes);
                evidence.is_whole &= !was_cut(&outcome.verdict);
                needs.insert(index, evidence);
            }
        }
        Ok(needs)
    }

    /// Tries all layers of the host at once, with all that a case looked for. What fails each time, and
    /// looks for nothing in vain then, is helped by none of them.
    fn give_all(
        &mut self,
        needs: &BTreeMap<CaseIndex, Evidence>,
        mut left: Vec<Member>,
        reruns: &mut Reruns,
    ) -> io::Result<()> {
        let mut unaffected: BTreeSet<CaseIndex> = left.iter().map(|member| member.index).collect();
        let mut full = BTreeMap::new();
        for all in variants::all_of_host(&self.policy, &self.project) {
            let sets = left.iter().map(|Member { index, .. }| {
                let mut changes = self.named(*index);
                changes.extend(of_case(needs, *index).map(|need| need.change.clone()));
                changes.extend(all.iter().cloned());
                (*index, changes)
            });
            let mut failed = Vec::new();
            for (changes, cases) in grouped(sets) {
                failed.extend(self.explain(&changes, &cases, &mut left, reruns)?);
                if !changes.contains(&Change::NoListener) {
                    full.insert(changes, cases);
                }
            }
            unaffected.retain(|index| failed.contains(index));
        }
        for (changes, cases) in full {
            let members = left.iter().filter(|it| cases.contains(&it.index));
            let members = members.filter(|it| unaffected.contains(&it.index));
            let members: Vec<Member> = members.cloned().collect();
            let still = self.traced(&changes, &members)?;
            let lacks_nothing = |it: &Evidence| it.is_whole && it.needs.is_empty();
            let still = still.into_iter().filter(|(_, evidence)| lacks_nothing(evidence));
            reruns.unaffected.extend(still.map(|(index, _)| index));
        }
        reruns.unaffected.sort();
        Ok(())
    }
}

/// Paths of the host that are shown under other values.
#[derive(Clone, Copy)]
enum Shown {
    /// The same.
    Same,
    /// More of them.
    More,
}

/// Cases that ran under some values. Those that were cut off are in neither list.
#[derive(Default)]
struct Ran {
    passed: Vec<CaseIndex>,
    failed: Vec<CaseIndex>,
}

/// True if the case could have passed with more time.
fn was_cut(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::TimedOut { .. })
}

fn of_case(needs: &BTreeMap<CaseIndex, Evidence>, index: CaseIndex) -> impl Iterator<Item = &Need> {
    needs.get(&index).into_iter().flat_map(|evidence| &evidence.needs)
}

fn without(members: Vec<Member>, cases: &[CaseIndex]) -> Vec<Member> {
    members.into_iter().filter(|member| !cases.contains(&member.index)).collect()
}

fn hinted(reruns: &Reruns) -> Vec<CaseIndex> {
    reruns.hints.iter().flat_map(|hint| hint.cases.iter().copied()).collect()
}

/// What these cases looked for and is given if asked alone.
fn untried(needs: &BTreeMap<CaseIndex, Evidence>, left: &[Member]) -> Vec<Untried> {
    /// What was asked for of a thing, and by which cases.
    type Asked<'a> = (BTreeSet<&'a str>, Vec<CaseIndex>);
    let mut all: BTreeMap<(&Change, &str), Asked<'_>> = BTreeMap::new();
    for Member { index, .. } in left {
        for need in of_case(needs, *index).filter(|need| need.given == Given::IfAsked) {
            let (asked, cases) = all.entry((&need.change, &need.what)).or_default();
            asked.extend(need.asked.iter().map(String::as_str));
            cases.push(*index);
        }
    }
    let untried = all.into_iter().map(|((change, what), (asked, cases))| {
        let named: Vec<&str> = asked.iter().take(ASKED).copied().collect();
        let more = match asked.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let asked = match named.as_slice() {
            [] => String::new(),
            named => format!(" ({}{more})", named.join(", ")),
        };
        Untried { what: format!("{what}{asked}"), flag: change.flag(), cases }
    });
    untried.collect()
}
