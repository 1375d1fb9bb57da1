//! Diagnoses in a report: what earlier ones have found of the tests that fail.

use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

use isotest_core::case::CaseIndex;
use isotest_core::outcome::{Outcome, Verdict};

use super::{Reporter, suite};
use crate::report::known::KnownDiagnosis;
use crate::report::messages::{self, DiagnosedBefore, Message};

impl Reporter {
    /// Sets what is known of tests, for those that fail.
    pub fn with_diagnoses(mut self, known: BTreeMap<CaseIndex, KnownDiagnosis>) -> Self {
        self.known = known;
        self
    }

    /// Tells what is known of a test that has failed, or passed on a retry only.
    pub(super) fn observe_diagnosis(
        &mut self,
        index: CaseIndex,
        outcome: &Outcome,
        now: Instant,
    ) -> io::Result<()> {
        let is_denied = matches!(outcome.verdict, Verdict::Denied(_));
        let has_failed = outcome.verdict.is_failure() && !is_denied || outcome.is_flaky();
        let Some(known) = self.known.remove(&index).filter(|_| has_failed) else { return Ok(()) };
        let message = messages::diagnosed(&self.suites, index, &known);
        if let Some(record) = &mut self.record {
            record.said(&message, now - self.begin);
        }
        self.take_diagnosis(index, known);
        if self.has_messages() { self.say(&message) } else { Ok(()) }
    }

    /// Takes a message that is not made of an event, and prints it where messages are printed.
    pub fn say_again(&mut self, message: &Message) -> io::Result<()> {
        if let Message::TestDiagnosed(told) = message
            && let Some(index) = self.index_of(told)
        {
            self.take_diagnosis(index, told.diagnosis.clone());
        }
        if self.has_messages() { self.say(message) } else { Ok(()) }
    }

    fn take_diagnosis(&mut self, index: CaseIndex, known: KnownDiagnosis) {
        self.files.take_diagnosis(&self.suites, index, &known);
        self.closing.take_diagnosis(suite::label(&self.suites, index), known);
    }

    /// The case that a message names.
    fn index_of(&self, told: &DiagnosedBefore) -> Option<CaseIndex> {
        let test = &told.test;
        let is_its = |suite: &super::Suite| suite.id == test.binary && suite.root == test.root;
        let binary = self.suites.iter().position(is_its)?;
        let case = self.suites[binary].cases.iter().position(|case| case.name == test.test)?;
        Some(CaseIndex { binary, case })
    }
}
