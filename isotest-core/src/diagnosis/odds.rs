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

    /// The arms can be told apart by a bearable number of runs.
    pub fn are_apart(self) -> bool {
        self.with > self.without * 1.05 && 1.0 - self.without > (1.0 - self.with) * 1.05
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
