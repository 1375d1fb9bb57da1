//! One case to run, and what it takes of the run.

use crate::case::CaseIndex;
use crate::outcome::Gate;
use crate::plan::Plan;
use crate::retry::Retries;

/// One case to run.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its case.
    pub index: CaseIndex,
    /// Its plan.
    pub plan: Plan,
    /// Its output is passed on as it comes instead of being kept.
    pub pass_through: bool,
    /// Retries after a failure.
    pub retries: Retries,
    /// Consequences of its findings and failures.
    pub gate: Gate,
    /// Its share of the run.
    pub claim: Claim,
}

impl Job {
    /// One that is run once: its output is kept, and nothing but its failure has consequences.
    pub fn once(index: CaseIndex, plan: Plan) -> Job {
        Job {
            index,
            plan,
            pass_through: false,
            retries: Retries::default(),
            gate: Gate::default(),
            claim: Claim::default(),
        }
    }
}

/// Share of a run that a case takes while it is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Weight in cases, at least 1. A case that weighs more than all that may be in flight weighs
    /// as much as they do, and runs alone.
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
    /// Its number.
    pub number: usize,
    /// Maximum weight of those in flight together, at least 1.
    pub max_threads: usize,
}
