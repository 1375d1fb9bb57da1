//! The attempts of cases that are retried: those that failed, and the pauses between them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::job::Job;
use crate::case::CaseIndex;
use crate::outcome::{NotRun, Outcome, Verdict};
use crate::retry::FlakyResult;

/// The failed attempts of cases that have not ended, and what waits for the next one.
#[derive(Default)]
pub(super) struct Attempts {
    failed: HashMap<CaseIndex, Vec<Outcome>>,
    waiting: Vec<(Instant, Job)>,
}

impl Attempts {
    /// Number of failed attempts of a case.
    pub fn failed(&self, index: CaseIndex) -> u32 {
        self.failed.get(&index).map_or(0, Vec::len) as u32
    }

    /// Keeps a failed attempt and starts the pause before the next one.
    pub fn retry(&mut self, job: Job, outcome: Outcome) {
        let failed = self.failed.entry(job.index).or_default();
        failed.push(outcome);
        let pause = job.retries.backoff.pause(failed.len() as u32);
        self.waiting.push((Instant::now() + pause, job));
    }

    /// The outcome of a case whose last attempt ended so. One that was cancelled after it had
    /// failed has failed.
    pub fn conclude(&mut self, index: CaseIndex, mut outcome: Outcome) -> Outcome {
        let mut failed = self.failed.remove(&index).unwrap_or_default();
        if outcome.verdict == Verdict::NotRun(NotRun::Cancelled)
            && let Some(last) = failed.pop()
        {
            outcome = last;
        }
        outcome.earlier = failed;
        outcome
    }

    /// True if nothing waits.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// End of the next pause.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.iter().map(|(due, _)| *due).min()
    }

    /// Lets every pause end so much later.
    pub fn postpone(&mut self, stopped: Duration) {
        self.waiting.iter_mut().for_each(|(due, _)| *due += stopped);
    }

    /// Takes out those whose pause is over.
    pub fn due(&mut self) -> Vec<Job> {
        let now = Instant::now();
        self.waiting.extract_if(.., |(due, _)| *due <= now).map(|(_, job)| job).collect()
    }

    /// Takes out all that wait.
    pub fn left_over(&mut self) -> impl Iterator<Item = Job> {
        self.waiting.drain(..).map(|(_, job)| job)
    }
}

/// Verdict of a pass at this attempt.
pub(super) fn passed(job: &Job, failed: u32) -> Verdict {
    match job.retries.flaky {
        FlakyResult::Fail if failed > 0 => Verdict::Flaky,
        FlakyResult::Pass | FlakyResult::Fail => Verdict::Passed,
    }
}
