//! How many clean runs prove that a failure is gone, and what counts of runs say.

use statrs::distribution::{DiscreteCDF, Hypergeometric};

use super::rate::Count;

/// Clean runs after which a test that fails at `rate` would have failed with this confidence. `None`
/// where no number of runs is enough: a rate of zero, a confidence of one.
pub fn runs_needed(rate: f64, confidence: f64) -> Option<u32> {
    if !(rate > 0.0 && confidence < 1.0) {
        return None;
    }
    if rate >= 1.0 {
        return Some(1);
    }
    let runs = ((1.0 - confidence).ln() / (1.0 - rate).ln()).ceil().max(1.0);
    (runs <= f64::from(u32::MAX)).then_some(runs as u32)
}

/// The rate below which a test fails that passed every one of so many runs, with this confidence.
pub fn bound(clean_runs: u32, confidence: f64) -> f64 {
    if clean_runs == 0 {
        return 1.0;
    }
    1.0 - (1.0 - confidence).powf(1.0 / f64::from(clean_runs))
}

/// The exact interval (Clopper–Pearson, 95 %) of the rate of a test that failed in so many of its runs.
pub fn interval(failed: u32, runs: u32) -> (f64, f64) {
    Count { hits: failed.min(runs), runs }.interval()
}

/// The probability that two things of which nothing depends on the other, and which happened `one` and
/// `other` times in so many runs, happen together `joint` times or more often: Fisher's exact test.
pub fn by_chance(runs: u32, one: u32, other: u32, joint: u32) -> f64 {
    let [all, one, other] = [runs, one, other].map(u64::from);
    match (joint.checked_sub(1), Hypergeometric::new(all, one.min(all), other.min(all))) {
        (Some(fewer), Ok(distribution)) => distribution.sf(u64::from(fewer)),
        (None, _) | (_, Err(_)) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_runs_as_the_published_table_says() {
        let at = |confidence| {
            [0.01, 0.05, 0.5, 0.001]
                .map(|rate| runs_needed(rate, confidence).expect("it is possible"))
        };
        assert_eq!(at(0.95), [299, 59, 5, 2995]);
        assert_eq!(at(0.99), [459, 90, 7, 4603]);
        let tenth = [0.1, 0.17].map(|rate| runs_needed(rate, 0.99));
        assert_eq!(tenth, [Some(44), Some(25)]);
    }

    #[test]
    fn the_interval_is_exact() {
        // Solved for elsewhere, from the tails of the binomial distribution.
        for (failed, runs, low, high) in [
            (7, 412, 0.006_858, 0.034_692),
            (0, 100, 0.0, 0.036_217),
            (5, 10, 0.187_086, 0.812_914),
        ] {
            let found = interval(failed, runs);
            assert!((found.0 - low).abs() < 1e-6 && (found.1 - high).abs() < 1e-6, "{found:?}");
        }
        assert_eq!(interval(0, 0), (0.0, 1.0));
    }

    #[test]
    fn the_probability_is_that_of_the_exact_test() {
        // All 3 of one are among the 4 of the other in 4 of 56 cases.
        assert!((by_chance(8, 3, 4, 3) - 4.0 / 56.0).abs() < 1e-9);
        assert!((by_chance(8, 3, 4, 0) - 1.0).abs() < 1e-9);
        assert!((by_chance(20, 10, 10, 10) - 1.0 / 184_756.0).abs() < 1e-12);
    }

    #[test]
    fn what_no_number_of_runs_proves_has_none() {
        assert_eq!(runs_needed(0.0, 0.95), None);
        assert_eq!(runs_needed(f64::NAN, 0.95), None);
        assert_eq!(runs_needed(0.5, 1.0), None);
        assert_eq!(runs_needed(1e-15, 0.95), None);
        assert_eq!(runs_needed(1.0, 0.99), Some(1));
    }

    #[test]
    fn the_bound_of_the_runs_that_a_rate_needs_is_that_rate() {
        for rate in [0.5, 0.1, 0.05, 0.01, 0.001] {
            let runs = runs_needed(rate, 0.95).expect("it is possible");
            assert!(bound(runs, 0.95) <= rate && bound(runs - 1, 0.95) > rate);
        }
        assert_eq!(bound(0, 0.95), 1.0);
    }
}
