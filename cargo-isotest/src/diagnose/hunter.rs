//! The hunter: makes the rounds that the hunt asks for, then diagnoses what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use isotest_core::case::CaseIndex;
use isotest_core::outcome::NotRun;
use isotest_core::policy::Policy;
use isotest_core::signals::Signals;

use super::amplifier::Amplifier;
use super::bench::Bench;
use super::clusters::clusters;
use super::fingerprint::Failure;
use super::hunting::{Count, Hunting, Lane, Round, Seen, Shown, Tally};
use super::investigate::{HostArms, Limits, investigate};
use super::rounds::{RoundRequest, Rounds, chosen};
use super::told::tell;
use crate::report::{
    Candidate, Condition, Diagnosed, DiagnosisLine, HUNT_FORMAT, HuntScreen, HuntStanding, Hunted,
    HuntedGroup, OtherParty, Showing, Tried,
};
use crate::run::context::{Cases, Context};
use crate::run::policies::Member;
use crate::run::traced::binary_hash;
use crate::select::selected::case;

/// A diagnosis gets no more time.
const LONGEST: Duration = Duration::from_secs(60);
/// Less time decides nothing as a rule.
const SHORTEST: Duration = Duration::from_secs(16);
/// Time alone ends a diagnosis.
const RUNS: u32 = 1_000_000;

/// Options of a hunt.
#[derive(Debug, Clone, Copy)]
pub struct HuntOptions<'o> {
    /// A test takes part if its name contains one of these, or if there is none.
    pub filters: &'o [String],
    /// Time in all.
    pub budget: Duration,
    /// Seed of all that is random.
    pub seed: u64,
}

/// The tests of a hunt, and what runs them.
pub struct Hunter<'a> {
    pub(super) context: Context<'a>,
    pub(super) cases: Cases<'a>,
    groups: &'a [(Policy, Vec<Member>)],
    /// The tests that take part.
    pub(super) tests: Vec<CaseIndex>,
    pub(super) rounds: Rounds<'a>,
    pub(super) failures: BTreeMap<u64, Failure>,
    pub(super) budget: Duration,
    seed: u64,
    pub(super) began: Instant,
    /// Runs of the round that is under way, and those before it.
    pub(super) runs: u32,
}

impl<'a> Hunter<'a> {
    /// A hunt among these tests. `None` if none takes part.
    pub fn new(
        context: Context<'a>,
        cases: Cases<'a>,
        groups: &'a [(Policy, Vec<Member>)],
        options: HuntOptions<'_>,
    ) -> Option<Hunter<'a>> {
        let HuntOptions { filters, budget, seed } = options;
        let chosen = chosen(groups, cases, filters);
        let tests: Vec<CaseIndex> =
            chosen.iter().flat_map(|(_, members)| members.iter().map(|it| it.index)).collect();
        if tests.is_empty() {
            return None;
        }
        Some(Hunter {
            context,
            cases,
            groups,
            tests,
            rounds: Rounds::new(context, cases, chosen),
            failures: BTreeMap::new(),
            budget,
            seed,
            began: Instant::now(),
            runs: 0,
        })
    }

    /// Hunts until the time is up. `Err` if no test could be run: the reason.
    pub fn hunt(mut self) -> io::Result<Result<Hunted, NotRun>> {
        let mut hunting = Hunting::new(self.tests.len(), &Amplifier::ALL, self.seed);
        let report = &self.context.settings.report;
        let mut screen = HuntScreen::new(report.style, report.quiet, "Hunting");
        while Signals::asked().is_none() && Instant::now() < self.hunting_end(&hunting) {
            let Some(round) = hunting.next() else { break };
            let started = Instant::now();
            let seen = self.round(&hunting, &round, &mut screen)?;
            if seen.is_empty() && !self.is_over() {
                match self.rounds.not_run() {
                    Some(reason) if round.amplifier == Amplifier::Ordinary => {
                        return Ok(Err(reason));
                    }
                    reason => hunting.refuse(round.amplifier, refusal(reason)),
                }
                continue;
            }
            for new in hunting.tell(&round, &seen, started.elapsed()) {
                screen.found(&self.candidate(new, hunting.tally(new)))?;
            }
        }
        drop(screen);
        let clusters = self.clusters(&hunting);
        let groups = self.diagnose(&hunting, clusters)?;
        Ok(Ok(self.hunted(&hunting, groups)))
    }

    /// True if nothing more is to be run.
    pub(super) fn is_over(&self) -> bool {
        Signals::asked().is_some() || Instant::now() >= self.end()
    }

    pub(super) fn end(&self) -> Instant {
        self.began + self.budget
    }

    /// Half of the time is for diagnoses, or less where there are few candidates.
    fn hunting_end(&self, hunting: &Hunting) -> Instant {
        let candidates = u32::try_from(hunting.candidates().len()).unwrap_or(u32::MAX);
        self.end() - LONGEST.saturating_mul(candidates).min(self.budget / 2)
    }

    fn round(
        &mut self,
        hunting: &Hunting,
        round: &Round,
        screen: &mut HuntScreen,
    ) -> io::Result<Vec<(usize, Seen)>> {
        let request = RoundRequest {
            settings: round.amplifier.settings(),
            is_busy: false,
            cases: round.cases.iter().map(|place| self.tests[*place]).collect(),
            seed: round.seed,
            end: self.end(),
        };
        let rounds = hunting.lanes().iter().map(|lane| u64::from(lane.rounds)).sum();
        let (began, budget) = (self.began, self.budget);
        let runs = &mut self.runs;
        let ran = self.rounds.run(&request, &mut || {
            *runs += 1;
            screen.show(|| HuntStanding {
                rounds,
                runs: *runs,
                candidates: hunting.candidates().len(),
                words: round.amplifier.words(),
                time: (began.elapsed(), budget),
            });
        })?;
        let places: BTreeMap<CaseIndex, usize> =
            round.cases.iter().map(|place| (self.tests[*place], *place)).collect();
        let mut seen = Vec::new();
        for (index, outcome) in ran {
            let how = match outcome.verdict.is_failure() {
                false => Seen::Passed,
                true => {
                    let failure = Failure::of(&outcome);
                    let fingerprint = failure.fingerprint;
                    self.failures.entry(fingerprint).or_insert(failure);
                    Seen::Failed(fingerprint)
                }
            };
            seen.extend(places.get(&index).map(|place| (*place, how)));
        }
        Ok(seen)
    }

    /// Candidates by their reason, those first that fail most in ordinary runs.
    fn clusters(&self, hunting: &Hunting) -> Vec<Vec<usize>> {
        let rank = |case: &usize| hunting.tally(*case).rank();
        let mut candidates: Vec<usize> = hunting.candidates().iter().copied().collect();
        let descending = |one: &usize, other: &usize| rank(other).partial_cmp(&rank(one));
        let by_rank = |one: &usize, other: &usize| {
            descending(one, other).unwrap_or(std::cmp::Ordering::Equal)
        };
        candidates.sort_by(by_rank);
        // A failure without a place, as a time-out has none, is nobody's in particular.
        let place = |case: &usize| {
            let fingerprint = hunting.tally(*case).fingerprint()?;
            let failure = self.failures.get(&fingerprint)?;
            (!failure.place.is_empty()).then_some((*case, fingerprint))
        };
        let places = candidates.iter().filter_map(place).collect();
        let mut found = clusters(&candidates, &places, hunting.failed_together());
        found.iter_mut().for_each(|cluster| cluster.sort_by(by_rank));
        found.sort_by(|one, other| by_rank(&one[0], &other[0]));
        found
    }

    /// Diagnoses the first of each cluster, as long as there is time. A cluster whose tests are the other
    /// parties of another one is joined to it.
    fn diagnose(
        &mut self,
        hunting: &Hunting,
        clusters: Vec<Vec<usize>>,
    ) -> io::Result<Vec<HuntedGroup>> {
        let mut groups: Vec<(Vec<usize>, Option<Diagnosed>)> = Vec::new();
        let mut left: Vec<Vec<usize>> = clusters;
        while !left.is_empty() {
            let mut cluster = left.remove(0);
            let diagnosed = match self.share(left.len() + 1) {
                Some(share) => self.diagnosed(cluster[0], share)?,
                None => None,
            };
            let parties = diagnosed.as_ref().map(parties).unwrap_or_default();
            let is_party = |other: &Vec<usize>| {
                other.iter().all(|it| {
                    let is_shared = matches!(hunting.tally(*it).shown(), Some(Shown::FailsUnder(by)) if by.is_shared());
                    is_shared && parties.contains(&self.names(self.tests[*it]))
                })
            };
            let (joined, others) = left.into_iter().partition(is_party);
            left = others;
            let joined: Vec<Vec<usize>> = joined;
            cluster.extend(joined.into_iter().flatten());
            groups.push((cluster, diagnosed));
        }
        let told = groups.into_iter().map(|(cluster, diagnosis)| HuntedGroup {
            tests: cluster.iter().map(|it| self.candidate(*it, hunting.tally(*it))).collect(),
            diagnosis,
        });
        Ok(told.collect())
    }

    /// The time for the next diagnosis, if it is worth one.
    fn share(&self, groups: usize) -> Option<Duration> {
        let left = self.end().saturating_duration_since(Instant::now());
        let affordable = (left.as_secs() / SHORTEST.as_secs()).max(1);
        let groups = u32::try_from(affordable.min(groups as u64)).unwrap_or(u32::MAX).max(1);
        let share = (left / groups).min(LONGEST);
        (Signals::asked().is_none() && share >= SHORTEST / 8).then_some(share)
    }

    fn diagnosed(&self, place: usize, time: Duration) -> io::Result<Option<Diagnosed>> {
        let index = self.tests[place];
        let Some((policy, test, others)) = self.member(index) else { return Ok(None) };
        let (context, cases) = (self.context, self.cases);
        let mut bench = Bench::new(context, cases, context.machine, policy, test.clone());
        let limits = Limits { time, runs: RUNS, seed: self.seed, host: HostArms::Auto };
        let mut line = DiagnosisLine::new(
            context.settings.report.style,
            "Diagnosing",
            &self.names(index).1,
            "traces",
        );
        let found = investigate(&mut bench, cases, &test, &others, limits, &mut |progress| {
            line.show(progress);
        })?;
        // A test that cannot be run any more has no diagnosis.
        let Ok(found) = found else { return Ok(None) };
        let program = cases.selected[index.binary].binary.executable.as_std_path();
        Ok(Some(tell(&found, cases, &test, &binary_hash(program)?)))
    }

    /// A test, its policy, and the other tests of that policy.
    fn member(&self, index: CaseIndex) -> Option<(Policy, Member, Vec<Member>)> {
        self.groups.iter().find_map(|(policy, members)| {
            let test = members.iter().find(|it| it.index == index)?;
            let others = members.iter().filter(|it| it.index != index).cloned().collect();
            Some((policy.clone(), test.clone(), others))
        })
    }

    pub(super) fn names(&self, index: CaseIndex) -> (String, String) {
        let binary = self.cases.selected[index.binary].binary.id.clone();
        (binary, case(self.cases.selected, index).name.clone())
    }

    fn candidate(&self, place: usize, tally: &Tally) -> Candidate {
        let (binary, test) = self.names(self.tests[place]);
        let failure = tally.fingerprint().and_then(|it| self.failures.get(&it));
        let (shows, amplified) = match tally.shown() {
            Some(Shown::FailsUnder(by)) => (Showing::FailsUnder(by.words()), tally.under(by)),
            Some(Shown::PassesUnder(by)) => (Showing::PassesUnder(by.words()), tally.under(by)),
            Some(Shown::Flaky) | None => (Showing::Flaky, Count::default()),
        };
        Candidate {
            binary,
            test,
            shows,
            ordinary: tried(tally.ordinary()),
            amplified: tried(amplified),
            failure_at: failure.map(|it| it.place.clone()).filter(|place| !place.is_empty()),
            failure: failure.map(|it| it.message.clone()),
        }
    }

    fn hunted(&self, hunting: &Hunting, groups: Vec<HuntedGroup>) -> Hunted {
        let names = |places: Vec<usize>| {
            places.into_iter().map(|place| self.names(self.tests[place])).collect()
        };
        Hunted {
            format: HUNT_FORMAT,
            groups,
            always_fail: names(hunting.always_failing()),
            not_run: names(hunting.never_run()),
            conditions: hunting.lanes().iter().map(condition).collect(),
            tests: self.tests.len(),
            runs: hunting.runs(),
            seconds: self.began.elapsed().as_secs_f64(),
            time_bombs: false,
            is_interrupted: Signals::asked().is_some(),
        }
    }
}

/// The reason why no test ran under an amplifier, in one line.
pub(super) fn refusal(reason: Option<NotRun>) -> String {
    match reason {
        Some(NotRun::Sandbox(error)) => {
            error.to_string().lines().next().unwrap_or_default().to_owned()
        }
        _ => "no test can run so".to_owned(),
    }
}

/// The other parties of the causes, by binary and name.
fn parties(diagnosed: &Diagnosed) -> BTreeSet<(String, String)> {
    let parties = diagnosed.causes.iter().filter_map(|cause| match &cause.other_party {
        Some(OtherParty::Tests(tests)) => Some(tests),
        _ => None,
    });
    parties.flatten().map(|it| (it.binary.clone(), it.name.clone())).collect()
}

fn condition(lane: &Lane) -> Condition {
    Condition {
        name: lane.amplifier.name(),
        words: lane.amplifier.words(),
        rounds: lane.rounds,
        tried: tried(lane.count),
        found: lane.found,
        refused: lane.refused.clone(),
    }
}

fn tried(Count { runs, failed }: Count) -> Tried {
    Tried { failed, runs }
}
