//! Categories of verdicts: what the formats tell apart.

use isotest_core::outcome::{NotRun, Verdict};

/// Category of a verdict, as libtest's formats and JUnit know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// Passed.
    Passed,
    /// Failed in any way.
    Failed,
    /// Marked `#[ignore]`, or ignored by its harness.
    Ignored,
    /// Not run because of its sandbox, a service, the warden, or the process of its binary.
    NotRun,
    /// Not run because the run ended first. libtest prints nothing of such a case.
    Cancelled,
}

impl Category {
    /// Category of a verdict.
    pub fn of(verdict: &Verdict) -> Category {
        match verdict {
            Verdict::Passed => Category::Passed,
            Verdict::Failed { .. }
            | Verdict::Signalled { .. }
            | Verdict::TimedOut { .. }
            | Verdict::ExitedEarly { .. }
            | Verdict::NothingRun
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
