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

#[cfg(test)]
mod tests {
    use super::super::simulation::Dice;
    use super::*;

    /// Pairs until the e-value is `threshold`, sorted, of many trials.
    fn pairs(with: f64, without: f64, threshold: f64, most: usize) -> Vec<usize> {
        let trials = (0..400).map(|seed| {
            let dice = Dice::new(seed);
            let mut pairs = Pairs::default();
            let reached = (1..=most).find(|_| {
                pairs.add((dice.falls(with), dice.falls(without)));
                pairs.evidence() >= threshold.ln()
            });
            reached.unwrap_or(usize::MAX)
        });
        let mut trials: Vec<usize> = trials.collect();
        trials.sort_unstable();
        trials
    }

    #[track_caller]
    fn median(with: f64, without: f64, threshold: f64, published: usize) {
        let trials = pairs(with, without, threshold, 20 * published);
        let median = trials[trials.len() / 2];
        let deviation = (median as f64 / published as f64 - 1.0).abs();
        assert!(deviation <= 0.15 || median.abs_diff(published) <= 1, "{median}, not {published}");
        let estimate = pairs_needed(with, without, threshold) / median as f64;
        assert!((0.5..2.0).contains(&estimate), "the estimate is {estimate} times the median");
    }

    /// The table of the method: two rates, and the median of the pairs that they need.
    #[test]
    fn as_many_pairs_as_the_published_table_says() {
        median(1.0, 0.0, 100.0, 5);
        median(1.0, 0.0, 1200.0, 7);
        median(1.0, 0.5, 100.0, 16);
        median(1.0, 0.5, 1200.0, 22);
        median(0.5, 0.0, 100.0, 16);
        median(0.5, 0.0, 1200.0, 23);
        median(0.5, 0.05, 100.0, 21);
        median(0.5, 0.05, 1200.0, 33);
        median(0.25, 0.01, 100.0, 37);
        median(0.25, 0.01, 1200.0, 56);
        median(0.1, 0.01, 100.0, 114);
        median(0.1, 0.01, 1200.0, 188);
        median(0.05, 0.0, 100.0, 175);
        median(0.05, 0.0, 1200.0, 224);
    }

    #[test]
    fn equal_rates_reach_an_e_value_less_often_than_it_says() {
        for rate in [0.02, 0.3, 0.5, 0.97] {
            let trials = pairs(rate, rate, 20.0, 400);
            let wrong = trials.iter().filter(|pairs| **pairs < usize::MAX).count();
            // One in 20 of 400 is 20; direction halves it.
            assert!(wrong <= 20, "{wrong} of 400 at {rate}");
        }
    }

    #[test]
    fn an_arm_with_fewer_hits_is_no_evidence() {
        assert_eq!(Pairs::of((0..100).map(|_| (false, true))).evidence(), 0.0);
    }
}
