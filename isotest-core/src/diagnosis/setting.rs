//! Settings of runs, what a run shows, and the contrast between two settings.

use std::collections::BTreeSet;

use super::attribution::Direction;
use super::question::Arm;

/// The conditions of a run, and its seed where that is one of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Setting {
    pub arm: Arm,
    pub seed: Option<u64>,
}

impl Setting {
    /// The same with more switches on.
    pub fn with(&self, switches: &BTreeSet<usize>) -> Setting {
        let mut more = self.clone();
        more.arm.on.extend(switches);
        more
    }

    /// The same with more companions.
    pub fn beside(&self, companions: &BTreeSet<usize>) -> Setting {
        let mut more = self.clone();
        more.arm.companions.extend(companions);
        more
    }

    /// The same with this seed in all runs.
    pub fn pinned(&self, seed: u64) -> Setting {
        Setting { arm: self.arm.clone(), seed: Some(seed) }
    }
}

/// One run that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub seed: u64,
    /// The fingerprint, if it failed.
    pub failure: Option<u64>,
}

/// What switches are thought to bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// The test fails with this fingerprint. Other failures are no evidence.
    Failure(u64),
    /// The test passes.
    Pass,
}

impl Effect {
    /// The run shows the effect.
    pub fn is_in(self, run: Run) -> bool {
        match self {
            Effect::Failure(fingerprint) => run.failure == Some(fingerprint),
            Effect::Pass => run.failure.is_none(),
        }
    }

    /// The run, without the cause, does not show that the effect is absent: a test that breaks in
    /// another way is no test that passes.
    pub fn is_in_counterfactual(self, run: Run) -> bool {
        match self {
            Effect::Failure(_) => run.failure.is_some(),
            Effect::Pass => run.failure.is_none(),
        }
    }

    /// What switches do that have this effect.
    pub fn direction(self) -> Direction {
        match self {
            Effect::Failure(_) => Direction::Provokes,
            Effect::Pass => Direction::Removes,
        }
    }
}

/// A setting, and what is added to it so that an effect shows.
#[derive(Debug, Clone)]
pub(super) struct Contrast {
    pub base: Setting,
    pub switches: BTreeSet<usize>,
    pub companions: BTreeSet<usize>,
    pub effect: Effect,
    /// Runs with everything added, and of the setting itself, that made it stand out.
    pub seen: (usize, usize),
}

impl Contrast {
    /// The setting with everything that was added.
    pub fn whole(&self) -> Setting {
        self.base.with(&self.switches).beside(&self.companions)
    }
}
