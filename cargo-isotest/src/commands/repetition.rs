//! Runs of one arrangement, until one fails in the way that is looked for or there are enough: `repro`,
//! `prove-fixed`.

use isotest_core::signals::Signals;

use crate::commands::suite::{Suite, not_run};
use crate::diagnose::{Arrangement, Bench, Failure};
use crate::error::Error;
use crate::report::{DiagnosisLine, Repeated};

/// What is repeated.
pub struct Repetition<'a> {
    /// The test, its companions and the conditions.
    pub arrangement: &'a Arrangement,
    /// Maximum number of runs.
    pub most: u32,
    /// Runs that are made at a time.
    pub at_once: u32,
    /// The seed of the run of this number.
    pub seed: &'a dyn Fn(u64) -> u64,
    /// True if this is the failure that is looked for.
    pub is_same: &'a dyn Fn(&Failure) -> bool,
    /// The verb of the live line.
    pub verb: &'static str,
}

impl Repetition<'_> {
    /// Makes the runs. A signal ends them, and what was seen until then is returned.
    pub fn run(&self, suite: &Suite<'_>) -> Result<Repeated, Error> {
        let Suite { context, cases, .. } = suite;
        let Arrangement { test, policy, companions, .. } = self.arrangement;
        let mut bench = Bench::new(*context, *cases, context.machine, policy.clone(), test.clone());
        bench.set_companions(companions.clone(), companions.len());
        let is_other_build = self.arrangement.is_other_build(*cases).map_err(Error::Host)?;
        let (binary, name) = self.arrangement.names(*cases);
        let mut line =
            DiagnosisLine::new(context.settings.report.style, self.verb, &name, "first runs");
        let mut repeated = Repeated::new(&binary, &name, is_other_build, self.most);
        while repeated.runs < self.most && repeated.failed == 0 && Signals::asked().is_none() {
            let first = u64::from(repeated.runs);
            let count = u64::from(self.at_once.min(self.most - repeated.runs));
            let asked: Vec<_> = (first..first + count)
                .map(|run| self.arrangement.asked((self.seed)(run)))
                .collect();
            let ran = bench.run(&asked).map_err(Error::Host)?;
            if ran.iter().all(Option::is_none) {
                return match (bench.not_run(), Signals::asked()) {
                    (Some(reason), None) => Err(not_run(&reason)),
                    _ => Ok(repeated),
                };
            }
            for outcome in ran.into_iter().flatten() {
                let failure = outcome.verdict.is_failure().then(|| Failure::of(&outcome));
                let is_same = failure.as_ref().is_some_and(self.is_same);
                repeated.take(failure.map(|it| (it.place, it.message)), is_same);
            }
            line.show(&repeated.standing());
        }
        Ok(repeated)
    }
}
