//! Time bombs: the suite runs at later dates, and for each test that fails only then the first of them is
//! found.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::SystemTime;

use isotest_core::case::CaseIndex;
use isotest_core::outcome::{NotRun, Outcome};
use isotest_core::signals::Signals;

use super::dates::{FirstFailure, Pattern, Probe, date, pattern, probes};
use super::fingerprint::Failure;
use super::hunter::{Hunter, refusal};
use super::rounds::RoundRequest;
use super::setting::{Clock, Setting};
use crate::report::{
    Candidate, Condition, HUNT_FORMAT, HuntScreen, HuntStanding, Hunted, HuntedGroup, Showing,
    Tried,
};

/// Runs on each date: a test that is flaky depends on no date.
const RUNS: u64 = 2;

/// Outcomes of a suite by date.
struct Dates<'a> {
    hunter: Hunter<'a>,
    screen: HuntScreen,
    now: SystemTime,
    conditions: Vec<Condition>,
    rounds: u64,
}

/// Failures of the tests that ran on a date: `None` passed every time.
type OnDate = BTreeMap<CaseIndex, Option<Failure>>;

impl Hunter<'_> {
    /// Looks for tests that pass today and fail later. `Err` if no test could be run: the reason.
    pub fn time_bombs(self) -> io::Result<Result<Hunted, NotRun>> {
        let report = &self.context.settings.report;
        let screen = HuntScreen::new(report.style, report.quiet, "Hunting");
        let now = SystemTime::now();
        let dates = Dates { hunter: self, screen, now, conditions: Vec::new(), rounds: 0 };
        dates.find()
    }
}

impl Dates<'_> {
    fn find(mut self) -> io::Result<Result<Hunted, NotRun>> {
        let all = self.hunter.tests.clone();
        let today = self.on(None, &all)?;
        if let (true, Some(reason)) = (today.is_empty(), self.hunter.rounds.not_run()) {
            return Ok(Err(reason));
        }
        // One that fails today says nothing about a date.
        let passing: Vec<CaseIndex> =
            all.iter().copied().filter(|it| matches!(today.get(it), Some(None))).collect();
        let mut seen: BTreeMap<CaseIndex, Vec<(Probe, Option<Failure>)>> = BTreeMap::new();
        for probe in probes(self.now) {
            for (test, failure) in self.on(Some(probe.clock), &passing)? {
                seen.entry(test).or_default().push((probe, failure));
            }
        }
        let mut found = Vec::new();
        for (test, outcomes) in seen {
            if let Some(candidate) = self.candidate(test, &outcomes)? {
                self.screen.found(&candidate)?;
                found.push(candidate);
            }
        }
        let fails = |it: &&CaseIndex| matches!(today.get(it), Some(Some(_)));
        let always_fail = all.iter().filter(fails).map(|it| self.hunter.names(*it)).collect();
        let not_run = all.iter().filter(|it| !today.contains_key(it));
        let not_run = not_run.map(|it| self.hunter.names(*it)).collect();
        Ok(Ok(Hunted {
            format: HUNT_FORMAT,
            groups: groups(found),
            always_fail,
            not_run,
            tests: all.len(),
            runs: self.hunter.runs,
            seconds: self.hunter.began.elapsed().as_secs_f64(),
            conditions: self.conditions,
            time_bombs: true,
            is_interrupted: Signals::asked().is_some(),
        }))
    }

    /// Runs these tests under a clock, so often that a flaky one shows itself. Those are left out whose
    /// outcomes differ.
    fn on(&mut self, clock: Option<Clock>, tests: &[CaseIndex]) -> io::Result<OnDate> {
        let words = self.words(clock);
        let mut failures: BTreeMap<CaseIndex, Vec<Option<Failure>>> = BTreeMap::new();
        let mut tried = Tried::default();
        for seed in 0..RUNS {
            for (test, outcome) in self.run(clock, tests, seed, &words)? {
                let failure = outcome.verdict.is_failure().then(|| Failure::of(&outcome));
                tried.runs += 1;
                tried.failed += u32::from(failure.is_some());
                failures.entry(test).or_default().push(failure);
            }
        }
        let is_refused = failures.is_empty() && !tests.is_empty() && !self.hunter.is_over();
        let refused = is_refused.then(|| refusal(self.hunter.rounds.not_run()));
        let name = clock.map_or("today".to_owned(), |clock| Setting::Clock(clock).name());
        let rounds = RUNS as u32;
        self.conditions.push(Condition { name, words, rounds, tried, found: 0, refused });
        let alike = failures.into_iter().filter_map(|(test, outcomes)| {
            let is_whole = outcomes.len() == RUNS as usize;
            let is_same = outcomes.iter().all(|it| it.is_some() == outcomes[0].is_some());
            (is_whole && is_same).then(|| (test, outcomes.into_iter().next().flatten()))
        });
        Ok(alike.collect())
    }

    fn words(&self, clock: Option<Clock>) -> String {
        match clock {
            None => format!("{}, today", date(self.now, 0)),
            Some(Clock::Later(1)) => format!("{}, tomorrow", date(self.now, 1)),
            Some(Clock::Later(days)) => format!("{}, in {days} days", date(self.now, days)),
            Some(Clock::ZoneChange) => "2026-11-01 in New York, where clocks go back".to_owned(),
            Some(clock) => Setting::Clock(clock).words(),
        }
    }

    fn run(
        &mut self,
        clock: Option<Clock>,
        tests: &[CaseIndex],
        seed: u64,
        words: &str,
    ) -> io::Result<Vec<(CaseIndex, Outcome)>> {
        let request = RoundRequest {
            settings: clock.map(Setting::Clock).into_iter().collect::<BTreeSet<_>>(),
            is_busy: false,
            cases: tests.to_vec(),
            seed,
            end: self.hunter.end(),
        };
        let (began, budget, rounds) = (self.hunter.began, self.hunter.budget, self.rounds);
        let (runs, screen) = (&mut self.hunter.runs, &mut self.screen);
        let ran = self.hunter.rounds.run(&request, &mut || {
            *runs += 1;
            screen.show(|| HuntStanding {
                rounds,
                runs: *runs,
                candidates: 0,
                words: words.to_owned(),
                time: (began.elapsed(), budget),
            });
        });
        self.rounds += 1;
        ran
    }

    /// The candidate that a test is, with the first date on which it fails.
    fn candidate(
        &mut self,
        test: CaseIndex,
        outcomes: &[(Probe, Option<Failure>)],
    ) -> io::Result<Option<Candidate>> {
        let days: Vec<(u16, bool)> = outcomes
            .iter()
            .filter_map(|(probe, failure)| Some((probe.days?, failure.is_some())))
            .collect();
        let moment =
            outcomes.iter().find(|(probe, failure)| probe.days.is_none() && failure.is_some());
        let shows = match pattern(&days) {
            Pattern::FailsFrom(passes, fails) => match self.first_failure(test, passes, fails)? {
                Some(first) => Showing::FailsFrom(date(self.now, first)),
                None => Showing::FailsUnder(self.words(Some(Clock::Later(fails)))),
            },
            Pattern::FailsOn(day) => Showing::FailsOn(date(self.now, day)),
            Pattern::Passes => match moment {
                Some((probe, _)) => Showing::FailsUnder(self.words(Some(probe.clock))),
                None => return Ok(None),
            },
        };
        let failure = outcomes.iter().find_map(|(_, failure)| failure.as_ref());
        let (binary, name) = self.hunter.names(test);
        Ok(Some(Candidate {
            binary,
            test: name,
            shows,
            ordinary: Tried { failed: 0, runs: RUNS as u32 },
            amplified: Tried { failed: RUNS as u32, runs: RUNS as u32 },
            failure_at: failure.map(|it| it.place.clone()).filter(|place| !place.is_empty()),
            failure: failure.map(|it| it.message.clone()),
        }))
    }

    /// The first day on which a test fails. `None` if it does not do the same twice, or the time is up.
    fn first_failure(
        &mut self,
        test: CaseIndex,
        passes: u16,
        fails: u16,
    ) -> io::Result<Option<u16>> {
        let mut search = FirstFailure::between(passes, fails);
        while let Some(day) = search.next() {
            let clock = Clock::Later(day);
            let words = self.words(Some(clock));
            let ran = self.run(Some(clock), &[test], u64::from(day), &words)?;
            let Some((_, outcome)) = ran.first() else { return Ok(None) };
            search.tell(outcome.verdict.is_failure());
        }
        Ok(search.found())
    }
}

/// Tests that fail at the same place are one group.
fn groups(found: Vec<Candidate>) -> Vec<HuntedGroup> {
    let mut groups: Vec<HuntedGroup> = Vec::new();
    for candidate in found {
        let is_same = |group: &&mut HuntedGroup| {
            let first = &group.tests[0];
            first.failure_at.is_some()
                && first.failure_at == candidate.failure_at
                && first.shows == candidate.shows
        };
        match groups.iter_mut().find(is_same) {
            Some(group) => group.tests.push(candidate),
            None => groups.push(HuntedGroup { tests: vec![candidate], diagnosis: None }),
        }
    }
    groups
}
