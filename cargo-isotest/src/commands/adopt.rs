//! `cargo isotest adopt`: finds the grants with which tests pass that fail only isolated, and writes
//! them to the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use isotest_core::case::{CaseIndex, Ignore};
use isotest_core::escape::is_deceptive;
use isotest_core::outcome::{Outcome, Verdict};
use isotest_core::policy::Policy;
use isotest_core::signals::Signals;

use crate::adopt::{
    Adoption, Asked, Changes, Comparison, Evidence, Explained, Found, Grant, Hidden, Needed,
    Observed, OutsideCase, OutsideError, Override, Present, Results, Skipped, Standing, Trials,
    compare, observe, run_outside, skip_list,
};
use crate::cli::{AdoptCommand, PackageScope, RunCommand};
use crate::commands::answer::{answer, interrupted};
use crate::commands::build::Build;
use crate::commands::config_file::ConfigFile;
use crate::commands::selected_tests::SelectedTests;
use crate::commands::suite::not_run;
use crate::config::machine::Machine;
use crate::config::settings::Settings;
use crate::config::{self, Adopted, ConfigError, FlagValues};
use crate::discover::filterset::FilterSubject;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, AdoptedReport, FileChanges, FlakyTest, Told, Unexplained};
use crate::run::again::uncounted;
use crate::run::batch::Batch;
use crate::run::context::{Cases, Context};
use crate::run::gates::Gates;
use crate::run::policies::Member;
use crate::run::withheld::withheld;
use crate::sandbox::roots;
use crate::sandbox::trial;
use crate::select::prepare;
use crate::select::selected::case;
use crate::select::subset::RunSubset;

/// Number of runs isolated, and outside.
const RUNS: NonZeroU32 = NonZeroU32::new(3).expect("it is not zero");
/// Maximum number of traced runs of a test: the first failure hides what a test misses after it.
const TRACES: u32 = 3;
/// Keys that take one value, of the grants.
const SINGLE: [&str; 11] =
    ["init", "scratch", "uts", "guard", "ipc", "user", "env", "pid", "tmp", "home", "net"];

/// Writes the grants that the tests need, checks those that are there, or prints a list.
pub fn adopt(command: &AdoptCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let machine = &uncounted(machine);
    let run = RunCommand::of(command.cargo.clone(), command.config.clone());
    let build = Build::open(&run.reuse, &run.cargo, machine)?;
    let given = FlagValues::of(&run.layers, &run.config);
    let mut config = build.config(given)?;
    let adopted = config.set_aside_adopted(|source| Grant::of(source).is_some());
    let mut settings = Settings::of_run(&run, config.values(), machine)?;
    settings.policy = trial::weaken(settings.policy, &settings.layers.allow_weaker(), machine);
    if !settings.layers.roots().is_empty() {
        let what =
            "cannot compare tests in another root filesystem (`root`) with runs outside of it";
        let hint = "use a profile that has no `root`: `-P NAME`";
        return Err(ConfigError::new(what).hint(Some(hint)).into());
    }
    let roots = roots::in_roots(&settings.policy, &[], machine, run.cargo.quiet)?;
    let policies = roots.iter().map(|root| root.policy.clone());
    let (builders, project) = prepare::build(policies, &settings.request, build.reused(), &config)?;
    let signals = Signals::listen().map_err(Error::Host)?;
    let file = ConfigFile::read(&config, project.workspace_root.as_std_path(), machine)?;
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
    let mut batches = std::mem::take(&mut tests.batches);
    let cases =
        Cases { selected: &tests.selected, provision: &provision, gates: &gates, kept: None };
    let adopting = Adopting { command, context, cases, adopted: &adopted, tests: &tests };
    let known = adopting.compare(&mut batches)?;
    match command.format {
        Some(distribution) => {
            let text = adopting.skipped(&known);
            match text.is_empty() {
                true => report::nothing_to_skip(),
                false => {
                    let others = adopting.others(&text);
                    report::skip_list(&skip_list(distribution, &text, &others))
                        .map_err(Error::Report)?;
                }
            }
            Ok(ExitCode::Passed)
        }
        None => adopting.finish(known, &file),
    }
}

/// A test that has failed isolated.
struct Failing {
    member: Member,
    /// Its policy without grants.
    policy: Policy,
    observed: Observed,
    outside: Results,
    standing: Option<Standing>,
    evidence: Evidence,
}

/// What is known of all tests.
#[derive(Default)]
struct Known {
    passed: usize,
    failing: BTreeMap<CaseIndex, Failing>,
    explained: Vec<Explained>,
}

impl Known {
    /// Tests that passed when they were run once more, unchanged.
    fn flaky(&self) -> impl Iterator<Item = CaseIndex> {
        let flaky = self.explained.iter().filter(|one| one.found == Found::Flaky);
        flaky.map(|one| one.index)
    }
}

/// Everything that `adopt` works with.
struct Adopting<'a> {
    command: &'a AdoptCommand,
    context: Context<'a>,
    cases: Cases<'a>,
    adopted: &'a Adopted,
    tests: &'a SelectedTests<'a>,
}

impl Adopting<'_> {
    /// Runs the tests isolated, those that fail outside, and searches for grants.
    fn compare(&self, batches: &mut [Batch]) -> Result<Known, Error> {
        let selected = self.cases.selected;
        let runs = selected.iter().flat_map(|one| &one.selection.cases);
        let count = runs.filter(|case| case.ignore == Ignore::No).count();
        report::observing(count, RUNS.get());
        let observed = observe(self.context, batches, self.cases, RUNS)?;
        interrupted()?;
        if let Some(reason) = observed.values().find_map(|one| one.not_run.as_ref()) {
            return Err(not_run(reason));
        }
        let mut known = Known {
            passed: observed.values().filter(|one| one.failed == 0 && one.passed > 0).count(),
            ..Known::default()
        };
        let failing = observed.into_iter().filter(|(_, one)| one.failed > 0);
        for (index, observed) in failing {
            let member = |batch: &Batch| {
                let member = batch.members.iter().find(|member| member.index == index)?;
                Some((member.clone(), batch.factory.policy.clone()))
            };
            let Some((member, policy)) = batches.iter().find_map(member) else { continue };
            let (outside, evidence) = (Results::default(), Evidence::default());
            let one = Failing { member, policy, observed, outside, standing: None, evidence };
            known.failing.insert(index, one);
        }
        if known.failing.is_empty() {
            return Ok(known);
        }
        self.consent(&known)?;
        self.run_outside(&mut known)?;
        self.gather(&mut known, batches)?;
        known.explained = self.search(&known)?;
        interrupted()?;
        Ok(known)
    }

    /// Asks whether tests may run outside, unless the command line says so.
    fn consent(&self, known: &Known) -> Result<(), Error> {
        if self.command.yes {
            return Ok(());
        }
        let machine = self.context.machine;
        let labels: Vec<String> = known.failing.keys().map(|index| self.label(*index)).collect();
        if !(machine.stdin_terminal && machine.stderr_terminal) {
            return Err(Error::Unprotected(labels));
        }
        report::ask_outside(&labels, RUNS.get()).map_err(Error::Report)?;
        match answer()?.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Error::Refusal),
        }
    }

    /// Runs the failing tests outside, those that need nothing which only sandboxes have.
    fn run_outside(&self, known: &mut Known) -> Result<(), Error> {
        let selected = self.cases.selected;
        let comparable = known.failing.values().filter(|one| !has_services(one));
        let cases: Vec<OutsideCase<'_>> = comparable
            .map(|one| {
                let index = one.member.index;
                OutsideCase {
                    index,
                    selected: &selected[index.binary],
                    case: case(selected, index),
                    variables: self.cases.provision.give(&one.member.terms.needs).variables,
                    timeout: one.member.terms.limits.timeout,
                }
            })
            .collect();
        report::adopting(cases.len(), RUNS.get());
        let Context { machine, signals, .. } = self.context;
        let results =
            run_outside(&cases, RUNS.get(), machine, signals).map_err(|error| match error {
                OutsideError::Interrupted(signal) => Error::Interrupted(signal),
                OutsideError::Start(program, cause) => Error::Execute(program.into(), cause),
            })?;
        let indices: Vec<CaseIndex> = cases.iter().map(|case| case.index).collect();
        for (index, results) in indices.into_iter().zip(results) {
            if let Some(one) = known.failing.get_mut(&index) {
                one.outside = results;
                one.standing = Some(compare(Comparison::of(&one.observed, results)));
            }
        }
        Ok(())
    }

    /// Traces tests, and gathers what they may need. Those that fail outside as well matter where
    /// the network is asked for.
    fn gather(&self, known: &mut Known, batches: &[Batch]) -> Result<(), Error> {
        let is_traced = |one: &&Failing| match one.standing {
            Some(Standing::Differs) => true,
            Some(Standing::FailsOutside) => self.command.format.is_some(),
            Some(Standing::Flaky) | None => false,
        };
        let traced = known.failing.values().filter(is_traced);
        let mut traced: Vec<(Member, Policy)> =
            traced.map(|one| (one.member.clone(), one.policy.clone())).collect();
        let trials = Trials::new(self.context, self.cases);
        for round in 0..TRACES {
            let outcomes = trials.trace(&traced)?;
            interrupted()?;
            traced = self.take_evidence(known, batches, &outcomes, round == 0);
            if traced.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Takes the evidence of these runs. Returns the tests that missed other paths than before, with
    /// policies that show these: they may miss more once they have them.
    fn take_evidence(
        &self,
        known: &mut Known,
        batches: &[Batch],
        outcomes: &BTreeMap<CaseIndex, Outcome>,
        is_first: bool,
    ) -> Vec<(Member, Policy)> {
        let mut again = Vec::new();
        let machine = self.context.machine;
        let home = machine.home();
        for batch in batches {
            let factory = &batch.factory;
            let hidden = Hidden::of(factory, home.as_deref());
            for member in &batch.members {
                let Some(one) = known.failing.get_mut(&member.index) else { continue };
                let outcome = outcomes.get(&member.index);
                // What a test misses that passes it does not need.
                let has_failed = outcome.is_some_and(|it| it.verdict != Verdict::Passed);
                if !is_first && !has_failed {
                    continue;
                }
                let trace = outcome.and_then(|outcome| outcome.trace.as_ref());
                let footprint = trace.map(|trace| trace.footprint());
                let binary = &self.cases.selected[member.index.binary].binary;
                let program = binary.executable.as_std_path();
                let named = withheld(machine, &factory.policy, &[program]).named;
                let findings = match outcome {
                    Some(outcome) if !is_first => &outcome.findings,
                    _ => &one.observed.findings,
                };
                let later = Evidence::new(findings, footprint.as_ref(), &hidden, named);
                if one.evidence.add(later) && one.standing == Some(Standing::Differs) {
                    let policy = Grant::apply(&one.evidence.paths(), one.policy.clone());
                    again.push((one.member.clone(), policy));
                }
            }
        }
        again
    }

    /// Searches for the grants of the tests that differ.
    fn search(&self, known: &Known) -> Result<Vec<Explained>, Error> {
        let (present, none, unknown) = (self.present(), BTreeMap::new(), BTreeSet::new());
        let adoption = self.adoption(&present, &none, &unknown);
        let differing = known.failing.values();
        let differing = differing.filter(|one| one.standing == Some(Standing::Differs));
        let asked: Vec<Asked> = differing
            .map(|one| {
                let index = one.member.index;
                let selected = self.cases.selected;
                let subject = FilterSubject::of(&selected[index.binary].binary);
                let case = case(selected, index);
                let fixed = self.context.config.fixed_keys(&subject, case, &SINGLE);
                let before = adoption.has(index);
                Asked {
                    member: one.member.clone(),
                    policy: one.policy.clone(),
                    candidates: one.evidence.candidates(&one.policy, &fixed),
                    known: [before, one.evidence.paths()].into_iter().find(|it| !it.is_empty()),
                    took: one.outside.longest,
                }
            })
            .collect();
        Ok(Trials::new(self.context, self.cases).explain(&asked)?)
    }

    /// The overrides that `adopt` has written before.
    fn present(&self) -> Vec<Present> {
        let overrides = self.adopted.iter().filter_map(|one| {
            let mut cases = BTreeSet::new();
            for (binary, selected) in self.cases.selected.iter().enumerate() {
                let subject = FilterSubject::of(&selected.binary);
                for (place, case) in selected.selection.cases.iter().enumerate() {
                    let is_run = case.ignore == Ignore::No;
                    if is_run && self.context.config.selects_adopted(&one, &subject, case) {
                        cases.insert(CaseIndex { binary, case: place });
                    }
                }
            }
            let (number, reason) = (one.number, one.reason.to_owned());
            Some(Present { number, grants: Grant::of(one.source)?, reason, cases })
        });
        overrides.collect()
    }

    fn adoption<'b>(
        &'b self,
        present: &'b [Present],
        needed: &'b BTreeMap<CaseIndex, Needed>,
        unknown: &'b BTreeSet<CaseIndex>,
    ) -> Adoption<'b> {
        let cargo = &self.command.cargo;
        let config = self.context.config;
        let has_all_targets = cargo.selects_doctests();
        let is_whole = has_all_targets
            && match cargo.package_scope() {
                PackageScope::Workspace => true,
                PackageScope::Default => config.packages.len() <= 1,
                PackageScope::Named => false,
            };
        let selected = self.cases.selected;
        Adoption { selected, needed, unknown, present, is_whole, has_all_targets }
    }

    /// The grants that tests need, by what was found.
    fn needed(&self, known: &Known) -> BTreeMap<CaseIndex, Needed> {
        let found = known.explained.iter().filter_map(|Explained { index, found }| {
            let Found::Grants(grants) = found else { return None };
            if grants.iter().any(Grant::is_secret) {
                return None;
            }
            // Nobody could read a filter of it.
            if case(self.cases.selected, *index).name.contains(is_deceptive) {
                return None;
            }
            let evidence = &known.failing.get(index)?.evidence;
            let phrases = grants.iter().map(|grant| evidence.reason(grant)).collect();
            Some((*index, Needed { grants: grants.clone(), phrases }))
        });
        found.collect()
    }

    /// Writes or checks the file, and reports.
    fn finish(&self, known: Known, file: &ConfigFile<'_>) -> Result<ExitCode, Error> {
        let needed = self.needed(&known);
        let flaky: BTreeSet<CaseIndex> = known.flaky().collect();
        let is_known = |one: &Failing| {
            one.standing == Some(Standing::Differs) && !flaky.contains(&one.member.index)
        };
        let explained = |index: &CaseIndex| needed.contains_key(index);
        let unknown =
            known.failing.iter().filter(|(index, one)| !is_known(one) && !explained(index));
        let unknown: BTreeSet<CaseIndex> = unknown.map(|(index, _)| *index).collect();
        let present = self.present();
        let adoption = self.adoption(&present, &needed, &unknown);
        let Changes { removed, added, kept } = adoption.changes();
        let (mut missing, mut unneeded) = (Vec::new(), Vec::new());
        for (index, lacks, has) in adoption.differences() {
            let line = |grant: &Grant| format!("{}: {grant}", self.label(index));
            missing.extend(lacks.iter().map(line));
            unneeded.extend(has.iter().map(line));
        }
        let idle = adoption.idle().into_iter().filter_map(|one| {
            let entry = self.adopted.iter().find(|entry| entry.number == one.number)?;
            Some(entry.place.to_owned())
        });
        let idle: Vec<String> = idle.collect();
        let profile = &self.context.config.profile;
        let texts: Vec<String> = added.iter().map(|one: &Override| one.text(profile)).collect();
        let changes_file = !removed.is_empty() || !added.is_empty();
        if changes_file && !self.command.check {
            let text = config::rewrite(&file.shown, &file.text, profile, &removed, &texts)?;
            file.replace(&text, &texts)?;
        }
        let report = self.report(&known, &needed);
        let changes = FileChanges {
            path: &file.shown,
            overrides: (added.len(), removed.len(), kept),
            missing: &missing,
            unneeded: &unneeded,
            idle: &idle,
            is_check: self.command.check,
        };
        report::adoption(&report, &changes).map_err(Error::Report)?;
        let is_stale = self.command.check && !(missing.is_empty() && unneeded.is_empty());
        let is_explained = report.unexplained.is_empty() && report.unprintable.is_empty();
        Ok(match is_explained && !is_stale {
            true => ExitCode::Passed,
            false => ExitCode::TestsFailed,
        })
    }

    /// What became of the tests that failed isolated.
    fn report(&self, known: &Known, needed: &BTreeMap<CaseIndex, Needed>) -> AdoptedReport {
        let mut report = AdoptedReport { passed: known.passed, ..AdoptedReport::default() };
        for (index, one) in &known.failing {
            let label = self.label(*index);
            let Comparison { isolated, outside } = Comparison::of(&one.observed, one.outside);
            match one.standing {
                None => report.with_services.push(label),
                Some(Standing::FailsOutside) => report.fail_outside.push(label),
                Some(Standing::Flaky) => report.flaky.push(FlakyTest { label, isolated, outside }),
                Some(Standing::Differs) => match needed.get(index) {
                    Some(Needed { grants, phrases }) => report.granted.push(Told {
                        label,
                        grants: Grant::lines(grants),
                        reason: phrases.join("; "),
                    }),
                    None => {
                        let found = known.explained.iter().find(|found| found.index == *index);
                        report_without_grants(label, one, found.map(|it| &it.found), &mut report);
                    }
                },
            }
        }
        report
    }

    /// The tests that need the network: those that pass with it, and those that fail outside as well
    /// and have tried to reach it.
    fn skipped(&self, known: &Known) -> Vec<Skipped> {
        let needed = self.needed(known);
        let skipped = known.failing.iter().filter_map(|(index, one)| {
            let name = case(self.cases.selected, *index).name.clone();
            let has_net =
                needed.get(index).is_some_and(|it| it.grants.iter().any(|g| g.key == "net"));
            let tries = one.standing == Some(Standing::FailsOutside) && one.evidence.has_network();
            let reason = one.evidence.network();
            match (has_net, tries) {
                (true, _) => Some(Skipped { name, reason }),
                (false, true) => {
                    Some(Skipped { name, reason: format!("{reason} (fails here outside as well)") })
                }
                (false, false) => None,
            }
        });
        skipped.collect()
    }

    /// The names of the tests that are not left out.
    fn others(&self, skipped: &[Skipped]) -> Vec<&str> {
        let all = self.cases.selected.iter().flat_map(|one| &one.selection.cases);
        let names = all.map(|case| case.name.as_str());
        names.filter(|name| !skipped.iter().any(|one| one.name == *name)).collect()
    }

    fn label(&self, index: CaseIndex) -> String {
        let suite = &self.tests.suites[index.binary];
        suite.label(&suite.cases[index.case])
    }
}

/// Reports a test that differs and gets no grants, by what was found.
fn report_without_grants(
    label: String,
    one: &Failing,
    found: Option<&Found>,
    report: &mut AdoptedReport,
) {
    let (unsteady, secret) = match found {
        Some(Found::Unsteady(grants)) => (Grant::lines(grants), Vec::new()),
        Some(Found::Grants(grants)) if grants.iter().any(Grant::is_secret) => {
            (Vec::new(), Grant::lines(grants))
        }
        Some(Found::Grants(_)) => return report.unprintable.push(label),
        Some(Found::Flaky) => {
            // It has passed once more.
            let Comparison { isolated, outside } = Comparison::of(&one.observed, one.outside);
            let isolated = (isolated.0 + 1, isolated.1 + 1);
            return report.flaky.push(FlakyTest { label, isolated, outside });
        }
        Some(Found::Nothing) | None => (Vec::new(), Vec::new()),
    };
    let (verdict, missed) = (one.observed.verdict.clone(), one.evidence.missed());
    report.unexplained.push(Unexplained { label, verdict, missed, unsteady, secret });
}

/// True if a test has what is in sandboxes alone.
fn has_services(one: &Failing) -> bool {
    !one.member.terms.needs.services.is_empty() || !one.policy.stored.is_empty()
}
