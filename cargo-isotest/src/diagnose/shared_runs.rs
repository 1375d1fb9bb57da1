//! Runs among companions: in labs, which are made anew for each run, and in one process.

use std::collections::HashMap;
use std::io;

use isotest_core::case::CaseIndex;
use isotest_core::outcome::Outcome;
use isotest_core::plan::Plan;
use isotest_core::schedule::{self, Event, Job, LabRuns};

use super::ground::{Asked, Ground, variables};
use crate::run::policies::Member;
use crate::run::together::{Taken, Together, TogetherOptions, TogetherRuns};
use crate::sandbox::factory::SandboxFactory;
use crate::sandbox::jobs;

/// The place of the test among the jobs of a run: no companion has it.
const TEST: usize = usize::MAX;
/// Number of times that each companion runs beside the test.
const ROUNDS: usize = 2;

impl Ground<'_> {
    /// Runs the test among its companions, once for each seed, as many at a time as there are wardens.
    /// All have the policy of these runs. Returns the outcomes of the test.
    pub fn run_labs(
        &self,
        wardens: &mut [SandboxFactory],
        asked: &Asked,
        seeds: &[u64],
    ) -> io::Result<Vec<Option<Outcome>>> {
        let mut outcomes: Vec<Option<Outcome>> = seeds.iter().map(|_| None).collect();
        let Some(factory) = wardens.first() else { return Ok(outcomes) };
        let plans = self.plans(factory, asked);
        let runs = seeds.iter().zip(0..);
        let runs = runs.map(|(seed, run)| self.beside(&plans, asked, *seed, run)).collect();
        let wardens = wardens.iter_mut().map(|factory| &mut factory.warden).collect();
        let groups = vec![LabRuns { wardens, runs }];
        jobs::run_labs(groups, schedule::Options::of(1), self.context.signals, |events| {
            for event in events {
                if let Event::Finished(CaseIndex { binary: run, case: TEST }, outcome) = event {
                    outcomes[run / ROUNDS] = Some(*outcome);
                }
            }
        })?;
        Ok(outcomes)
    }

    /// Runs the test after an earlier run of itself, and among its companions, once.
    pub fn run_after_itself(
        &self,
        factory: &mut SandboxFactory,
        asked: &Asked,
    ) -> io::Result<Option<Outcome>> {
        let plans = self.plans(factory, asked);
        let before = Job::once(CaseIndex { binary: 0, case: TEST }, plans[&TEST].clone());
        self.outcomes(factory, vec![before], 1)?;
        let beside = self.beside(&plans, asked, asked.seed, 0);
        let at_once = beside.len();
        let mut outcomes = self.outcomes(factory, beside, at_once)?;
        Ok(outcomes.remove(&CaseIndex { binary: 0, case: TEST }))
    }

    /// The plans of the test and of its companions, by their places.
    fn plans(&self, factory: &SandboxFactory, asked: &Asked) -> HashMap<usize, Plan> {
        let others = asked.companions.iter().copied().filter(|one| *one < self.near);
        let members = others.map(|one| (one, &self.companions[one])).chain([(TEST, &self.test)]);
        let plan = |(one, member): (usize, &Member)| (one, self.plan(factory, member, asked));
        members.map(plan).collect()
    }

    /// The jobs of a run: the companions, the test, and the companions once more. Whichever comes
    /// first, they meet. Their order follows from the seed.
    fn beside(
        &self,
        plans: &HashMap<usize, Plan>,
        asked: &Asked,
        seed: u64,
        run: usize,
    ) -> Vec<Job> {
        let mut others: Vec<usize> =
            asked.companions.iter().copied().filter(|one| plans.contains_key(one)).collect();
        shuffle(&mut others, seed);
        let job = |round: usize, one: usize| {
            let index = CaseIndex { binary: run * ROUNDS + round, case: one };
            Job::once(index, Plan { seed, ..plans[&one].clone() })
        };
        let companions = |round| others.iter().map(move |one| job(round, *one));
        companions(0).chain([job(0, TEST)]).chain(companions(1)).collect()
    }

    /// Runs the test in one process with its companions, once for each seed. Returns the outcomes.
    pub fn run_together(
        &self,
        factory: &mut SandboxFactory,
        asked: &Asked,
        seeds: &[u64],
        at_once: usize,
    ) -> io::Result<Vec<Option<Outcome>>> {
        let siblings = asked.companions.iter().filter_map(|one| self.companions.get(*one));
        let mut members: Vec<&Member> = siblings
            .filter(|member| member.index.binary == self.test.index.binary)
            .chain([&self.test])
            .collect();
        members.sort_by_key(|member| member.index);
        let selected = &self.cases.selected[self.test.index.binary];
        let mut provided = self.cases.provision.give(&self.test.terms.needs);
        provided.variables.extend(variables(asked));
        let threads = asked.threads_of(members.len());
        let together = Together::new(factory, selected, members, provided);
        let mut runs = TogetherRuns::default();
        let jobs = seeds.iter().zip(0..).map(|(seed, run)| {
            let shuffle_seed = Some(seed % (1 << 32));
            let options = TogetherOptions { threads, shuffle_seed };
            together.job(factory, CaseIndex { binary: run, case: 0 }, options, &mut runs)
        });
        let jobs: Vec<Job> = jobs.collect();
        let mut outcomes: Vec<Option<Outcome>> = seeds.iter().map(|_| None).collect();
        jobs::run(
            vec![(&mut factory.warden, jobs)],
            schedule::Options::of(at_once),
            self.context.signals,
            Vec::new(),
            |events| {
                for event in events {
                    if let Taken::Ended(mut ended) = runs.take(event) {
                        outcomes[ended.run.binary] = ended.tests.outcomes.remove(&self.test.index);
                    }
                }
            },
        )?;
        Ok(outcomes)
    }
}

/// Shuffles by a seed (Fisher and Yates).
fn shuffle(places: &mut [usize], seed: u64) {
    for (last, number) in (1..places.len()).rev().zip(0..) {
        let other = (isotest_core::seed::nth(seed, number) % (last as u64 + 1)) as usize;
        places.swap(last, other);
    }
}
