//! A sequential probability ratio test (Wald 1945) of one arm: does it have the effect, or not?

use super::rate::Count;

/// The logarithm of the odds at which an arm is decided: 400 to 1.
const DECIDED: f64 = 5.99;

/// The same for a second look at what the first one got wrong: 100,000 to 1.
const STRICT: f64 = 11.5;

/// Without hits in the other arm, its rate is taken to be so many times lower.
const CONTRAST: f64 = 20.0;

/// The rates of an effect with and without its cause.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Odds {
    pub with: f64,
    pub without: f64,
    bound: f64,
}

impl Odds {
    /// The rates that follow from runs of both arms. That with the effect is taken at the low end of
    /// what it may be: an arm whose runs are the reason to look at it has been lucky.
    pub fn of(with: Count, without: Count, is_strict: bool) -> Odds {
        let (quantile, bound) = if is_strict { (0.04, STRICT) } else { (0.1, DECIDED) };
        let high = with.quantile(quantile);
        let low = if without.hits == 0 { 0.0 } else { without.estimate() };
        Odds { with: high, without: low.max(high / CONTRAST), bound }
    }

    /// A hit or a miss tells one arm from the other.
    pub fn are_apart(self) -> bool {
        let is_more = |high: f64, low: f64| high > 1.05 * low;
        self.with > self.without
            && (is_more(self.with, self.without) || is_more(1.0 - self.without, 1.0 - self.with))
    }

    /// Whether runs in their order show that their arm has the effect; `None` if they are too few.
    pub fn decide(self, hits: impl Iterator<Item = bool>) -> Option<bool> {
        let mut sum = 0.0;
        for is_hit in hits {
            sum += self.weight(is_hit);
            if sum.abs() >= self.bound {
                return Some(sum > 0.0);
            }
        }
        None
    }

    /// Which of two arms, run in turn, has the effect, if one of them has it: 0 or 1; `None` if the runs
    /// are too few. What misses say of both arms cancels out, so that this needs fewer runs.
    pub fn decide_between(self, pairs: impl Iterator<Item = (bool, bool)>) -> Option<usize> {
        let mut sum = 0.0;
        for (first, second) in pairs {
            sum += self.weight(first) - self.weight(second);
            if sum.abs() >= self.bound {
                return Some(usize::from(sum < 0.0));
            }
        }
        None
    }

    /// How much these runs speak for the effect: the logarithm of the likelihood ratio.
    pub fn weigh(self, count: Count) -> f64 {
        let misses = f64::from(count.runs - count.hits);
        f64::from(count.hits) * self.weight(true) + misses * self.weight(false)
    }

    /// Runs without a hit that show that an arm does not have the effect.
    pub fn runs_without(self) -> f64 {
        self.bound / -self.weight(false)
    }

    /// Runs of each of two arms after which one of them is probably found to have the effect.
    pub fn pairs(self) -> f64 {
        let gain = self.with * self.weight(true) + (1.0 - self.with) * self.weight(false);
        (self.bound / gain.max(1e-9)).max(2.0)
    }

    fn weight(self, is_hit: bool) -> f64 {
        if is_hit {
            (self.with / self.without).ln()
        } else {
            ((1.0 - self.with) / (1.0 - self.without)).ln()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::Dice;
    use super::*;

    fn odds(rate: f64) -> Odds {
        Odds { with: rate, without: rate / CONTRAST, bound: DECIDED }
    }

    /// Pairs until one of two arms is decided to have the effect, which the first one has; and how
    /// often it was the other.
    fn halvings(rate: f64, other: f64) -> (f64, u32) {
        let (mut sum, mut wrong) = (0, 0);
        for seed in 0..400 {
            let dice = Dice::new(seed);
            let mut pairs = Vec::new();
            let found = loop {
                pairs.push((dice.falls(rate), dice.falls(other)));
                match odds(rate).decide_between(pairs.iter().copied()) {
                    None => {}
                    Some(found) => break found,
                }
            };
            sum += pairs.len();
            wrong += found as u32;
        }
        (sum as f64 / 400.0, wrong)
    }

    /// The table of the method: the mean number of pairs for one halving.
    #[test]
    fn a_halving_needs_no_more_pairs_than_the_published_table_says() {
        for (rate, published) in [(0.01, 196.0), (0.05, 39.0), (0.25, 8.0), (0.5, 4.0)] {
            let (mean, wrong) = halvings(rate, 0.0);
            assert!(mean <= 1.25 * published && mean >= 0.6 * published, "{mean} at {rate}");
            assert_eq!(wrong, 0, "of 400 at {rate}");
            let (_, wrong) = halvings(rate, rate / 10.0);
            assert!(wrong <= 12, "{wrong} of 400 wrong at {rate}");
        }
    }

    /// The gate of the method: runs without a failure after which an arm is free of the effect.
    #[test]
    fn an_arm_is_free_of_the_effect_after_as_many_runs_as_published() {
        for (rate, published) in [(0.01, 628.0), (0.05, 123.0), (0.25, 22.0), (0.5, 9.0)] {
            let runs = odds(rate).runs_without().ceil();
            assert!((runs - published).abs() <= 0.02 * published + 1.0, "{runs} at {rate}");
            let decision = odds(rate).decide((0..runs as usize).map(|_| false));
            assert_eq!(decision, Some(false));
            assert_eq!(odds(rate).decide((1..runs as usize).map(|_| false)), None);
        }
    }

    #[test]
    fn equal_rates_are_not_apart() {
        let half = Count { hits: 50, runs: 100 };
        assert!(!Odds::of(half, half, false).are_apart());
        let (all, none) = (Count { hits: 6, runs: 6 }, Count { hits: 0, runs: 8 });
        assert!(Odds::of(all, none, false).are_apart());
    }
}
