//! What a diagnosis has found.

use std::collections::BTreeSet;

use super::question::Arm;

/// The end of a diagnosis.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribution {
    /// The answer.
    pub verdict: Verdict,
    /// Confirmed causes: those that explain failures without a perturbation first, then the strongest.
    pub causes: Vec<Cause>,
    /// Every arm that was tried, in the order in which they were.
    pub arms: Vec<ArmRate>,
    /// The test alone, all its layers private.
    pub baseline: ArmRate,
    /// The failure that was looked for: the most frequent one.
    pub fingerprint: Option<u64>,
    /// Runs that were made.
    pub runs: u32,
}

/// The answer of a diagnosis.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// No run failed, in no arm.
    NeverFailed {
        /// The baseline fails less often than this, with a confidence of 95 %.
        bound: f64,
    },
    /// Every run failed, in every arm.
    AlwaysFails,
    /// There is a cause.
    Caused,
    /// The test fails now and then, and no switch changes how often.
    Unattributed,
    /// The diagnosis was stopped, or its budget was used up.
    Undecided {
        /// What may still be the cause: sets of switches.
        left: Vec<BTreeSet<usize>>,
        /// Runs that would probably decide it.
        needed: u64,
    },
}

/// A cause that was confirmed: the test fails with it and does not without, or the other way round.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    /// One switch, or several that only together have the effect.
    pub switches: BTreeSet<usize>,
    /// The other parties: the smallest set of companions that has the effect. Where the direction is
    /// [`Direction::Removes`] they set up what the test needs.
    pub companions: BTreeSet<usize>,
    /// Companions that prevent the failure where they run as well.
    pub cleaners: BTreeSet<usize>,
    /// What the switches do.
    pub direction: Direction,
    /// The failure that it explains.
    pub fingerprint: Option<u64>,
    /// The arm in which the test fails, as confirmed.
    pub failing: ArmRate,
    /// The same arm without the effect of the cause.
    pub clean: ArmRate,
    /// The seed of a run that failed in the failing arm.
    pub failing_seed: Option<u64>,
    /// The cause is wrong less than once in so many diagnoses.
    pub certainty: f64,
    /// The baseline never failed, and only a perturbation provoked the failure.
    pub is_latent: bool,
}

/// What the switches of a cause do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// The test fails more often while they are on.
    Provokes,
    /// The test fails less often while they are on.
    Removes,
    /// The outcome follows from the seed while they are on.
    Determines,
}

/// How often the test failed in one arm.
#[derive(Debug, Clone, PartialEq)]
pub struct ArmRate {
    /// The arm.
    pub arm: Arm,
    /// The seed, where all these runs had the same.
    pub seed: Option<u64>,
    /// Runs that failed with the fingerprint looked for.
    pub failed: u32,
    /// Runs that failed in another way.
    pub other: u32,
    /// All runs.
    pub runs: u32,
    /// Lower end of the exact (Clopper–Pearson) 95 % interval of the rate.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
}

/// Where a diagnosis is, for a line that is printed while it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Runs so far.
    pub runs: u32,
    /// Runs of these that failed, in any way.
    pub failures: u32,
    /// What is done now.
    pub phase: Phase,
    /// The arm that was asked for last, and how often the test has failed in it.
    pub rate: ArmRate,
}

/// The part of a diagnosis that is done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A few runs of the arms that differ most.
    Preflight,
    /// How often the test fails by itself.
    Baseline,
    /// Which arms change that.
    Sweep,
    /// Which of the switches of an arm it is.
    Halving,
    /// Which of the companions it is.
    OtherParty,
    /// Whether it is so.
    Confirmation,
    /// Nothing.
    Finished,
}
