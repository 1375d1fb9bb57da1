//! An investigation: facts first, then the runs that the engine asks for, until it has an answer.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use isotest_core::diagnosis::{
    self as engine, Arm, Attribution, Budget, Cause, Diagnosis, Observed, Phase, Progress,
    Question, Request,
};
use isotest_core::outcome::{NotRun, Outcome, Verdict};
use isotest_core::perturbation::Hold;
use isotest_core::signals::Signals;

use super::absent::{Absent, absent};
use super::bench::Bench;
use super::companions::{Companions, companions, suspects, trace_parties};
use super::facts::Facts;
use super::fingerprint::Failure;
use super::ground::Asked;
use super::setting::Setting;
use super::switches::{Scope, Switches};
use super::waits::{self, DecidingWaits};
use crate::cli;
use crate::discover::Harness;
use crate::report::Standing;
use crate::run::context::Cases;
use crate::run::policies::Member;

/// After runs of one arm that took so long together, so many are made at a time.
const LONG: Duration = Duration::from_secs(2);
const AFTER_LONG: usize = 4;
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
    /// The waits of threads that make it fail, if a starved run has failed.
    pub waits: Option<DecidingWaits>,
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
    let mut engine = Engine { bench, failures: BTreeMap::new(), held: BTreeMap::new(), runs: 0 };
    let patience = engine.bench.limit().min(limits.time / 4);
    engine.bench.set_limit(patience);
    let plain = match engine.first()? {
        Ok(plain) => plain,
        Err(reason) => return Ok(Err(reason)),
    };
    let limit = (plain.duration * TIMES).max(SHORTEST);
    engine.bench.set_limit(limit);
    let facts = engine.facts(&plain)?;
    let Companions { members: companions, near, mut known, runs } =
        companions(engine.bench, cases, test, others, &facts)?;
    engine.runs += runs;
    engine.bench.set_companions(companions.clone(), near);
    let may_use_host = match limits.host {
        HostArms::Auto => !facts.reaches_out(),
        HostArms::Never => false,
        HostArms::Always => true,
    };
    let siblings = companions.iter().any(|it| it.index.binary == test.index.binary);
    let is_libtest = cases.selected[test.index.binary].harness == Harness::Libtest;
    let suspects = suspects(test, &facts, &companions, &known);
    let scope = Scope {
        has_companions: !companions.is_empty(),
        has_siblings: siblings && is_libtest,
        has_suspects: !suspects.is_empty(),
        may_use_host,
        uses_project: engine.bench.uses_project(&facts),
        is_root: engine.bench.is_root(),
    };
    let switches = Switches::of(&facts, scope, engine.bench.policy(), engine.bench.locale());
    let question = Question {
        switches: switches.for_engine(),
        companions: companions.len() + 1,
        suspects,
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
    trace_parties(engine.bench, &attribution, &mut known)?;
    let absent = engine.absent(&attribution)?;
    let is_of_order = engine.is_of_order(&attribution, &switches)?;
    let waits = engine.waits(&attribution, &switches, began + limits.time)?;
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
        waits,
        is_of_order,
        is_interrupted,
        throughput,
    }))
}

/// True if the time limit ended a test.
fn is_over_time(outcome: &Outcome) -> bool {
    matches!(outcome.verdict, Verdict::TimedOut { .. })
}

/// Makes runs, and keeps how they fail.
struct Engine<'a, 'b> {
    bench: &'a mut Bench<'b>,
    failures: BTreeMap<u64, Failure>,
    /// The calls that waited in a run with starved threads: the fewest, by how it failed.
    held: BTreeMap<u64, Vec<Hold>>,
    runs: u32,
}

impl Engine<'_, '_> {
    fn run(&mut self, asked: &[Asked]) -> io::Result<Vec<Option<Outcome>>> {
        let ran = self.bench.run(asked)?;
        self.runs += ran.iter().flatten().count() as u32;
        Ok(ran)
    }

    /// An ordinary run, for its time and for a clear error: the shorter one of two, since one may hang.
    fn first(&mut self) -> io::Result<Result<Outcome, NotRun>> {
        let ran = self.run(&[0, 1].map(Asked::alone))?;
        let shorter = ran.into_iter().flatten().min_by_key(|outcome| outcome.duration);
        Ok(match shorter {
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

    /// The waits that decide, if the cause is a matter of timing and a run with starved threads failed so.
    fn waits(
        &mut self,
        attribution: &Attribution,
        switches: &Switches,
        end: Instant,
    ) -> io::Result<Option<DecidingWaits>> {
        let Some(cause) = attribution.causes.first() else { return Ok(None) };
        let is_timing = |number: &usize| switches.tried[*number].changes_timing();
        let is_own = cause.companions.is_empty() && cause.switches.iter().all(is_timing);
        let held =
            cause.fingerprint.filter(|_| is_own).and_then(|it| Some((it, self.held.get(&it)?)));
        match held {
            Some((fingerprint, holds)) => waits::deciding(self.bench, holds, fingerprint, end),
            None => Ok(None),
        }
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
        let asked = part.iter().map(|request| Asked { is_only, ..asked(request, switches) });
        let asked: Vec<Asked> = asked.collect();
        let ran = self.run(&asked)?;
        for ((request, asked), ran) in part.iter().zip(&asked).zip(ran) {
            // That it took too long is what was done to it.
            let adds_up = asked.settings.iter().any(Setting::adds_up);
            let ran = ran.filter(|it| !(adds_up && is_over_time(it)));
            let is_starved = asked.settings.iter().eq([&Setting::Starved]);
            diagnosis.tell(request.id, self.observed(ran, is_starved));
        }
        Ok(())
    }

    fn observed(&mut self, ran: Option<Outcome>, is_starved: bool) -> Observed {
        match ran {
            None => Observed::Lost,
            Some(outcome) if outcome.verdict.is_failure() => {
                let failure = Failure::of(&outcome);
                let fingerprint = failure.fingerprint;
                self.failures.entry(fingerprint).or_insert(failure);
                let fewest = self.held.get(&fingerprint).map_or(usize::MAX, Vec::len);
                if is_starved && (1..fewest).contains(&outcome.holds.len()) {
                    self.held.insert(fingerprint, outcome.holds);
                }
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
