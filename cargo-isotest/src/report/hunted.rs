//! What a hunt has found, as reports print it.

use serde::Serialize;

use super::diagnosed::Diagnosed;

/// The version of the JSON of a hunt.
pub const FORMAT: u32 = 1;

/// Number of runs, and of those that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tried {
    /// Runs that failed.
    pub failed: u32,
    /// Runs.
    pub runs: u32,
}

/// A condition under which tests ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Its name.
    pub name: String,
    /// Words for it.
    #[serde(skip)]
    pub words: String,
    /// Rounds over the suite.
    pub rounds: u32,
    /// Runs.
    #[serde(flatten)]
    pub tried: Tried,
    /// Candidates that it has found.
    pub found: u32,
    /// The reason why it could not be had.
    pub refused: Option<String>,
}

/// How a candidate shows itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Showing {
    /// It passes and fails in ordinary runs.
    Flaky,
    /// It passes in ordinary runs and fails under this condition.
    FailsUnder(String),
    /// It fails in ordinary runs and passes under this condition.
    PassesUnder(String),
    /// It passes today and fails from this date on, in UTC.
    FailsFrom(String),
    /// It passes today and fails on this date, in UTC.
    FailsOn(String),
}

/// A candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// The id of its binary.
    pub binary: String,
    /// The test.
    pub test: String,
    /// How it shows itself.
    pub shows: Showing,
    /// Ordinary runs.
    pub ordinary: Tried,
    /// Runs under that condition.
    pub amplified: Tried,
    /// Place of its most frequent failure, `src/lib.rs:12`.
    pub failure_at: Option<String>,
    /// Message of its most frequent failure.
    pub failure: Option<String>,
}

impl Candidate {
    /// The test, as a command names it.
    pub fn named(&self) -> String {
        super::rerun::quoted(&format!("{} {}", self.binary, self.test))
    }
}

/// Candidates that fail for one reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HuntedGroup {
    /// The tests, the most telling first.
    pub tests: Vec<Candidate>,
    /// The diagnosis of the first.
    pub diagnosis: Option<Diagnosed>,
}

/// What a hunt has found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hunted {
    /// The version of this format.
    pub format: u32,
    /// Candidates by their reason, those first that fail most in ordinary runs.
    pub groups: Vec<HuntedGroup>,
    /// Tests that fail in every run, by binary and name.
    pub always_fail: Vec<(String, String)>,
    /// Tests that were not run, by binary and name.
    pub not_run: Vec<(String, String)>,
    /// Conditions under which the tests ran.
    pub conditions: Vec<Condition>,
    /// Number of tests.
    pub tests: usize,
    /// Runs in all, without those of diagnoses.
    pub runs: u32,
    /// Time in all.
    pub seconds: f64,
    /// The hunt was for dates.
    pub time_bombs: bool,
    /// It was interrupted.
    pub is_interrupted: bool,
}

impl Hunted {
    /// Number of candidates.
    pub fn candidates(&self) -> usize {
        self.groups.iter().map(|group| group.tests.len()).sum()
    }
}
