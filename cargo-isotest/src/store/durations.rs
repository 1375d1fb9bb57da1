//! Durations of tests.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Tests that took less are not worth a line.
const WORTH_NOTING: Duration = Duration::from_millis(20);

/// The last duration of each test that was long, by the id of its binary and its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Durations {
    known: BTreeMap<String, BTreeMap<String, Duration>>,
    /// The durations that this run has noted.
    #[serde(skip)]
    noted: Vec<(String, String, Duration)>,
}

impl Durations {
    /// Duration of a test; zero if it was short or is not known.
    pub fn of(&self, binary: &str, test: &str) -> Duration {
        let known = self.known.get(binary).and_then(|tests| tests.get(test));
        known.copied().unwrap_or_default()
    }

    /// Notes how long a test of this run has taken.
    pub fn note_own(&mut self, binary: &str, test: &str, took: Duration) {
        if took >= WORTH_NOTING || !self.of(binary, test).is_zero() {
            self.noted.push((binary.to_owned(), test.to_owned(), took));
        }
    }

    /// Takes what a run has noted.
    pub(super) fn take_noted(&mut self, run: &Durations) {
        for (binary, test, took) in &run.noted {
            self.note(binary, test, *took);
        }
    }

    /// Notes how long a test has taken.
    pub(super) fn note(&mut self, binary: &str, test: &str, took: Duration) {
        if took >= WORTH_NOTING {
            self.known.entry(binary.to_owned()).or_default().insert(test.to_owned(), took);
        } else if let Some(tests) = self.known.get_mut(binary) {
            tests.remove(test);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_tests_are_kept() {
        let (short, long) = (Duration::from_millis(3), Duration::from_secs(2));
        let mut run = Durations::default();
        run.note_own("b", "x", long);
        run.note_own("b", "y", long);
        let mut known = Durations::default();
        known.take_noted(&run);
        let mut run = known.clone();
        run.note_own("b", "y", short);
        known.take_noted(&run);
        assert_eq!(known.of("b", "x"), long);
        assert_eq!(known.of("b", "y"), Duration::ZERO);
    }
}
