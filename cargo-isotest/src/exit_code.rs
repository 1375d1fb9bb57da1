//! The exit codes of `cargo isotest`: nextest's, since CI scripts know them.
//!
//! [`ExitCode::of_run`] chooses that of a finished run.

use isotest_core::schedule::Interruption;

use crate::report::{DoctestSummary, Summary};

/// Exit code of `cargo isotest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// 0: every selected test passed or is ignored.
    Passed,
    /// 2: the command line is wrong.
    Usage,
    /// 4: no test was selected.
    NothingToRun,
    /// 94: a filter expression cannot be read.
    BadFilter,
    /// 96: a sandbox could not be set up, so not every test was run.
    SandboxFailed,
    /// 100: some test failed, or the time of the run was up.
    TestsFailed,
    /// 101: the build failed.
    BuildFailed,
    /// 102: `cargo metadata` failed.
    MetadataFailed,
    /// 103: an archive could not be written.
    ArchiveFailed,
    /// 104: a binary could not list its tests.
    ListFailed,
    /// 105: a setup command failed.
    SetupFailed,
    /// 110: a report could not be written.
    ReportFailed,
    /// 128+n: signal n ended the run.
    Signal(i32),
    /// `exec` and `shell`: the command's own.
    Of(i32),
    /// `runner`: by the signal that has ended the program.
    By(i32),
}

impl ExitCode {
    /// Exit code of a finished run. A signal comes first; then 96, even if tests failed: the
    /// results are incomplete, and a reader of 100 takes them for complete. A run that exceeded its
    /// time limit has failed, as with nextest.
    pub fn of_run(summary: &Summary) -> Self {
        let tally = &summary.tally;
        match summary.interrupted {
            Some(Interruption::Signal(signal)) => ExitCode::Signal(signal),
            _ if tally.not_run > 0 => ExitCode::SandboxFailed,
            Some(Interruption::Timeout(_)) => ExitCode::TestsFailed,
            None if tally.total() == 0 => ExitCode::NothingToRun,
            None if !tally.is_clean() => ExitCode::TestsFailed,
            None => ExitCode::Passed,
        }
    }

    /// The same when documentation tests have run too.
    pub fn with(self, doctests: DoctestSummary) -> Self {
        match (self, doctests) {
            (ExitCode::Passed | ExitCode::NothingToRun, DoctestSummary { failed: true, .. }) => {
                ExitCode::TestsFailed
            }
            (ExitCode::NothingToRun, DoctestSummary { selected: 1.., .. }) => ExitCode::Passed,
            (code, _) => code,
        }
    }

    /// The same where, for this code, nothing was run in one of several root filesystems: what has
    /// run is incomplete. Of two such codes 96 comes first, and a signal before all.
    pub fn or_refused(self, refused: Option<ExitCode>) -> Self {
        match (self, refused) {
            (ExitCode::Signal(_) | ExitCode::SandboxFailed, _) | (_, None) => self,
            (_, Some(code)) => code,
        }
    }

    /// Its number.
    pub fn number(self) -> u8 {
        match self {
            ExitCode::Passed => 0,
            ExitCode::Usage => 2,
            ExitCode::NothingToRun => 4,
            ExitCode::BadFilter => 94,
            ExitCode::SandboxFailed => 96,
            ExitCode::TestsFailed => 100,
            ExitCode::BuildFailed => 101,
            ExitCode::MetadataFailed => 102,
            ExitCode::ArchiveFailed => 103,
            ExitCode::ListFailed => 104,
            ExitCode::SetupFailed => 105,
            ExitCode::ReportFailed => 110,
            // WEXITSTATUS is one byte.
            ExitCode::Of(code) => code as u8,
            // A signal's number is at most 64.
            ExitCode::Signal(signal) | ExitCode::By(signal) => 128_u8.saturating_add(signal as u8),
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        std::process::ExitCode::from(code.number())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::Tally;

    fn number(tally: Tally, interrupted: Option<Interruption>) -> u8 {
        ExitCode::of_run(&Summary { tally, interrupted }).number()
    }

    #[test]
    fn a_sandbox_that_failed_wins_over_tests_that_failed() {
        let passed = Tally { passed: 3, ..Tally::default() };
        let failed = Tally { failed: 1, ..passed };
        let not_run = Tally { not_run: 1, ..failed };
        assert_eq!(number(Tally::default(), None), 4);
        assert_eq!(number(passed, None), 0);
        assert_eq!(number(failed, None), 100);
        assert_eq!(number(not_run, None), 96);
        assert_eq!(number(not_run, Some(Interruption::Signal(2))), 130);
        let timeout = Some(Interruption::Timeout(Duration::from_secs(9)));
        assert_eq!(number(passed, timeout), 100);
        assert_eq!(number(not_run, timeout), 96);
    }
}
