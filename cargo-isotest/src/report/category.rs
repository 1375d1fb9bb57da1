//! Categories of verdicts: what the formats tell apart.

use isotest_core::outcome::{NotRun, Outcome, Verdict};

/// Category of a verdict, as libtest's formats and JUnit know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// Passed.
    Passed,
    /// Failed in any way.
    Failed,
    /// Failed, and may.
    Quarantined,
    /// Marked `#[ignore]`, or ignored by its harness.
    Ignored,
    /// Not run because of its sandbox, a service, the warden, or the process of its binary.
    NotRun,
    /// Not run because the run ended first. libtest prints nothing of such a case.
    Cancelled,
}

impl Category {
    /// Category of an outcome.
    pub fn of(outcome: &Outcome) -> Category {
        match &outcome.verdict {
            _ if outcome.is_quarantined() => Category::Quarantined,
            Verdict::Passed => Category::Passed,
            Verdict::Failed { .. }
            | Verdict::Signalled { .. }
            | Verdict::TimedOut { .. }
            | Verdict::ExitedEarly { .. }
            | Verdict::NothingRun
            | Verdict::Denied(_)
            | Verdict::Unproven { .. }
            | Verdict::Flaky => Category::Failed,
            Verdict::Ignored => Category::Ignored,
            Verdict::NotRun(
                NotRun::Sandbox(_)
                | NotRun::Service(_)
                | NotRun::WardenDied
                | NotRun::WardenSilent
                | NotRun::ProcessEnded,
            ) => Category::NotRun,
            Verdict::NotRun(NotRun::Cancelled) => Category::Cancelled,
        }
    }
}
