//! Retries: how often a case that has failed is started again, and after which pauses.
//!
//! Plain data and one sum. [`schedule`](crate::schedule) starts the attempts.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Number of retries of a failed case, and its result if it passes then. Zero by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retries {
    /// Number of attempts after the first.
    pub count: u32,
    /// Pause between two attempts.
    pub backoff: Backoff,
    /// Result of a case that passed after it had failed.
    pub flaky: FlakyResult,
}

/// The pauses between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backoff {
    /// Growth of the pauses.
    pub growth: Growth,
    /// The pause before the first retry.
    pub delay: Duration,
    /// No pause is longer than this.
    pub max_delay: Option<Duration>,
    /// Each pause is cut to a random part of it, a half or more: cases that failed at the same time
    /// are not started again at the same time.
    pub jitter: bool,
}

/// Growth of pauses from one retry to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Growth {
    /// They do not.
    #[default]
    Fixed,
    /// Each is twice the one before.
    Exponential,
}

/// Result of a case that passed after it had failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlakyResult {
    /// A test that passed.
    #[default]
    Pass,
    /// A failed test.
    Fail,
}

impl Retries {
    /// Maximum number of attempts.
    pub fn attempts(&self) -> u32 {
        self.count.saturating_add(1)
    }
}

impl Backoff {
    /// The pause after the failed attempt of this number, which is 1 for the first.
    pub fn pause(&self, attempt: u32) -> Duration {
        let factor = match self.growth {
            Growth::Fixed => 1,
            Growth::Exponential => 2_u32.saturating_pow(attempt.saturating_sub(1)),
        };
        let full = self.delay.saturating_mul(factor);
        let pause = self.max_delay.map_or(full, |most| full.min(most));
        if self.jitter { pause.mul_f64(half_or_more()) } else { pause }
    }
}

/// A random number from 0.5 to 1.
fn half_or_more() -> f64 {
    // The keys of a `RandomState` are random, and so is the hash of anything.
    let random = RandomState::new().hash_one(0_u8);
    0.5 + random as f64 / u64::MAX as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn fixed_pauses_stay_and_exponential_ones_double_up_to_the_most() {
        let fixed = Backoff { delay: SECOND, ..Backoff::default() };
        assert_eq!([1, 2, 9].map(|attempt| fixed.pause(attempt)), [SECOND; 3]);
        let growing = Backoff { growth: Growth::Exponential, ..fixed };
        assert_eq!([1, 2, 3].map(|attempt| growing.pause(attempt).as_secs()), [1, 2, 4]);
        let bounded = Backoff { max_delay: Some(3 * SECOND), ..growing };
        assert_eq!([1, 2, 3, 99].map(|attempt| bounded.pause(attempt).as_secs()), [1, 2, 3, 3]);
    }

    #[test]
    fn jitter_leaves_a_half_or_more() {
        let backoff = Backoff { delay: SECOND, jitter: true, ..Backoff::default() };
        let pauses: Vec<Duration> = (0..100).map(|_| backoff.pause(1)).collect();
        assert!(pauses.iter().all(|pause| (SECOND / 2..=SECOND).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
