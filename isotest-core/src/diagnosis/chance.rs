//! Outcomes that follow from the seed: a source of chance is pinned by it, so that a seed with which
//! the test failed fails again, and one with which it passed passes again.
//!
//! A test that fails by a chance that no switch pins shows nothing of the kind: its seeds do not
//! repeat.

use std::collections::BTreeSet;

use super::attribution::{Cause, Direction, Phase};
use super::confirm::Claim;
use super::odds::Odds;
use super::procedure::{Known, Procedure};
use super::question::SwitchKind;
use super::rate::Count;
use super::setting::{Effect, Run, Setting};

/// Runs of each of two seeds before they are believed to repeat.
const REPEATS: usize = 4;

/// Runs of each of two seeds that tell one source of chance from another.
const REPEATS_OF_ONE: usize = 6;

/// A seed with which the test failed, and one with which it passed.
struct Seeds {
    failing: u64,
    passing: u64,
    failure: Effect,
}

impl Procedure<'_> {
    /// All sources of chance pinned, by a seed that changes from run to run.
    pub fn all_pinned(&self, base: &Setting) -> Option<Setting> {
        let sources = self.switches(SwitchKind::Determinism);
        (!sources.is_empty()).then(|| base.with(&sources))
    }

    /// The cause, if the outcome follows from the seed; with the setting in which it passes. `count`
    /// runs with different seeds are known.
    pub fn explain_chance(
        &mut self,
        base: &Setting,
        count: usize,
    ) -> Known<Option<(Cause, Setting)>> {
        let Some(all) = self.all_pinned(base) else { return Ok(None) };
        let Some(seeds) = self.seeds(&all, count) else { return Ok(None) };
        self.notes.phase = Phase::Halving;
        let sources = self.switches(SwitchKind::Determinism);
        self.notes.left = vec![sources.clone()];
        self.notes.needed = 40;
        if !self.repeats(&all, &seeds, REPEATS)? {
            return Ok(None);
        }
        let sources = self.source(base, sources, &seeds)?;
        let setting = base.with(&sources);
        let passing = setting.pinned(seeds.passing);
        let claim = Claim {
            switches: sources,
            companions: BTreeSet::new(),
            direction: Direction::Determines,
            with: setting.pinned(seeds.failing),
            without: vec![passing.clone()],
            effect: seeds.failure,
        };
        let certain = Count { hits: REPEATS as u32, runs: REPEATS as u32 };
        let odds = Odds::of(certain, Count { hits: 0, runs: certain.runs }, false);
        Ok(self.confirm(claim, odds)?.map(|cause| (cause, passing)))
    }

    fn seeds(&self, all: &Setting, count: usize) -> Option<Seeds> {
        let runs: Vec<Run> = self.runs(all, count).collect();
        let fingerprint = self.failure(all, count)?;
        let seed_of = |is_wanted: &dyn Fn(&Run) -> bool| {
            runs.iter().find(|run| is_wanted(run)).map(|run| run.seed)
        };
        Some(Seeds {
            failing: seed_of(&|run| run.failure == Some(fingerprint))?,
            passing: seed_of(&|run| run.failure.is_none())?,
            failure: Effect::Failure(fingerprint),
        })
    }

    /// The one source that is enough; all of them if none is.
    fn source(
        &mut self,
        base: &Setting,
        all: BTreeSet<usize>,
        seeds: &Seeds,
    ) -> Known<BTreeSet<usize>> {
        if all.len() == 1 {
            return Ok(all);
        }
        for source in &all {
            let one = BTreeSet::from([*source]);
            if self.repeats(&base.with(&one), seeds, REPEATS_OF_ONE)? {
                return Ok(one);
            }
        }
        Ok(all)
    }

    /// Both seeds have the outcome that they had, in all of so many runs. One that has another ends
    /// the matter.
    fn repeats(&mut self, setting: &Setting, seeds: &Seeds, most: usize) -> Known<bool> {
        let (failing, passing) = (setting.pinned(seeds.failing), setting.pinned(seeds.passing));
        for count in 1..=most {
            self.ask(&[(failing.clone(), count), (passing.clone(), count)])?;
            let failed = self.count(&failing, count, seeds.failure);
            let passed = self.count(&passing, count, Effect::Pass);
            if failed.hits < count as u32 || passed.hits < count as u32 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
