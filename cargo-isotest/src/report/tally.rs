//! Counts of verdicts, for one binary or a whole run.
//!
//! This is the only place that maps a verdict to a count: the formats, the closing block and the
//! exit code all read a [`Tally`].

use isotest_core::outcome::{NotRun, Outcome, Verdict};

/// Number of cases per result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Passed.
    pub passed: usize,
    /// Passed, but not at the first attempt; those that count as failed are among them.
    pub flaky: usize,
    /// Failed in whatever way; the next six are among them.
    pub failed: usize,
    /// Failed by a signal.
    pub signalled: usize,
    /// Failed by running into the deadline.
    pub timed_out: usize,
    /// Failed by exiting before the harness reported.
    pub exited_early: usize,
    /// Failed since findings of them are denied.
    pub denied: usize,
    /// Failed since they are new and failed in runs before.
    pub unproven: usize,
    /// Failed since they passed at a retry only.
    pub flaky_failed: usize,
    /// Failed, and may.
    pub quarantined: usize,
    /// Binaries that did, in a sandbox of all their tests, what is denied.
    pub denied_binaries: usize,
    /// Marked `#[ignore]` and left alone.
    pub ignored: usize,
    /// Not run because of the sandbox.
    pub not_run: usize,
    /// Not run, or killed on the way, because the run, or the process of its binary, ended first.
    pub cancelled: usize,
}

impl Tally {
    /// Counts one case.
    pub fn count(&mut self, outcome: &Outcome) {
        self.failed += usize::from(outcome.fails_run());
        self.flaky += usize::from(outcome.is_flaky());
        if outcome.is_quarantined() {
            self.quarantined += 1;
            return;
        }
        let counter = match &outcome.verdict {
            Verdict::Passed => &mut self.passed,
            Verdict::Failed { .. } | Verdict::NothingRun => return,
            Verdict::Signalled { .. } => &mut self.signalled,
            Verdict::TimedOut { .. } => &mut self.timed_out,
            Verdict::ExitedEarly { .. } => &mut self.exited_early,
            Verdict::Denied(_) => &mut self.denied,
            Verdict::Unproven { .. } => &mut self.unproven,
            Verdict::Flaky => &mut self.flaky_failed,
            Verdict::Ignored => &mut self.ignored,
            Verdict::NotRun(
                NotRun::Sandbox(_) | NotRun::Service(_) | NotRun::WardenDied | NotRun::WardenSilent,
            ) => &mut self.not_run,
            Verdict::NotRun(NotRun::Cancelled | NotRun::ProcessEnded) => &mut self.cancelled,
        };
        *counter += 1;
    }

    /// Number of counted cases.
    pub fn total(&self) -> usize {
        self.passed + self.failed + self.quarantined + self.ignored + self.not_run + self.cancelled
    }

    /// True if every case passed or was ignored.
    pub fn is_clean(&self) -> bool {
        self.failed == 0 && self.denied_binaries == 0 && self.not_run == 0 && self.cancelled == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_a_failure_and_a_cancelled_case_is_none() {
        let mut tally = Tally::default();
        let mut count = |verdict| tally.count(&Outcome::without_run(verdict));
        count(Verdict::Passed);
        count(Verdict::Failed { code: 101 });
        count(Verdict::Signalled { signal: 6 });
        count(Verdict::NotRun(NotRun::Cancelled));
        assert_eq!((tally.failed, tally.signalled, tally.cancelled), (2, 1, 1));
        assert_eq!(tally.total(), 4);
        assert!(!tally.is_clean());
    }
}
