//! Runs each test twice, and compares.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use isotest_core::case::CaseIndex;
use isotest_core::changes::Watched;
use isotest_core::finding::FileChange;
use isotest_core::outcome::NotRun;
use isotest_core::plan::{Plan, ScratchReader};
use isotest_core::policy::Policy;
use isotest_core::signals::Signals;
use isotest_core::untrusted::Dir;

use super::rounds::{RoundRequest, Rounds, chosen};
use super::setting::{Clock, Setting};
use super::verify::{Difference, Observation};
use crate::report::{Differing, Differs, HuntScreen, HuntStanding, VERIFY_FORMAT, Verified};
use crate::run::context::{Cases, Context};
use crate::run::policies::Member;
use crate::select::selected::case;

/// Time in all: a suite runs two or three times.
const LONG: Duration = Duration::from_secs(24 * 3600);
/// Days by which the clock of the second run is later.
const LATER: u16 = 400;

/// Files that a test has changed, once it has ended.
#[derive(Debug)]
struct Changes {
    watched: Arc<Watched>,
    read: Mutex<(Vec<FileChange>, bool)>,
}

impl ScratchReader for Changes {
    fn read(&self, scratch: &Dir, _: bool) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = self.watched.changes(scratch);
    }
}

/// Conditions of the second run.
fn other_conditions() -> BTreeSet<Setting> {
    let settings = [
        Setting::Entropy,
        Setting::DirectoryOrder,
        // The process id is 2 then.
        Setting::Reaper,
        Setting::Clock(Clock::Later(LATER)),
    ];
    settings.into_iter().collect()
}

/// Runs the tests whose names contain one of these twice each. `None` if there is none; `Err` if no test
/// could be run: the reason.
pub fn verify(
    context: Context<'_>,
    cases: Cases<'_>,
    groups: &[(Policy, Vec<Member>)],
    (filters, seed): (&[String], u64),
) -> io::Result<Option<Result<Verified, NotRun>>> {
    let chosen = chosen(groups, cases, filters);
    let tests: Vec<CaseIndex> =
        chosen.iter().flat_map(|(_, members)| members.iter().map(|it| it.index)).collect();
    if tests.is_empty() {
        return Ok(None);
    }
    let report = &context.settings.report;
    let verifier = Verifier {
        cases,
        rounds: Rounds::new(context, cases, chosen),
        screen: HuntScreen::new(report.style, report.quiet, "Verifying"),
        began: Instant::now(),
        runs: 0,
        seed,
    };
    verifier.verify(&tests).map(Some)
}

struct Verifier<'a> {
    cases: Cases<'a>,
    rounds: Rounds<'a>,
    screen: HuntScreen,
    began: Instant,
    runs: u32,
    seed: u64,
}

/// What was seen of each test.
type Observed = BTreeMap<CaseIndex, Observation>;

impl Verifier<'_> {
    fn verify(mut self, tests: &[CaseIndex]) -> io::Result<Result<Verified, NotRun>> {
        let first = self.observe(tests, BTreeSet::new(), "first run")?;
        let second = match first.is_empty() {
            true => Observed::new(),
            false => self.observe(tests, other_conditions(), "second run, other conditions")?,
        };
        if let (true, Some(reason)) = (second.is_empty(), self.rounds.not_run()) {
            return Ok(Err(reason));
        }
        let differences: BTreeMap<CaseIndex, Vec<Difference>> = tests
            .iter()
            .filter_map(|it| Some((*it, first.get(it)?.differences(second.get(it)?))))
            .filter(|(_, found)| !found.is_empty())
            .collect();
        let differing: Vec<CaseIndex> = differences.keys().copied().collect();
        let third = match differing.is_empty() {
            true => Observed::new(),
            false => self.observe(&differing, BTreeSet::new(), "those that differ, unchanged")?,
        };
        let told = differences.into_iter().map(|(index, found)| {
            let again = first.get(&index).zip(third.get(&index));
            let also_unchanged = again.map(|(one, other)| !one.differences(other).is_empty());
            self.differing(index, found, also_unchanged)
        });
        let is_compared = |it: &&CaseIndex| first.contains_key(it) && second.contains_key(it);
        let (compared, not_run): (Vec<&CaseIndex>, Vec<&CaseIndex>) =
            tests.iter().partition(is_compared);
        Ok(Ok(Verified {
            format: VERIFY_FORMAT,
            differing: told.collect(),
            same: compared.len() - differing.len(),
            not_run: not_run.into_iter().map(|it| self.names(*it)).collect(),
            runs: self.runs,
            seconds: self.began.elapsed().as_secs_f64(),
            is_interrupted: Signals::asked().is_some(),
        }))
    }

    fn differing(
        &self,
        index: CaseIndex,
        found: Vec<Difference>,
        also_unchanged: Option<bool>,
    ) -> Differing {
        let (binary, test) = self.names(index);
        let differs = found.into_iter().map(|it| {
            let Difference { what, first, second } = it;
            Differs { what, first, second }
        });
        Differing { binary, test, differs: differs.collect(), also_unchanged }
    }

    fn names(&self, index: CaseIndex) -> (String, String) {
        let binary = self.cases.selected[index.binary].binary.id.clone();
        (binary, case(self.cases.selected, index).name.clone())
    }

    /// Runs these tests once.
    fn observe(
        &mut self,
        tests: &[CaseIndex],
        settings: BTreeSet<Setting>,
        words: &str,
    ) -> io::Result<BTreeMap<CaseIndex, Observation>> {
        let request = RoundRequest {
            is_busy: !settings.is_empty(),
            settings,
            cases: tests.to_vec(),
            seed: self.seed,
            end: self.began + LONG,
        };
        let readers: Mutex<BTreeMap<CaseIndex, Arc<Changes>>> = Mutex::default();
        let (runs, screen, began) = (&mut self.runs, &mut self.screen, self.began);
        let ran = self.rounds.run_adjusted(
            &request,
            &mut || {
                *runs += 1;
                screen.show(|| HuntStanding {
                    rounds: 0,
                    runs: *runs,
                    candidates: 0,
                    words: words.to_owned(),
                    time: (began.elapsed(), LONG),
                });
            },
            &|index, factory, plan| {
                let watched = Arc::clone(&factory.watched);
                let changes = Arc::new(Changes { watched, read: Mutex::default() });
                let reader: Arc<dyn ScratchReader> = Arc::clone(&changes) as _;
                readers.lock().unwrap_or_else(PoisonError::into_inner).insert(index, changes);
                Plan { scratch_reader: Some(reader), ..plan }
            },
        )?;
        let readers = readers.into_inner().unwrap_or_else(PoisonError::into_inner);
        let observed = ran.into_iter().filter_map(|(index, outcome)| {
            let changes = readers.get(&index)?;
            let read = changes.read.lock().unwrap_or_else(PoisonError::into_inner);
            Some((index, Observation::of(&outcome, &read)))
        });
        Ok(observed.collect())
    }
}
