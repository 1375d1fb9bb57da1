//! Rounds of a diagnosis: how many runs each has of which arm, and in which order.

/// How the test behaves alone, all its layers private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    NeverFails,
    FailsSometimes,
    AlwaysFails,
}

/// Numbers of runs of each arm at the end of a round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// The test alone.
    pub baseline: usize,
    /// Everything shared, together in one process, or the host's.
    pub sides: usize,
    pub perturbation: usize,
    pub heavy_perturbation: usize,
    /// A perturbation of the timing while everything is shared.
    pub crossed: usize,
    pub heavy_crossed: usize,
    /// Sources of chance pinned, by as many seeds.
    pub seeds: usize,
}

/// Rounds of a test that never failed alone.
pub(super) const NEVER_FAILS: [Effort; 5] = [
    effort(8, 3, [2, 0], [0, 0], 0),
    effort(16, 10, [4, 3], [0, 0], 16),
    effort(30, 20, [10, 5], [4, 2], 40),
    effort(80, 45, [24, 8], [8, 3], 100),
    effort(299, 60, [24, 8], [8, 3], 300),
];

/// Rounds of a test that sometimes fails alone. Fewer rounds are enough: see `Procedure::is_enough`.
pub(super) const FAILS_SOMETIMES: [Effort; 5] = [
    effort(24, 8, [6, 3], [0, 0], 24),
    effort(40, 16, [14, 6], [0, 0], 40),
    effort(60, 30, [30, 10], [0, 0], 60),
    effort(120, 45, [45, 12], [0, 0], 120),
    effort(299, 60, [60, 12], [0, 0], 300),
];

/// Rounds of a test that always fails alone.
pub(super) const ALWAYS_FAILS: [Effort; 2] =
    [effort(8, 3, [2, 1], [0, 0], 8), effort(14, 4, [2, 2], [0, 0], 10)];

const fn effort(
    baseline: usize,
    sides: usize,
    perturbations: [usize; 2],
    crossed: [usize; 2],
    seeds: usize,
) -> Effort {
    Effort {
        baseline,
        sides,
        perturbation: perturbations[0],
        heavy_perturbation: perturbations[1],
        crossed: crossed[0],
        heavy_crossed: crossed[1],
        seeds,
    }
}

/// A part of a round. A round ends with the first that finds a cause.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Seeds,
    Sides,
    Perturbations,
    HeavyPerturbations,
    /// Perturbations with which a test that fails sometimes fails much less often: those of its timing
    /// alone, or all.
    Removals(bool),
    Crossed,
}

/// The steps of a round: what costs little and decides much first. A test that is known to fail alone
/// may well depend on its seed; one that never did shows that only while its seeds are pinned.
pub(super) fn steps(nature: Nature, round: usize) -> &'static [Step] {
    use Step::{Crossed, HeavyPerturbations, Perturbations, Removals, Seeds, Sides};
    match nature {
        Nature::FailsSometimes if round > 0 => {
            &[Seeds, Sides, Removals(true), Perturbations, HeavyPerturbations, Removals(false)]
        }
        Nature::FailsSometimes => &[Seeds, Sides, Perturbations, HeavyPerturbations],
        Nature::AlwaysFails => &[Sides, Perturbations, Seeds, HeavyPerturbations],
        Nature::NeverFails if round < 2 => &[Sides, Seeds, Perturbations, HeavyPerturbations],
        Nature::NeverFails => &[Sides, Seeds, Perturbations, HeavyPerturbations, Crossed],
    }
}
