//! The reports of a run that go to files.

use std::time::Duration;

use isotest_core::case::CaseIndex;
use isotest_core::finding::Finding;
use isotest_core::outcome::{Outcome, Verdict};

use super::junit::Junit;
use super::known::KnownDiagnosis;
use super::report_file::ReportFileError;
use super::sarif::Sarif;
use super::suite::Suite;

/// Reports in files.
#[derive(Default)]
pub struct Files {
    /// The JUnit report.
    pub junit: Option<Junit>,
    /// The SARIF log.
    pub sarif: Option<Sarif>,
}

impl Files {
    /// Takes a case that has ended now.
    pub fn observe(&mut self, suites: &[Suite], index: CaseIndex, outcome: &Outcome) {
        if let Some(junit) = &mut self.junit {
            junit.observe(suites, index, outcome);
        }
        if let Some(sarif) = &mut self.sarif {
            sarif.observe(suites, index, outcome);
        }
    }

    /// Takes what is known of a case that was observed before.
    pub fn take_diagnosis(&mut self, suites: &[Suite], index: CaseIndex, known: &KnownDiagnosis) {
        if let Some(junit) = &mut self.junit {
            junit.take_diagnosis(suites, index, known);
        }
        if let Some(sarif) = &mut self.sarif {
            sarif.take_diagnosis(suites, index, known);
        }
    }

    /// Takes findings of a binary whose cases share a sandbox.
    /// `verdict` is theirs.
    pub fn take_shared(
        &mut self,
        suites: &[Suite],
        binary: usize,
        findings: &[Finding],
        verdict: &Verdict,
    ) {
        if let Some(junit) = &mut self.junit {
            junit.take_shared(binary, findings);
        }
        if let Some(sarif) = &mut self.sarif {
            sarif.take_shared(suites, binary, findings, verdict);
        }
    }

    /// Writes the reports of a run that took `wall`. Where one cannot be written, the other is.
    pub fn write(&mut self, wall: Duration) -> Result<(), ReportFileError> {
        let junit = self.junit.as_mut().map_or(Ok(()), |junit| junit.write(wall));
        let sarif = self.sarif.as_mut().map_or(Ok(()), Sarif::write);
        junit.and(sarif)
    }
}
