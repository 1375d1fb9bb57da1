//! An anytime-valid test of two rates (Turner, Ly, Grünwald 2021): whoever watches may stop at any
//! time, and a wrong claim stays as improbable as it says.
//!
//! Each pair of runs, one of each arm, is a block. Its probability under two rates, predicted from the
//! pairs before it, is divided by that under their mean. The product is an e-value: if both arms have
//! the same rate, it ever reaches N with a probability of 1/N at most.

use super::rate::Count;

/// Weight of the imaginary hits and misses in a prediction: Beta(0.18, 0.18).
const PRIOR: f64 = 0.18;

/// Pairs of runs, and the evidence in them that the arms differ.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pairs {
    /// The arm with the effect.
    pub with: Count,
    /// The arm without it.
    pub without: Count,
    log: f64,
    highest: f64,
}

impl Pairs {
    /// The evidence in pairs in their order: hit or not in the arm with the effect, and in the other.
    pub fn of(pairs: impl Iterator<Item = (bool, bool)>) -> Pairs {
        let mut all = Pairs::default();
        pairs.for_each(|pair| all.add(pair));
        all
    }

    fn add(&mut self, (with, without): (bool, bool)) {
        let predicted = (predict(self.with), predict(self.without));
        let mean = f64::midpoint(predicted.0, predicted.1);
        self.log += ratio(with, predicted.0, mean) + ratio(without, predicted.1, mean);
        self.with.add(with);
        self.without.add(without);
        if self.with.hits > self.without.hits {
            self.highest = self.highest.max(self.log);
        }
    }

    /// The logarithm of the highest e-value while the arm with the effect had more hits.
    pub fn evidence(&self) -> f64 {
        self.highest
    }
}

/// Pairs after which two arms with these rates have probably an e-value of `threshold`.
pub(super) fn pairs_needed(with: f64, without: f64, threshold: f64) -> f64 {
    let mean = f64::midpoint(with, without);
    let gain = divergence(with, mean) + divergence(without, mean);
    // What the prediction costs until it has learned the rates: half a logarithm each.
    let learning = 1.0 - 0.5 * (gain.max(1e-9)).ln().min(0.0);
    (threshold.ln() + learning) / gain.max(1e-9)
}

fn predict(count: Count) -> f64 {
    (f64::from(count.hits) + PRIOR) / (f64::from(count.runs) + 2.0 * PRIOR)
}

fn ratio(is_hit: bool, rate: f64, other: f64) -> f64 {
    if is_hit { (rate / other).ln() } else { ((1.0 - rate) / (1.0 - other)).ln() }
}

/// The mean gain of [`ratio`] where `rate` is true: the Kullback–Leibler divergence.
fn divergence(rate: f64, other: f64) -> f64 {
    let part = |p: f64, q: f64| if p > 0.0 { p * (p / q).ln() } else { 0.0 };
    part(rate, other) + part(1.0 - rate, 1.0 - other)
}
