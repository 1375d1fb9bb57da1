//! An investigation: facts first, then the runs that the engine asks for, until it has an answer.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use isotest_core::case::Ignore;
use isotest_core::diagnosis::{
    self as engine, Arm, Attribution, Budget, Cause, Diagnosis, Observed, Phase, Progress,
    Question, Request,
};
use isotest_core::outcome::{NotRun, Outcome, Verdict};
use isotest_core::signals::Signals;

use super::absent::{Absent, absent};
use super::bench::Bench;
use super::facts::Facts;
use super::fingerprint::Failure;
use super::ground::Asked;
use super::resources::shared;
use super::setting::Setting;
use super::switches::{Scope, Switches};
use crate::cli;
use crate::discover::Harness;
use crate::report::Standing;
use crate::run::context::Cases;
use crate::run::policies::Member;
use crate::select::selected::case;

/// Companions that are traced, in the order of their distance from the test.
const TRACED: usize = 200;
/// No further companion is traced after so long.
const TRACING: Duration = Duration::from_secs(4);
/// Maximum number of companions.
const COMPANIONS: usize = 16;
/// Maximum number of companions that share something with the test.
const NEAR: usize = 8;
/// After runs of one arm that took so long together, so many are made at a time.
const LONG: Duration = Duration::from_secs(2);
const AFTER_LONG: usize = 4;
/// Companions that are traced at a time.
const TRACED_AT_ONCE: usize = 16;
/// A run is ended after this time, or after so many times the time of an ordinary one.
const SHORTEST: Duration = Duration::from_secs(2);
const TIMES: u32 = 50;

/// Limits of an investigation.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Time after which it ends.
    pub time: Duration,
    /// Number of runs after which it ends.
    pub runs: u32,
    /// Seed of the whole investigation.
    pub seed: u64,
    /// Layers of the machine are tried, also if the test reaches out.
    pub host: HostArms,
}

/// Use of layers of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostArms {
    /// If the first run neither tried the network nor wrote outside of its directories.
    Auto,
    /// Never.
    Never,
    /// Always.
    Always,
}

impl From<cli::HostArms> for HostArms {
    fn from(typed: cli::HostArms) -> HostArms {
        match typed {
            cli::HostArms::Auto => HostArms::Auto,
            cli::HostArms::Never => HostArms::Never,
            cli::HostArms::Always => HostArms::Always,
        }
    }
}

/// What is found out.
pub struct Investigation {
    /// The answer of the engine.
    pub attribution: Attribution,
    /// The switches, by their numbers in the answer.
    pub switches: Switches,
    /// Facts about the test.
    pub facts: Facts,
    /// The companions, by their numbers in the answer; the number behind them is the test itself.
    pub companions: Vec<Member>,
    /// Facts about those that were traced.
    pub others: BTreeMap<usize, Facts>,
    /// Failures, by fingerprint.
    pub failures: BTreeMap<u64, Failure>,
    /// Layers of the machine would have been tried.
    pub host_is_withheld: bool,
    /// Time in all.
    pub took: Duration,
    /// Runs in all, those for the facts included.
    pub runs: u32,
    /// What the test needs and does not have, if it fails each time.
    pub absent: Option<Absent>,
    /// In one process it fails also if tests run one by one.
    pub is_of_order: bool,
    /// It was interrupted.
    pub is_interrupted: bool,
    /// Runs in a second, while the engine asked for them.
    pub throughput: f64,
    /// Settings that were refused, with the reason.
    pub refused: BTreeMap<BTreeSet<Setting>, String>,
}

/// Investigates a test. `watch` is shown where it stands. `None` if the test cannot be run: the reason.
pub fn investigate(
    bench: &mut Bench<'_>,
    cases: Cases<'_>,
    test: &Member,
    others: &[Member],
    limits: Limits,
    watch: &mut dyn FnMut(&Standing),
) -> io::Result<Result<Investigation, NotRun>> {
    let began = Instant::now();
    let mut engine = Engine { bench, failures: BTreeMap::new(), runs: 0 };
    let plain = match engine.first()? {
        Ok(plain) => plain,
        Err(reason) => return Ok(Err(reason)),
    };
    let limit = (plain.duration * TIMES).max(SHORTEST);
    engine.bench.set_limit(limit);
    let facts = engine.facts(&plain)?;
    let Companions { members: companions, near, known } =
        engine.companions(cases, test, others, &facts)?;
    engine.bench.set_companions(companions.clone(), near);
    let may_use_host = match limits.host {
        HostArms::Auto => !facts.reaches_out(),
        HostArms::Never => false,
        HostArms::Always => true,
    };
    let siblings = companions.iter().any(|it| it.index.binary == test.index.binary);
    let is_libtest = cases.selected[test.index.binary].harness == Harness::Libtest;
    let scope = Scope {
        has_companions: !companions.is_empty(),
        has_siblings: siblings && is_libtest,
        may_use_host,
        uses_project: engine.bench.uses_project(&facts),
        is_root: engine.bench.is_root(),
    };
    let switches = Switches::of(&facts, scope, engine.bench.policy(), engine.bench.locale());
    let question = Question {
        switches: switches.for_engine(),
        companions: companions.len() + 1,
        suspects: suspects(test, &companions, &known),
        budget: Budget { runs: limits.runs },
        seed: limits.seed,
    };
    let mut diagnosis = Diagnosis::new(question);
    let start = (Instant::now(), engine.runs);
    let is_interrupted = engine.drive(&mut diagnosis, &switches, began + limits.time, watch)?;
    let made = f64::from(engine.runs - start.1);
    let throughput = made / start.0.elapsed().as_secs_f64().max(0.001);
    let Some(attribution) = diagnosis.attribution().cloned() else {
        return Ok(Err(NotRun::Cancelled));
    };
    let known = engine.trace_parties(&attribution, known)?;
    let absent = engine.absent(&attribution)?;
    let is_of_order = engine.is_of_order(&attribution, &switches)?;
    Ok(Ok(Investigation {
        attribution,
        switches,
        facts,
        companions,
        others: known,
        refused: engine.bench.refused().clone(),
        failures: engine.failures,
        host_is_withheld: !may_use_host && limits.host == HostArms::Auto,
        took: began.elapsed(),
        runs: engine.runs,
        absent,
        is_of_order,
        is_interrupted,
        throughput,
    }))
}

/// True if the time limit ended a test.
fn is_over_time(outcome: &Outcome) -> bool {
    matches!(outcome.verdict, Verdict::TimedOut { .. })
}

/// True if a signal or the time limit ended a test, or it ended its process.
fn is_ended(outcome: &Outcome) -> bool {
    matches!(
        outcome.verdict,
        Verdict::Signalled { .. } | Verdict::TimedOut { .. } | Verdict::ExitedEarly { .. }
    )
}

/// The companions in the binary of a test that change what a process has once.
fn suspects(
    test: &Member,
    companions: &[Member],
    known: &BTreeMap<usize, Facts>,
) -> BTreeSet<usize> {
    let places = companions.iter().enumerate();
    let places = places.filter(|(_, member)| member.index.binary == test.index.binary);
    let is_suspect = |place: &usize| known.get(place).is_some_and(|it| !it.process.is_empty());
    places.map(|(place, _)| place).filter(is_suspect).collect()
}

/// The companions of a test.
#[derive(Default)]
struct Companions {
    /// Them: those that share something with the test first.
    members: Vec<Member>,
    /// Number of those that run beside it; all others run in one process with it only.
    near: usize,
    /// Facts about those that were traced, by their places.
    known: BTreeMap<usize, Facts>,
}

/// Makes runs, and keeps how they fail.
struct Engine<'a, 'b> {
    bench: &'a mut Bench<'b>,
    failures: BTreeMap<u64, Failure>,
    runs: u32,
}

impl Engine<'_, '_> {
    fn run(&mut self, asked: &[Asked]) -> io::Result<Vec<Option<Outcome>>> {
        let ran = self.bench.run(asked)?;
        self.runs += ran.iter().flatten().count() as u32;
        Ok(ran)
    }

    /// An ordinary run, for its time and for a clear error.
    fn first(&mut self) -> io::Result<Result<Outcome, NotRun>> {
        let ran = self.run(&[Asked::alone(0)])?.pop().flatten();
        Ok(match ran {
            Some(outcome) => Ok(outcome),
            None => Err(self.bench.not_run().unwrap_or(NotRun::Cancelled)),
        })
    }

    fn facts(&mut self, plain: &Outcome) -> io::Result<Facts> {
        let asked = Asked { is_traced: true, ..Asked::alone(0) };
        let traced = self.run(&[asked])?.pop().flatten();
        let outcome = traced.unwrap_or_else(|| plain.clone());
        let mut facts = self.bench.facts(&outcome);
        if outcome.findings.is_empty() {
            facts.findings = plain.findings.clone();
        }
        Ok(facts)
    }

    /// The companions: tests that use what this one uses first, then those of its binary.
    fn companions(
        &mut self,
        cases: Cases<'_>,
        test: &Member,
        others: &[Member],
        facts: &Facts,
    ) -> io::Result<Companions> {
        let mut near: Vec<&Member> = others.iter().filter(|it| runs(cases, it)).collect();
        near.sort_by_key(|it| {
            let is_other_binary = it.index.binary != test.index.binary;
            (is_other_binary, it.index.case.abs_diff(test.index.case))
        });
        if !facts.may_meet() && !self.bench.uses_project(facts) {
            // Only in one process.
            near.retain(|it| it.index.binary == test.index.binary);
            near.truncate(COMPANIONS);
        }
        let end = Instant::now() + TRACING;
        let mut traced: Vec<(Member, Option<Facts>)> = Vec::new();
        for part in near.chunks(TRACED_AT_ONCE) {
            let is_over = Instant::now() > end || traced.len() >= TRACED;
            let members: Vec<Member> = part.iter().map(|it| (*it).clone()).collect();
            if is_over || Signals::asked().is_some() {
                traced.extend(members.into_iter().map(|member| (member, None)));
                continue;
            }
            let outcomes = self.bench.trace_others(&members)?;
            self.runs += members.len() as u32;
            for (member, outcome) in members.into_iter().zip(outcomes) {
                // One that is ended by itself ends others of its process.
                if !outcome.as_ref().is_some_and(is_ended) {
                    traced.push((member, outcome.map(|it| self.bench.facts(&it))));
                }
            }
        }
        let is_known = facts.meets_at_files_only()
            && traced.iter().all(|(_, other)| other.as_ref().is_some_and(|other| other.is_whole));
        let meets = |other: &Facts| !shared(&facts.footprint, &other.footprint).is_empty();
        let (mut near, mut far): (Vec<_>, Vec<_>) =
            traced.into_iter().partition(|(_, other)| other.as_ref().is_some_and(meets));
        near.truncate(NEAR);
        let count = near.len();
        far.retain(|(member, _)| count == 0 || member.index.binary == test.index.binary);
        far.truncate(COMPANIONS - count);
        near.append(&mut far);
        let near_count = if count == 0 && !is_known { near.len().min(NEAR) } else { count };
        let mut companions = Companions { near: near_count, ..Companions::default() };
        for (place, (member, facts)) in near.into_iter().enumerate() {
            companions.members.push(member);
            companions.known.extend(facts.map(|facts| (place, facts)));
        }
        Ok(companions)
    }

    /// Traces the other parties of the causes that were not traced yet.
    fn trace_parties(
        &mut self,
        attribution: &Attribution,
        mut known: BTreeMap<usize, Facts>,
    ) -> io::Result<BTreeMap<usize, Facts>> {
        let parties = attribution.causes.iter().flat_map(|cause| &cause.companions);
        let parties: BTreeSet<usize> =
            parties.copied().filter(|it| !known.contains_key(it)).collect();
        let (places, members): (Vec<usize>, Vec<Member>) =
            parties.into_iter().filter_map(|it| Some((it, self.bench.companion(it)?))).unzip();
        if !members.is_empty() {
            let outcomes = self.bench.trace_others(&members)?;
            let facts = places.into_iter().zip(outcomes);
            known.extend(facts.filter_map(|(place, outcome)| {
                outcome.map(|outcome| (place, self.bench.facts(&outcome)))
            }));
        }
        Ok(known)
    }

    /// True if a test that fails in one process with others does so also if they run one by one, in some
    /// order.
    fn is_of_order(&mut self, attribution: &Attribution, switches: &Switches) -> io::Result<bool> {
        const ORDERS: u64 = 12;
        let is_together = |cause: &&Cause| {
            cause.switches.iter().any(|it| switches.tried[*it] == Setting::Together)
        };
        let Some(cause) = attribution.causes.iter().find(is_together) else { return Ok(false) };
        let asked = (0..ORDERS).map(|seed| Asked {
            settings: [Setting::Together].into(),
            companions: cause.companions.clone(),
            threads: 1,
            ..Asked::alone(seed)
        });
        let outcomes = self.run(&asked.collect::<Vec<_>>())?;
        Ok(outcomes.iter().flatten().any(|outcome| outcome.verdict.is_failure()))
    }

    /// What a test that always fails needs and does not have.
    fn absent(&mut self, attribution: &Attribution) -> io::Result<Option<Absent>> {
        if attribution.verdict != engine::Verdict::AlwaysFails {
            return Ok(None);
        }
        let asked = Asked { is_traced: true, ..Asked::alone(0) };
        let traced = self.run(&[asked])?.pop().flatten();
        match traced.and_then(|outcome| outcome.trace) {
            Some(trace) => absent(self.bench, &trace),
            None => Ok(None),
        }
    }

    /// Makes the runs that the engine asks for, until it has an answer or the time is up. Returns true
    /// if it was interrupted.
    fn drive(
        &mut self,
        diagnosis: &mut Diagnosis,
        switches: &Switches,
        end: Instant,
        watch: &mut dyn FnMut(&Standing),
    ) -> io::Result<bool> {
        let began = Instant::now();
        let size = Cell::new(usize::MAX);
        while diagnosis.attribution().is_none() {
            let requests = diagnosis.next(usize::MAX);
            if requests.is_empty() {
                diagnosis.stop();
                break;
            }
            let is_only = is_comparison(&requests)
                && requests.iter().any(|request| switches.is_heavy(&request.arm));
            let parts = in_turn(requests, |arm| switches.at_once(arm));
            for part in parts.iter().flat_map(|part| part.chunks(size.get())) {
                let is_interrupted = Signals::asked().is_some();
                if is_interrupted || Instant::now() >= end {
                    diagnosis.stop();
                    return Ok(is_interrupted);
                }
                let start = Instant::now();
                self.part(diagnosis, part, switches, is_only)?;
                // A test that hangs must not take the time of those that follow.
                size.set(if start.elapsed() > LONG { AFTER_LONG } else { usize::MAX });
                watch(&standing(&diagnosis.progress(), switches, began.elapsed()));
            }
        }
        Ok(false)
    }

    /// Makes runs of one arm.
    fn part(
        &mut self,
        diagnosis: &mut Diagnosis,
        part: &[Request],
        switches: &Switches,
        is_only: bool,
    ) -> io::Result<()> {
        // What their policies differ in is the same for all of them, which need one warden.
        let policy_seed = part[0].seed;
        let asked =
            part.iter().map(|request| Asked { is_only, policy_seed, ..asked(request, switches) });
        let asked: Vec<Asked> = asked.collect();
        let ran = self.run(&asked)?;
        for ((request, asked), ran) in part.iter().zip(&asked).zip(ran) {
            // That it took too long is what was done to it.
            let is_slow = asked.settings.iter().any(Setting::is_slow);
            let ran = ran.filter(|it| !(is_slow && is_over_time(it)));
            diagnosis.tell(request.id, self.observed(ran));
        }
        Ok(())
    }

    fn observed(&mut self, ran: Option<Outcome>) -> Observed {
        match ran {
            None => Observed::Lost,
            Some(outcome) if outcome.verdict.is_failure() => {
                let failure = Failure::of(&outcome);
                let fingerprint = failure.fingerprint;
                self.failures.entry(fingerprint).or_insert(failure);
                Observed::Failed(fingerprint)
            }
            Some(_) => Observed::Passed,
        }
    }
}

/// The words for where the engine stands.
fn standing(progress: &Progress, switches: &Switches, took: Duration) -> Standing {
    let on = progress.rate.arm.on.iter().map(|number| switches.tried[*number].words());
    let on: Vec<String> = on.collect();
    Standing {
        runs: progress.runs,
        arm_runs: progress.rate.runs,
        arm_failures: progress.rate.failed,
        interval: (progress.rate.low, progress.rate.high),
        arm: match on.len() {
            0 => "alone".to_owned(),
            1 | 2 => on.join(" and "),
            many => format!("{many} conditions"),
        },
        phase: match progress.phase {
            Phase::Preflight => "first runs",
            Phase::Baseline => "rate",
            Phase::Sweep => "conditions",
            Phase::Halving => "halving",
            Phase::OtherParty => "other party",
            Phase::Confirmation => "confirming",
            Phase::Finished => "done",
        },
        took,
    }
}

/// True if runs of a few arms are compared with each other.
fn is_comparison(requests: &[Request]) -> bool {
    let arms: BTreeSet<&Arm> = requests.iter().map(|request| &request.arm).collect();
    (2..=3).contains(&arms.len())
}

/// Runs in parts of one arm each, in which they can run at the same time. The arms take turns, so that
/// a machine that becomes slower does so for all of them.
fn in_turn(requests: Vec<Request>, at_once: impl Fn(&Arm) -> usize) -> Vec<Vec<Request>> {
    let mut arms: Vec<Vec<Request>> = Vec::new();
    for request in requests {
        match arms.iter_mut().find(|arm| arm[0].arm == request.arm) {
            Some(arm) => arm.push(request),
            None => arms.push(vec![request]),
        }
    }
    let mut parts: Vec<(usize, Vec<Request>)> = Vec::new();
    for arm in arms {
        let size = at_once(&arm[0].arm);
        parts.extend(arm.chunks(size).map(<[Request]>::to_vec).enumerate());
    }
    parts.sort_by_key(|(turn, _)| *turn);
    parts.into_iter().map(|(_, part)| part).collect()
}

/// A run that the engine asks for.
fn asked(request: &Request, switches: &Switches) -> Asked {
    let settings = request.arm.on.iter().map(|number| switches.tried[*number].clone());
    Asked {
        settings: settings.collect(),
        companions: request.arm.companions.clone(),
        ..Asked::alone(request.seed)
    }
}

/// True if a test runs among others in an ordinary run.
pub(super) fn runs(cases: Cases<'_>, member: &Member) -> bool {
    cases.selected[member.index.binary].harness != Harness::None
        && case(cases.selected, member.index).ignore == Ignore::No
}

impl Investigation {
    /// The settings of a cause.
    pub fn settings(&self, cause: &Cause) -> Vec<&Setting> {
        cause.switches.iter().map(|number| &self.switches.tried[*number]).collect()
    }

    /// True if an earlier run of the test itself is among these companions.
    pub fn has_earlier_run(&self, companions: &BTreeSet<usize>) -> bool {
        companions.contains(&self.companions.len())
    }
}
