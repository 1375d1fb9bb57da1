//! Rates of failures: counts, exact intervals, quantiles.

use statrs::function::beta::inv_beta_reg;

/// The confidence of intervals.
pub(super) const CONFIDENCE: f64 = 0.95;

/// Outcomes of runs, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Count {
    /// Runs that show the effect looked for.
    pub hits: u32,
    /// All runs.
    pub runs: u32,
}

impl Count {
    /// The count of these runs, each a hit or not.
    pub fn of(hits: impl Iterator<Item = bool>) -> Count {
        let mut count = Count::default();
        hits.for_each(|is_hit| count.add(is_hit));
        count
    }

    /// One more run.
    pub fn add(&mut self, is_hit: bool) {
        self.hits += u32::from(is_hit);
        self.runs += 1;
    }

    /// The runs of both.
    pub fn and(self, other: Count) -> Count {
        Count { hits: self.hits + other.hits, runs: self.runs + other.runs }
    }

    /// The same runs, where a hit is what was none.
    pub fn misses(self) -> Count {
        Count { hits: self.runs - self.hits, runs: self.runs }
    }

    /// The share of hits.
    pub fn share(self) -> f64 {
        if self.runs == 0 { 0.0 } else { f64::from(self.hits) / f64::from(self.runs) }
    }

    /// The logarithm of how much better two rates explain both counts than one rate does.
    pub fn difference(self, other: Count) -> f64 {
        self.and(other).surprise() - self.surprise() - other.surprise()
    }

    /// Minus the logarithm of the highest likelihood of these runs.
    fn surprise(self) -> f64 {
        let part = |count: u32| {
            let count = f64::from(count);
            if count > 0.0 { -count * (count / f64::from(self.runs)).ln() } else { 0.0 }
        };
        part(self.hits) + part(self.runs - self.hits)
    }

    /// The share of hits after one imaginary run, half of which was a hit: never 0 or 1.
    pub fn estimate(self) -> f64 {
        (f64::from(self.hits) + 0.5) / (f64::from(self.runs) + 1.0)
    }

    /// The quantile of what the share may be (Jeffreys).
    pub fn quantile(self, share: f64) -> f64 {
        beta_quantile(share, f64::from(self.hits) + 0.5, f64::from(self.runs - self.hits) + 0.5)
    }

    /// The exact interval (Clopper–Pearson) of the share.
    pub fn interval(self) -> (f64, f64) {
        let tail = (1.0 - CONFIDENCE) / 2.0;
        (lower_end(self.hits, self.runs, tail), upper_end(self.hits, self.runs, tail))
    }
}

/// The share of which so many hits or more are as improbable as `tail`.
fn lower_end(hits: u32, runs: u32, tail: f64) -> f64 {
    if hits == 0 {
        return 0.0;
    }
    beta_quantile(tail, f64::from(hits), f64::from(runs - hits) + 1.0)
}

/// The share of which so many hits or fewer are as improbable as `tail`.
pub(super) fn upper_end(hits: u32, runs: u32, tail: f64) -> f64 {
    if hits == runs {
        return 1.0;
    }
    beta_quantile(1.0 - tail, f64::from(hits) + 1.0, f64::from(runs - hits))
}

fn beta_quantile(share: f64, a: f64, b: f64) -> f64 {
    inv_beta_reg(a, b, share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn interval(hits: u32, runs: u32, low: f64, high: f64) {
        let (found_low, found_high) = Count { hits, runs }.interval();
        let is_near = |found: f64, expected: f64| (found - expected).abs() < 5e-5;
        assert!(is_near(found_low, low) && is_near(found_high, high), "{found_low} {found_high}");
    }

    /// Values of R 4.3, `binom.test(hits, runs)$conf.int`.
    #[test]
    fn intervals_are_exact() {
        interval(0, 10, 0.0, 0.30850);
        interval(10, 10, 0.69150, 1.0);
        interval(5, 10, 0.18709, 0.81291);
        interval(1, 3, 0.00840, 0.90570);
        interval(0, 0, 0.0, 1.0);
        interval(7, 412, 0.00686, 0.03471);
    }

    #[test]
    fn an_interval_of_any_count_holds_its_share() {
        for runs in 1..=400_u32 {
            for hits in 0..=runs {
                let (low, high) = Count { hits, runs }.interval();
                let share = f64::from(hits) / f64::from(runs);
                assert!(
                    0.0 <= low && low <= share && share <= high && high <= 1.0,
                    "{hits} {runs}"
                );
            }
        }
    }
}
