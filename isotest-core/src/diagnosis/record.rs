//! Runs that were asked for and what came of them.
//!
//! Outcomes stand in the order in which the runs were asked for, not in that in which they ended: a
//! test that fails early would seem to fail often. Whoever reads them says how many of them.

use std::collections::{BTreeMap, VecDeque};

use super::attribution::ArmRate;
use super::question::{Observed, Request};
use super::rate::Count;
use super::setting::{Run, Setting};
use crate::seed;

/// Runs of a series that may be lost more often than others of it were made.
const LOSSES: u32 = 3;

/// Why a decision has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Outcomes are missing. They are asked for.
    Outcomes,
    /// Outcomes are missing, and the budget does not allow so many runs.
    Exhausted,
}

/// Runs of one setting for one purpose. Stage 0 explores; each later stage confirms one claim by runs of
/// its own.
#[derive(Debug)]
struct Series {
    stage: u32,
    setting: Setting,
    runs: Vec<Slot>,
    losses: u32,
    /// The runs of this setting are lost, so that no more are asked for.
    is_impossible: bool,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    seed: u64,
    outcome: Option<Outcome>,
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Passed,
    Failed(u64),
}

/// The place of a run: its series, and its number in it.
type Place = (usize, usize);

#[derive(Debug)]
pub(super) struct Record {
    seed: u64,
    budget: u32,
    /// The series of a stage, by their settings.
    places: Vec<BTreeMap<Setting, usize>>,
    series: Vec<Series>,
    queue: VecDeque<Place>,
    pending: BTreeMap<u64, Place>,
    next_id: u64,
    /// Runs that count.
    pub runs: u32,
    /// Those of them that failed.
    pub failures: u32,
    /// The series that was asked for last.
    last: Option<usize>,
}

impl Record {
    pub fn new(seed: u64, budget: u32) -> Record {
        Record {
            seed,
            budget,
            places: Vec::new(),
            series: Vec::new(),
            queue: VecDeque::new(),
            pending: BTreeMap::new(),
            next_id: 0,
            runs: 0,
            failures: 0,
            last: None,
        }
    }

    /// All runs that were asked for have an outcome.
    pub fn is_settled(&self) -> bool {
        self.queue.is_empty() && self.pending.is_empty()
    }

    /// Runs that the budget still allows.
    pub fn left(&self) -> u32 {
        self.budget.saturating_sub(self.runs)
    }

    /// Waits until so many runs of each series are known. The missing ones are asked for in turn, so
    /// that what changes with time changes all series alike.
    pub fn ask(&mut self, stage: u32, wanted: &[(Setting, usize)]) -> Result<(), Wait> {
        let mut missing: Vec<(usize, usize, usize)> = Vec::new();
        for (setting, count) in wanted {
            let index = self.index(stage, setting);
            let series = &self.series[index];
            if !series.is_impossible && series.runs.len() < *count {
                missing.push((index, series.runs.len(), *count));
            }
        }
        let Some(total) =
            missing.iter().map(|(_, known, count)| count - known).reduce(|a, b| a + b)
        else {
            return Ok(());
        };
        if total > self.left() as usize {
            return Err(Wait::Exhausted);
        }
        while !missing.is_empty() {
            for (index, known, _) in &mut missing {
                self.enqueue(*index, *known);
                *known += 1;
            }
            missing.retain(|(_, known, count)| known < count);
        }
        Err(Wait::Outcomes)
    }

    fn index(&mut self, stage: u32, setting: &Setting) -> usize {
        let at = stage as usize;
        if self.places.len() <= at {
            self.places.resize_with(at + 1, BTreeMap::new);
        }
        if let Some(index) = self.places[at].get(setting) {
            return *index;
        }
        let index = self.series.len();
        self.places[at].insert(setting.clone(), index);
        self.series.push(Series {
            stage,
            setting: setting.clone(),
            runs: Vec::new(),
            losses: 0,
            is_impossible: false,
        });
        index
    }

    /// Runs with the same number in a stage have the same seed.
    fn enqueue(&mut self, index: usize, number: usize) {
        let series = &mut self.series[index];
        let of_stage = seed::nth(self.seed, u64::from(series.stage));
        let seed = series.setting.seed.unwrap_or_else(|| seed::nth(of_stage, number as u64));
        series.runs.push(Slot { seed, outcome: None });
        self.queue.push_back((index, number));
    }

    /// The next runs, `most` at a time.
    pub fn take(&mut self, most: usize) -> Vec<Request> {
        let count = most.min(self.queue.len());
        let places: Vec<Place> = self.queue.drain(..count).collect();
        places.into_iter().map(|place| self.request(place)).collect()
    }

    fn request(&mut self, place: Place) -> Request {
        let (index, number) = place;
        let id = self.next_id;
        self.next_id += 1;
        self.pending.insert(id, place);
        self.last = Some(index);
        let series = &self.series[index];
        Request { id, arm: series.setting.arm.clone(), seed: series.runs[number].seed }
    }

    /// Takes the outcome of a run. One that nobody waits for is ignored.
    pub fn tell(&mut self, id: u64, observed: Observed) {
        let Some((index, number)) = self.pending.remove(&id) else { return };
        let outcome = match observed {
            Observed::Passed => Outcome::Passed,
            Observed::Failed(fingerprint) => Outcome::Failed(fingerprint),
            Observed::Lost => return self.lose(index, number),
        };
        self.series[index].runs[number].outcome = Some(outcome);
        self.runs += 1;
        self.failures += u32::from(matches!(outcome, Outcome::Failed(_)));
    }

    fn lose(&mut self, index: usize, number: usize) {
        let series = &mut self.series[index];
        series.losses += 1;
        let made = series.runs.iter().filter(|slot| slot.outcome.is_some()).count() as u32;
        if series.losses > made + LOSSES {
            series.is_impossible = true;
            self.queue.retain(|(other, _)| *other != index);
        } else {
            self.queue.push_back((index, number));
        }
    }

    /// Asks for nothing more, and forgets what has no outcome yet.
    pub fn stop(&mut self) {
        self.queue.clear();
        self.pending.clear();
        for series in &mut self.series {
            series.runs.retain(|slot| slot.outcome.is_some());
        }
    }

    /// The first runs of a series, so many of them or what there is.
    pub fn first(&self, stage: u32, setting: &Setting, count: usize) -> impl Iterator<Item = Run> {
        let place = self.places.get(stage as usize).and_then(|places| places.get(setting));
        let runs = place.map_or(&[][..], |index| &self.series[*index].runs);
        runs.iter().filter_map(Slot::run).take(count)
    }

    /// Every setting that was run, with all its runs.
    pub fn arms(&self, fingerprint: Option<u64>) -> Vec<ArmRate> {
        let mut settings: Vec<&Setting> = Vec::new();
        for series in &self.series {
            let is_new = !settings.contains(&&series.setting);
            if is_new && series.runs.iter().any(|slot| slot.outcome.is_some()) {
                settings.push(&series.setting);
            }
        }
        settings.into_iter().map(|setting| self.rate(setting, fingerprint)).collect()
    }

    /// All runs of a setting.
    pub fn rate(&self, setting: &Setting, fingerprint: Option<u64>) -> ArmRate {
        let of_setting = self.series.iter().filter(|series| series.setting == *setting);
        let runs = of_setting.flat_map(|series| series.runs.iter().filter_map(Slot::run));
        arm_rate(setting, runs, fingerprint)
    }

    /// The setting that was asked for last.
    pub fn last_setting(&self) -> Setting {
        self.last.map(|index| self.series[index].setting.clone()).unwrap_or_default()
    }

    /// The most frequent fingerprint of all runs; of two, the one that was seen first.
    pub fn fingerprint(&self) -> Option<u64> {
        let all = self.series.iter().flat_map(|series| series.runs.iter().filter_map(Slot::run));
        most_frequent(all)
    }
}

impl Slot {
    fn run(&self) -> Option<Run> {
        let failure = match self.outcome? {
            Outcome::Passed => None,
            Outcome::Failed(fingerprint) => Some(fingerprint),
        };
        Some(Run { seed: self.seed, failure })
    }
}

/// The rate of a setting in these runs. Without a fingerprint, no failure is the one looked for.
pub(super) fn arm_rate(
    setting: &Setting,
    runs: impl Iterator<Item = Run>,
    fingerprint: Option<u64>,
) -> ArmRate {
    let (mut failed, mut other, mut all) = (0, 0, 0);
    for run in runs {
        all += 1;
        match run.failure {
            None => {}
            failure if failure == fingerprint => failed += 1,
            Some(_) => other += 1,
        }
    }
    let (low, high) = Count { hits: failed, runs: all }.interval();
    ArmRate { arm: setting.arm.clone(), seed: setting.seed, failed, other, runs: all, low, high }
}

/// The fingerprint that most of these runs have; of two, the one that was seen first.
pub(super) fn most_frequent(runs: impl Iterator<Item = Run>) -> Option<u64> {
    let mut counts: Vec<(u64, u32)> = Vec::new();
    for fingerprint in runs.filter_map(|run| run.failure) {
        match counts.iter_mut().find(|(other, _)| *other == fingerprint) {
            Some((_, count)) => *count += 1,
            None => counts.push((fingerprint, 1)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max()?;
    counts.into_iter().find(|(_, count)| *count == most).map(|(fingerprint, _)| fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeded(seed: u64) -> Setting {
        Setting::default().pinned(seed)
    }

    #[test]
    fn arms_run_in_turn_and_the_same_number_has_the_same_seed() {
        let mut record = Record::new(1, 100);
        let other = Setting::default().with(&[3].into());
        let wanted = [(Setting::default(), 3), (other.clone(), 2)];
        assert_eq!(record.ask(0, &wanted), Err(Wait::Outcomes));
        let requests = record.take(9);
        let on: Vec<usize> = requests.iter().map(|request| request.arm.on.len()).collect();
        assert_eq!(on, [0, 1, 0, 1, 0]);
        assert_eq!(requests[0].seed, requests[1].seed);
        assert_ne!(requests[0].seed, requests[2].seed);
        assert!(!record.is_settled());
        requests.iter().for_each(|request| record.tell(request.id, Observed::Passed));
        assert!(record.is_settled());
        assert_eq!(record.ask(0, &wanted), Ok(()));
        assert_eq!(record.first(0, &other, 9).count(), 2);
        assert_eq!(record.ask(1, &[(other, 1)]), Err(Wait::Outcomes));
        assert_ne!(record.take(1)[0].seed, requests[0].seed, "a stage has seeds of its own");
    }

    #[test]
    fn runs_beyond_the_budget_are_not_asked_for() {
        let mut record = Record::new(1, 4);
        assert_eq!(record.ask(0, &[(Setting::default(), 5)]), Err(Wait::Exhausted));
        assert!(record.take(9).is_empty());
    }

    #[test]
    fn an_outcome_counts_once_and_only_if_it_was_asked_for() {
        let mut record = Record::new(1, 9);
        assert!(record.ask(0, &[(seeded(7), 1)]).is_err());
        let request = &record.take(1)[0];
        assert_eq!(request.seed, 7);
        record.tell(request.id + 1, Observed::Failed(2));
        record.tell(request.id, Observed::Failed(2));
        record.tell(request.id, Observed::Failed(3));
        assert_eq!((record.runs, record.failures, record.fingerprint()), (1, 1, Some(2)));
        let rate = record.rate(&seeded(7), Some(3));
        assert_eq!((rate.failed, rate.other, rate.runs, rate.seed), (0, 1, 1, Some(7)));
    }

    #[test]
    fn a_setting_whose_runs_are_all_lost_is_asked_for_no_more() {
        let mut record = Record::new(1, 99);
        let wanted = [(Setting::default(), 5)];
        let mut asked = 0;
        while record.ask(0, &wanted) == Err(Wait::Outcomes) {
            while let [request] = &record.take(1)[..] {
                record.tell(request.id, Observed::Lost);
                asked += 1;
            }
        }
        assert_eq!((asked, record.runs), (LOSSES + 1, 0));
        assert_eq!(record.first(0, &Setting::default(), 5).count(), 0);
    }
}
