//! How many clean runs prove that a failure is gone.

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
