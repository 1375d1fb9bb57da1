//! One case to run, and what it takes of the run.

use crate::case::CaseIndex;
use crate::plan::Plan;
use crate::retry::Retries;

/// One case to run.
#[derive(Debug, Clone)]
pub struct Job {
    /// Which case it is.
    pub index: CaseIndex,
    /// How it is run.
    pub plan: Plan,
    /// Whether its output is passed on as it comes instead of being kept.
    pub pass_through: bool,
    /// What follows where it fails.
    pub retries: Retries,
    /// What it takes of the run.
    pub claim: Claim,
}

/// What a case takes of a run while it is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// How many cases it weighs as much as, 1 at the least. What weighs more than all that may be
    /// in flight weighs as much as they do, and runs alone.
    pub threads: usize,
    /// The group that it is in.
    pub group: Option<TestGroup>,
}

impl Default for Claim {
    fn default() -> Self {
        Claim { threads: 1, group: None }
    }
}

/// Cases of which only some are in flight at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestGroup {
    /// What tells it from other groups.
    pub number: usize,
    /// How much those in flight may weigh together, 1 at the least.
    pub max_threads: usize,
}
