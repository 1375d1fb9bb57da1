//! The diagnosis as its caller sees it: asked for runs, told outcomes.

use super::attribution::{Attribution, Phase, Progress};
use super::notes::Notes;
use super::procedure::{Procedure, Reached};
use super::question::{Observed, Question, Request};
use super::record::{Record, Wait};
use super::setting::Setting;

/// A diagnosis.
///
/// ```
/// use isotest_core::diagnosis::{Budget, Diagnosis, Observed, Question, Verdict};
///
/// let budget = Budget { runs: 1000 };
/// let question = Question { budget, seed: 1, ..Question::default() };
/// let mut diagnosis = Diagnosis::new(question);
/// while diagnosis.attribution().is_none() {
///     for request in diagnosis.next(8) {
///         // Here the test is run.
///         diagnosis.tell(request.id, Observed::Passed);
///     }
/// }
/// let verdict = &diagnosis.attribution().unwrap().verdict;
/// assert!(matches!(verdict, Verdict::NeverFailed { bound } if *bound <= 0.01));
/// ```
#[derive(Debug)]
pub struct Diagnosis {
    question: Question,
    record: Record,
    notes: Notes,
    reached: Reached,
    attribution: Option<Attribution>,
}

impl Diagnosis {
    /// A diagnosis that has made no run yet.
    pub fn new(question: Question) -> Diagnosis {
        let record = Record::new(question.seed, question.budget.runs);
        let notes = Notes::default();
        Diagnosis { question, record, notes, reached: Reached::default(), attribution: None }
    }

    /// The next runs, `most` at a time. Empty while the outcomes of earlier ones are missing that
    /// decide what is next, and at the end.
    pub fn next(&mut self, most: usize) -> Vec<Request> {
        if self.attribution.is_none() && self.record.is_settled() {
            self.advance();
        }
        self.record.take(most)
    }

    /// Takes the outcome of a run that was asked for. Its order among others does not matter.
    pub fn tell(&mut self, id: u64, observed: Observed) {
        self.record.tell(id, observed);
    }

    /// Ends the diagnosis with what is known. Outcomes of runs that are on their way do not count.
    pub fn stop(&mut self) {
        if self.attribution.is_none() {
            self.record.stop();
            self.attribution = Some(self.notes.stopped(&self.record));
        }
    }

    /// The result, once there is one.
    pub fn attribution(&self) -> Option<&Attribution> {
        self.attribution.as_ref()
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let phase = if self.attribution.is_some() { Phase::Finished } else { self.notes.phase };
        let setting: Setting = self.record.last_setting();
        let fingerprint = self.notes.fingerprint.or_else(|| self.record.fingerprint());
        Progress {
            runs: self.record.runs,
            failures: self.record.failures,
            phase,
            rate: self.record.rate(&setting, fingerprint),
        }
    }

    fn advance(&mut self) {
        let mut procedure = Procedure::new(&self.question, &mut self.record, self.reached);
        let end = procedure.diagnose();
        self.reached = procedure.reached;
        self.notes = procedure.notes;
        match end {
            Ok(verdict) => self.attribution = Some(self.notes.concluded(verdict, &self.record)),
            Err(Wait::Outcomes) => {}
            Err(Wait::Exhausted) => self.stop(),
        }
    }
}
