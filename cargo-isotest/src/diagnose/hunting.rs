//! The hunt: which amplifier runs next over which tests, and which tests are candidates. Pure: asked for
//! rounds, told outcomes.
//!
//! Every amplifier runs once, in their order. From then on that one runs which has used the least time,
//! where ordinary runs and amplifiers that still find something count for less.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::amplifier::Amplifier;

/// Ordinary runs give the rates by which candidates are ranked.
const WEIGHT_OF_ORDINARY: u32 = 4;
/// Weight of an amplifier whose last round found candidates.
const WEIGHT_OF_FINDER: u32 = 3;
/// After so many ordinary runs, all of which failed, a test is not run alone any more.
const HOPELESS: u32 = 4;
/// Runs of a candidate under each amplifier.
const ENOUGH: u32 = 3;
/// A test that fails alone must have failed so often before a pass among others counts.
const CERTAIN: u32 = 2;

/// How one run of a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It passed.
    Passed,
    /// It failed in this way.
    Failed(u64),
}

/// One round: these tests run once under an amplifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// The amplifier.
    pub amplifier: Amplifier,
    /// The tests.
    pub cases: Vec<usize>,
    /// What differs from round to round follows from it.
    pub seed: u64,
}

/// Runs and failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Runs.
    pub runs: u32,
    /// Those that failed.
    pub failed: u32,
}

/// How a candidate shows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// It passes and fails in ordinary runs.
    Flaky,
    /// It passes in ordinary runs and has failed under this amplifier.
    FailsUnder(Amplifier),
    /// It fails in ordinary runs and has passed under this amplifier.
    PassesUnder(Amplifier),
}

/// Runs of one test.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    counts: BTreeMap<Amplifier, Count>,
    fingerprints: BTreeMap<u64, u32>,
}

impl Tally {
    /// Its runs under an amplifier.
    pub fn under(&self, amplifier: Amplifier) -> Count {
        self.counts.get(&amplifier).copied().unwrap_or_default()
    }

    /// Its ordinary runs.
    pub fn ordinary(&self) -> Count {
        self.under(Amplifier::Ordinary)
    }

    /// Its most frequent failure.
    pub fn fingerprint(&self) -> Option<u64> {
        let most = self.fingerprints.iter().max_by_key(|(_, count)| **count);
        most.map(|(fingerprint, _)| *fingerprint)
    }

    /// The share of its ordinary runs that failed, and of its runs under the amplifier where it fails
    /// most: the order of candidates.
    pub fn rank(&self) -> (f64, f64) {
        let share = |count: Count| match count.runs {
            0 => 0.0,
            runs => f64::from(count.failed) / f64::from(runs),
        };
        // Whoever fails in all ordinary runs comes behind those that do now and then.
        let ordinary = self.ordinary();
        let rate = if ordinary.failed == ordinary.runs { 0.0 } else { share(ordinary) };
        (rate, self.counts.values().map(|count| share(*count)).fold(0.0, f64::max))
    }

    /// How it shows itself; `None` while it is no candidate.
    pub fn shown(&self) -> Option<Shown> {
        let ordinary = self.ordinary();
        let others = || self.counts.iter().filter(|(it, _)| **it != Amplifier::Ordinary);
        match ordinary {
            Count { runs: 0, .. } => None,
            Count { failed: 0, .. } => {
                let most =
                    others().filter(|(_, it)| it.failed > 0).max_by(|(_, one), (_, other)| {
                        let cross = |a: &Count, b: &Count| u64::from(a.failed) * u64::from(b.runs);
                        cross(one, other).cmp(&cross(other, one))
                    });
                most.map(|(amplifier, _)| Shown::FailsUnder(*amplifier))
            }
            Count { runs, failed } if failed < runs => Some(Shown::Flaky),
            Count { failed, .. } if failed >= CERTAIN => {
                let passed = others().find(|(_, it)| it.failed < it.runs);
                passed.map(|(amplifier, _)| Shown::PassesUnder(*amplifier))
            }
            Count { .. } => None,
        }
    }

    fn is_hopeless(&self) -> bool {
        let Count { runs, failed } = self.ordinary();
        failed == runs && runs >= HOPELESS
    }
}

/// An amplifier, and what it has cost and found.
#[derive(Debug, Clone)]
pub struct Lane {
    /// The amplifier.
    pub amplifier: Amplifier,
    /// Rounds.
    pub rounds: u32,
    /// Runs and failures.
    pub count: Count,
    /// Candidates that it has found.
    pub found: u32,
    /// The reason why it cannot be had.
    pub refused: Option<String>,
    spent: Duration,
    has_just_found: bool,
}

impl Lane {
    /// Its time, divided by its weight.
    fn age(&self) -> Duration {
        let mut weight = 1;
        if self.amplifier == Amplifier::Ordinary {
            weight *= WEIGHT_OF_ORDINARY;
        }
        if self.has_just_found {
            weight *= WEIGHT_OF_FINDER;
        }
        self.spent / weight
    }
}

/// A hunt.
#[derive(Debug, Clone)]
pub struct Hunting {
    lanes: Vec<Lane>,
    tallies: Vec<Tally>,
    candidates: BTreeSet<usize>,
    /// Tests that failed together, by round.
    together: Vec<(Amplifier, BTreeSet<usize>)>,
    rounds: u64,
    seed: u64,
}

impl Hunting {
    /// A hunt over so many tests. The first amplifier is that of ordinary runs.
    pub fn new(cases: usize, amplifiers: &[Amplifier], seed: u64) -> Hunting {
        let lane = |amplifier: &Amplifier| Lane {
            amplifier: *amplifier,
            rounds: 0,
            count: Count::default(),
            found: 0,
            refused: None,
            spent: Duration::ZERO,
            has_just_found: false,
        };
        Hunting {
            lanes: amplifiers.iter().map(lane).collect(),
            tallies: vec![Tally::default(); cases],
            candidates: BTreeSet::new(),
            together: Vec::new(),
            rounds: 0,
            seed,
        }
    }

    /// The next round; `None` where no amplifier has a test left.
    pub fn next(&mut self) -> Option<Round> {
        let open = self.lanes.iter().filter(|lane| lane.refused.is_none());
        let open = open.filter(|lane| !self.cases(lane.amplifier).is_empty());
        // The first of those that are equal.
        let lane = open.min_by_key(|lane| (lane.rounds > 0, lane.age()))?;
        let amplifier = lane.amplifier;
        self.rounds += 1;
        let seed = self.seed.wrapping_mul(0x1_0000).wrapping_add(self.rounds);
        Some(Round { amplifier, cases: self.cases(amplifier), seed })
    }

    /// Takes the outcomes of a round: those of the tests that were run. Returns the candidates that are
    /// new.
    pub fn tell(&mut self, round: &Round, seen: &[(usize, Seen)], took: Duration) -> Vec<usize> {
        for (case, seen) in seen {
            let tally = &mut self.tallies[*case];
            let count = tally.counts.entry(round.amplifier).or_default();
            count.runs += 1;
            if let Seen::Failed(fingerprint) = seen {
                count.failed += 1;
                *tally.fingerprints.entry(*fingerprint).or_default() += 1;
            }
        }
        let is_failed = |(_, seen): &&(usize, Seen)| *seen != Seen::Passed;
        let failed: BTreeSet<usize> = seen.iter().filter(is_failed).map(|(it, _)| *it).collect();
        let new: Vec<usize> = seen
            .iter()
            .map(|(case, _)| *case)
            .filter(|case| self.tallies[*case].shown().is_some() && self.candidates.insert(*case))
            .collect();
        let (runs, failures) = (seen.len() as u32, failed.len() as u32);
        if let Some(lane) = self.lanes.iter_mut().find(|it| it.amplifier == round.amplifier) {
            lane.rounds += 1;
            lane.count.runs += runs;
            lane.count.failed += failures;
            lane.found += new.len() as u32;
            lane.spent += took;
            lane.has_just_found = !new.is_empty();
        }
        if round.amplifier.is_shared() || round.amplifier == Amplifier::Ordinary {
            self.together.push((round.amplifier, failed));
        }
        new
    }

    /// Takes it that an amplifier cannot be had.
    pub fn refuse(&mut self, amplifier: Amplifier, reason: String) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.amplifier == amplifier) {
            lane.refused = Some(reason);
        }
    }

    /// The amplifiers.
    pub fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// Runs of a test.
    pub fn tally(&self, case: usize) -> &Tally {
        &self.tallies[case]
    }

    /// The candidates.
    pub fn candidates(&self) -> &BTreeSet<usize> {
        &self.candidates
    }

    /// The tests that failed in every run.
    pub fn always_failing(&self) -> Vec<usize> {
        let fails = |tally: &Tally| {
            let Count { runs, failed } = tally.ordinary();
            runs > 0 && failed == runs && tally.shown().is_none()
        };
        (0..self.tallies.len()).filter(|case| fails(&self.tallies[*case])).collect()
    }

    /// The tests that were never run.
    pub fn never_run(&self) -> Vec<usize> {
        let cases = 0..self.tallies.len();
        cases.filter(|case| self.tallies[*case].counts.is_empty()).collect()
    }

    /// Runs so far.
    pub fn runs(&self) -> u32 {
        self.lanes.iter().map(|lane| lane.count.runs).sum()
    }

    /// Rounds in which tests ran together, or one after the other in ordinary runs: those that failed.
    pub fn failed_together(&self) -> &[(Amplifier, BTreeSet<usize>)] {
        &self.together
    }

    /// The tests of a round. Among others all run: each may be the other party of one. A condition is
    /// asked of those alone that pass without it, a few times of those that are candidates.
    fn cases(&self, amplifier: Amplifier) -> Vec<usize> {
        let takes = |case: &usize| {
            let tally = &self.tallies[*case];
            match amplifier {
                Amplifier::Ordinary => !tally.is_hopeless(),
                Amplifier::Crowd | Amplifier::OneProcess => !tally.counts.is_empty(),
                Amplifier::Seeds
                | Amplifier::Surroundings
                | Amplifier::FewFiles
                | Amplifier::OneProcessor
                | Amplifier::SlowProcessor
                | Amplifier::Clock(_) => {
                    let Count { runs, failed } = tally.ordinary();
                    let is_known =
                        self.candidates.contains(case) && tally.under(amplifier).runs >= ENOUGH;
                    failed < runs && !is_known
                }
            }
        };
        (0..self.tallies.len()).filter(takes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMPLIFIERS: [Amplifier; 4] =
        [Amplifier::Ordinary, Amplifier::Crowd, Amplifier::SlowProcessor, Amplifier::FewFiles];

    fn hunting(cases: usize) -> Hunting {
        Hunting::new(cases, &AMPLIFIERS, 1)
    }

    /// A round in which these tests fail.
    fn play(hunting: &mut Hunting, fails: impl Fn(&Round, usize) -> bool) -> (Round, Vec<usize>) {
        let round = hunting.next().expect("there are tests");
        let seen = |case: &usize| {
            let failed = fails(&round, *case);
            (*case, if failed { Seen::Failed(*case as u64) } else { Seen::Passed })
        };
        let seen: Vec<_> = round.cases.iter().map(seen).collect();
        let new = hunting.tell(&round, &seen, Duration::from_secs(1));
        (round, new)
    }

    #[test]
    fn each_amplifier_runs_once_in_order_and_ordinary_runs_come_most_often() {
        let mut hunting = hunting(3);
        let rounds: Vec<Round> = (0..32).map(|_| play(&mut hunting, |_, _| false).0).collect();
        let first: Vec<Amplifier> = rounds.iter().take(4).map(|round| round.amplifier).collect();
        assert_eq!(first, AMPLIFIERS);
        let count = |it| rounds.iter().filter(|round| round.amplifier == it).count();
        let counts = AMPLIFIERS.map(count);
        assert!(counts[0] >= 16 && counts[1..].iter().all(|it| (4..=6).contains(it)), "{counts:?}");
        let seeds: BTreeSet<u64> = rounds.iter().map(|round| round.seed).collect();
        assert_eq!(seeds.len(), rounds.len());
    }

    #[test]
    fn an_amplifier_that_takes_ten_times_as_long_runs_a_tenth_as_often() {
        let mut hunting = Hunting::new(1, &[Amplifier::FewFiles, Amplifier::SlowProcessor], 1);
        hunting.tallies[0].counts.insert(Amplifier::Ordinary, Count { runs: 1, failed: 0 });
        let mut counts = [0_u32; 2];
        for _ in 0..110 {
            let round = hunting.next().expect("there is a test");
            let is_slow = round.amplifier == Amplifier::SlowProcessor;
            counts[usize::from(is_slow)] += 1;
            let took = if is_slow { 1000 } else { 100 };
            hunting.tell(&round, &[(0, Seen::Passed)], Duration::from_millis(took));
        }
        assert!(counts[0] >= 9 * counts[1] && counts[1] >= 9, "{counts:?}");
    }

    #[test]
    fn what_passes_and_fails_in_ordinary_runs_is_told_once() {
        let mut hunting = hunting(2);
        let fails = |round: &Round, case| case == 1 && round.seed.is_multiple_of(2);
        let mut new = Vec::new();
        for _ in 0..20 {
            new.extend(play(&mut hunting, fails).1);
        }
        assert_eq!(new, [1]);
        assert_eq!(hunting.tally(1).fingerprint(), Some(1));
        assert!(hunting.always_failing().is_empty());
    }

    #[test]
    fn a_failure_under_an_amplifier_makes_a_candidate_of_which_enough_is_known_soon() {
        let mut hunting = hunting(3);
        let fails = |round: &Round, case| case == 2 && round.amplifier == Amplifier::SlowProcessor;
        let rounds: Vec<_> = (0..40).map(|_| play(&mut hunting, fails)).collect();
        let tally = hunting.tally(2);
        assert_eq!(tally.shown(), Some(Shown::FailsUnder(Amplifier::SlowProcessor)));
        assert_eq!(rounds[2].1, [2]);
        assert_eq!(tally.under(Amplifier::SlowProcessor), Count { runs: ENOUGH, failed: ENOUGH });
        assert_eq!(tally.under(Amplifier::FewFiles), Count { runs: ENOUGH, failed: 0 });
        assert!(tally.ordinary().runs > 10 && tally.under(Amplifier::Crowd).runs > ENOUGH);
        assert!(rounds[3..].iter().all(|(_, new)| new.is_empty()));
    }

    #[test]
    fn what_always_fails_is_no_candidate_and_is_not_run_alone_for_ever() {
        let mut hunting = hunting(2);
        for _ in 0..20 {
            let (round, new) = play(&mut hunting, |_, case| case == 0);
            assert!(new.is_empty(), "{round:?}");
        }
        assert_eq!(hunting.tally(0).ordinary(), Count { runs: HOPELESS, failed: HOPELESS });
        assert_eq!(hunting.always_failing(), [0]);
    }

    #[test]
    fn what_fails_alone_and_passes_among_others_is_a_candidate() {
        let mut hunting = hunting(2);
        let fails = |round: &Round, case| case == 0 && round.amplifier == Amplifier::Ordinary;
        let new: Vec<usize> = (0..12).flat_map(|_| play(&mut hunting, fails).1).collect();
        assert_eq!(new, [0]);
        assert_eq!(hunting.tally(0).shown(), Some(Shown::PassesUnder(Amplifier::Crowd)));
    }

    #[test]
    fn an_amplifier_that_is_refused_does_not_run_and_one_without_tests_neither() {
        let mut hunting = hunting(1);
        play(&mut hunting, |_, _| false);
        hunting.refuse(Amplifier::Crowd, "no".to_owned());
        let (round, _) = play(&mut hunting, |_, _| true);
        assert_eq!(round.amplifier, Amplifier::SlowProcessor);
        // The only test is a candidate now, and runs alone as soon as enough is known of it.
        let rounds: Vec<Amplifier> =
            (0..40).map(|_| play(&mut hunting, |_, _| false).0.amplifier).collect();
        assert!(rounds.iter().all(|it| *it != Amplifier::Crowd), "{rounds:?}");
        assert!(rounds[30..].iter().all(|it| *it == Amplifier::Ordinary), "{rounds:?}");
        assert_eq!(Hunting::new(0, &AMPLIFIERS, 1).next(), None);
    }

    #[test]
    fn those_that_fail_in_ordinary_runs_rank_first() {
        let tally = |ordinary: (u32, u32), slow: (u32, u32)| {
            let count = |(failed, runs)| Count { runs, failed };
            let counts =
                [(Amplifier::Ordinary, count(ordinary)), (Amplifier::SlowProcessor, count(slow))];
            Tally { counts: counts.into(), fingerprints: BTreeMap::new() }.rank()
        };
        let order = [
            tally((5, 10), (0, 0)),
            tally((1, 10), (9, 10)),
            tally((10, 10), (3, 10)),
            tally((0, 10), (2, 10)),
        ];
        assert!(order.is_sorted_by(|one, other| one > other), "{order:?}");
    }
}
